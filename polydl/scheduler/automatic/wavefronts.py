"""Permutable bands in which every loop carries something: tiled, and diagonals of tiles in parallel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from polydl.poly.tree import Band, Tree, walk
from polydl.scheduler.automatic.strategy import Part
from polydl.scheduler.bindings import Parallel
from polydl.scheduler.loops import Reorder, Tile
from polydl.scheduler.motion import Skew
from polydl.scheduler.recipes.common import attempt
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["wavefronts"]

_SIZES: Final = (8, 64, 64)  # of tiles: times, then space


def wavefronts(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The outermost permutable bands in which every loop carries something, tiled, tiles of a diagonal in parallel."""
    if target.cores == 1:
        return
    changed = None
    for facts in part.bands:
        if facts.permutable and len(facts.loops) > 1 and not any(facts.coincident):
            loops = _together(part.subtree(schedule.tree), facts.loops)
            if len(loops) < 2:
                continue
            sizes = (*_SIZES[:1], *_SIZES[1:2] * (len(loops) - 1))
            first, second = f"{loops[0]}.o", f"{loops[1]}.o"
            tiled = attempt(
                changed or schedule,
                Tile(loops, sizes),
                Skew(first, second, 1),
                Reorder((second, first)),
                Parallel(first),
            )
            changed = tiled or changed
    if changed is not None:
        yield changed


def _together(tree: Tree, loops: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the loops that are in one band, outermost of a nest, as the first of them is."""
    for node in walk(tree):
        if isinstance(node, Band) and node.members[0].name in loops:
            inside = [m.name for m in node.members]
            return tuple(n for n in loops if n in inside)
    return ()
