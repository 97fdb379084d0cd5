"""Loops with others inside as vectors, and short loops of constant extent spelled out inside of them.

    for i: for j: { y[i, j] = 0;  for r in 0..3: for s in 0..3: y[i, j] += x[i + r, j + s] * w[r, s] }
    ->  for i: for j.o: { j.i [vector]: y = 0;  r [unroll]: s [unroll]: j.i [vector]: y += … }

The sum stays in registers over all loops inside, and several rows around share what does not move with them. Where no
loop suits vectors (small matrices one after the other), short loops are spelled out alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from polydl.poly.tree import Band, Tree, children, members, walk
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.apart import axis_of
from polydl.scheduler.automatic.strategy import Part, innermost_bands
from polydl.scheduler.automatic.streams import jammed, shared_out
from polydl.scheduler.bindings import Unroll, Vectorize
from polydl.scheduler.jam import UnrollAndJam
from polydl.scheduler.recipes.common import attempt, extent, reads, uses
from polydl.scheduler.recipes.written import lanes_of, row_stride, vectorised
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["outer_vectors"]

_SPELLED: Final = 64  # instances of a statement in one iteration of what is left of its loops
_VECTORS: Final = (1, 4)  # side by side
_ROWS: Final = 4  # of a loop around, in flight together


def outer_vectors(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The part with short loops spelled out, and with vectors along each loop that has others inside."""
    plain = _spelled_out(schedule, part, 1)
    if plain is not schedule:
        yield shared_out(plain, part, target)
    for loop in list(_with_loops_inside(part.subtree(schedule.tree))):
        if not _suits(schedule, loop):
            continue
        for count in _VECTORS:
            vectors = _in_vectors(schedule, loop, count, target)
            if vectors is None:
                break
            vectors = _elsewhere(_spelled_out(vectors, part, count), part, target)
            yield shared_out(vectors, part, target)
            for row in _around(schedule, loop) if _left(vectors, f"{loop}.o") else ():
                several = jammed(vectors, row, _ROWS)
                if several is not None:
                    yield shared_out(several, part, target)


def _with_loops_inside(tree: Tree) -> Iterator[str]:
    for node in walk(tree):
        if isinstance(node, Band):
            deeper = any(True for _ in members(node.child))
            for k, m in enumerate(node.members):
                if m.binding is Binding.SEQUENTIAL and (k + 1 < len(node.members) or deeper):
                    yield m.name


def _left(schedule: Schedule, loop: str) -> bool:
    """Whether loops run inside of this one, during which sums stay in registers."""
    band = schedule.band(loop)
    inside = [*band.members, *members(band.child)]
    names = [m.name for m in inside]
    return any(m.binding is Binding.SEQUENTIAL for m in inside[names.index(loop) + 1 :])


def _around(schedule: Schedule, loop: str) -> list[str]:
    """The loops around `loop` in its own band."""
    names = [m.name for m in schedule.band(loop).members]
    return names[: names.index(loop)]


def _suits(schedule: Schedule, loop: str) -> bool:
    """Whether every statement in the loop stores neighbours next to each other and reads them so, or the same for all;
    loops inside have the same bounds for all lanes."""
    for name, time in schedule.member(loop).exprs:
        s = schedule.statement(name)
        axis = axis_of(time)
        others = [e for a in s.axes if a.name != axis for e in (a.lower, a.upper)]
        if (
            not axis
            or row_stride(s.index, axis) != 1
            or any(row_stride(x.index, axis) is None for x in reads(s))
            or any(uses(e, axis) for e in (*others, *s.conditions))
        ):
            return False
    return True


def _in_vectors(schedule: Schedule, loop: str, count: int, target: Target) -> Schedule | None:
    """The loop in vectors, `count` side by side, inside of all loops below it."""
    lanes = lanes_of(schedule, schedule.member(loop), target)
    known = {m.name for m in members(schedule.tree)}
    done = attempt(schedule, UnrollAndJam(loop, count * lanes))
    if done is None:
        return None
    new = [m.name for m in members(done.tree) if m.name not in known and m.binding is Binding.UNROLL]
    done = attempt(done, *map(Vectorize, new))
    return None if done is None else attempt(done, SeparateTiles((f"{loop}.o",))) or done


def _spelled_out(schedule: Schedule, part: Part, count: int) -> Schedule:
    """The schedule with short loops of constant extent unrolled, innermost ones first."""
    return _unrolled(schedule, part.subtree(schedule.tree), count)[0]


def _unrolled(schedule: Schedule, tree: Tree, count: int) -> tuple[Schedule, int]:
    """The schedule with short loops of a subtree unrolled, and the most instances of a statement that are spelled out
    on a way down; 0 where a loop is left."""
    most = count
    for child in children(tree):
        schedule, inside = _unrolled(schedule, child, count)
        most = 0 if not inside or not most else max(most, inside)
    if isinstance(tree, Band):
        for m in reversed(tree.members):
            if m.binding is Binding.VECTOR:
                continue
            trips = extent(schedule, m.name) or 0
            if m.binding is not Binding.SEQUENTIAL or not most or not 0 < trips * most <= _SPELLED:
                return schedule, 0
            done = attempt(schedule, Unroll(m.name))
            if done is None:
                return schedule, 0
            schedule, most = done, most * trips
    return schedule, most


def _elsewhere(schedule: Schedule, part: Part, target: Target) -> Schedule:
    """The schedule with vectors in the innermost bands that have none."""
    for band in list(innermost_bands(part.subtree(schedule.tree))):
        if all(m.binding is Binding.SEQUENTIAL for m in band.members):
            schedule = vectorised(schedule, tuple(m.name for m in band.members), target)
    return schedule
