"""Where the elements of a resized dimension lie in the input, as exact rationals.

An output position o lies at `(A*o + B) / D`, by the coordinate modes of ONNX's Resize.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from polydl.ops.pieces import Form
from polydl.ops.registry import OpNode

__all__ = ["Line", "line", "rational"]


@dataclass(frozen=True, slots=True)
class Line:
    """One dimension, resized by `scale`: output o lies at `slope*o + start` among `extent` input elements."""

    extent: int
    output: int
    slope: Fraction
    start: Fraction
    crop: bool = False  # positions outside 0 … extent - 1 take the extrapolation value
    scale: Fraction = Fraction(1)

    def at(self, o: int) -> Fraction:
        return self.slope * o + self.start

    def outside(self, o: int) -> bool:
        return self.crop and not 0 <= self.at(o) <= self.extent - 1

    @property
    def form(self) -> Form:
        """(A, B, D)."""
        d = lcm(self.slope.denominator, self.start.denominator)
        return int(self.slope * d), int(self.start * d), d

    @property
    def trivial(self) -> bool:
        return self.extent == self.output and self.slope == 1 and self.start == 0


def rational(value: float) -> Fraction:
    """The simplest fraction that the float32 `value` may stand for: 0.6f is 3/5."""
    exact = Fraction(value)
    simple = exact.limit_denominator(4096)
    return simple if abs(simple - exact) <= abs(exact) * Fraction(1, 1 << 24) else exact


def line(
    node: OpNode, mode: str, extent: int, output: int, scale: Fraction, roi: tuple[Fraction, Fraction] | None
) -> Line:
    """The coordinates of one dimension. As in the standard, its output width is `scale * extent`, maybe no integer."""
    if scale <= 0:
        raise node.invalid(f"scale {float(scale)}")
    slope, start = _transform(node, mode, extent, output, scale, roi)
    return Line(extent, output, slope, start, mode == "tf_crop_and_resize", scale)


def _transform(
    node: OpNode, mode: str, extent: int, output: int, scale: Fraction, roi: tuple[Fraction, Fraction] | None
) -> tuple[Fraction, Fraction]:
    """Slope and start."""
    half, width = Fraction(1, 2), scale * extent
    match mode:
        case "asymmetric":
            return 1 / scale, Fraction(0)
        case "half_pixel":
            return 1 / scale, half / scale - half
        case "pytorch_half_pixel":
            return (Fraction(0), -half) if width == 1 else (1 / scale, half / scale - half)
        case "half_pixel_symmetric":
            centre = Fraction(extent, 2) * (1 - output / width)
            return 1 / scale, centre + half / scale - half
        case "align_corners":
            return Fraction(0) if width == 1 else (extent - 1) / (width - 1), Fraction(0)
        case "tf_half_pixel_for_nn":
            return 1 / scale, half / scale
        case "tf_crop_and_resize":
            low, high = roi if roi is not None else (Fraction(0), Fraction(1))
            span, first = (high - low) * (extent - 1), low * (extent - 1)
            return (Fraction(0), span / 2 + first) if width == 1 else (span / (width - 1), first)
        case _:
            raise node.refuse("unknown coordinates", attribute="coordinate_transformation_mode")
