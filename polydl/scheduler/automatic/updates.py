"""Register tiles for one update that no other statement interrupts.

    C[p, v] += A[p, k] * B[k, v]      band(p.o, v.o, k, p.i [unroll], v.i.o [unroll], v.i.i [vector])
    C[p, q] += A[p, k] * B[q, k]      band(p.o, q.o, k.o, p.i [unroll], q.i [unroll], k.i [vector])

The first where the stored array is contiguous along an axis along which an operand is too, the second where the
operands are contiguous along the reduction. `k` is one block of the reduction already: the operands are small enough
for the caches, and each tile of C is loaded and stored once per block. Rows may run downwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from polydl.ir.expr import Load
from polydl.poly.affine import Affine, FloorDiv, Mod
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.apart import axis_of
from polydl.scheduler.bindings import Parallel, Unroll, Vectorize
from polydl.scheduler.loops import Reorder, Split
from polydl.scheduler.recipes.common import attempt, reads, uses
from polydl.scheduler.recipes.written import row_stride
from polydl.scheduler.schedule import Schedule, Transform
from polydl.targets import Target

__all__ = ["Update", "update_of", "update_tiled"]

_VECTORS: Final = 2  # columns of a register tile
_ROWS: Final = (12, 8, 6, 4, 3, 2, 1)  # divide the blocks of 48, so that no tile sticks out of one
_SQUARE: Final = 4  # rows and columns of a tile with lanes along the reduction


@dataclass(frozen=True, slots=True)
class Update:
    """The loops of an update: rows and columns of its tile, the reduction, and whether lanes go along the latter."""

    rows: str
    columns: str
    reduced: str
    lanes_along_reduction: bool


def update_of(schedule: Schedule, statement: str, loops: tuple[str, ...]) -> Update | None:
    """How the statement is a sum of products over `loops`; None where it is none that a register tile suits.

    Of several reductions, lanes go along the first that suits; otherwise the innermost is the one of the tile.
    """
    s = schedule.statement(statement)
    times = {n: schedule.member(n).expr(statement) for n in loops}
    loop_of = {axis_of(_upwards(e)): n for n, e in times.items()}
    downwards = {a for a, n in loop_of.items() if axis_of(times[n]) != a}
    if s.op is None or "" in loop_of or len(loop_of) != len(loops):
        return None
    stored = [a for a in loop_of if any(uses(i, a) for i in s.index)]
    reduced = [a for a in loop_of if a not in stored]
    if len(stored) < 2 or not reduced or downwards & set(reduced):
        return None
    operands = reads(s)
    for v in (a for a in stored if row_stride(s.index, a) == 1 and a not in downwards):
        strides = [row_stride(x.index, v) for x in operands]
        rows = [a for a in stored if a != v and any(not _uses(x, a) and _uses(x, v) for x in operands)]
        if None not in strides and 1 in strides and rows:
            return Update(loop_of[rows[-1]], loop_of[v], loop_of[reduced[-1]], False)
    for k in reduced:
        strides = [row_stride(x.index, k) for x in operands]
        if None in strides or strides.count(1) < 2:
            continue
        for p in stored:
            for q in stored:
                if p != q and _alone(operands, p, q) and _alone(operands, q, p):
                    return Update(loop_of[p], loop_of[q], loop_of[k], True)
    return None


def update_tiled(
    schedule: Schedule,
    statement: str,
    loops: tuple[str, ...],
    target: Target,
    around: tuple[str, ...] = (),
    block: int = 0,
    shared: bool = True,
) -> Schedule | None:
    """The band of `around` and `loops` around the update alone in register tiles, if `shared` their rows in parallel;
    None if refused. `block`: the extent of the aligned blocks that the rows are cut from, 0 for any."""
    u = update_of(schedule, statement, loops)
    if u is None:
        return None
    s = schedule.statement(statement)
    size = max(schedule.function.tensor(s.target).dtype.bytes, *(x.dtype.bytes for x in reads(s)))
    lanes = target.lanes(size)
    p, q, k = u.rows, u.columns, u.reduced
    others = (*around, *(n for n in loops if n not in (p, q, k)))
    cut: tuple[Transform, ...]
    if u.lanes_along_reduction:
        cut = (Split(p, _SQUARE), Split(q, _SQUARE), Split(k, lanes))
        order = (*others, f"{p}.o", f"{q}.o", f"{k}.o", f"{p}.i", f"{q}.i", f"{k}.i")
        tiles: tuple[str, ...] = (f"{p}.o", f"{q}.o", f"{k}.o")
        unrolled, vector = (f"{p}.i", f"{q}.i"), f"{k}.i"
    else:
        rows = next(r for r in _ROWS if r <= max(1, target.tile_rows(_VECTORS)) and block % r == 0)
        cut = (Split(p, rows), Split(q, _VECTORS * lanes), Split(f"{q}.i", lanes))
        order = (*others, f"{p}.o", f"{q}.o", k, f"{p}.i", f"{q}.i.o", f"{q}.i.i")
        tiles = (f"{p}.o", f"{q}.o")
        unrolled, vector = (f"{p}.i", f"{q}.i.o"), f"{q}.i.i"
    done = attempt(
        schedule, *cut, Reorder(order), SeparateTiles(tiles), *map(Unroll, unrolled), Vectorize(vector)
    )
    if done is None:
        return None
    done = attempt(done, Vectorize(f"{vector}.tail")) or done
    return (attempt(done, Parallel(f"{p}.o")) if shared else None) or done


def _upwards(e: Affine) -> Affine:
    """The coordinate with its axis counted upwards."""
    match e.terms:
        case ((Mod(inner, size), c),):
            return Affine.of({Mod(_upwards(inner), size): c}, e.constant)
        case ((FloorDiv(inner, size), c),):
            return Affine.of({FloorDiv(_upwards(inner), size): c}, e.constant)
        case ((str() as name, -1),):
            return Affine.of({name: 1}, e.constant)
        case _:
            return e


def _uses(x: Load, axis: str) -> bool:
    return any(uses(i, axis) for i in x.index)


def _alone(operands: list[Load], this: str, other: str) -> bool:
    """Whether an operand varies along one axis but not the other."""
    return any(_uses(x, this) and not _uses(x, other) for x in operands)
