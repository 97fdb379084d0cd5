"""Tiles in which the updates from outside come first, as a product of matrices, and then what is left in its order.

    for i: for j: { for k: c[i, j] = max(c[i, j], c[i, k] + c[k, j]);  … }
    ->  for i.o: for j.o:
          the k for which c[i, k] and c[k, j] are in other tiles     register tiles
          for i.i: for j.i: { the other k;  … }

The recurrences of dynamic programming over intervals have this form, and factorisations that look to the left: a cell
is updated by cells that are done before it, most of them far away. Which instances wait for nothing in their own tile
is computed (`poly.free_instances`). For several cores the tiles run in diagonals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from polydl.poly.tree import Band
from polydl.scheduler.automatic.apart import free
from polydl.scheduler.automatic.strategy import Part
from polydl.scheduler.automatic.updates import update_of, update_tiled
from polydl.scheduler.bindings import Parallel
from polydl.scheduler.instances import RunFirst
from polydl.scheduler.loops import Reorder, Split, Tile
from polydl.scheduler.motion import Skew
from polydl.scheduler.recipes.common import attempt, loops_of
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["ready_updates"]

# Cells on the side of a tile: small, for what is left in it waits for every single addition, and whole register tiles.
# Single runs at N = 2500, float64, on a machine with other work: 400 ms with 16, 450 with 32, 540 with 48.
_SIDE: Final = 16
_REDUCED: Final = 48  # of the reduction at once: each panel of the operands stays in the first-level cache


def ready_updates(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The part in tiles of its outer two loops, the updates that wait for nothing in their tile in register tiles."""
    nest = part.subtree(schedule.tree)
    if not isinstance(nest, Band) or len(nest.members) != 2 or not schedule.reassociate:
        return
    rows, columns = (m.name for m in nest.members)
    tiled = attempt(schedule, Tile((rows, columns), (_SIDE, _SIDE)))
    if tiled is None:
        return
    ways = [tiled]
    if target.cores > 1:
        tiles = f"{rows}.o", f"{columns}.o"
        diagonal = attempt(tiled, Skew(*tiles, 1), Reorder((tiles[1], tiles[0])), Parallel(tiles[0]))
        ways += [] if diagonal is None else [diagonal]
    ready = free(tiled, f"{rows}.i", first=True)
    for s in part.statements:
        for way in ways if ready[s] != "false" else ():
            done = _ready_first(way, s, ready[s], (f"{rows}.i", f"{columns}.i"), target)
            if done is not None:
                yield done


def _ready_first(
    tiled: Schedule, s: str, condition: str, points: tuple[str, str], target: Target
) -> Schedule | None:
    """The instances of one update with a condition first, in register tiles; None where it is no update."""
    reduced = loops_of(tiled, s)[4:]
    if len(reduced) != 1 or update_of(tiled, s, (*points, *reduced)) is None:
        return None
    k = reduced[0]
    divided = attempt(
        tiled,
        RunFirst(points[0], (s,), (condition,)),
        Split(k, _REDUCED),
        Reorder((f"{k}.o", *points, f"{k}.i")),
    )
    if divided is None:
        return None
    loops = (*points, f"{k}.i")
    return update_tiled(divided, s, loops, target, around=(f"{k}.o",), block=_SIDE, shared=False)
