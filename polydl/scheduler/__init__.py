"""Schedules: the transformations, the `Schedule` value, and recipes."""

from polydl.scheduler.compute import Accumulate, Inline, Privatize
from polydl.scheduler.loops import (
    Collapse,
    Distribute,
    Fuse,
    Parallel,
    Reorder,
    Sequential,
    Skew,
    Split,
    Tile,
    Unroll,
    Vectorize,
)
from polydl.scheduler.packing import Pack
from polydl.scheduler.partition import Separate
from polydl.scheduler.recipes import default_schedule
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.storage import Local, SetLayout

__all__ = [
    "Accumulate",
    "Collapse",
    "Distribute",
    "Fuse",
    "Inline",
    "Local",
    "Pack",
    "Parallel",
    "Privatize",
    "Reorder",
    "Rewritten",
    "Schedule",
    "Separate",
    "Sequential",
    "SetLayout",
    "Skew",
    "Split",
    "Tile",
    "Transform",
    "Unroll",
    "Vectorize",
    "default_schedule",
]
