"""Normalisations: means and variances in two passes, then one elementwise computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from polydl.dsl import FunctionBuilder, Tensor, reduce_over
from polydl.dtypes import F32, F64, DType
from polydl.ir.expr import Const, Expr, and_, as_expr, call, cast, eq, select
from polydl.ops.common import at, check_broadcast, literal, normal_axes, normal_axis, one, pointwise
from polydl.ops.reduction import power_norm, reduce_dims
from polydl.ops.registry import OpNode, operator

__all__ = [
    "batch_normalization", "group_normalization", "instance_normalization", "layer_normalization",
    "local_response_normalization", "lp_normalization", "mean_variance_normalization", "rms_normalization",
]  # fmt: skip

Index = tuple[Expr, ...]
Element = Callable[[Index], Expr]


@operator("BatchNormalization")
def batch_normalization(
    b: FunctionBuilder, node: OpNode, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> tuple[Tensor | None, ...]:
    """(x - mean) * (scale / sqrt(var + epsilon)) + bias; the factor is computed once per channel.

    In training the batch's own moments normalise, and more outputs are wanted: the running mean and variance, old ones
    times momentum plus the batch's times 1 - momentum; before operator set 14, where having them is what says training,
    also the batch's mean and variance. Variances are those of the population.
    """
    epsilon, first = node.number("epsilon", 1e-5), 1
    if mean.rank != 1:  # spatial=0, up to opset 8: statistics per element
        first = x.rank - mean.rank
    if mean.extents != (x.extents[1 : 1 + mean.rank] if first == 1 else x.extents[first:]) or any(
        t.extents != mean.extents for t in (scale, bias, var)
    ):
        raise node.invalid(f"statistics {list(mean.extents)} for an input {list(x.extents)}")
    results: tuple[Tensor | None, ...] = ()
    more = any(node.wants(k) for k in range(1, len(node.outputs)))
    if node.integer("training_mode", int(node.opset < 14 and more)):
        work = max(x.dtype, mean.dtype, key=lambda t: t.bits)
        dims = [d for d in range(x.rank) if not first <= d < first + mean.rank]
        moments = _Moments(b, node.output, x.extents, dims, lambda i: cast(work, x[i]), work)
        m, v = (_without(b, f"{t.name}_kept", t, dims) for t in (moments.mean, moments.variance))
        old = node.number("momentum", 0.9)
        results = (_running(b, node, 1, mean, m, old), _running(b, node, 2, var, v, old))
        results += (_wanted(b, node, 3, m), _wanted(b, node, 4, v))
        mean, var = m, v
    elif more:
        raise node.invalid("outputs of training without training_mode")
    factor = pointwise(
        b,
        f"{node.output}_factor",
        mean.extents,
        lambda i: cast(var.dtype, scale[i]) / call("sqrt", var[i] + literal(epsilon, var.dtype)),
    )

    def body(i: Index) -> Expr:
        c = i[first : first + mean.rank]
        value = (cast(var.dtype, x[i]) - mean[c]) * factor[c] + cast(var.dtype, bias[c])
        return cast(x.dtype, value)

    return pointwise(b, node.output, x.extents, body), *results


def _without(b: FunctionBuilder, name: str, value: Tensor, dims: Sequence[int]) -> Tensor:
    """`value` without its dimensions `dims`, all of extent 1."""
    shape = [n for d, n in enumerate(value.extents) if d not in dims]

    def body(i: Index) -> Expr:
        rest = iter(i)
        return value[tuple(as_expr(0) if d in dims else next(rest) for d in range(value.rank))]

    return pointwise(b, name, shape, body)


def _running(
    b: FunctionBuilder, node: OpNode, k: int, old: Tensor, new: Tensor, momentum: float
) -> Tensor | None:
    """Output `k`: the running statistic after this batch."""
    if not node.wants(k):
        return None
    keep, take = literal(momentum, new.dtype), literal(1 - momentum, new.dtype)
    return pointwise(
        b,
        node.outputs[k][0],
        old.extents,
        lambda i: cast(node.outputs[k][1], cast(new.dtype, old[i]) * keep + new[i] * take),
    )


class _Moments:
    """Mean and variance of `value` over dimensions of a box, in type `dtype`; with extent 1 in place of them."""

    def __init__(
        self,
        b: FunctionBuilder,
        name: str,
        shape: Sequence[int],
        dims: Sequence[int],
        value: Element,
        dtype: DType,
    ) -> None:
        self.shape, self.dims, self.value = shape, dims, value
        scale = literal(1 / max(1, prod(shape[d] for d in dims)), dtype)
        total = reduce_dims(b, f"{name}_sum", "add", shape, dims, value)
        self.mean = pointwise(b, f"{name}_mean", total.extents, lambda i: total[i] * scale)
        squares = reduce_dims(
            b, f"{name}_squares", "add", shape, dims, lambda i: self.centred(i) * self.centred(i)
        )
        self.variance = pointwise(b, f"{name}_var", total.extents, lambda i: squares[i] * scale)

    def kept(self, i: Index) -> Index:
        return tuple(as_expr(0) if d in self.dims else v for d, v in enumerate(i))

    def centred(self, i: Index) -> Expr:
        return self.value(i) - self.mean[self.kept(i)]


def _inverse_deviation(b: FunctionBuilder, name: str, variance: Tensor, epsilon: float) -> Tensor:
    """1 / sqrt(variance + epsilon), per group of elements that share a variance."""
    e, unit = literal(epsilon, variance.dtype), one(variance.dtype)
    return pointwise(b, name, variance.extents, lambda i: unit / call("sqrt", variance[i] + e))


@operator("InstanceNormalization")
def instance_normalization(
    b: FunctionBuilder, node: OpNode, x: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    if x.rank < 3 or any(t.extents != (x.extents[1],) for t in (scale, bias)):
        raise node.invalid(f"scale {list(scale.extents)} and bias {list(bias.extents)} for {list(x.extents)}")
    moments = _Moments(b, node.output, x.extents, range(2, x.rank), lambda i: x[i], x.dtype)
    inverse = _inverse_deviation(b, f"{node.output}_inv", moments.variance, node.number("epsilon", 1e-5))
    return pointwise(
        b,
        node.output,
        x.extents,
        lambda i: moments.centred(i) * (inverse[moments.kept(i)] * scale[i[1]]) + bias[i[1]],
    )


@operator("GroupNormalization")
def group_normalization(b: FunctionBuilder, node: OpNode, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Channels in `num_groups` groups; scale and bias per group in opset 18, per channel from 21."""
    groups = node.integer("num_groups", 0)
    n, channels, *spatial = x.extents
    if groups < 1 or channels % groups:
        raise node.invalid(f"{channels} channels in {groups} groups")
    size = channels // groups
    if scale.extents != bias.extents or scale.extents != (channels if node.opset >= 21 else groups,):
        raise node.invalid(f"scale {list(scale.extents)} and bias {list(bias.extents)} for {groups} groups")
    work = F32 if node.opset < 21 or node.integer("stash_type", 1) == 1 else x.dtype
    work = F64 if x.dtype == F64 else work
    moments = _Moments(
        b,
        node.output,
        (n, groups, size, *spatial),
        range(2, 3 + len(spatial)),
        lambda i: cast(work, x[(i[0], i[1] * size + i[2], *i[3:])]),
        work,
    )
    inverse = _inverse_deviation(b, f"{node.output}_inv", moments.variance, node.number("epsilon", 1e-5))

    def body(i: Index) -> Expr:
        inner = (i[0], i[1] // size, *(as_expr(0) for _ in range(1 + len(spatial))))
        own = i[1] if node.opset >= 21 else i[1] // size
        normal = (cast(work, x[i]) - moments.mean[inner]) * inverse[inner]
        return cast(x.dtype, normal * cast(work, scale[own]) + cast(work, bias[own]))

    return pointwise(b, node.output, x.extents, body)


def _stash(node: OpNode, x: Tensor) -> DType:
    """The type in which the statistics are computed: float32 unless the input is wider or stash_type asks for it."""
    if node.integer("stash_type", 1) not in (1, 11):
        raise node.refuse("statistics in another type than float32 and float64", attribute="stash_type")
    return F64 if x.dtype == F64 or node.integer("stash_type", 1) == 11 else F32


@operator("LayerNormalization")
def layer_normalization(
    b: FunctionBuilder, node: OpNode, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> tuple[Tensor | None, ...]:
    axis, work = normal_axis(node, node.integer("axis", -1), x.rank), _stash(node, x)
    for parameter in (scale, bias):
        if parameter is not None:
            check_broadcast(node, parameter, x.extents)
    moments = _Moments(b, node.output, x.extents, range(axis, x.rank), lambda i: cast(work, x[i]), work)
    inverse = _inverse_deviation(b, f"{node.output}_inv", moments.variance, node.number("epsilon", 1e-5))

    def body(i: Index) -> Expr:
        normal = cast(x.dtype, moments.centred(i) * inverse[moments.kept(i)]) * at(scale, i)
        return normal if bias is None else normal + at(bias, i)

    y = pointwise(b, node.output, x.extents, body)
    return y, _wanted(b, node, 1, moments.mean), _wanted(b, node, 2, inverse)


def _wanted(b: FunctionBuilder, node: OpNode, k: int, value: Tensor) -> Tensor | None:
    """Output `k`, in its own type, if somebody wants it."""
    if not node.wants(k):
        return None
    name, dtype, _ = node.outputs[k]
    return pointwise(b, name, value.extents, lambda i: cast(dtype, value[i]))


@operator("RMSNormalization")
def rms_normalization(b: FunctionBuilder, node: OpNode, x: Tensor, scale: Tensor) -> Tensor:
    axis, work = normal_axis(node, node.integer("axis", -1), x.rank), _stash(node, x)
    check_broadcast(node, scale, x.extents)
    dims = range(axis, x.rank)
    count = literal(1 / max(1, prod(x.extents[axis:])), work)
    squares = reduce_dims(
        b, f"{node.output}_squares", "add", x.extents, dims, lambda i: cast(work, x[i]) * cast(work, x[i])
    )
    mean = pointwise(b, f"{node.output}_mean", squares.extents, lambda i: squares[i] * count)
    inverse = _inverse_deviation(b, f"{node.output}_inv", mean, node.number("epsilon", 1e-5))

    def body(i: Index) -> Expr:
        kept = tuple(as_expr(0) if d >= axis else v for d, v in enumerate(i))
        return cast(node.dtype, cast(x.dtype, cast(work, x[i]) * inverse[kept])) * cast(
            node.dtype, at(scale, i)
        )

    return pointwise(b, node.output, x.extents, body)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    """(x - mean) / (deviation + 1e-9), as ONNX's function says."""
    axes = node.integers("axes")
    dims = normal_axes(node, axes if axes is not None else (0, 2, 3), x.rank)
    moments = _Moments(b, node.output, x.extents, dims, lambda i: x[i], x.dtype)
    return pointwise(
        b,
        node.output,
        x.extents,
        lambda i: (
            moments.centred(i) / (call("sqrt", moments.variance[moments.kept(i)]) + literal(1e-9, x.dtype))
        ),
    )


@operator("LpNormalization")
def lp_normalization(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    """x divided by its p-norm along the axis; zeros where the norm is 0."""
    axis, p = normal_axis(node, node.integer("axis", -1), x.rank), node.integer("p", 2)
    if p not in (1, 2):
        raise node.invalid(f"p is {p}, neither 1 nor 2")
    raised, root = power_norm(p)
    total = reduce_dims(b, f"{node.output}_sum", "add", x.extents, (axis,), lambda i: raised(x[i]))
    norm = pointwise(b, f"{node.output}_norm", total.extents, lambda i: root(total[i]))
    zero: Const = literal(0, x.dtype)

    def body(i: Index) -> Expr:
        n = norm[tuple(as_expr(0) if d == axis else v for d, v in enumerate(i))]
        return select(eq(n, zero), x[i] * zero, x[i] / n)

    return pointwise(b, node.output, x.extents, body)


@operator("LRN")
def local_response_normalization(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    """x / (bias + alpha / size * sum of squares over `size` neighbouring channels) ^ beta."""
    size, channels = node.integer("size", 0), x.extents[1]
    if size < 1:
        raise node.invalid(f"size is {size}")
    before = (size - 1) // 2

    total = pointwise(
        b,
        f"{node.output}_squares",
        x.extents,
        lambda i: reduce_over(
            "add",
            {"r": size},
            lambda r: _square(x[(i[0], i[1] + r - before, *i[2:])]),
            where=lambda r: and_(i[1] + r - before >= 0, i[1] + r - before < channels),
        ),
    )
    alpha, beta, bias = node.number("alpha", 1e-4), node.number("beta", 0.75), node.number("bias", 1.0)
    return pointwise(
        b,
        node.output,
        x.extents,
        lambda i: x[i] / call("pow", total[i] * (alpha / size) + bias, literal(beta, x.dtype)),
    )


def _square(x: Expr) -> Expr:
    return x * x
