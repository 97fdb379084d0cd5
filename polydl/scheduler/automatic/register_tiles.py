"""Register tiles for updates in programs with symbolic or ragged domains.

    C[p, v] += A[p, k] * B[k, v]      band(k.o, p.o, v.o, k.i, p.i [unroll], v.i.o [unroll], v.i.i [vector])
    C[p, q] += A[p, k] * B[q, k]      band(k.o, p.o, q.o, k.i.o, p.i [unroll], q.i [unroll], k.i.i [vector])

The first where the stored array is contiguous along an axis along which an operand is too, the second where operands
are contiguous along the reduction. `k.o` cuts the reduction so that the panel of an operand that all rows of tiles
read stays in the second-level cache. Full tiles are separated from the others, in domains of any shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import Final

from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.apart import axis_of
from polydl.scheduler.automatic.strategy import Part, innermost_bands
from polydl.scheduler.automatic.updates import update_of
from polydl.scheduler.bindings import Parallel, Unroll, Vectorize
from polydl.scheduler.loops import Reorder, Split
from polydl.scheduler.recipes.common import attempt, reads, uses
from polydl.scheduler.recipes.written import parallel, vectorised
from polydl.scheduler.schedule import Schedule, Transform
from polydl.targets import Target

__all__ = ["register_tiles"]

_VECTORS: Final = 2  # of columns: tiles of 14x2 vectors reach the multiply-add peak
_TYPICAL: Final = 1024  # extent assumed of symbolic axes when the cache is shared out


def register_tiles(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The part with register tiles where they apply, vectors elsewhere."""
    found = False
    for names in [
        tuple(m.name for m in band.members) for band in innermost_bands(part.subtree(schedule.tree))
    ]:
        tiled = _register_tile(schedule, names, target)
        found = found or tiled is not None
        schedule = tiled or vectorised(schedule, names, target)
    if found:
        yield parallel(schedule, part.statements)


def _register_tile(schedule: Schedule, names: tuple[str, ...], target: Target) -> Schedule | None:
    """The schedule with the band of loops `names`, around one reduction alone, in register tiles; None if that does
    not apply or is illegal."""
    loops = [schedule.member(n) for n in names]
    statements = {s for m in loops for s, _ in m.exprs}
    if len(statements) != 1 or not schedule.reassociate:
        return None
    s = schedule.statement(statements.pop())
    update = update_of(schedule, s.name, names)
    if update is None:
        return None
    size = max(schedule.function.tensor(s.target).dtype.bytes, *(x.dtype.bytes for x in reads(s)))
    lanes = target.lanes(size)
    panel = _panel(target, size, lanes)
    p, q, k = update.rows, update.columns, update.reduced
    others = tuple(n for n in names if n not in (p, q, k))
    along = axis_of(schedule.member(q).expr(s.name))
    operands = sum(any(uses(i, along) for i in x.index) for x in reads(s))
    cut: list[Transform]
    if update.lanes_along_reduction:
        rows = max(2, isqrt(target.vector_registers - 4) - 1 if operands == 1 else 3)
        cut = [Split(k, panel), Split(f"{k}.i", lanes), Split(p, rows), Split(q, rows)]
        order = (*others, f"{k}.o", f"{p}.o", f"{q}.o", f"{k}.i.o", f"{p}.i", f"{q}.i", f"{k}.i.i")
        unrolled, vector = (f"{p}.i", f"{q}.i"), f"{k}.i.i"
        tiles: tuple[str, ...] = (f"{p}.o", f"{q}.o", f"{k}.i.o")
    else:
        rows = max(1, target.tile_rows(_VECTORS) // operands)
        cut = [Split(k, panel), Split(p, rows), Split(q, _VECTORS * lanes), Split(f"{q}.i", lanes)]
        order = (*others, f"{k}.o", f"{p}.o", f"{q}.o", f"{k}.i", f"{p}.i", f"{q}.i.o", f"{q}.i.i")
        unrolled, vector = (f"{p}.i", f"{q}.i.o"), f"{q}.i.i"
        tiles = (f"{p}.o", f"{q}.o")
    done = attempt(schedule, *cut, Reorder(order))
    if done is None:
        return None
    separated = attempt(done, SeparateTiles(tiles))
    if separated is None:
        return None
    done = attempt(separated, *(Unroll(n) for n in unrolled), Vectorize(vector))
    if done is None:
        return None
    done = attempt(done, Vectorize(f"{vector}.tail")) or done
    for name in (*others, f"{p}.o"):
        parallel = attempt(done, Parallel(name))
        if parallel is not None:
            return parallel
    return done


def _panel(target: Target, size: int, lanes: int) -> int:
    """How much of the reduction one pass takes: its panel of a typical operand fills the second-level cache."""
    fitting = target.l2_bytes // (size * _TYPICAL)
    return max(8, fitting // 8) * 8 if lanes <= 8 else max(lanes, fitting // lanes * lanes)
