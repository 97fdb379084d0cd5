"""Pools: one reduction over the window, clipped to the input by affine conditions, then elementwise computations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import reduce
from math import prod
from typing import Final

from polydl.dsl import FunctionBuilder, Reduce, Tensor, reduce_over
from polydl.dtypes import INDEX
from polydl.ir.expr import Const, Expr, Var, and_, as_expr, cast, maximum, minimum, not_, select
from polydl.ops.common import literal, pointwise, reduction, strides
from polydl.ops.reduction import power_norm
from polydl.ops.registry import OpNode, operator
from polydl.ops.windows import Window, kernel_axes, spatial_axes, windows

__all__ = ["average_pool", "global_pool", "lp_pool", "max_pool"]

# Steps that a combination of a row costs beside its own: 3 x 3 windows of wide images gain nothing.
_ROWS: Final = 4


def _exponent(node: OpNode) -> int:
    p = node.integer("p", 2)
    if p < 1:
        raise node.invalid(f"p is {p}")
    return p


def _view(node: OpNode, x: Tensor) -> tuple[Window, ...]:
    kernel = node.integers("kernel_shape")
    if kernel is None or x.rank != len(kernel) + 2:
        raise node.invalid(f"kernel_shape {kernel} for an input of {x.rank} dimensions")
    return windows(node, x.extents[2:], kernel)


def _pool(
    b: FunctionBuilder,
    name: str,
    op: str,
    x: Tensor,
    view: Sequence[Window],
    value: Callable[[tuple[Expr, ...], tuple[Expr, ...]], Expr],
) -> Tensor:
    """The combination of `value(output position, input position)` over each window's taps inside the input."""
    return _over(b, name, op, x, view, range(len(view)), value)


def _over(
    b: FunctionBuilder,
    name: str,
    op: str,
    x: Tensor,
    view: Sequence[Window],
    dims: Collection[int],
    value: Callable[[tuple[Expr, ...], tuple[Expr, ...]], Expr],
) -> Tensor:
    """The combination over the windows of some spatial dimensions; the others stay as they are in `x`."""
    spatial, taps = spatial_axes(len(view)), kernel_axes(len(view))
    outer = {"n": x.extents[0], "c": x.extents[1]}
    outer |= {o: view[d].output if d in dims else x.extents[d + 2] for d, o in enumerate(spatial)}
    inner = {taps[d]: view[d].kernel for d in dims}

    def body(*o: Var) -> Reduce:
        def read(r: Sequence[Expr]) -> tuple[Expr, ...]:
            tap = dict(zip(dims, r, strict=True))
            return tuple(
                v.position(p, tap[d]) if d in tap else p
                for d, (v, p) in enumerate(zip(view, o[2:], strict=True))
            )

        def inside(*r: Var) -> Expr:
            bounds: list[Expr] = []
            at = read(r)
            for d in dims:
                before, after = view[d].reach
                bounds += [at[d] >= 0] if before else []
                bounds += [at[d] < view[d].extent] if after else []
            return reduce(and_, bounds)

        clipped = any(any(view[d].reach) for d in dims)
        return reduce_over(
            op, inner, lambda *r: value(tuple(o), (o[0], o[1], *read(r))), where=inside if clipped else None
        )

    return b.compute(name, outer, body)


def _by_dimensions(
    b: FunctionBuilder,
    name: str,
    op: str,
    x: Tensor,
    view: Sequence[Window],
    value: Callable[[Expr], Expr] = lambda e: e,
) -> Tensor:
    """The combination of `value(element)` over each window: along one dimension after the other where that is less.

    before:  y[h, w] = max over r, s of x[h+r, w+s]                                            25 steps for 5 x 5
    after:   rows[h, w] = max over s of x[h, w+s];  y[h, w] = max over r of rows[h+r, w]       5 + 5, and `rows`
    Rows are combined once for all windows that they are part of: where windows lie far apart, or few, that is no less.
    """
    passes = [
        d for d, v in enumerate(view) if (v.kernel, v.stride, v.before, v.output) != (1, 1, 0, v.extent)
    ][::-1]
    steps, sizes = 0, list(x.extents[2:])
    for d in passes:
        sizes[d] = view[d].output
        steps += prod(sizes) * (view[d].kernel + (_ROWS if d != passes[-1] else 0))
    if len(passes) < 2 or steps >= prod(v.output * v.kernel for v in view):
        return _pool(b, name, op, x, view, lambda o, i: value(x[i]))
    for d in passes:
        rows, first = x, d == passes[0]

        def combined(
            o: tuple[Expr, ...], i: tuple[Expr, ...], rows: Tensor = rows, first: bool = first
        ) -> Expr:
            return value(rows[i]) if first else rows[i]

        x = _over(b, name if d == passes[-1] else f"{name}_along{d}", op, rows, view, (d,), combined)
    return x


