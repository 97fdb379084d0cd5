"""Resize and Upsample: coordinates are exact rationals, so positions are quasi-affine and weights are periodic.

An output position o of one dimension lies at `(A*o + B) / D` in the input. Nearest is an index map; linear and cubic
run one dimension after the other, each output element a short sum over neighbours, with the runs at the borders (where
neighbours are clamped) split off so that every subscript stays affine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from itertools import groupby
from math import ceil, floor, prod
from typing import Any

from polydl.dsl import FunctionBuilder, Tensor
from polydl.dtypes import F32, F64, DType
from polydl.ir.expr import Expr, as_expr, call, cast
from polydl.ops.antialias import filtered
from polydl.ops.common import literal, normal_axes, pointwise
from polydl.ops.coordinates import Line, line, rational
from polydl.ops.pieces import Segment, copy_pieces, segments
from polydl.ops.registry import OpNode, operator

__all__ = ["resize", "upsample"]


@operator("Upsample", static=(1,))
def upsample(b: FunctionBuilder, node: OpNode, x: Tensor, scales: Tensor | None = None) -> Tensor:
    """Opsets 7 to 9: Resize as opset 10 has it."""
    if 0 in x.extents or 0 in node.shape:
        return _nothing(b, node, x)
    if node.opset < 9:
        factors = [rational(v) for v in node.numbers("scales")]
        return _resize(b, node, x, factors, "asymmetric", "simple", None)
    return _resize(b, node, x, _scales(node, 1, scales), "asymmetric", "simple", None)


@operator("Resize", static=lambda opset: (1,) if opset < 11 else (1, 2, 3))
def resize(
    b: FunctionBuilder,
    node: OpNode,
    x: Tensor,
    second: Tensor | None = None,
    third: Tensor | None = None,
    fourth: Tensor | None = None,
) -> Tensor:
    """Inputs: scales (opset 10); roi, scales, sizes (from 11).

    Opset 10 knows no coordinate modes: asymmetric, and the nearest is "simple": floor, but ceil where it shrinks.
    """
    if 0 in x.extents or 0 in node.shape:
        return _nothing(b, node, x)
    if node.opset < 11:
        return _resize(b, node, x, _scales(node, 1, second), "asymmetric", "simple", None)
    coordinates = node.string("coordinate_transformation_mode", "half_pixel")
    nearest = node.string("nearest_mode", "round_prefer_floor")
    given = node.integers("axes")
    axes = normal_axes(node, given if given is not None else range(x.rank), x.rank)
    factors, roi = (
        _scales(node, 2, third),
        node.static(1, second) if coordinates == "tf_crop_and_resize" else None,
    )
    if not factors:
        factors = _scales_of_sizes(node, [x.extents[a] for a in axes], node.static_ints(3, fourth))
    if len(factors) != len(axes):
        raise node.invalid(f"{len(factors)} scales for {len(axes)} axes")
    by_axis = dict(zip(axes, factors, strict=True))
    window = None
    if roi is not None and roi.size:
        if roi.size != 2 * len(axes):
            raise node.invalid(f"a roi of {roi.size} numbers for {len(axes)} axes")
        low, high = roi.reshape(2, -1)
        window = {a: (rational(float(low[k])), rational(float(high[k]))) for k, a in enumerate(axes)}
    return _resize(
        b, node, x, [by_axis.get(d, Fraction(1)) for d in range(x.rank)], coordinates, nearest, window
    )


def _nothing(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    """An empty result; a result that has elements cannot come from an empty input."""
    if 0 not in node.shape:
        raise node.invalid(f"{list(x.extents)} cannot become {list(node.shape)}")
    return b.temporary(node.output, node.shape, x.dtype)


def _scales(node: OpNode, i: int, given: Tensor | None) -> list[Fraction]:
    value = node.static(i, given)
    return [] if value is None else [rational(float(v)) for v in value.reshape(-1)]


def _scales_of_sizes(node: OpNode, extents: Sequence[int], sizes: Sequence[int] | None) -> list[Fraction]:
    if sizes is None or len(sizes) != len(extents):
        raise node.invalid("neither scales nor sizes for every axis")
    factors = [Fraction(s, n) for s, n in zip(sizes, extents, strict=True)]
    match node.string("keep_aspect_ratio_policy", "stretch"):
        case "stretch":
            return factors
        case "not_larger":
            return [min(factors)] * len(factors)
        case "not_smaller":
            return [max(factors)] * len(factors)
        case other:
            raise node.refuse(f"unknown policy {other}", attribute="keep_aspect_ratio_policy")


def _resize(
    b: FunctionBuilder,
    node: OpNode,
    x: Tensor,
    scales: Sequence[Fraction],
    coordinates: str,
    nearest: str,
    roi: dict[int, tuple[Fraction, Fraction]] | None,
) -> Tensor:
    if len(scales) != x.rank or len(node.shape) != x.rank:
        raise node.invalid(f"{len(scales)} scales for {x.rank} dimensions")
    lines = [
        Line(n, m, Fraction(1), Fraction(0))
        if scale == 1 and n == m and (roi is None or d not in roi)
        else line(node, coordinates, n, m, scale, roi.get(d) if roi is not None else None)
        for d, (n, m, scale) in enumerate(zip(x.extents, node.shape, scales, strict=True))
    ]
    extrapolation = node.number("extrapolation_value", 0.0)
    mode = node.string("mode", "nearest")
    if mode == "nearest":
        return _nearest(b, node, x, lines, nearest, extrapolation)
    if mode not in ("linear", "bilinear", "cubic"):
        raise node.refuse("unknown interpolation", attribute="mode")
    return _interpolated(b, node, x, lines, mode == "cubic", extrapolation)


_ROUND: dict[str, Callable[[Fraction], int]] = {
    "floor": floor,
    "ceil": ceil,
    "round_prefer_floor": lambda v: ceil(v - Fraction(1, 2)),
    "round_prefer_ceil": lambda v: floor(v + Fraction(1, 2)),
}


def _nearest(
    b: FunctionBuilder, node: OpNode, x: Tensor, lines: Sequence[Line], rounding: str, extrapolation: float
) -> Tensor:
    if rounding not in _ROUND and rounding != "simple":
        raise node.refuse("unknown rounding", attribute="nearest_mode")
    maps = [
        _nearest_map(v, ("ceil" if v.slope > 1 else "floor") if rounding == "simple" else rounding)
        for v in lines
    ]
    outside = literal(extrapolation, x.dtype) if any(s.form is None for m in maps for s in m) else None
    if prod(len(m) for m in maps) <= 16:
        return copy_pieces(b, b.temporary(node.output, node.shape, x.dtype), x, maps, outside)
    value = x
    todo = [d for d, v in enumerate(lines) if not v.trivial]
    for d in todo:  # too many boxes: one dimension at a time
        shape = [lines[d].output if k == d else n for k, n in enumerate(value.extents)]
        own = [maps[d] if k == d else (Segment(0, n, (1, 0, 1)),) for k, n in enumerate(value.extents)]
        name = node.output if d == todo[-1] else f"{node.output}_along{d}"
        value = copy_pieces(b, b.temporary(name, shape, x.dtype), value, own, outside)
    return value


def _nearest_map(v: Line, rounding: str) -> tuple[Segment, ...]:
    mapping = [
        None if v.outside(o) else min(max(_ROUND[rounding](v.at(o)), 0), v.extent - 1)
        for o in range(v.output)
    ]
    a, shift, d = v.form
    forms = {  # floor, ceil and the roundings of (a*o + shift) / d as floor divisions
        "floor": (a, shift, d),
        "ceil": (a, shift + d - 1, d),
        "round_prefer_floor": (2 * a, 2 * shift + d - 1, 2 * d),
        "round_prefer_ceil": (2 * a, 2 * shift + d, 2 * d),
    }
    return segments(mapping, hints=[forms[rounding]])


def _interpolated(
    b: FunctionBuilder, node: OpNode, x: Tensor, lines: Sequence[Line], cubic: bool, extrapolation: float
) -> Tensor:
    """One pass per dimension that changes, those that shrink most first.

    Integers are interpolated in a float type that holds them and rounded to the nearest, as ONNX's reference does.
    """
    work = x.dtype if x.dtype.is_float else F32 if x.dtype.bits <= 16 else F64
    todo = sorted(
        (d for d, v in enumerate(lines) if not v.trivial),
        key=lambda d: Fraction(lines[d].output, lines[d].extent),
    )
    value = (
        x if work == x.dtype else pointwise(b, f"{node.output}_float", x.extents, lambda i: cast(work, x[i]))
    )
    for d in todo:
        last = d == todo[-1] and work == x.dtype
        name = node.output if last else f"{node.output}_along{d}"
        if node.integer("antialias", 0) and lines[d].scale < 1:
            value = filtered(b, node, name, value, lines[d], d, cubic, extrapolation)
        else:
            value = _pass(b, node, name, value, lines[d], d, cubic, extrapolation)
    if todo and work == x.dtype:
        return value
    if work == x.dtype:
        return pointwise(b, node.output, node.shape, lambda i: value[i])
    return pointwise(b, node.output, node.shape, lambda i: cast(x.dtype, call("round_even", value[i])))


def _pass(
    b: FunctionBuilder,
    node: OpNode,
    name: str,
    x: Tensor,
    v: Line,
    dim: int,
    cubic: bool,
    extrapolation: float,
) -> Tensor:
    taps = range(-1, 3) if cubic else range(2)
    exclude = cubic and node.integer("exclude_outside", 0) != 0
    a = node.number("cubic_coeff_a", -0.75)
    shape = [v.output if d == dim else n for d, n in enumerate(x.extents)]
    into = b.temporary(name, shape, x.dtype)

    def pattern(o: int) -> tuple[int, ...] | None:
        """Per tap -1 before, 0 inside, 1 behind the input; None where there is no source at all."""
        positions = [floor(v.at(o)) + k for k in taps]
        return None if v.outside(o) else tuple((p >= v.extent) - (p < 0) for p in positions)

    for where, run in groupby(range(v.output), key=pattern):
        box = list(run)
        axes = {f"i{d}": (box[0], box[-1] + 1) if d == dim else (0, n) for d, n in enumerate(shape)}

        def body(*i: Expr, where: tuple[int, ...] | None = where, box: list[int] = box) -> Expr:
            if where is None:
                return literal(extrapolation, x.dtype)
            weights = _weights(v, box, i[dim], x.dtype, cubic, a)
            sides = dict(zip(taps, where, strict=True))
            used = [k for k in taps if weights[k] != 0 and not (exclude and sides[k])]
            if not used:
                return literal(0, x.dtype)
            terms: list[Expr] = []
            for k in used:
                at = tuple(_tap(v, k, sides[k], o) if d == dim else o for d, o in enumerate(i))
                terms.append(x[at] * weights[k])
            total = reduce(lambda p, q: p + q, terms)
            if not (exclude and any(where)):
                return total
            return total / as_expr(reduce(lambda p, q: p + q, [weights[k] for k in used]), x.dtype)

        b.compute(f"{into.name}_run", axes, body, into=into)
    return into


def _tap(v: Line, k: int, side: int, o: Expr) -> Expr:
    if side:
        return as_expr(0 if side < 0 else v.extent - 1)
    a, shift, d = v.form
    return Segment(
        0, v.output, (a // d, shift // d + k, 1) if a % d == 0 and shift % d == 0 else (a, shift + k * d, d)
    ).index(o)


def _weights(
    v: Line, box: Sequence[int], o: Expr, dtype: DType, cubic: bool, a: float
) -> dict[int, Expr | float]:
    """The taps' weights at the distance t = frac((A*o + B) / D): numbers where t is the same in the whole run."""
    fractions = {v.at(k) - floor(v.at(k)) for k in box}
    slope, shift, d = v.form
    if len(fractions) == 1:
        return _kernel(float(fractions.pop()), cubic, a)
    return _kernel(cast(dtype, (o * slope + shift) % d) * literal(1 / d, dtype), cubic, a)


def _kernel(t: Any, cubic: bool, a: float) -> dict[int, Any]:
    """The interpolation kernel at distance t from the left neighbour; `a` is the cubic coefficient."""
    if not cubic:
        return {0: 1 - t, 1: t}

    def near(u: Any) -> Any:  # at distance u <= 1
        return (u * (a + 2) - (a + 3)) * u * u + 1

    def far(u: Any) -> Any:  # at distance 1 <= u <= 2
        return ((u * a - 5 * a) * u + 8 * a) * u - 4 * a

    return {-1: far(t + 1), 0: near(t), 1: near(1 - t), 2: far(2 - t)}
