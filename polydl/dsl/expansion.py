"""Scans, places of extremes and recurrences as plain computations, in the builder's own public terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from polydl.dsl.forms import Arg, OpenAxis, Reduce, Scan, axes_of, extent_of
from polydl.dsl.function import Axis, combine, identity
from polydl.dsl.operators import Values
from polydl.dsl.polyhedral import from_affine, loads, to_affine
from polydl.dsl.ranges import closed
from polydl.dsl.tensor import Layout, Tensor
from polydl.dtypes import INDEX
from polydl.errors import InvalidProgram
from polydl.ir.expr import Expr, ExprLike, Var, as_expr, call, eq, not_, or_, select, substitute, walk
from polydl.ir.semantics import limits

if TYPE_CHECKING:
    from polydl.dsl.builder import FunctionBuilder
    from polydl.dsl.forms import Extents

__all__ = ["Steps", "expand_arg", "expand_recurrence", "expand_scan"]

Steps: TypeAlias = Callable[..., ExprLike] | Sequence[Callable[..., ExprLike]]
"""The values at the times before the first: one function of the other axes, or one for each time."""


def _ranges(axes: Sequence[Axis]) -> dict[str, tuple[Expr, Expr]]:
    return {a.name: (a.lower, a.upper) for a in axes}


def expand_arg(
    b: FunctionBuilder,
    name: str,
    axes: tuple[Axis, ...],
    depth: int,
    arg: Arg,
    into: Sequence[Tensor] | None,
    at: Callable[..., Sequence[ExprLike]] | None,
    where: Callable[..., Expr] | None,
    layout: Layout | None,
) -> Tensor:
    """best[i] = max(k) f(i, k);  NAME[i] = min(k) (k where f(i, k) is best[i] or nan, else a large number).

    Two reductions that any order suits, so that lanes and threads can share them. The first `depth` axes are kept.
    """
    outer, inner = axes[:depth], axes[depth:]
    start = (identity(arg.op, arg.value.dtype),)
    best = b.compute(
        f"{name}_best",
        _ranges(outer),
        lambda *i: Reduce(arg.op, inner, (arg.value,), start, arg.conditions),
        where=where,
    )
    position: Expr = inner[0].var if len(inner) == 1 else as_expr(0)
    if len(inner) > 1:
        for a in inner:
            position = position * extent_of(a) + (a.var - a.lower)
    last = as_expr(limits(INDEX)[1])

    def place(*i: Expr) -> Reduce:
        found = eq(arg.value, best[tuple(i)])
        if arg.value.dtype.is_float:
            found = or_(found, call("isnan", arg.value))
        return Reduce("min", inner, (select(found, position, last),), (last,), arg.conditions)

    target = None if into is None else into[0]
    return b.compute(name, _ranges(outer), place, into=target, at=at, where=where, layout=layout)


def expand_scan(
    b: FunctionBuilder,
    names: tuple[str, ...],
    axes: tuple[Axis, ...],
    scan: Scan,
    into: Sequence[Tensor] | None,
    layout: Layout | None,
) -> tuple[Tensor, ...]:
    """NAME_first: y[lower] = init op x[lower];  NAME_next: y[k] = y[k - 1] op x[k] for all later k."""
    axis = next((a for a in axes if a.name == scan.axis), None)
    if axis is None:
        raise InvalidProgram(f"{names[0]} scans along {scan.axis}, which is none of its axes")
    for other in axes:
        if any(
            isinstance(v, Var) and v.name == axis.name for e in (other.lower, other.upper) for v in walk(e)
        ):
            raise InvalidProgram(
                f"{names[0]} scans along {axis.name}, on which the range of {other.name} depends",
                why="a point has no predecessor where the range has just begun",
            )
    if into is None:
        into = [
            b.temporary(
                n, [extent_of(a) for a in axes], v.dtype, lower=[a.lower for a in axes], layout=layout
            )
            for n, v in zip(names, scan.values, strict=True)
        ]
    targets = tuple(into)
    here: Expr = _simple(axis.upper - 1 - axis.var + axis.lower) if scan.reverse else axis.var
    before = _simple(here + 1) if scan.reverse else _simple(here - 1)

    def at(place: Expr) -> tuple[Expr, ...]:
        return tuple(place if a is axis else a.var for a in axes)

    def terms(place: Expr) -> tuple[Expr, ...]:
        return tuple(substitute(v, {axis.name: place}) for v in scan.values)

    def joined(left: Sequence[Expr], right: Sequence[Expr]) -> tuple[Expr, ...]:
        if isinstance(scan.op, str):
            return (combine(scan.op, left[0], right[0]),)
        return scan.op(left, right)

    def first(*_: Expr) -> tuple[Expr, ...]:
        if scan.exclusive:
            return scan.init or ()
        return terms(here) if scan.init is None else joined(scan.init, terms(here))

    def later(*_: Expr) -> tuple[Expr, ...]:
        return joined([t[at(before)] for t in targets], terms(before if scan.exclusive else here))

    for part, low, high, body in (
        ("first", axis.lower, _simple(axis.lower + 1), first),
        ("next", _simple(axis.lower + 1), axis.upper, later),
    ):
        ranges = {**_ranges(axes), axis.name: (low, high)}
        b.compute_several(
            " ".join(f"{n}_{part}" for n in names),
            ranges,
            body,
            into=targets,
            at=lambda *_: at(here),
            where=(lambda *_: axis.var < axis.upper) if part == "first" else None,
        )
    return targets


def expand_recurrence(
    b: FunctionBuilder,
    names: tuple[str, ...],
    extents: Extents,
    step: Callable[..., Values],
    initial: Sequence[Sequence[Callable[..., ExprLike]]],
    where: Callable[..., Expr] | None,
    boundary: Callable[..., ExprLike] | None,
) -> tuple[Tensor, ...]:
    """NAME_start at the times before the first, NAME_boundary where `where` does not hold, then NAME_step."""
    time, *space = axes_of(extents, partial(step, *(None for _ in names)), prefix="i")
    if isinstance(time, OpenAxis):
        raise InvalidProgram(f"the times of {names[0]} have no range", next='give it: {"t": (1, T), …}')
    history = len(initial[0])
    if len(initial) != len(names) or history < 1:
        raise InvalidProgram(f"{names[0]} needs initial values for each of {', '.join(names)}")
    variables = [a.var for a in space]
    values = [[as_expr(start(*variables)) for start in starts] for starts in initial]
    read = [x for starts in values for e in starts for x in loads(e)]
    axes = closed(names[0], space, read, b.tensors)
    begin = _simple(time.lower - history)
    tensors = tuple(
        b.temporary(
            n,
            [_simple(time.upper - begin), *(extent_of(a) for a in axes)],
            starts[0].dtype,
            lower=[begin, *(a.lower for a in axes)],
        )
        for n, starts in zip(names, values, strict=True)
    )
    ranges: Mapping[str, tuple[Expr, Expr]] = _ranges(axes)
    for tensor, starts in zip(tensors, values, strict=True):
        for k, value in enumerate(starts):
            moment = (_simple(begin + k), _simple(begin + k + 1))
            b.compute(
                f"{tensor.name}_start", {time.name: moment, **ranges}, lambda *_, v=value: v, into=tensor
            )
        if where is not None:
            last = starts[-1]
            b.compute(
                f"{tensor.name}_boundary",
                {time.name: (time.lower, time.upper), **ranges},
                boundary if boundary is not None else lambda *_, v=last: v,
                into=tensor,
                where=lambda *i: not_(where(*i)),
            )
    b.compute_several(
        " ".join(f"{n}_step" for n in names),
        {time.name: (time.lower, time.upper), **ranges},
        partial(step, *tensors),
        into=tensors,
        where=where,
    )
    return tensors


def _simple(e: Expr) -> Expr:
    form = to_affine(e)
    return e if form is None else from_affine(form)
