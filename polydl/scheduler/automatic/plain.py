"""The strategy that always applies: the loops in the order given, contiguous ones as vectors, outer ones parallel."""

from __future__ import annotations

from collections.abc import Iterator

from polydl.scheduler.automatic.strategy import Part
from polydl.scheduler.automatic.streams import shared_out, vectors_below
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["plain_loops"]


def plain_loops(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The part with its innermost loops vectorised and its outermost ones parallel, where that is legal."""
    yield shared_out(vectors_below(schedule, part, target), part, target)
