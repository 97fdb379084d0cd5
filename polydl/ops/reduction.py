"""Reductions over dimensions, and what is built from them: softmaxes and the positions of extrema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Final

from polydl.dsl import FunctionBuilder, Tensor, reduce_over
from polydl.dtypes import BOOL, F64, INDEX
from polydl.ir.expr import Const, Expr, Unary, as_expr, call, cast, eq, not_, select
from polydl.ops.common import literal, normal_axes, normal_axis, one, pointwise, reduction, strides, zero
from polydl.ops.registry import OpNode, operator

__all__ = ["arg_extremum", "hardmax", "power_norm", "reduce", "reduce_dims", "softmax"]

Function = Callable[[Expr], Expr]


def power_norm(p: int) -> tuple[Function, Function]:
    """|x|^p, and the p-th root of a sum of them."""
    if p == 1:
        return (lambda x: Unary("abs", x)), (lambda x: x)
    if p == 2:
        return (lambda x: x * x), (lambda x: call("sqrt", x))
    return (
        lambda x: call("pow", Unary("abs", x), literal(p, x.dtype)),
        lambda x: call("pow", x, literal(1 / p, x.dtype)),
    )


def reduce_dims(
    b: FunctionBuilder,
    name: str,
    op: str,
    shape: Sequence[int],
    dims: Sequence[int],
    value: Callable[[tuple[Expr, ...]], Expr],
    *,
    keep: bool = True,
) -> Tensor:
    """`value(position)` combined by `op` over the dimensions `dims` of a box; they stay with extent 1 if `keep`."""
    inner = reduction(dims, shape)
    kept = [d for d in range(len(shape)) if d not in dims]
    outer = [1 if d in dims else n for d, n in enumerate(shape) if keep or d not in dims]

    def position(i: tuple[Expr, ...], r: Sequence[Expr]) -> tuple[Expr, ...]:
        place = dict(zip(dims, r, strict=True))
        place |= {d: i[d] for d in kept} if keep else dict(zip(kept, i, strict=True))
        return tuple(place[d] for d in range(len(shape)))

    if not inner:
        return pointwise(b, name, outer, lambda i: value(position(i, ())))
    return pointwise(b, name, outer, lambda i: reduce_over(op, inner, lambda *r: value(position(i, r))))


def _same(x: Expr) -> Expr:
    return x


def _absolute(x: Expr) -> Expr:
    return x if x.dtype.kind == "u" else Unary("abs", x)


_REDUCTIONS: Final[
    dict[str, tuple[str, Function, Function]]
] = {  # operator -> combination, before it, after it
    "ReduceSum": ("add", _same, _same),
    "ReduceMean": ("add", _same, _same),
    "ReduceProd": ("mul", _same, _same),
    "ReduceMax": ("max", _same, _same),
    "ReduceMin": ("min", _same, _same),
    "ReduceL1": ("add", _absolute, _same),
    "ReduceL2": ("add", lambda x: x * x, lambda x: call("sqrt", x)),
    "ReduceSumSquare": ("add", lambda x: x * x, _same),
    "ReduceLogSum": ("add", _same, lambda x: call("log", x)),
}
_OF_REALS: Final = ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
"""Of integers: computed in float64 and truncated."""
_BOOLEAN: Final = {"max": "or", "min": "and"}
_AXES_INPUT_SINCE: Final = {"ReduceSum": 13}  # all others: 18


@operator(*_REDUCTIONS, "ReduceLogSumExp", static=(1,))
def reduce(b: FunctionBuilder, node: OpNode, x: Tensor, axes: Tensor | None = None) -> Tensor:
    if node.opset >= _AXES_INPUT_SINCE.get(node.op_type, 18):
        given = node.static_ints(1, axes)
        noop = node.integer("noop_with_empty_axes", 0) != 0
    else:
        given, noop = node.integers("axes"), False
    dims = normal_axes(node, given or (), x.rank) if given or noop else tuple(range(x.rank))
    keep = node.integer("keepdims", 1) != 0
    if node.op_type in _OF_REALS and not x.dtype.is_float:
        real = pointwise(b, f"{node.output}_float", x.extents, lambda i: cast(F64, x[i]))
        value = _reduced(b, node, f"{node.output}_real", real, dims, keep)
        return pointwise(b, node.output, value.extents, lambda i: cast(x.dtype, value[i]))
    return _reduced(b, node, node.output, x, dims, keep)


def _reduced(
    b: FunctionBuilder, node: OpNode, name: str, x: Tensor, dims: Sequence[int], keep: bool
) -> Tensor:
    if node.op_type == "ReduceLogSumExp":
        return _log_sum_exp(b, name, x, dims, keep)
    op, before, after = _REDUCTIONS[node.op_type]
    if x.dtype == BOOL:
        if op not in _BOOLEAN:
            raise node.invalid("on truth values")
        op = _BOOLEAN[op]
    count = prod(x.extents[d] for d in dims)
    if node.op_type == "ReduceMean" and count:
        after = (lambda t: t / literal(count, x.dtype)) if count > 1 else _same
    if after is _same:
        return reduce_dims(b, name, op, x.extents, dims, lambda i: before(x[i]), keep=keep)
    total = reduce_dims(b, f"{name}_sum", op, x.extents, dims, lambda i: before(x[i]), keep=keep)
    return pointwise(b, name, total.extents, lambda i: after(total[i]))


def _log_sum_exp(b: FunctionBuilder, name: str, x: Tensor, dims: Sequence[int], keep: bool) -> Tensor:
    """log sum exp(x - m) + m with the maximum m, or with 0 where it is infinite (all of x is -inf, or some is +inf)."""
    best = reduce_dims(b, f"{name}_max", "max", x.extents, dims, lambda i: x[i])

    def shift(i: tuple[Expr, ...]) -> Expr:
        m = best[tuple(as_expr(0) if d in dims else v for d, v in enumerate(i))]
        return select(call("isinf", m), zero(x.dtype), m)

    total = reduce_dims(
        b, f"{name}_sum", "add", x.extents, dims, lambda i: call("exp", x[i] - shift(i)), keep=keep
    )

    def back(i: tuple[Expr, ...]) -> tuple[Expr, ...]:
        if keep:
            return i
        rest = iter(i)
        return tuple(as_expr(0) if d in dims else next(rest) for d in range(x.rank))

    return pointwise(b, name, total.extents, lambda i: call("log", total[i]) + shift(back(i)))


def _softmax_dims(node: OpNode, rank: int) -> tuple[int, ...]:
    """One axis since opset 13; before it, the tensor is taken as a matrix whose rows begin at the axis."""
    if node.opset >= 13:
        return (normal_axis(node, node.integer("axis", -1), rank),)
    axis = node.integer("axis", 1)
    return tuple(range(axis if axis == rank else normal_axis(node, axis, rank), rank))


def _at_zero(i: tuple[Expr, ...], dims: Sequence[int]) -> tuple[Expr, ...]:
    return tuple(as_expr(0) if d in dims else v for d, v in enumerate(i))


@operator("Softmax", "LogSoftmax")
def softmax(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    """Maximum, exponentials of the differences, their sum, quotient (or difference from the sum's logarithm)."""
    dims, name = _softmax_dims(node, x.rank), node.output
    best = reduce_dims(b, f"{name}_max", "max", x.extents, dims, lambda i: x[i])
    if node.op_type == "LogSoftmax":
        moved = pointwise(b, f"{name}_diff", x.extents, lambda i: x[i] - best[_at_zero(i, dims)])
        total = reduce_dims(b, f"{name}_sum", "add", x.extents, dims, lambda i: call("exp", moved[i]))
        return pointwise(b, name, x.extents, lambda i: moved[i] - call("log", total[_at_zero(i, dims)]))
    powers = pointwise(b, f"{name}_exp", x.extents, lambda i: call("exp", x[i] - best[_at_zero(i, dims)]))
    total = reduce_dims(b, f"{name}_sum", "add", x.extents, dims, lambda i: powers[i])
    return pointwise(b, name, x.extents, lambda i: powers[i] / total[_at_zero(i, dims)])


def _extremum(
    b: FunctionBuilder,
    name: str,
    x: Tensor,
    dims: Sequence[int],
    *,
    largest: bool = True,
    last: bool = False,
    keep: bool,
) -> Tensor:
    """The flat position within `dims` of the first (or last) maximum (or minimum); a NaN is the extremum."""
    ends = {d: x.extents[d] for d in dims}
    best = reduce_dims(
        b,
        f"{name}_{'max' if largest else 'min'}",
        "max" if largest else "min",
        x.extents,
        dims,
        lambda i: x[i],
    )
    steps = dict(zip(dims, strides(tuple(ends.values())), strict=True))
    none = Const(-1 if last else prod(ends.values()), INDEX)

    def candidate(i: tuple[Expr, ...]) -> Expr:
        flat: Expr = as_expr(0)
        for n, d in enumerate(dims):
            term = i[d] if steps[d] == 1 else i[d] * steps[d]
            flat = term if n == 0 else flat + term
        value, bound = x[i], best[_at_zero(i, dims)]
        return select(not_(value < bound if largest else value > bound), flat, none)

    return reduce_dims(b, name, "max" if last else "min", x.extents, dims, candidate, keep=keep)


@operator("ArgMax", "ArgMin")
def arg_extremum(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    axis = normal_axis(node, node.integer("axis", 0), x.rank)
    return _extremum(
        b,
        node.output,
        x,
        (axis,),
        largest=node.op_type == "ArgMax",
        last=node.integer("select_last_index", 0) != 0,
        keep=node.integer("keepdims", 1) != 0,
    )


@operator("Hardmax")
def hardmax(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    """One at the first maximum, zero elsewhere."""
    dims = _softmax_dims(node, x.rank)
    place = _extremum(b, f"{node.output}_at", x, dims, keep=True)
    steps = dict(zip(dims, strides([x.extents[d] for d in dims]), strict=True))

    def body(i: tuple[Expr, ...]) -> Expr:
        flat: Expr = as_expr(0)
        for d in dims:
            flat = flat + i[d] * steps[d]
        return select(eq(flat, place[_at_zero(i, dims)]), one(x.dtype), zero(x.dtype))

    return pointwise(b, node.output, x.extents, body)
