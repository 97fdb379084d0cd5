"""Which reductions are contractions: sums of products, found by their affine form, convolutions and matrix products."""

from __future__ import annotations

from dataclasses import dataclass

from polydl.dsl.function import Axis, Computation, Function, StatementDef
from polydl.dsl.tensor import TensorRole, numbers
from polydl.ir.expr import Binary, Const, Expr, Load, Var, as_expr
from polydl.scheduler.compute import Accumulate
from polydl.scheduler.recipes.common import attempt, reads, stride, uses
from polydl.scheduler.schedule import Schedule

__all__ = [
    "LINE",
    "Contraction",
    "accumulate_all",
    "axis_extent",
    "find_contraction",
    "is_window_reduction",
    "uses_load",
]

LINE = 64  # bytes of a cache line
_LEAST_LANES = 4  # shorter vectors do not pay for the tile around them


@dataclass(frozen=True, slots=True)
class Contraction:
    """A reduction whose result one element-wise statement consumes; axis names are those of the reduction."""

    update: StatementDef
    init: StatementDef | None
    epilogue: StatementDef | None
    outer: tuple[str, ...]  # output axes in order
    reduced: tuple[str, ...]
    vector: str
    pixels: tuple[
        str, ...
    ]  # along which the vector operand is reused, innermost first; without those that conditions bound


def is_window_reduction(c: Computation) -> bool:
    """Whether a computation reduces loads (a pool) or products of them (a contraction)."""
    products = isinstance(c.value, Binary) and c.value.op == "mul"
    return c.reduction is not None and (products or isinstance(c.value, Load))


def accumulate_all(schedule: Schedule) -> Schedule:
    """Window reductions that cannot keep their accumulators in registers as they are get a temporary to reduce into."""
    for c in schedule.function.computations:
        if not is_window_reduction(c) or len(c.axes) == len(c.reduction.axes if c.reduction else ()):
            continue
        found = find_contraction(schedule.function, c.name)
        if found is None or found.epilogue is None:
            changed = attempt(schedule, Accumulate(c.name))
            name = (
                next(
                    (
                        x.name
                        for x in changed.function.computations
                        if x not in schedule.function.computations
                    ),
                    "",
                )
                if changed
                else ""
            )
            if changed is not None and find_contraction(changed.function, name) is not None:
                schedule = changed
    return schedule


def find_contraction(function: Function, name: str) -> Contraction | None:
    """The contraction that computation `name` is, or None where it is none."""
    computation = function.computation(name)
    r = computation.reduction
    if r is None or r.init is None:
        return None
    ragged = {a.name for a in computation.axes if any(uses(e, a.name) for e in computation.conditions)}
    if not all(any(uses(e, a) for a in r.axes) for e in computation.conditions):
        return None
    statements = {s.name: s for s in function.statements()}
    update, init = statements[name], statements.get(f"{name}_init")
    outer = tuple(a.name for a in computation.axes if a.name not in r.axes)
    if computation.index != tuple(Var(a) for a in outer) or not outer:
        return None
    if not all(isinstance(a.lower, Const) and isinstance(a.upper, Const) for a in computation.axes):
        return None
    target = function.tensor(computation.target)
    epilogue = None
    if target.role is TensorRole.TEMPORARY:
        readers = [
            s
            for s in statements.values()
            if s.name != name and any(x.buffer == target.name for x in reads(s))
        ]
        if len(readers) != 1 or readers[0].op is not None or readers[0].conditions:
            return None
        epilogue = readers[0]
        same_box = [(a.lower, a.upper) for a in epilogue.axes] == [
            (a.lower, a.upper) for a in computation.axes if a.name not in r.axes
        ]
        mine = [x for x in reads(epilogue) if x.buffer == target.name]
        if not same_box or not all(_is_point(x.index, epilogue.axes) for x in mine):
            return None
    vector = _vector_axis(function, update, epilogue, outer)
    if vector is None or axis_extent(update, vector) < _LEAST_LANES:
        return None
    if isinstance(computation.value, Load) and _reduces_rows(function, computation.value, vector, r.axes):
        return None
    reuse = [
        a
        for a in outer
        if a != vector and any(not uses_load(x, a) for x in reads(update) if uses_load(x, vector))
    ]
    if not reuse:
        reuse = [a for a in outer if a != vector and any(not uses_load(x, a) for x in reads(update))]
    if not reuse:
        reuse = [a for a in outer if a != vector and _slides(update, a, r.axes)]
    pixels = () if vector in ragged else tuple(a for a in reversed(reuse) if a not in ragged)
    return Contraction(update, init, epilogue, outer, r.axes, vector, pixels)


def _reduces_rows(function: Function, load: Load, vector: str, reduced: tuple[str, ...]) -> bool:
    """Whether a reduction runs along memory and lanes along `vector` would lie in lines of their own."""
    tensor = function.tensor(load.buffer)
    step = stride(tensor, load.index, vector)
    apart = step is None or abs(step) * tensor.dtype.bytes > LINE
    return apart and any(stride(tensor, load.index, a) == 1 for a in reduced)


def _slides(update: StatementDef, axis: str, reduced: tuple[str, ...]) -> bool:
    """Whether a window moves along `axis`: windows of neighbours overlap or lie side by side."""
    return any(uses(i, axis) and any(uses(i, a) for a in reduced) for x in reads(update) for i in x.index)


def _is_point(index: tuple[Expr, ...], axes: tuple[Axis, ...]) -> bool:
    """Whether subscripts are the axes themselves; the only value of an axis of extent 1 will do for it."""
    return len(index) == len(axes) and all(
        i == a.var
        or (i == a.lower and isinstance(a.lower, Const) and a.upper == as_expr(int(a.lower.value) + 1))
        for i, a in zip(index, axes, strict=True)
    )


def uses_load(load: Load, axis: str) -> bool:
    return any(uses(i, axis) for i in load.index)


def _vector_axis(
    function: Function, update: StatementDef, epilogue: StatementDef | None, outer: tuple[str, ...]
) -> str | None:
    """The output axis whose neighbours are adjacent in the stored result."""
    last = epilogue or update
    names = dict(zip((a.name for a in last.axes), outer, strict=True)) if epilogue else {a: a for a in outer}
    tensor = function.tensor(last.target)
    for a in reversed(last.axes):
        if a.name in names and stride(tensor, last.index, a.name) == 1:
            return names[a.name]
    return None


def axis_extent(s: StatementDef, name: str) -> int:
    a = next(a for a in s.axes if a.name == name)
    low, high = numbers((a.lower, a.upper))
    return high - low
