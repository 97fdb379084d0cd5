"""What many operators share: axes, broadcasting, known scalars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from polydl.dsl import FunctionBuilder, Reduce, Tensor
from polydl.dtypes import BOOL, INDEX, DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const, Expr, ExprLike, as_expr, cast, select
from polydl.ops.registry import OpNode

__all__ = [
    "at",
    "broadcast_shapes",
    "check_broadcast",
    "fill",
    "from_end",
    "known_scalar",
    "literal",
    "normal_axes",
    "normal_axis",
    "one",
    "pointwise",
    "present",
    "reduction",
    "scalar_input",
    "strides",
    "value_at",
    "zero",
]

Index = tuple[Expr, ...]


def pointwise(
    b: FunctionBuilder,
    name: str,
    shape: Sequence[int],
    body: Callable[[Index], ExprLike | Reduce],
    *,
    into: Tensor | None = None,
) -> Tensor:
    """A computation over the box of `shape` with axes i0, i1, …"""
    return b.compute(name, {f"i{d}": n for d, n in enumerate(shape)}, lambda *i: body(tuple(i)), into=into)


def reduction(axes: Sequence[int], shape: Sequence[int]) -> dict[str, int]:
    """Reduction axes r0, r1, … (numbered by dimension) over those dimensions of a shape."""
    return {f"r{d}": shape[d] for d in axes}


def fill(
    b: FunctionBuilder, name: str, shape: Sequence[int], value: ExprLike, *, into: Tensor | None = None
) -> Tensor:
    """A tensor of one value."""
    return pointwise(b, name, shape, lambda i: value, into=into)


def present(node: OpNode, x: Tensor | None, i: int) -> Tensor:
    """An input that may not be absent."""
    if x is None:
        raise node.invalid(f"input {i} is missing")
    return x


def normal_axis(node: OpNode, axis: int, rank: int) -> int:
    """A possibly negative axis as 0 <= axis < rank."""
    if not -rank <= axis < rank:
        raise node.invalid(f"axis {axis} is outside a tensor of {rank} dimensions")
    return axis % rank


def normal_axes(node: OpNode, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """`normal_axis` of each, in the order given; no repetitions."""
    result = tuple(normal_axis(node, a, rank) for a in axes)
    if len(set(result)) != len(result):
        raise node.invalid(f"axes {tuple(axes)} name one dimension twice")
    return result


def broadcast_shapes(node: OpNode, *shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape of numpy-style broadcasting."""
    try:
        return tuple(np.broadcast_shapes(*(tuple(s) for s in shapes)))
    except ValueError:
        raise node.invalid(f"shapes {[list(s) for s in shapes]} do not broadcast") from None


def check_broadcast(node: OpNode, x: Tensor, shape: Sequence[int]) -> None:
    """InvalidModel where `x` does not broadcast to exactly `shape`."""
    if broadcast_shapes(node, x.extents, shape) != tuple(shape):
        raise node.invalid(f"{list(x.extents)} does not broadcast to {list(shape)}")


def at(x: Tensor, index: Sequence[Expr]) -> Expr:
    """The element of `x` that broadcasting puts at `index` (aligned at the last dimension)."""
    if x.rank > len(index):
        raise InvalidProgram(f"{x.name} of {x.rank} dimensions does not broadcast to {len(index)} dimensions")
    extents = x.extents
    tail = tuple(index)[len(index) - x.rank :]
    return x[tuple(as_expr(0) if n == 1 else i for n, i in zip(extents, tail, strict=True))]


def known_scalar(node: OpNode, i: int, dtype: DType) -> Const | None:
    """Input `i` as a literal where it is known and has one element."""
    value = node.constants.get(i)
    if value is None or value.size != 1:
        return None
    return literal(value.reshape(-1)[0], dtype)


def literal(value: float | np.generic, dtype: DType) -> Const:
    """A numpy or Python scalar as a constant."""
    number = value.item() if isinstance(value, np.generic) else value
    if dtype.is_float:
        return Const(float(number), dtype)
    return Const(bool(number) if dtype == BOOL else int(number), dtype)


def value_at(node: OpNode, i: int, x: Tensor, index: Sequence[Expr]) -> Expr:
    """The broadcast element of input `i`, as a literal where the input is a known scalar."""
    known = known_scalar(node, i, x.dtype)
    return known if known is not None else at(x, index)


def scalar_input(node: OpNode, i: int, x: Tensor) -> Expr:
    """An input that is one number, of any rank."""
    if any(n != 1 for n in x.extents):
        raise node.invalid(f"input {i} should be one number, it is {list(x.extents)}")
    known = known_scalar(node, i, x.dtype)
    return known if known is not None else x[tuple(as_expr(0) for _ in x.extents)]


def zero(dtype: DType) -> Const:
    return literal(0, dtype)


def one(dtype: DType) -> Const:
    return literal(1, dtype)


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    return tuple(prod(shape[d + 1 :]) for d in range(len(shape)))


def from_end(index: Expr, extent: int) -> Expr:
    """A data-dependent subscript as index type; negative ones count from the end."""
    i = cast(INDEX, index)
    return select(i < 0, i + extent, i) if index.dtype.kind == "i" else i
