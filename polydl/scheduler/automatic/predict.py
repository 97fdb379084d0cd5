"""A small cost model: about how many cycles a schedule takes, good enough to choose between orders.

Per statement, on the way to its full tiles, one iteration costs its arithmetic (shared among lanes), the loads and
stores that register tiles do not save, and the memory lines that it newly touches; times the number of iterations
with every symbolic extent at a typical value, shared among cores, plus a barrier for each arrival at a parallel loop.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod
from typing import Final

from polydl import poly
from polydl.dsl.function import StatementDef
from polydl.ir.expr import Binary, Unary, walk
from polydl.poly.affine import Affine, FloorDiv, Mod
from polydl.poly.paths import Path
from polydl.poly.tree import Member
from polydl.scheduler.recipes.common import reads
from polydl.scheduler.recipes.written import row_stride
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["predicted_time"]

_TYPICAL: Final = 1000.0  # iterations of a loop of symbolic extent
_LINE_CYCLES: Final = 4.0  # to bring one line from the outer caches
_CHAIN: Final = 4.0  # cycles of a dependent addition
_BARRIER: Final = 1000.0
_EFFICIENCY: Final = 0.85  # of every further core


def predicted_time(schedule: Schedule, target: Target, statements: Collection[str] | None = None) -> float:
    """About how many cycles the schedule takes, all of it or some statements. Only ratios mean something."""
    seen: dict[str, Path] = {}
    for path in poly.paths(schedule.scop, schedule.tree):
        if statements is None or path.statement in statements:
            seen.setdefault(path.statement, path)  # full tiles come first
    barriers: dict[str, float] = {}
    total = 0.0
    for name, path in seen.items():
        loops = [c for c in path.coordinates if isinstance(c, Member)]
        parallel = next((k for k, m in enumerate(loops) if m.binding is Binding.PARALLEL), None)
        cores = 1.0
        if parallel is not None:
            cores = 1.0 + (target.cores - 1) * _EFFICIENCY
            barriers[loops[parallel].name] = _BARRIER * prod(_extent(m.expr(name)) for m in loops[:parallel])
        statement = schedule.statement(name)
        total += _iteration(schedule, statement, loops, target) * _TYPICAL ** len(statement.axes) / cores
    return total + (sum(barriers.values()) if target.cores > 1 else 0.0)


def _extent(e: Affine) -> float:
    match e.terms:
        case ((FloorDiv(dividend, size), 1),):
            return max(1.0, _extent(dividend) / size)
        case ((Mod(_, size), 1),):
            return float(size)
        case ():
            return 1.0
        case _:
            return _TYPICAL


def _iteration(schedule: Schedule, s: StatementDef, loops: list[Member], target: Target) -> float:
    """Cycles of one iteration."""
    lane = [m for m in loops if m.binding is Binding.VECTOR]
    unrolled = [m for m in loops if m.binding is Binding.UNROLL]
    running = [m for m in loops if m.binding in (Binding.SEQUENTIAL, Binding.PARALLEL)]
    size = schedule.function.tensor(s.target).dtype.bytes
    lanes = min(_extent(lane[-1].expr(s.name)), 2.0 * target.lanes(size)) if lane else 1.0
    along = _axis(lane[-1], s) if lane else (_axis(running[-1], s) if running else "")
    inner = _axis(running[-1], s) if running else ""
    operations = sum(isinstance(e, Binary | Unary) for e in walk(s.value)) + (s.op is not None)
    cycles = max(0.5, operations / 4) / (lanes if lane else 1.0)
    chained = s.op is not None and not lane and not unrolled and inner and row_stride(s.index, inner) == 0
    if chained:
        cycles = max(cycles, _CHAIN)
    indices = [x.index for x in reads(s)] + [s.index] * (2 if s.op is not None else 1)
    for index in indices:
        if unrolled and inner and row_stride(index, inner) == 0:
            continue  # stays in a register
        reuse = prod(_extent(m.expr(s.name)) for m in unrolled if row_stride(index, _axis(m, s)) == 0)
        step = row_stride(index, along) if along else 0
        accesses = 1.0 if step is None and lane else 0.5 / lanes
        lines = 1.0 if step is None else size / target.line_bytes if step else 0.0
        cycles += (accesses + _LINE_CYCLES * lines * (0.5 if unrolled else 1.0)) / reuse
    return cycles


def _axis(m: Member, s: StatementDef) -> str:
    """The axis that a loop runs along, through tiles; "" where it is a mixture."""
    return _only(m.expr(s.name))


def _only(e: Affine) -> str:
    match e.terms:
        case ((FloorDiv(inner) | Mod(inner), 1),):
            return _only(inner)
        case ((str() as name, 1),):
            return name
        case _:
            return ""
