"""Sliding windows of any rank: what convolutions and pools have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from polydl.dsl import FunctionBuilder, Tensor
from polydl.dsl.tensor import numbers
from polydl.ir.expr import Expr
from polydl.ops.common import zero
from polydl.ops.pieces import copy_pieces, identity_segments
from polydl.ops.registry import OpNode

__all__ = ["Window", "kernel_axes", "padded", "spatial_axes", "windows"]

_SPATIAL: Final = ("d", "h", "w")
_KERNEL: Final = ("q", "r", "s")


def spatial_axes(rank: int) -> tuple[str, ...]:
    """Names of the spatial axes: w; h, w; d, h, w; o0, o1, … beyond."""
    return _SPATIAL[3 - rank :] if rank <= 3 else tuple(f"o{d}" for d in range(rank))


def kernel_axes(rank: int) -> tuple[str, ...]:
    """Names of the axes over a window: s; r, s; q, r, s; r0, r1, … beyond."""
    return _KERNEL[3 - rank :] if rank <= 3 else tuple(f"r{d}" for d in range(rank))


@dataclass(frozen=True, slots=True)
class Window:
    """One spatial dimension: output `o`, tap `r` reads input `o*stride + r*dilation - before`."""

    extent: int  # of the input
    kernel: int
    stride: int
    dilation: int
    before: int  # padding
    after: int
    output: int

    def position(self, o: Expr, r: Expr) -> Expr:
        """The input position of a tap; outside 0 <= … < extent it lies in the padding."""
        start = o if self.stride == 1 else o * self.stride
        moved = start + (r if self.dilation == 1 else r * self.dilation)
        return moved - self.before if self.before else moved

    @property
    def reach(self) -> tuple[int, int]:
        """Padding that is really read, before and after; never negative."""
        last = (self.output - 1) * self.stride + (self.kernel - 1) * self.dilation - self.before
        return max(0, self.before), max(0, last - self.extent + 1)


def windows(node: OpNode, extents: Sequence[int], kernel: Sequence[int]) -> tuple[Window, ...]:
    """The windows of a Conv or pooling node over spatial `extents`."""
    rank = len(extents)
    strides = _list(node, "strides", rank, 1)
    dilations = _list(node, "dilations", rank, 1)
    pads = _list(node, "pads", 2 * rank, 0)
    auto = node.string("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.invalid(f"auto_pad is '{auto}'")
    if len(kernel) != rank or any(v <= 0 for v in (*kernel, *strides, *dilations)):
        raise node.invalid(
            f"kernel {tuple(kernel)}, strides {strides}, dilations {dilations} do not fit rank {rank}"
        )
    ceil_mode = node.integer("ceil_mode", 0)
    result = []
    for d, (n, k, s, dilation) in enumerate(zip(extents, kernel, strides, dilations, strict=True)):
        reach = (k - 1) * dilation + 1
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            output = -(-n // s)
            total = max(0, (output - 1) * s + reach - n)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
            after = total - before
        else:
            before, after = (0, 0) if auto == "VALID" else (pads[d], pads[d + rank])
            output = _output_size(n + before + after - reach, s, n + before, ceil_mode != 0)
        if output <= 0:
            raise node.invalid(
                f"the window of {reach} does not fit spatial dimension {d} of {n} (+{before}+{after})"
            )
        result.append(Window(n, k, s, dilation, before, after, output))
    return tuple(result)


def _output_size(room: int, stride: int, end_of_input: int, ceil_mode: bool) -> int:
    """Number of window positions; in ceil mode a window starting behind input and left padding is dropped."""
    if room < 0:
        return 0
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= end_of_input else count


def _list(node: OpNode, name: str, length: int, default: int) -> tuple[int, ...]:
    given = node.integers(name)
    if given is None:
        return (default,) * length
    if len(given) != length:
        raise node.invalid(f"{name} {given} should have {length} numbers")
    return given


def padded(b: FunctionBuilder, x: Tensor, halo: Sequence[tuple[int, int]]) -> Tensor:
    """`x` with zeros around it, `halo` (before, after) per dimension: itself if its index box has that halo already,
    else a temporary whose index box starts at -before."""
    whole = b.tensor(x.name)
    low, extent = numbers(whole.origin, x.name), whole.extents
    if all(
        o <= -lo and n + hi <= o + e for (lo, hi), n, o, e in zip(halo, x.extents, low, extent, strict=True)
    ):
        return whole
    lower = tuple(-lo for lo, _ in halo)
    shape = tuple(n + lo + hi for n, (lo, hi) in zip(x.extents, halo, strict=True))
    into = b.temporary(f"{x.name}_pad", shape, x.dtype, lower=lower if any(lower) else ())
    maps = [identity_segments(n, lo, hi) for n, (lo, hi) in zip(x.extents, halo, strict=True)]
    return copy_pieces(b, into, x, maps, zero(x.dtype))
