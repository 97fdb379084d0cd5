"""Which reductions are contractions: sums of products, found by their affine form, convolutions and matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

from polydl.dsl.function import Axis, Computation, Function, StatementDef
from polydl.dsl.tensor import TensorRole, numbers
from polydl.dtypes import BOOL
from polydl.ir.expr import Binary, Const, Expr, Load, Var, as_expr, substitute
from polydl.ir.simplify import linear, simplify
from polydl.scheduler.compute import Accumulate
from polydl.scheduler.recipes.common import attempt, leaves_blocks, reads, stride, uses
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
_MOST_TAPS = 4096  # points of reduced axes looked at
_LEAST_LANES = 4  # shorter vectors do not pay for the tile around them


@dataclass(frozen=True, slots=True)
class Contraction:
    """A reduction, and the element-wise statement that alone consumes its result; axis names are the reduction's."""

    update: StatementDef
    init: StatementDef | None
    epilogue: StatementDef | None
    outer: tuple[str, ...]  # output axes in order
    reduced: tuple[str, ...]
    vector: str
    pixels: tuple[str, ...]  # along which the vector operand is reused, innermost first
    ragged: frozenset[str]  # axes that conditions bound; never the innermost of the pixels


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
    readers = [
        s for s in statements.values() if s.name != name and any(x.buffer == target.name for x in reads(s))
    ]
    whole = any(leaves_blocks(function, target.name, s.target, s.value) for s in readers)
    if target.role is TensorRole.TEMPORARY and not whole:
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
    if all(a in ragged for a in reuse) and isinstance(computation.value, Load):
        # Nothing is read twice: what is gained are sums that do not wait for each other, and steps for several.
        reuse = [a for a in outer if a not in {vector, *ragged} and axis_extent(update, a) > 1][-1:]
    pixels: tuple[str, ...] = ()
    for a in reversed(reuse) if vector not in ragged else ():
        if a not in ragged or (len(pixels) == 1 and _bounded_at_one_end(computation, a, r.axes)):
            pixels += (a,)
    return Contraction(update, init, epilogue, outer, r.axes, vector, pixels, frozenset(ragged))


def _bounded_at_one_end(c: Computation, rows: str, reduced: tuple[str, ...]) -> bool:
    """Whether conditions leave, for each point of the reduced axes they mention, all rows but some at one end: of the
    tiles of rows one at most then is partial."""
    conditions = [e for e in c.conditions if uses(e, rows)]
    span = {a.name: numbers((a.lower, a.upper)) for a in c.axes}
    taps = [a for a in reduced if any(uses(e, a) for e in conditions)]
    names = {rows, *taps}
    for e in conditions:
        affine = isinstance(e, Binary) and e.op in ("lt", "le", "gt", "ge") and linear(e.a - e.b, names)
        if not affine or any(a.name not in names and uses(e, a.name) for a in c.axes):
            return False
    if prod(high - low for low, high in (span[a] for a in taps)) > _MOST_TAPS:
        return False

    def holds(row: int, point: tuple[int, ...]) -> bool:
        at: dict[str, Expr] = {
            rows: as_expr(row),
            **{a: as_expr(i) for a, i in zip(taps, point, strict=True)},
        }
        return all(simplify(substitute(e, at)) == Const(True, BOOL) for e in conditions)

    first, last = span[rows][0], span[rows][1] - 1
    return all(
        holds(first, point) or holds(last, point) for point in product(*(range(*span[a]) for a in taps))
    )


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
