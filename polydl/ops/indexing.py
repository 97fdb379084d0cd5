"""Operators whose subscripts are data, and scans along an axis. Indices from data are checked when the code runs."""

from __future__ import annotations

from typing import Final

from polydl.dsl import FunctionBuilder, Tensor
from polydl.dtypes import INDEX
from polydl.ir.expr import Binary, Expr, Var, as_expr, cast, eq, select
from polydl.ops.common import from_end, normal_axis, one, pointwise, zero
from polydl.ops.registry import OpNode, operator

__all__ = ["gather", "gather_elements", "gather_nd", "one_hot", "reverse_sequence", "scan"]


@operator("Gather")
def gather(b: FunctionBuilder, node: OpNode, x: Tensor, indices: Tensor) -> Tensor:
    axis = normal_axis(node, node.integer("axis", 0), x.rank)
    shape = (*x.extents[:axis], *indices.extents, *x.extents[axis + 1 :])
    end = axis + indices.rank

    def body(i: tuple[Expr, ...]) -> Expr:
        chosen = from_end(indices[i[axis:end]], x.extents[axis])
        return x[(*i[:axis], chosen, *i[end:])]

    return pointwise(b, node.output, shape, body)


@operator("GatherElements")
def gather_elements(b: FunctionBuilder, node: OpNode, x: Tensor, indices: Tensor) -> Tensor:
    axis = normal_axis(node, node.integer("axis", 0), x.rank)
    pairs = list(zip(indices.extents, x.extents, strict=False))
    if indices.rank != x.rank or any(n > m for d, (n, m) in enumerate(pairs) if d != axis):
        raise node.invalid(f"indices {list(indices.extents)} into {list(x.extents)} along axis {axis}")

    def body(i: tuple[Expr, ...]) -> Expr:
        chosen = from_end(indices[i], x.extents[axis])
        return x[(*i[:axis], chosen, *i[axis + 1 :])]

    return pointwise(b, node.output, indices.extents, body)


@operator("GatherND")
def gather_nd(b: FunctionBuilder, node: OpNode, x: Tensor, indices: Tensor) -> Tensor:
    batch = node.integer("batch_dims", 0)
    depth = indices.extents[-1] if indices.rank else 0
    if not 0 <= batch < indices.rank or batch + depth > x.rank:
        raise node.invalid(
            f"batch_dims {batch} and indices {list(indices.extents)} do not fit {x.rank} dimensions"
        )
    if indices.extents[:batch] != x.extents[:batch]:
        raise node.invalid(
            f"batches {list(indices.extents[:batch])} of indices, {list(x.extents[:batch])} of data"
        )
    outer = indices.rank - 1
    shape = (*indices.extents[:-1], *x.extents[batch + depth :])

    def body(i: tuple[Expr, ...]) -> Expr:
        chosen = [from_end(indices[(*i[:outer], as_expr(k))], x.extents[batch + k]) for k in range(depth)]
        return x[(*i[:batch], *chosen, *i[outer:])]

    return pointwise(b, node.output, shape, body)


@operator("OneHot", static=(1,))
def one_hot(
    b: FunctionBuilder, node: OpNode, indices: Tensor, depth: Tensor | None, values: Tensor
) -> Tensor:
    n = int(node.static_number(1, depth) or 0)
    if n < 1:
        raise node.invalid(f"depth is {n}")
    if values.extents != (2,):
        raise node.invalid(f"values {list(values.extents)} are not two")
    axis = normal_axis(node, node.integer("axis", -1), indices.rank + 1)
    shape = (*indices.extents[:axis], n, *indices.extents[axis:])

    def body(i: tuple[Expr, ...]) -> Expr:
        index = cast(INDEX, indices[(*i[:axis], *i[axis + 1 :])])
        return select(eq(select(index < 0, index + n, index), i[axis]), values[1], values[0])

    return pointwise(b, node.output, shape, body)


@operator("ReverseSequence")
def reverse_sequence(b: FunctionBuilder, node: OpNode, x: Tensor, lengths: Tensor) -> Tensor:
    time, batch = node.integer("time_axis", 0), node.integer("batch_axis", 1)
    if x.rank < 2 or {time, batch} != {0, 1} or lengths.extents != (x.extents[batch],):
        raise node.invalid(f"time axis {time}, batch axis {batch} and lengths {list(lengths.extents)}")

    def body(i: tuple[Expr, ...]) -> Expr:
        length = cast(INDEX, lengths[i[batch]])
        source = select(i[time] < length, length - 1 - i[time], i[time])
        return x[tuple(source if d == time else v for d, v in enumerate(i))]

    return pointwise(b, node.output, x.extents, body)


_SCANS: Final = {"CumSum": "add", "CumProd": "mul"}


@operator(*_SCANS, static=(1,))
def scan(b: FunctionBuilder, node: OpNode, x: Tensor, axis_input: Tensor | None = None) -> Tensor:
    """A recurrence along the axis: y[t] = y[t-1] op x[t], or op x[t-1] from the neutral element if exclusive."""
    axis = normal_axis(node, int(node.static_number(1, axis_input) or 0), x.rank)
    op, n = _SCANS[node.op_type], x.extents[axis]
    exclusive, backward = node.integer("exclusive", 0), node.integer("reverse", 0)
    into = b.temporary(node.output, x.extents, x.dtype)

    def place(i: tuple[Expr, ...], steps_back: int = 0) -> tuple[Expr, ...]:
        t = i[axis] - steps_back if steps_back else i[axis]
        return tuple((n - 1 - t if backward else t) if d == axis else v for d, v in enumerate(i))

    def extents(first: int, last: int) -> dict[str, tuple[int, int]]:
        return {f"i{d}": (first, last) if d == axis else (0, m) for d, m in enumerate(x.extents)}

    def start(*i: Var) -> Expr:
        if not exclusive:
            return x[place(i)]
        return zero(x.dtype) if op == "add" else one(x.dtype)

    def step(*i: Var) -> Expr:
        return Binary(op, into[place(i, 1)], x[place(i, 1 if exclusive else 0)])

    b.compute(f"{into.name}_first", extents(0, min(1, n)), start, into=into, at=lambda *i: place(i))
    b.compute(f"{into.name}_scan", extents(1, max(1, n)), step, into=into, at=lambda *i: place(i))
    return into
