"""Operators whose result depends on shapes, attributes and known inputs only, or on the position alone."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Final

import numpy as np

from polydl.dsl import FunctionBuilder, Tensor
from polydl.dtypes import INDEX, DType
from polydl.ir.expr import Const, Expr, cast, eq, select
from polydl.ops.common import fill, literal, one, pointwise, zero
from polydl.ops.registry import Array, OpNode, operator

__all__ = ["constant", "constant_of_shape", "eye_like", "non_zero", "range_", "shape", "size", "trilu"]

_LITERAL_RUNS: Final = 512  # a program that spells out more stores than this belongs into a constant tensor


def _literal_tensor(b: FunctionBuilder, node: OpNode, value: Array, dtype: DType) -> Tensor:
    """A tensor spelled out in the program: one store loop per run of equal elements along the last dimension."""
    into = b.temporary(node.output, value.shape, dtype)
    if value.size == 0:
        return into
    rows = value.reshape(-1, value.shape[-1]) if value.ndim else value.reshape(1, 1)
    if bool((value == value.reshape(-1)[0]).all()):
        return fill(b, f"{into.name}_fill", value.shape, literal(value.reshape(-1)[0], dtype), into=into)
    runs = 0
    for r, row in enumerate(rows):
        prefix = np.unravel_index(r, value.shape[:-1]) if value.ndim > 1 else ()
        edges = [0, *(int(e) + 1 for e in np.flatnonzero(row[1:] != row[:-1])), len(row)]
        for lo, hi in pairwise(edges):
            runs += 1
            if runs > _LITERAL_RUNS:
                raise node.refuse(f"a literal of {value.size} elements", why="it belongs into an initialiser")
            box = {f"i{d}": (int(p), int(p) + 1) for d, p in enumerate(prefix)} | {
                f"i{value.ndim - 1}": (lo, hi)
            }
            number = literal(row[lo], dtype)
            b.compute(f"{into.name}_run", box, lambda *i, number=number: number, into=into)
    return into


@operator("Constant")
def constant(b: FunctionBuilder, node: OpNode) -> Tensor:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in node.attributes:
            return _literal_tensor(b, node, np.asarray(node.attributes[name], node.dtype.numpy), node.dtype)
    raise node.refuse(f"a value given as {sorted(node.attributes)}")


@operator("Shape")
def shape(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    end = node.integer("end", x.rank)
    part = x.extents[slice(node.integer("start", 0), end)]
    return _literal_tensor(b, node, np.asarray(part, np.int64), node.dtype)


@operator("Size")
def size(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    return fill(b, node.output, (), literal(prod(x.extents), node.dtype))


@operator("Range", static=(0, 1, 2))
def range_(
    b: FunctionBuilder, node: OpNode, start: Tensor | None, limit: Tensor | None, delta: Tensor | None
) -> Tensor:
    first, last, step = (node.static_number(k, t) for k, t in enumerate((start, limit, delta)))
    if first is None or last is None or not step:
        raise node.invalid(f"start {first}, limit {last} and delta {step}")
    count = max(0, int(np.ceil((last - first) / step)))
    dtype = node.dtype
    return pointwise(
        b,
        node.output,
        (count,),
        lambda i: cast(dtype, i[0]) * literal(step, dtype) + literal(first, dtype),
    )


@operator("ConstantOfShape", static=(0,))
def constant_of_shape(b: FunctionBuilder, node: OpNode, dims: Tensor | None = None) -> Tensor:
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).reshape(-1)
    if value.size != 1:
        raise node.invalid(f"value has {value.size} elements, not one")
    return fill(b, node.output, node.shape, literal(value[0], node.dtype))


@operator("EyeLike")
def eye_like(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    if x.rank != 2:
        raise node.invalid(f"an input of {x.rank} dimensions")
    k = node.integer("k", 0)
    return pointwise(
        b, node.output, x.extents, lambda i: select(eq(i[1], i[0] + k), one(node.dtype), zero(node.dtype))
    )


@operator("Trilu", static=(1,))
def trilu(b: FunctionBuilder, node: OpNode, x: Tensor, k: Tensor | None = None) -> Tensor:
    if x.rank < 2:
        raise node.invalid(f"an input of {x.rank} dimensions")
    offset = Const(int(node.static_number(1, k) or 0), INDEX)
    upper = node.integer("upper", 1)

    def body(i: tuple[Expr, ...]) -> Expr:
        distance = i[-1] - i[-2]
        return select(distance >= offset if upper else distance <= offset, x[i], zero(x.dtype))

    return pointwise(b, node.output, x.extents, body)


@operator("NonZero")
def non_zero(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    raise node.refuse(
        "the shape of its result depends on the data", why="every shape must be known at build time"
    )
