"""What a machine is: vector width, registers, caches, cores; named targets and detection of the host."""

from __future__ import annotations

from polydl.targets.parse import native, parse, target_names
from polydl.targets.target import Target

__all__ = ["Target", "native", "parse", "target_names"]
