"""Strided vectors as shuffles of contiguous ones.

A column of a tile of rows is one output of a network that transposes the tile: log2(n) rounds, each of which combines
two vectors. Every column asks for its own path through the network; the builder writes what columns share once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from polydl.codegen.llvm.builder import FunctionBuilder
from polydl.codegen.llvm.values import Value

__all__ = ["column", "every", "slid", "turn"]

_ANY: Final = -1  # whatever element
_SEGMENT: Final = (
    16  # bytes: shuffles within such parts of a vector are one cheap instruction on every machine
)


def column(b: FunctionBuilder, rows: Sequence[Value], k: int) -> Value:
    """Element `k` of each of the vectors `rows`; their number is a multiple of their length, both powers of two.

    Within 16-byte segments rounds interleave (a0 b0 a1 b1), then rounds of whole segments (a0 a2 b0 b2) put the
    segments in order: all of them single instructions of x86 and ARM.
    """
    width = rows[0].lanes
    parts = [_square(b, rows[r : r + width], k) for r in range(0, len(rows), width)]
    while len(parts) > 1:
        parts = [_join(b, x, y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def every(
    b: FunctionBuilder, pieces: Sequence[Value], starts: Sequence[int], stride: int, count: int
) -> Value:
    """Elements 0, stride, 2*stride, … of a run whose elements `starts[i]`, … the vector `pieces[i]` holds.

    There are `count` of them; further lanes hold anything.
    """
    width = lanes = pieces[0].lanes
    where: list[tuple[int, int]] = []  # for each lane the piece, as late as possible, and the place in it
    for i in range(count):
        piece = max(p for p, start in enumerate(starts) if start <= i * stride)
        where.append((piece, i * stride - starts[piece]))
    total = pieces[0]
    if len(pieces) == 1:
        return _shuffle(b, total, total, [place for _, place in where] + [_ANY] * (lanes - count))
    for p in range(1, len(pieces)):
        mask = [_ANY] * lanes
        for i, (piece, place) in enumerate(where):
            if piece == p:
                mask[i] = width + place
            elif piece < p:  # in its place already, but for the first piece
                mask[i] = i if p > 1 else place
        total = _shuffle(b, total, pieces[p], mask)
    return total


def slid(b: FunctionBuilder, low: Value, high: Value, by: int) -> Value:
    """The elements from `by` on of `low` followed by `high`, as many as one of them has."""
    return _shuffle(b, low, high, range(by, by + low.lanes))


def turn(b: FunctionBuilder, x: Value) -> Value:
    """The lanes from the last to the first."""
    return _shuffle(b, x, x, range(x.lanes - 1, -1, -1))


def _square(b: FunctionBuilder, rows: Sequence[Value], k: int) -> Value:
    """Column `k` of as many rows as they are long."""
    width = len(rows)
    if width == 1:
        return rows[0]
    segment = min(width, _SEGMENT // rows[0].dtype.bytes)
    lane, place = divmod(k, segment)
    groups = [_interleaved(b, rows[g : g + segment], place, segment) for g in range(0, width, segment)]
    return _segments(b, groups, lane, segment)


def _interleaved(b: FunctionBuilder, rows: Sequence[Value], k: int, segment: int) -> Value:
    """In each segment, element `k` of that segment of all rows (new[2i], new[2i+1] = zip(old[i], old[i + n/2]))."""
    half = len(rows) // 2

    def row(after: int, number: int) -> Value:
        """Row `number` after so many rounds, by way of its ancestors."""
        if after == 0:
            return rows[number]
        i = number // 2
        return _zip(b, row(after - 1, i), row(after - 1, i + half), segment, number % 2)

    return row(len(rows).bit_length() - 1, k)


def _zip(b: FunctionBuilder, x: Value, y: Value, segment: int, high: int) -> Value:
    """x0 y0 x1 y1 … of the low or high half of each segment."""
    half = segment // 2
    mask = []
    for start in range(0, x.lanes, segment):
        for i in range(half):
            mask += [start + high * half + i, x.lanes + start + high * half + i]
    return _shuffle(b, x, y, mask)


def _segments(b: FunctionBuilder, groups: Sequence[Value], lane: int, segment: int) -> Value:
    """Segment `lane` of each of the groups, in order (new[i], new[i + n/2] = unzip(old[2i], old[2i+1]))."""
    half = len(groups) // 2

    def row(after: int, number: int) -> Value:
        if after == 0:
            return groups[number]
        i = number % half
        return _unzip(b, row(after - 1, 2 * i), row(after - 1, 2 * i + 1), segment, number // half)

    return row(len(groups).bit_length() - 1, lane)


def _unzip(b: FunctionBuilder, x: Value, y: Value, segment: int, odd: int) -> Value:
    """The even (odd) segments of x, then of y."""
    mask = [
        base + s * segment + i
        for base in (0, x.lanes)
        for s in range(odd, x.lanes // segment, 2)
        for i in range(segment)
    ]
    return _shuffle(b, x, y, mask)


def _join(b: FunctionBuilder, x: Value, y: Value) -> Value:
    """x followed by y."""
    return _shuffle(b, x, y, list(range(x.lanes + y.lanes)))


def _shuffle(b: FunctionBuilder, x: Value, y: Value, mask: Sequence[int]) -> Value:
    indices = ", ".join(f"i32 {'poison' if i == _ANY else i}" for i in mask)
    rhs = f"shufflevector {x.type} {x.text}, {y.type} {y.text}, <{len(mask)} x i32> <{indices}>"
    return b.pure(rhs, (x, y), x.dtype, len(mask))
