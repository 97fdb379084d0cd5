"""Resize that shrinks with a filter as wide as the step: one dimension at a time, a product with a banded matrix.

The filter h (a tent for linear, Keys' cubic otherwise) is stretched by 1/scale. At an output position whose centre lies
at p in the input, input element i weighs h(scale * (i - p)), divided by the sum over the n elements around p: from
ceil(p) - n/2 on. Elements outside the input are its first or last one again, or weigh nothing (`exclude_outside`).
Both become a matter of the weights: row o of the table holds those of the w = min(n, N) elements from

    first(o) = clamp(ceil(p(o)) - n/2, 0, N - w)

on, which is quasi-affine in three runs; so the sum itself meets no border. The table is as small as the output's side.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor

from polydl.dsl import FunctionBuilder, Reduce, Tensor, reduce_over
from polydl.dtypes import F64
from polydl.ir.expr import Expr, Unary, as_expr, cast, eq, maximum, minimum, select
from polydl.ops.common import literal, one, pointwise, zero
from polydl.ops.coordinates import Line
from polydl.ops.pieces import Segment, segments
from polydl.ops.registry import OpNode

__all__ = ["filtered"]


def filtered(
    b: FunctionBuilder,
    node: OpNode,
    name: str,
    x: Tensor,
    v: Line,
    dim: int,
    cubic: bool,
    extrapolation: float,
) -> Tensor:
    """`x`, of a float type, resized along dimension `dim` as `v` says; v.scale < 1."""
    taps = -2 * floor(
        -(2 if cubic else 1) / v.scale
    )  # elements nearer to p than the stretched filter's reach
    width = min(taps, v.extent)
    table = _table(b, node, name, v, taps, width, cubic)
    shape = [v.output if d == dim else n for d, n in enumerate(x.extents)]
    into = b.temporary(name, shape, x.dtype)
    starts = [
        None if v.outside(o) else min(max(ceil(v.at(o)) - taps // 2, 0), v.extent - width)
        for o in range(v.output)
    ]
    a, shift, d = v.form
    for run in segments(starts, hints=[(a, shift + d - 1 - taps // 2 * d, d)]):
        axes = {f"i{k}": (run.lower, run.upper) if k == dim else (0, n) for k, n in enumerate(shape)}
        if run.form is None:
            b.compute(f"{into.name}_outside", axes, lambda *i: literal(extrapolation, x.dtype), into=into)
            continue

        def element(*i: Expr, run: Segment = run) -> Reduce:
            def product(r: Expr) -> Expr:
                at = tuple(run.index(o) + r if k == dim else o for k, o in enumerate(i))
                return x[at] * cast(x.dtype, table[(i[dim], r)])

            return reduce_over("add", {f"r{dim}": width}, product)

        b.compute(f"{into.name}_filtered", axes, element, into=into)
    return into


def _table(
    b: FunctionBuilder, node: OpNode, name: str, v: Line, taps: int, width: int, cubic: bool
) -> Tensor:
    """Weights in float64: [o, j] is that of element first(o) + j for output o."""
    a, shift, d = v.form
    exclude = node.integer("exclude_outside", 0) != 0
    kernel = _cubic(node.number("cubic_coeff_a", -0.75)) if cubic else _tent

    def first(o: Expr) -> Expr:
        """ceil(p) - taps/2."""
        return (o * a + (shift + d - 1 - taps // 2 * d)) // d

    def raw(o: Expr, k: Expr) -> Expr:
        """h(scale * (first + k - p)); the fraction ceil(p) - p is a remainder of integers, so nothing is lost."""
        after = cast(F64, (o * -a - shift) % d) * literal(1 / d, F64)
        distance = (cast(F64, k - taps // 2) + after) * literal(float(v.scale), F64)
        value = kernel(Unary("abs", distance))
        if not exclude:
            return value
        i = first(o) + k
        return select(i >= 0, select(i < v.extent, value, zero(F64)), zero(F64))

    total = pointwise(
        b, f"{name}_total", (v.output,), lambda i: reduce_over("add", {"k": taps}, lambda k: raw(i[0], k))
    )

    def share(o: Expr, j: Expr, k: Expr) -> Expr:
        """What tap k gives to element j of the band: its weight where it is that element after clamping."""
        start = minimum(maximum(first(o), as_expr(0)), as_expr(v.extent - width))
        element = minimum(maximum(first(o) + k, as_expr(0)), as_expr(v.extent - 1))
        return select(eq(element, start + j), raw(o, k), zero(F64))

    weights = pointwise(
        b,
        f"{name}_shares",
        (v.output, width),
        lambda i: reduce_over("add", {"k": taps}, lambda k: share(i[0], i[1], k)),
    )
    return pointwise(
        b,
        f"{name}_weights",
        (v.output, width),
        lambda i: weights[i] / select(eq(total[i[0]], zero(F64)), one(F64), total[i[0]]),
    )


def _tent(x: Expr) -> Expr:
    """1 - x up to 1."""
    return maximum(one(F64) - x, zero(F64))


def _cubic(a: float) -> Callable[[Expr], Expr]:
    """Keys' kernel with coefficient `a` at distance x >= 0: two cubics, up to 1 and up to 2."""

    def kernel(x: Expr) -> Expr:
        near = ((x * (a + 2) - (a + 3)) * x) * x + 1
        far = ((x * a - 5 * a) * x + 8 * a) * x - 4 * a
        return select(x <= 1, near, select(x < 2, far, zero(F64)))

    return kernel
