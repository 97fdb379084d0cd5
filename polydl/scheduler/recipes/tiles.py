"""Register tiles: how many accumulators of which shape, by a small model of the core.

A contraction's inner step multiplies `vectors` vectors of one operand with `pixels` broadcast scalars of the other and
adds to `vectors * pixels` accumulators. Per step the core issues `fma_ports` multiply-adds and `load_ports` loads a
cycle; fewer accumulators than latency times ports leave the pipes waiting. The vector operand streams from the
second-level cache once for each tile of pixels: what of that is not hidden speaks for tall tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from polydl.targets import Target

__all__ = ["RegisterTile", "choose_tile"]

_FMA_PORTS = 2
_LOAD_PORTS = 2
_LATENCY = 4  # cycles of a multiply-add
_STREAM = 0.2  # cycles of loading one vector from the second-level cache that stay visible
_TILE_OVERHEAD = 24  # cycles to start and finish one tile: initialisation, epilogue, loop control


@dataclass(frozen=True, slots=True)
class RegisterTile:
    """`rows` x `columns` pixels (rows of the second pixel axis) by `vectors` vectors."""

    rows: int
    columns: int
    vectors: int


def _step_cycles(pixels: int, vectors: int) -> float:
    products = pixels * vectors
    issue = max(products / _FMA_PORTS, (pixels + vectors) / _LOAD_PORTS, _LATENCY if products else 0)
    return issue + _STREAM * vectors


def _pieces(extent: int, tile: int) -> list[tuple[int, int]]:
    """(size, count) of the tiles that cover an extent."""
    full, rest = divmod(extent, tile)
    return [(size, count) for size, count in ((tile, full), (rest, 1)) if size and count]


@lru_cache(maxsize=4096)
def choose_tile(
    rows: int, columns: int, vectors: int, steps: int, target: Target, most: int | None = None
) -> RegisterTile:
    """The cheapest tile for `rows x columns` pixels, `vectors` vectors and `steps` inner steps per tile; of at most
    `most` columns."""
    registers = target.vector_registers
    best: tuple[float, RegisterTile] | None = None
    for v in range(1, min(vectors, 6) + 1):
        limit = (registers - 1 - v) // v
        for c in range(1, min(columns, limit, most or limit) + 1):
            for r in range(1, min(rows, limit // c) + 1 if c == columns else 2):
                cost = 0.0
                for pv, nv in _pieces(vectors, v):
                    for pc, nc in _pieces(columns, c):
                        for pr, nr in _pieces(rows, r):
                            cost += nv * nc * nr * (steps * _step_cycles(pr * pc, pv) + _TILE_OVERHEAD)
                if best is None or cost < best[0] * 0.999:
                    best = cost, RegisterTile(r, c, v)
    return best[1] if best is not None else RegisterTile(1, 1, 1)
