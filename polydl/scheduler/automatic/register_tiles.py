"""Register tiles for updates in programs with symbolic or ragged domains.

    C[p, v] += A[p, k] * B[k, v]      band(k.o, p.o, v.o, k.i, p.i [unroll], v.i.o [unroll], v.i.i [vector])
    C[p, q] += A[p, k] * B[q, k]      band(k.o, p.o, q.o, k.i.o, p.i [unroll], q.i [unroll], k.i.i [vector])

The first where the stored array is contiguous along an axis along which an operand is too, the second where operands
are contiguous along the reduction. `k.o` cuts the reduction so that the panel of an operand that all rows of tiles
read stays in the second-level cache. Full tiles are separated from the others, in domains of any shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from typing import Final

from polydl.dsl.function import StatementDef
from polydl.ir.expr import Load
from polydl.poly.affine import dim
from polydl.poly.tree import Member
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.strategy import Part, innermost_bands
from polydl.scheduler.bindings import Parallel, Unroll, Vectorize
from polydl.scheduler.loops import Reorder, Split
from polydl.scheduler.recipes.common import attempt, reads, uses
from polydl.scheduler.recipes.written import parallel, row_stride, vectorised
from polydl.scheduler.schedule import Schedule, Transform
from polydl.targets import Target

__all__ = ["register_tiles"]

_VECTORS: Final = 2  # of columns: tiles of 14x2 vectors reach the multiply-add peak
_TYPICAL: Final = 1024  # extent assumed of symbolic axes when the cache is shared out


@dataclass(frozen=True, slots=True)
class _Shape:
    rows: str  # axis
    columns: str
    reduced: str
    lanes_along_reduction: bool


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
    loop_of = _axes(loops, s)
    shape = _shape(schedule, s, loop_of, len(loops))
    if shape is None:
        return None
    size = max(schedule.function.tensor(s.target).dtype.bytes, *(x.dtype.bytes for x in reads(s)))
    lanes = target.lanes(size)
    panel = _panel(target, size, lanes)
    p, q, k = (loop_of[a] for a in (shape.rows, shape.columns, shape.reduced))
    others = tuple(n for n in names if n not in (p, q, k))
    operands = len([x for x in reads(s) if uses_any(x, shape.columns)])
    cut: list[Transform]
    if shape.lanes_along_reduction:
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


def _axes(loops: list[Member], s: StatementDef) -> dict[str, str]:
    """The loop that runs over each axis."""
    found = {}
    for a in s.axes:
        for m in loops:
            if m.expr(s.name) == dim(a.name):
                found[a.name] = m.name
    return found


def uses_any(x: Load, axis: str) -> bool:
    """Whether an element depends on an axis."""
    return any(uses(i, axis) for i in x.index)


def _shape(schedule: Schedule, s: StatementDef, loop_of: dict[str, str], count: int) -> _Shape | None:
    """The axes of the tile, or None where the statement is no update that a tile suits."""
    if s.op is None or len(loop_of) != count or len(loop_of) < 3:
        return None
    stored = [a for a in loop_of if any(uses(i, a) for i in s.index)]
    reduced = [a for a in loop_of if a not in stored]
    operands = reads(s)
    if not reduced or len(stored) < 2:
        return None
    for v in (a for a in stored if row_stride(s.index, a) == 1):
        strides = [row_stride(x.index, v) for x in operands]
        rows = [a for a in stored if a != v and any(not uses_any(x, a) and uses_any(x, v) for x in operands)]
        if None not in strides and 1 in strides and rows:
            return _Shape(rows[-1], v, reduced[-1], False)
    for k in reduced:
        strides = [row_stride(x.index, k) for x in operands]
        if None in strides or strides.count(1) < 2:
            continue
        pairs = [
            (p, q)
            for p in stored
            for q in stored
            if p != q
            and any(uses_any(x, p) and not uses_any(x, q) for x in operands)
            and any(uses_any(x, q) and not uses_any(x, p) for x in operands)
        ]
        if pairs:
            return _Shape(*pairs[0], k, True)
    return None
