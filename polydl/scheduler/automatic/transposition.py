"""Parts of a program on copies of their tensors with the dimensions in an order that suits vectors.

for i: for j: P[j, i] = A[i, j]      band(i.o, j.o, j.i [unroll], i.i [vector]): square tiles
the part on P
for i: for j: A[i, j] = P[j, i]
"""

from __future__ import annotations

from collections.abc import Mapping

from polydl.dsl.function import StatementDef
from polydl.poly.tree import members
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.apart import axis_of
from polydl.scheduler.automatic.strategy import Part
from polydl.scheduler.bindings import Parallel, Unroll, Vectorize
from polydl.scheduler.copies import CopyInOut
from polydl.scheduler.loops import Reorder, Split
from polydl.scheduler.recipes.common import attempt, loops_of, reads
from polydl.scheduler.recipes.written import lanes_of, row_stride
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["on_copies"]


def on_copies(
    schedule: Schedule, part: Part, orders: Mapping[str, tuple[int, ...]], target: Target
) -> Schedule:
    """The schedule with the part on copies of tensors, the dimensions of each in its order, where that is legal."""
    for tensor, order in orders.items():
        ways = (CopyInOut(tensor, part.statements[0], order, loaded) for loaded in (False, True))
        copied = next((s for way in ways if (s := attempt(schedule, way)) is not None), None)
        if copied is not None:
            known = {x.name for x in schedule.function.statements()}
            schedule = copied
            for x in copied.function.statements():
                if x.name not in known:
                    schedule = _in_tiles(schedule, x, target)
    return schedule


def _in_tiles(schedule: Schedule, s: StatementDef, target: Target) -> Schedule:
    """A copy between two orders of dimensions in square tiles: lanes along the rows stored, lines read side by side."""
    names = loops_of(schedule, s.name)
    along = {n: axis_of(schedule.member(n).expr(s.name)) for n in names}
    stored = next((n for n in names if row_stride(s.index, along[n]) == 1), "")
    read = next((n for n in names if row_stride(reads(s)[0].index, along[n]) == 1), "")
    if not stored or not read or stored == read:
        return schedule
    lanes = lanes_of(schedule, schedule.member(stored), target)
    others = tuple(n for n in names if n not in (stored, read))
    tiles = tuple(f"{n}.o" for n in names if n in (stored, read))
    tiled = attempt(
        schedule,
        *(Split(n, lanes) for n in (stored, read)),
        Reorder((*others, *tiles, f"{read}.i", f"{stored}.i")),
        SeparateTiles(tiles),
        Unroll(f"{read}.i"),
        Vectorize(f"{stored}.i"),
    )
    if tiled is None:
        return schedule
    outermost = next(m.name for m in members(tiled.tree) if m.exprs[0][0] == s.name)
    return (attempt(tiled, Parallel(outermost)) if target.cores > 1 else None) or tiled
