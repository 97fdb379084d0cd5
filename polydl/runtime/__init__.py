"""Loading and calling what was compiled: `Module`, and packages on disk (`save`, `load`, `read_manifest`)."""

from polydl.runtime.manifest import FileEntry, Manifest
from polydl.runtime.measure import StepTime, Timing
from polydl.runtime.module import BoundCall, Module
from polydl.runtime.package import load, read_manifest, save

__all__ = [
    "BoundCall",
    "FileEntry",
    "Manifest",
    "Module",
    "StepTime",
    "Timing",
    "load",
    "read_manifest",
    "save",
]
