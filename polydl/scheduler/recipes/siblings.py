"""The recipe for contractions side by side that read the same operand: the phases of a transposed convolution, say."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import prod

from polydl.dsl.tensor import TensorRole
from polydl.poly.tree import statements_below
from polydl.scheduler.loops import Fuse
from polydl.scheduler.recipes.common import attempt, extent, loops_of, reads, uses
from polydl.scheduler.recipes.generic import top_nests
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["fuse_siblings"]


def fuse_siblings(schedule: Schedule, contractions: Collection[str], target: Target) -> Schedule:
    """Neighbouring nests of `contractions` (names of updates) that read the same operand fused on their parallel loops.

    before:  band(k.o, h, … sums over x[h]);  band(k.o', h', … sums over x[h'])
    after:   band(k.o, h, sequence(… sums over x[h], … sums over x[h]))
    The second reads what the first has brought near, and parts of one result that lie side by side are written while
    their neighbours are near. Not where all their constants together leave the cache from one h to the next.
    """
    position = 0
    while position + 1 < len(found := top_nests(schedule.tree)):
        first, second = (
            [n for n in statements_below(b) if n in contractions] for b in found[position : position + 2]
        )
        fused = _fused(schedule, first, second, target) if first and second else None
        if fused is None:
            position += 1
        else:
            schedule = fused
    return schedule


def _fused(schedule: Schedule, first: list[str], second: list[str], target: Target) -> Schedule | None:
    shared = _operands(schedule, first) & _operands(schedule, second)
    result: Schedule | None = None
    common: list[str] = []
    pairs = zip(loops_of(schedule, first[0]), loops_of(schedule, second[0]), strict=False) if shared else ()
    for a, b in pairs:
        current = result or schedule
        parallel = all(current.member(x).binding is Binding.PARALLEL for x in (a, b))
        fused = (
            attempt(current, Fuse((a, b))) if parallel and extent(current, a) == extent(current, b) else None
        )
        if fused is None:
            break
        result = fused
        common.append(a)
    if result is None or not any(_parts(result, first[0], common, x) > 1 for x in shared):
        return None
    return result if _constant_bytes(result, [*first, *second], common) <= target.l2_bytes // 2 else None


def _operands(schedule: Schedule, updates: Iterable[str]) -> set[str]:
    """The tensors computed at run time that statements read."""
    found = {x.buffer for n in updates for x in reads(schedule.statement(n))}
    return {n for n in found if schedule.function.tensor(n).role is not TensorRole.CONSTANT}


def _constant_bytes(schedule: Schedule, updates: Iterable[str], loops: list[str]) -> int:
    """Bytes of constants that one iteration of `loops` reads, at most."""
    parts: dict[str, int] = {}
    for n in updates:
        for buffer in {x.buffer for x in reads(schedule.statement(n))} - _operands(schedule, [n]):
            count = _parts(schedule, n, loops, buffer)
            parts[buffer] = min(count, parts.get(buffer, count))
    tensors = {n: schedule.function.tensor(n) for n in parts}
    return sum(prod(t.extents) * t.dtype.bytes // parts[n] for n, t in tensors.items())


def _parts(schedule: Schedule, statement: str, loops: list[str], buffer: str) -> int:
    """Into how many parts `loops` divide what `statement` reads of a tensor."""
    index = [i for x in reads(schedule.statement(statement)) if x.buffer == buffer for i in x.index]
    moving = [
        name
        for name in loops
        if any(uses(i, axis) for axis in schedule.member(name).expr(statement).names() for i in index)
    ]
    return prod(extent(schedule, name) or 1 for name in moving)
