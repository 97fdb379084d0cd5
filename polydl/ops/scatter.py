"""Scatters, turned round: each element of the result looks for the updates that name it.

A store at a data-dependent place has no polyhedral model, so the work is (elements named) x (updates along the axis, or
all of ScatterND's), but it is parallel over the elements. An index outside the data updates nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from typing import Final

from polydl.dsl import FunctionBuilder, Tensor, reduce_over
from polydl.dsl.function import identity
from polydl.dtypes import INDEX
from polydl.ir.expr import Binary, Const, Expr, Var, and_, as_expr, eq, select
from polydl.ops.common import from_end, normal_axis, pointwise, strides
from polydl.ops.registry import OpNode, operator

__all__ = ["scatter_elements", "scatter_nd"]

Index = tuple[Expr, ...]
_REDUCTIONS: Final = {"none": "", "add": "add", "mul": "mul", "max": "max", "min": "min"}
_NONE: Final = Const(-1, INDEX)


def _reduction(node: OpNode) -> str:
    """The combining operator; empty where the last update wins."""
    name = node.string("reduction", "none")
    if name not in _REDUCTIONS:
        raise node.refuse("an unknown reduction", attribute="reduction")
    return _REDUCTIONS[name]


@operator("ScatterElements", "Scatter")
def scatter_elements(
    b: FunctionBuilder, node: OpNode, data: Tensor, indices: Tensor, updates: Tensor
) -> Tensor:
    axis, op = normal_axis(node, node.integer("axis", 0), data.rank), _reduction(node)
    box = [n if d == axis else m for d, (n, m) in enumerate(zip(data.extents, indices.extents, strict=False))]
    if (
        indices.rank != data.rank
        or updates.extents != indices.extents
        or any(map(_greater, box, data.extents))
    ):
        raise node.invalid(
            f"indices {list(indices.extents)} and updates {list(updates.extents)} for {list(data.extents)}"
        )
    count = indices.extents[axis]

    def moved(i: Sequence[Expr], u: Expr) -> Index:
        return tuple(u if d == axis else v for d, v in enumerate(i))

    def named(i: Sequence[Expr], u: Expr) -> Expr:
        return eq(from_end(indices[moved(i, u)], data.extents[axis]), i[axis])

    found = _search(
        b,
        node,
        op,
        box,
        {"u": count},
        lambda i, u: named(i, u[0]),
        lambda i, u: updates[moved(i, u[0])],
        lambda u: u[0],
    )

    def result(*i: Var) -> Expr:
        if op:
            return Binary(op, data[i], found[i])
        return select(found[i] >= 0, updates[moved(i, found[i])], data[i])

    into = b.temporary(node.output, data.extents, data.dtype)
    for parts in product(*(_cut(m, n) for m, n in zip(box, data.extents, strict=True))):
        inside = all(low == 0 for low, _ in parts)
        ranges = {f"i{d}": part for d, part in enumerate(parts)}
        b.compute(f"{into.name}_part", ranges, result if inside else lambda *i: data[i], into=into)
    return into


def _greater(a: int, b: int) -> bool:
    return a > b


def _cut(inner: int, whole: int) -> list[tuple[int, int]]:
    """The range of a dimension that updates can name, and the rest of it."""
    return [(0, inner), (inner, whole)] if inner < whole else [(0, whole)]


@operator("ScatterND")
def scatter_nd(b: FunctionBuilder, node: OpNode, data: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    op = _reduction(node)
    depth = indices.extents[-1] if indices.rank else 0
    outer = indices.extents[:-1]
    if indices.rank < 1 or not 1 <= depth <= data.rank or updates.extents != outer + data.extents[depth:]:
        raise node.invalid(
            f"indices {list(indices.extents)} and updates {list(updates.extents)} for {list(data.extents)}"
        )
    steps = strides(outer)

    def named(i: Sequence[Expr], u: Sequence[Expr]) -> Expr:
        subscripts = (from_end(indices[(*u, as_expr(k))], data.extents[k]) for k in range(depth))
        return reduce(and_, (eq(s, i[k]) for k, s in enumerate(subscripts)))

    def flat(u: Sequence[Expr]) -> Expr:
        return reduce(lambda p, q: p + q, (v * s for v, s in zip(u, steps, strict=True)), as_expr(0))

    axes = {f"u{d}": n for d, n in enumerate(outer)} or {"u": 1}
    box = data.extents if op else data.extents[:depth]
    found = _search(
        b,
        node,
        op,
        box,
        axes,
        lambda i, u: named(i, u if outer else ()),
        lambda i, u: updates[(*(u if outer else ()), *i[depth:])],
        lambda u: flat(u if outer else ()),
    )

    def result(i: Index) -> Expr:
        if op:
            return Binary(op, data[i], found[i])
        at = found[i[:depth]]
        source = tuple(at // s % n if s > 1 else at % n for s, n in zip(steps, outer, strict=True))
        return select(at >= 0, updates[(*source, *i[depth:])], data[i])

    return pointwise(b, node.output, data.extents, result)


def _search(
    b: FunctionBuilder,
    node: OpNode,
    op: str,
    box: Sequence[int],
    axes: dict[str, int],
    named: Callable[[Index, Index], Expr],
    update: Callable[[Index, Index], Expr],
    number: Callable[[Index], Expr],
) -> Tensor:
    """Per element of `box` the number of the last update that names it (-1: none), or all of them combined by `op`."""

    def body(i: Index, u: Index) -> Expr:
        if not op:
            return select(named(i, u), number(u), _NONE)
        value = update(i, u)
        return select(named(i, u), value, identity(op, value.dtype))

    return pointwise(
        b,
        f"{node.output}_{'combined' if op else 'last'}",
        box,
        lambda i: reduce_over(op or "max", axes, lambda *u: body(i, tuple(u)), init=None if op else _NONE),
    )
