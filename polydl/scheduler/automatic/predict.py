"""A small cost model: about how many cycles a schedule takes, good enough to choose between orders.

    time of a nest = the larger of its time in the core and its time in the memory, and a share of the smaller one
    in the core:   instances of each statement times the cycles of one (`instructions`)
    in the memory: the lines that each level brings in (`traffic`), by the cycles of one

Symbolic sizes count with typical values (`extents`). Parallel loops share both among the cores, as evenly as
their iterations allow, and every arrival at one costs a barrier. A statement in several places of the tree (full and
partial tiles, say) counts in each with its share of the instances, which is estimated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Final

from polydl import poly
from polydl.dsl.function import Function, StatementDef
from polydl.dsl.tensor import TensorRole
from polydl.poly.paths import Path, Position
from polydl.poly.remembered import Remembered
from polydl.poly.tree import Member
from polydl.scheduler.automatic.extents import Loop, axis_extents, loops_on, typical_sizes
from polydl.scheduler.automatic.instructions import cycles_of_instance, handed_on
from polydl.scheduler.automatic.traffic import Level, Walk, lines_brought, reference
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target
from polydl.vocabulary import Binding, Memory

__all__ = ["least_time", "predicted_time"]

# Cycles of two cores meeting, waking up included: a triangular solve of 2000 rows, shared row by row, took 3.7 ms on
# two cores and 1.0 on one (Zen 5, 4 GHz).
_BARRIER: Final = 5000.0
_EFFICIENCY: Final = 0.9  # of every further core
_CYCLE: Final = 0.5  # of an operation, as in `instructions`
_NEGLIGIBLE: Final = 0.002  # share of a statement's instances
_HIDDEN: Final = 0.7  # of the smaller of the times in core and memory
# Cycles of a line from the next level: fetched ahead in order, and out of order, some of them at once, and the share of
# the first that more streams do not hide. Into the first level 64 bytes a cycle at best: products of packed matrices
# stream both operands and reach 84 to 87 % of the peak, packing included. Rows of a matrix of 32 MB, read once: 17 GB/s
# one at a time, two 21, four 25, six 27; of two matrices in the last-level cache 36, two of each 41, and four 43.
_INTO_L1: Final = (1.3, 4.0, 1.0)
_INTO_L2: Final = (6.0, 12.0, 0.8)
_INTO_L3: Final = (14.0, 28.0, 0.6)


def predicted_time(schedule: Schedule, target: Target, statements: Collection[str] | None = None) -> float:
    """About how many cycles the schedule takes, all of it or some statements. Only ratios mean something."""
    seen: dict[str, list[Path]] = {}
    for path in poly.paths(schedule.scop, schedule.tree):
        if statements is None or path.statement in statements:
            seen.setdefault(path.statement, []).append(path)
    sizes = _sizes(schedule)
    bodies: dict[str, list[StatementDef]] = {}
    for listed in seen.values():
        for loop in {_innermost(path) for path in listed}:
            bodies.setdefault(loop, []).append(_statements(schedule.function)[listed[0].statement])
    state = {loop: handed_on(body) for loop, body in bodies.items()}
    tour = [t for listed in seen.values() for t in _tours(schedule, listed, sizes, target, state)]
    nests: dict[int, list[_Tour]] = {}
    for t in tour:
        first = t.walk.coordinates[0] if t.walk.coordinates else None
        nests.setdefault(first.index if isinstance(first, Position) else 0, []).append(t)
    return sum(_nest(nest, target) for nest in nests.values())


def least_time(schedule: Schedule, target: Target, statements: Collection[str]) -> float:
    """About how many cycles some statements take at the very least: their arithmetic, all of it in vectors."""
    sizes = _sizes(schedule)
    total = 0.0
    for s in schedule.function.statements():
        if s.name in statements:
            lanes = target.lanes(schedule.function.tensor(s.target).dtype.bytes)
            total += _CYCLE * prod(axis_extents(s, sizes).values()) / lanes
    return total / max(1, target.cores)


def _sizes(schedule: Schedule) -> Mapping[str, float]:
    """Typical sizes: the same for all schedules of a program, whatever temporary storage they have."""
    temporary = frozenset(t.name for t in schedule.function.of_role(TensorRole.TEMPORARY))
    return typical_sizes(schedule.scop, temporary, schedule.function.conditions)


@dataclass(frozen=True, slots=True)
class _Tour:
    """A statement on its way: its walk, its time in the core, and what its parallel loop shares and costs."""

    walk: Walk
    core: float
    cores: float
    barrier: tuple[str, float]


def _nest(nest: list[_Tour], target: Target) -> float:
    """Cycles of one top-level nest."""
    core = sum(t.core / t.cores for t in nest)
    cores = sum(t.core for t in nest) / max(core, 1e-9)
    walks = [t.walk for t in nest if t.walk.references]
    levels = (
        Level(target.l1d_bytes, *_INTO_L1),
        Level(target.l2_bytes, *_INTO_L2),
        Level(target.l3_bytes, *_INTO_L3),
    )
    into = [lines_brought(walks, level, target.line_bytes) for level in levels]
    near = max(into[:-1])  # the caches of a core fill each other at the same time
    memory = near / max(1.0, cores) + into[-1]  # one core alone keeps the memory busy
    barriers = sum(dict(t.barrier for t in nest if t.barrier[0]).values())
    return max(core, memory) + (1 - _HIDDEN) * min(core, memory) + barriers


def _tours(
    schedule: Schedule,
    listed: list[Path],
    sizes: Mapping[str, float],
    target: Target,
    state: Mapping[str, frozenset[str]],
) -> Iterator[_Tour]:
    """The ways to a statement, each for its share of the instances. Lines are counted on the busiest way alone."""
    numbers = tuple((n, round(v)) for n, v in sorted(sizes.items()))
    shares = [1.0] * len(listed)
    if len(listed) > 1:
        shares = [poly.share_of_instances(schedule.scop, p.statement, p.conditions, numbers) for p in listed]
    busiest = max(range(len(listed)), key=lambda k: shares[k])
    for k, (path, share) in enumerate(zip(listed, shares, strict=True)):
        if share > _NEGLIGIBLE or k == busiest:
            t = _tour(schedule, path, sizes, target, state[_innermost(path)])
            walk = t.walk if k == busiest else replace(t.walk, references=())
            yield replace(t, walk=walk, core=t.core * share)


def _innermost(path: Path) -> str:
    """The innermost running loop around a statement."""
    running = (Binding.SEQUENTIAL, Binding.PARALLEL)
    names = [c.name for c in path.coordinates if isinstance(c, Member) and c.binding in running]
    return names[-1] if names else ""


def _tour(
    schedule: Schedule, path: Path, sizes: Mapping[str, float], target: Target, state: frozenset[str]
) -> _Tour:
    s = _statements(schedule.function)[path.statement]
    extents = axis_extents(s, sizes)
    coordinates = loops_on(path, extents)
    loops = [x for x in coordinates if x is not None]
    storage = {a.tensor: around for around, a in path.allocations}
    references = tuple(
        reference(a, schedule.function.tensor(a.tensor), storage.get(a.tensor, 0))
        for a in schedule.scop.statement(path.statement).accesses
    )
    way: list[Loop | Position] = []
    for loop, place in zip(coordinates, path.coordinates, strict=True):
        if loop is not None:
            way.append(loop)
        elif isinstance(place, Position):
            way.append(place)
    registers = {a.tensor for _, a in path.allocations if a.memory is Memory.REGISTER}
    walk = Walk(tuple(way), tuple(r for r in references if r.tensor not in registers))
    core = cycles_of_instance(s, loops, references, target, state) * prod(extents.values())
    parallel = next((k for k, x in enumerate(loops) if x.member.binding is Binding.PARALLEL), None)
    if parallel is None or target.cores == 1:
        return _Tour(walk, core, 1.0, ("", 0.0))
    arrivals = prod(x.trips for x in loops[:parallel])
    barrier = loops[parallel].member.name, _BARRIER * arrivals
    return _Tour(walk, core, _speedup(s, loops, parallel, target.cores), barrier)


def _speedup(s: StatementDef, loops: Sequence[Loop], at: int, cores: int) -> float:
    """How many times faster the parallel loop `loops[at]` makes a statement.

    Iterations are handed out in equal shares, in turns where later ones are longer. Where a loop around starts later
    for later iterations (tiles of a wavefront), fewer of them run at the same time.
    """
    loop = loops[at]
    late = max((_lag(s, x, loop) * (loop.trips - 1) / x.trips for x in loops[:at]), default=0.0)
    together = loop.trips / (1.0 + late)
    return max(1.0, 1.0 + (together / ceil(together / cores) - 1.0) * _EFFICIENCY)


def _lag(s: StatementDef, around: Loop, loop: Loop) -> int:
    """By how many iterations of a loop around the next iteration of `loop` is behind."""
    if around.axis in ("", loop.axis):
        return 0  # the tiles that `loop` is a part of
    e = around.member.expr(s.name)
    start = dict.fromkeys(e.names() | {loop.axis}, 0)
    return max(0, e.evaluate(start | {loop.axis: round(loop.step) * loop.sign}) - e.evaluate(start))


_STATEMENTS: Final = Remembered[Mapping[str, StatementDef]](8)


def _statements(function: Function) -> Mapping[str, StatementDef]:
    found = _STATEMENTS.get(function)
    return found or _STATEMENTS.put({s.name: s for s in function.statements()}, function)
