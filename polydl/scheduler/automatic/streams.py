"""Several rows in flight: iterations of a loop spelled out inside the innermost loops below it.

    for i: for j: y[j] += A[i, j] * t[i]            for i.o: for j.o: for i.i [unroll]: for j.i [vector]: …
    for i: {t[i] = 0; for j: t[i] += A[i, j] * x[j]}     the same, in every innermost loop below
    for i: for j: s[i] = f(s[i], A[i, j])           for i.o: for j: for i.i [unroll]: …

What does not move with the row (y, x) is loaded and stored once for several of them, each row has an accumulator or a
recurrence of its own, so that latencies overlap, and the memory serves as many streams at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from polydl.dsl.polyhedral import to_affine
from polydl.poly.affine import dim
from polydl.poly.tree import Band, Tree, children, walk
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.apart import axis_of
from polydl.scheduler.automatic.strategy import Part, innermost_bands
from polydl.scheduler.jam import UnrollAndJam
from polydl.scheduler.motion import Shift
from polydl.scheduler.recipes.common import attempt, uses
from polydl.scheduler.recipes.written import VECTORS, parallel, vectorised
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["jammed", "row_loops", "row_streams", "shared_out", "vectors_below"]

_ROWS: Final = (8, 4)
# Registers that rows leave to operands. Eight rows of two sums, of two vectors each, took all 32 and spilled: gesummv
# ran at .88 of gcc's speed with one row, with four rows at 1.11.
_OTHERS: Final = 4


def row_streams(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """For each loop around innermost ones and each number of rows: the part with that loop jammed into them, and with
    all such loops, each in a nest of its own."""
    vectors = vectors_below(schedule, part, target)
    tree = part.subtree(vectors.tree)
    rows = list(row_loops(tree))
    counts = [n for n in _ROWS if n * _accumulators(vectors, tree) <= target.vector_registers - _OTHERS]
    found: dict[int, list[str]] = {count: [] for count in counts}
    for row in rows:
        for count in counts:
            several = jammed(vectors, row, count)
            if several is not None:
                found[count].append(row)
                yield shared_out(several, part, target)
    for count, legal in found.items():
        if len(legal) > 1:
            every = vectors
            for row in legal:
                every = jammed(every, row, count) or every
            yield shared_out(every, part, target)


def jammed(schedule: Schedule, row: str, count: int) -> Schedule | None:
    """`count` iterations of a loop in flight in the loops below it; None where that is illegal.

    Where the tile that sticks out at the beginning must stay the first one (rows that wait for those before), tiles are
    counted from there, so that none does.
    """
    several = attempt(schedule, UnrollAndJam(row, count))
    if several is None:
        return None
    whole = attempt(several, SeparateTiles((f"{row}.o",)))
    begin = _begin(schedule, row)
    if whole is None and begin:
        moved = (Shift(s, row, -begin) for s, _ in schedule.member(row).exprs)
        whole = attempt(schedule, *moved, UnrollAndJam(row, count), SeparateTiles((f"{row}.o",)))
    return whole or several


def _begin(schedule: Schedule, loop: str) -> int:
    """The first iteration of a loop, where that is one number for all of its statements; else 0."""
    found = set()
    for name, time in schedule.member(loop).exprs:
        lower = [to_affine(a.lower) for a in schedule.statement(name).axes if time == dim(a.name)]
        found.add(lower[0].constant if lower and lower[0] is not None and lower[0].is_constant else 0)
    return found.pop() if len(found) == 1 else 0


def shared_out(schedule: Schedule, part: Part, target: Target) -> Schedule:
    """The schedule with the part's outermost loops that carry nothing in parallel, where there are several cores."""
    return schedule if target.cores == 1 else parallel(schedule, part.statements)


@lru_cache(maxsize=16)  # several strategies start from it
def vectors_below(schedule: Schedule, part: Part, target: Target) -> Schedule:
    """The schedule with the innermost bands of a part vectorised where that is legal and suits the memory."""
    for names in [
        tuple(m.name for m in band.members) for band in innermost_bands(part.subtree(schedule.tree))
    ]:
        schedule = vectorised(schedule, names, target)
    return schedule


def row_loops(tree: Tree) -> Iterator[str]:
    """The loops with one running loop below them in some branches, and no more in any.

    Not those in which a statement runs at one iteration only: it would be tested for in each row, and what the others
    hand on could not stay in registers.
    """
    for node in walk(tree):
        if isinstance(node, Band):
            deepest = _depth(node.child)
            running = [m for m in node.members if m.binding is Binding.SEQUENTIAL]
            for k, m in enumerate(running):
                if deepest + len(running) - k - 1 == 1 and all(e.names() for _, e in m.exprs):
                    yield m.name


def _accumulators(schedule: Schedule, tree: Tree) -> int:
    """The most vectors that the sums of one innermost loop are kept in."""
    most = 0
    for node in walk(tree):
        for m in node.members if isinstance(node, Band) else ():
            if m.binding is Binding.VECTOR:
                updated = [schedule.statement(s) for s, _ in m.exprs]
                kept = [
                    s for s in updated if s.op and not any(uses(e, axis_of(m.expr(s.name))) for e in s.index)
                ]
                most = max(most, VECTORS * len(kept))
    return most


def _depth(tree: Tree) -> int:
    """The most running loops on a way down a tree."""
    here = 0
    if isinstance(tree, Band):
        here = sum(m.binding is Binding.SEQUENTIAL for m in tree.members)
    return here + max((_depth(child) for child in children(tree)), default=0)
