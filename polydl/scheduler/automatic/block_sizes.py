"""Sizes of the blocks of a contraction: register tiles, and what of the operands each cache holds."""

from __future__ import annotations

from dataclasses import dataclass

from polydl.targets import Target

__all__ = ["BlockSizes", "block_sizes"]


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """Sizes of tiles: of the register tile (lanes along the columns), and of the blocks for the caches."""

    lanes: int
    tile_rows: int
    tile_columns: int
    rows: int
    columns: int
    reduced: int


def block_sizes(wide: int, tall: int, size: int, target: Target) -> BlockSizes:
    """For so many operands that vary along the columns, and along the rows, of elements of `size` bytes.

    Half of the first cache holds a panel of rows, a quarter of the second a block of them, a quarter of the last one a
    block of columns.
    """
    lanes = target.lanes(size)
    vectors, rows = _tile(target.vector_registers - 1, lanes, wide)
    columns = vectors * lanes
    reduced = max(8, target.l1d_bytes // 2 // (size * rows * tall) // 8 * 8)
    some_rows = max(1, target.l2_bytes // 4 // (size * reduced * tall) // rows) * rows
    many = max(1, target.l3_bytes // 4 // (size * reduced * wide) // columns) * columns
    return BlockSizes(lanes, rows, columns, some_rows, many, reduced)


def _tile(registers: int, lanes: int, wide: int) -> tuple[int, int]:
    """Vectors and rows of the register tile that takes the fewest loads, and lines to load from, for each multiply-add.

    In each step of the reduction every vector and every row is loaded. The rows are a power of two: panels of rows are
    transposed by whole vectors. A product of 1000 x 1100 x 1200 in float64 on Zen 5, in turns: 27.5 ms with 3 vectors
    by 8 rows, 28.2 with 4 by 6, 28.7 with 2 by 8; 31.1 with 2 by 14 on rows as they lie.
    """
    found = []
    for vectors in range(1, registers):
        room = (registers - vectors * wide) // vectors
        if room > 0:
            found.append((vectors, 1 << (room.bit_length() - 1)))
    return min(found, key=lambda t: (2 * wide * t[0] + t[1] * (1 + 1 / lanes)) / (t[0] * t[1]))