@operator("MaxPool")
def max_pool(b: FunctionBuilder, node: OpNode, x: Tensor) -> tuple[Tensor, ...]:
    """The index output is the least flat index (row-major or column-major) of an element equal to the maximum."""
    view = _view(node, x)
    best = _by_dimensions(b, node.output, "max", x, view)
    if not node.wants(1):
        return (best,)
    steps = strides(x.extents)
    if node.integer("storage_order", 0):
        steps = (*steps[:2], *strides(x.extents[2:][::-1])[::-1])
    none = Const((1 << 63) - 1, INDEX)

    def index(o: tuple[Expr, ...], i: tuple[Expr, ...]) -> Expr:
        flat = reduce(lambda p, q: p + q, (v if s == 1 else v * s for v, s in zip(i, steps, strict=True)))
        return select(not_(x[i] < best[o]), flat, none)  # also where both are NaN

    return best, _pool(b, node.outputs[1][0], "min", x, view, index)


@operator("AveragePool")
def average_pool(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    view = _view(node, x)
    total = _by_dimensions(b, f"{node.output}_sum", "add", x, view)
    padding = node.integer("count_include_pad", 0) != 0
    counts = [_count(v, padding) for v in view]
    known = prod(c for c in counts if isinstance(c, int))

    def body(i: tuple[Expr, ...]) -> Expr:
        varying = [c(o) for c, o in zip(counts, i[2:], strict=True) if not isinstance(c, int)]
        if not varying:
            return total[i] * literal(1 / known, x.dtype)
        count = reduce(lambda p, q: p * q, varying)
        return total[i] / cast(x.dtype, count * known if known != 1 else count)

    return pointwise(b, node.output, total.extents, body)


def _count(v: Window, padding: bool) -> int | Callable[[Expr], Expr]:
    """How many taps of a window count: those in the input, or also those in the padding (but never beyond it)."""
    low, high = (-v.before, v.extent + v.after) if padding else (0, v.extent)
    first, last = -v.before, (v.output - 1) * v.stride - v.before + (v.kernel - 1) * v.dilation
    if low <= first and last < high:
        return v.kernel

    def count(o: Expr) -> Expr:
        start = o * v.stride - v.before
        before = maximum((as_expr(low) - start + (v.dilation - 1)) // v.dilation, 0)
        end = minimum((as_expr(high - 1) - start) // v.dilation, v.kernel - 1)
        return end - before + 1

    return count


@operator("LpPool")
def lp_pool(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    raised, root = power_norm(_exponent(node))
    total = _by_dimensions(b, f"{node.output}_sum", "add", x, _view(node, x), raised)
    return pointwise(b, node.output, total.extents, lambda i: root(total[i]))


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    """A reduction over all spatial dimensions."""
    if x.rank < 3:
        raise node.invalid(f"an input of {x.rank} dimensions")
    dims = range(2, x.rank)
    shape = (*x.extents[:2], *(1 for _ in dims))
    inner = reduction(dims, x.extents)
    mean = node.op_type == "GlobalAveragePool"
    raised, root = power_norm(_exponent(node) if node.op_type == "GlobalLpPool" else 1)
    op = "max" if node.op_type == "GlobalMaxPool" else "add"

    def element(i: tuple[Expr, ...], r: Sequence[Expr]) -> Expr:
        value = x[(*i[:2], *r)]
        return raised(value) if node.op_type == "GlobalLpPool" else value

    total = pointwise(
        b,
        node.output if op == "max" else f"{node.output}_sum",
        shape,
        lambda i: reduce_over(op, inner, lambda *r: element(i, r)),
    )
    if op == "max":
        return total
    scale = literal(1 / max(1, prod(x.extents[2:])), x.dtype)
    return pointwise(b, node.output, shape, lambda i: total[i] * scale if mean else root(total[i]))
