"""Orthogonalisations and the like in panels: steps that change whole columns, several steps to a column at a time.

    for k: { S(k);  for j: { for i: T(k, j, i);  for i: U(k, j, i) } }
    ->  for k.o:
          for k.i: { S(k);  for j: T, U of the columns that some S of the block needs }
          for j.o [parallel]: for k.i: { for i: T of 4 columns;  for i: U of 4 columns }    the others

In `R[k, j] += Q[i, k] * A[i, j]`, then `A[i, j] -= Q[i, k] * R[k, j]`, each step reads and stores the whole matrix; a
few columns stay in the first-level cache for all steps of a block. Which columns the block itself needs is computed
(`poly.free_columns`). Matrices with columns far from contiguous are copied first, transposed (`CopyInOut`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from polydl import poly
from polydl.dsl.tensor import TensorRole
from polydl.errors import InvalidProgram, NotApplicable, PolyhedralBlowup
from polydl.poly.tree import Band, Filter, Sequence
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.apart import axis_of, counterpart, vector_loop
from polydl.scheduler.automatic.strategy import Part, innermost_bands
from polydl.scheduler.automatic.transposition import on_copies
from polydl.scheduler.bindings import Parallel
from polydl.scheduler.expansion import Expand
from polydl.scheduler.instances import RunFirst
from polydl.scheduler.jam import UnrollAndJam
from polydl.scheduler.loops import Reorder, Split
from polydl.scheduler.recipes.common import attempt, copies, loops_of, reads, uses
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["column_panels"]

# Gram-Schmidt of 1000 x 1200, float64, on a first-level cache of 48 KB: 87 ms with 4 columns, 111 with 2, 99 with 6.
_COLUMNS: Final = 4
# Steps of a block: its operands stay in the second-level cache, its own columns run slower.
_STEPS: Final = (24, 48)


def column_panels(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The part in blocks of its outermost loop, where they leave columns that can take all steps of a block at once."""
    nest = part.subtree(schedule.tree)
    if not isinstance(nest, Band) or len(nest.members) != 1 or not isinstance(nest.child, Sequence):
        return
    step = nest.members[0].name
    columns = [_columns(branch) for branch in nest.child.children]
    if len(columns) < 2 or not any(columns):
        return
    for column in filter(None, columns):
        apart = _with_places(schedule, column)
        if _divided(apart, step, _STEPS[0], column) is None:
            continue
        apart = _contiguous(apart, part, (step, column), target)
        for size in _STEPS:
            divided = _divided(apart, step, size, column)
            if divided is not None:
                yield _in_panels(divided[0], part, divided[1], target)


def _columns(branch: Filter) -> str:
    """The loop over columns of a branch in which each takes several statements; "" if it is none."""
    band = branch.child
    several = isinstance(band, Band) and len(band.members) == 1 and isinstance(band.child, Sequence)
    return band.members[0].name if several and isinstance(band, Band) else ""


def _with_places(schedule: Schedule, column: str) -> Schedule:
    """The schedule with a place for each column for the temporaries that columns share."""
    statements = {s for s, _ in schedule.member(column).exprs}
    for t in schedule.function.of_role(TensorRole.TEMPORARY):
        users = {s.name for s in schedule.scop.statements if any(a.tensor == t.name for a in s.accesses)}
        if users and users <= statements:
            schedule = attempt(schedule, Expand(t.name, (column,))) or schedule
    return schedule


def _divided(schedule: Schedule, step: str, size: int, column: str) -> tuple[Schedule, str] | None:
    """The schedule in blocks, with the columns that a block itself does not need behind it, columns outermost, and the
    loop over these."""
    blocks = attempt(schedule, Split(step, size))
    if blocks is None:
        return None
    schedule, inside = blocks, f"{step}.i"
    statements = [s for s, _ in schedule.member(inside).exprs]
    try:
        late = poly.free_columns(schedule.scop, schedule.tree, schedule.dependences, inside, column)
    except (NotApplicable, PolyhedralBlowup, InvalidProgram):
        return None
    first = tuple(s for s in statements if late.get(s) != "")
    if "false" in late.values() or not first:
        return None
    conditions = tuple(f"not ({late[s]})" if s in late else "" for s in first)
    divided = attempt(schedule, RunFirst(inside, first, conditions))
    if divided is None:
        return None
    rest = counterpart(schedule, divided, inside)
    loops = tuple(m.name for m in divided.band(rest).members)
    if len(loops) != 2:
        return None
    turned = attempt(divided, Reorder((loops[1], loops[0])))
    return None if turned is None else (turned, loops[1])


def _in_panels(schedule: Schedule, part: Part, column: str, target: Target) -> Schedule:
    """The innermost loops in vectors, and a few columns at once in those below `column`; for several cores these in
    parallel."""
    for band in list(innermost_bands(part.subtree(schedule.tree))):
        schedule = vector_loop(schedule, band.members[-1].name, target)
    jammed = attempt(schedule, UnrollAndJam(column, _COLUMNS), SeparateTiles((f"{column}.o",)))
    if jammed is None:
        return schedule
    for name in copies(jammed, f"{column}.o") if target.cores > 1 else ():
        jammed = attempt(jammed, Parallel(name)) or jammed
    return jammed


def _contiguous(schedule: Schedule, part: Part, outer: tuple[str, ...], target: Target) -> Schedule:
    """The schedule with the part on copies of those tensors that all its innermost loops, but the `outer` ones, walk
    along the same dimension that is not the last."""
    walked: dict[str, set[int]] = {}
    for name in part.statements:
        s, loop = schedule.statement(name), loops_of(schedule, name)[-1]
        if loop in outer:
            continue
        axis = axis_of(schedule.member(loop).expr(name))
        for tensor, index in ((s.target, s.index), *((x.buffer, x.index) for x in reads(s))):
            along = {d for d, e in enumerate(index) if axis and uses(e, axis)}
            walked.setdefault(tensor, set()).update(along)
    orders = {}
    for tensor, dimensions in walked.items():
        rank = schedule.function.tensor(tensor).rank
        if len(dimensions) == 1 and dimensions != {rank - 1}:
            (d,) = dimensions
            orders[tensor] = (*(n for n in range(rank) if n != d), d)
    return on_copies(schedule, part, orders, target)
