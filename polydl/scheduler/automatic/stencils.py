"""Tiles of time and space for sweeps over arrays, and the code inside of one.

    band(t, i, j)  ->  band(t.o, i.o, j.o, t.i, i.i.o, sequence(S1: band(j.i.o, i.i.i [unroll], j.i.i [vector]), S2: …))

Time and space come from `skewed`. A tile does several time steps on what the second-level cache holds, a few rows at
once, so that what neighbouring rows share is loaded once. Rows and vectors that are whole are separated from
those at the border. Threads take neighbouring tiles of time, each a tile of space behind the one before, or diamonds of
one front, which wait for nobody but are as long in time as they are wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from polydl.poly.tree import members
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.strategy import Part
from polydl.scheduler.automatic.time_tiles import Skewed, skewed
from polydl.scheduler.bindings import Parallel, Unroll, Vectorize
from polydl.scheduler.diamonds import Diamond
from polydl.scheduler.loops import Distribute, Reorder, Split, Tile
from polydl.scheduler.motion import Skew
from polydl.scheduler.recipes.common import attempt, loops_of
from polydl.scheduler.schedule import Schedule, Transform
from polydl.targets import Target

__all__ = ["diamonds", "staggered", "stencils", "tiled"]

_ROWS: Final = 4  # at once
# Rows of a recurrence: 30 to 40 cycles pass from one point of a row to the next, and one every 5 could be done.
_IN_FLIGHT: Final = 8
# Of time in a tile of rows. A megabyte of second-level cache then keeps the rows that a tile is high, of two or three
# arrays with 1200 columns. Measured against 32 steps: jacobi-2d 314 ms and 314 (168 and 180 on two cores), fdtd-2d 335
# and 327 (188 and 185).
_STEPS: Final = 16
_STEPS_OF_PLANES: Final = 8
_DIAMOND: Final = 32  # columns, and twice the steps
# Rows in flight are bound by their arithmetic: a tile of few steps does, and threads get their shares sooner.
_STEPS_STAGGERED: Final = 8
_BLOCK_STAGGERED: Final = 32


def tiled(found: Skewed, sizes: tuple[int, ...], rows: int, lanes: int, *, threads: int) -> Schedule | None:
    """The permutable band in tiles of `sizes` (0: not tiled, only the last loop), `rows` rows and vectors inside.

    `threads`: so many tiles of time run at once, each a tile of space behind the one before.
    """
    if sizes[-1]:
        done = _tiles(found.schedule, found.loops, sizes, threads)
        return _rows_and_vectors(found, done, f"{found.loops[-1]}.i", rows, lanes)
    return _whole_rows(found, lambda s: _tiles(s, found.loops, sizes, threads), rows, lanes)


def diamonds(found: Skewed, sizes: tuple[int, ...], rows: int, lanes: int) -> Schedule | None:
    """Time and the first loop of space in diamonds as wide as the first of `sizes`, all of a front in parallel; other
    loops of space but the last in tiles of the further sizes, `rows` rows and vectors inside."""
    time, space, *others, _ = found.loops
    width, *cut = sizes
    steps: list[Transform] = [Diamond(time, space, width), Parallel(f"{space}.o")]
    if others:
        steps += [Split(n, size) for n, size in zip(others, cut, strict=True)]
        steps += [Reorder((*(f"{n}.o" for n in others), time, f"{space}.i", *(f"{n}.i" for n in others)))]
    return _whole_rows(found, lambda s: attempt(s, *steps), rows, lanes)


def _whole_rows(
    found: Skewed, cut: Callable[[Schedule], Schedule | None], rows: int, lanes: int
) -> Schedule | None:
    """The schedule that `cut` has brought into tiles, with straight rows inside where that is legal, or skewed ones."""
    straight = None if found.rows is None else _rows_and_vectors(found, cut(found.rows), "", rows, lanes)
    return straight or _rows_and_vectors(found, cut(found.schedule), found.loops[-1], rows, lanes)


def _rows_and_vectors(
    found: Skewed, done: Schedule | None, vector: str, rows: int, lanes: int
) -> Schedule | None:
    """What is inside of a tile: the statements apart, each with some rows at once and vectors along them.

    `vector` is the loop along the rows that statements have in common, "" where each has its own.
    """
    row = f"{found.loops[-2]}.i"
    jam = rows > 1 and len(found.loops) > 2
    if done is not None and jam:
        done = attempt(done, Split(row, rows))
    if done is None:
        return None
    innermost = f"{row}.i" if jam else row
    statements = [s for s, _ in done.member(innermost).exprs]
    if len(statements) > 1:
        common = [vector] * bool(vector) + [innermost] * jam
        done = attempt(done, *map(Distribute, common))
    for s in statements:
        if done is not None:
            done = _vectors(done, s, f"{row}.o" if jam else "", lanes)
    return done


def staggered(found: Skewed, sizes: tuple[int, ...], rows: int, *, threads: int) -> Schedule | None:
    """The permutable band in tiles, `rows` rows in flight, each some columns behind the one before: of use where every
    point waits for its neighbours, so that neither points of a row nor those of a column are independent.

    The innermost loop is skewed once more by the rows, and the rows of a block become its innermost loop.
    """
    *_, rows_loop, column = found.loops
    skew = attempt(found.schedule, Skew(rows_loop, column, 1))
    done = None if skew is None else _tiles(skew, found.loops, sizes, threads)
    if done is None:
        return None
    row = f"{rows_loop}.i"
    done = attempt(done, Split(row, rows), Reorder((f"{row}.o", column, f"{row}.i")), Unroll(f"{row}.i"))
    if done is None:
        return None
    return attempt(done, SeparateTiles((f"{row}.o", column), f"{row}.i")) or done


def _tiles(
    schedule: Schedule, loops: tuple[str, ...], sizes: tuple[int, ...], threads: int
) -> Schedule | None:
    cut = [n for n, size in zip(loops, sizes, strict=True) if size]
    steps: list[Transform] = [Tile(tuple(cut), tuple(x for x in sizes if x))]
    if threads > 1:
        time, space = f"{loops[0]}.o", f"{loops[1]}.o"
        steps += [Split(time, threads), Skew(f"{time}.i", space, 1)]
        steps += [Reorder((f"{time}.o", space, f"{time}.i")), Parallel(f"{time}.i")]
    return attempt(schedule, *steps)


def _vectors(schedule: Schedule, statement: str, rows: str, lanes: int) -> Schedule | None:
    """One statement with vectors along its innermost loop and, where there are any, the rows of a tile spelled out."""
    *_, row, vector = loops_of(schedule, statement)
    outer = schedule.member(loops_of(schedule, statement)[0]).expr(statement)
    if rows and schedule.member(row).expr(statement).names() <= outer.names():
        rows = ""  # a statement that runs in one row only
    steps: list[Transform] = [Split(vector, lanes)]
    if rows:
        steps.append(Reorder((f"{vector}.o", row, f"{vector}.i")))
    done = attempt(schedule, *steps)
    if done is None:
        return None
    whole = attempt(done, SeparateTiles((rows, f"{vector}.o"))) if rows else None
    done = whole or attempt(done, SeparateTiles((f"{vector}.o",))) or done
    if rows:
        done = attempt(done, Unroll(row)) or done
    vectors = attempt(done, Vectorize(f"{vector}.i"))
    if vectors is None:
        return None
    tail = f"{vector}.i.tail"  # of partial tiles, where some are full
    if all(m.name != tail for m in members(vectors.tree)):
        return vectors
    return attempt(vectors, Vectorize(tail)) or vectors


def stencils(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The part in tiles of time and space, where it is a sweep that time can be tiled with.

    Threads take tiles one behind the other, or diamonds, which start at once where space is short of tiles. Planes are
    shared in diamonds alone: wide ones bring in each plane for as many steps as a tile does, and no thread takes over
    what another has in its cache (heat-3d on two cores 197 ms, 269 one behind the other, 235 in diamonds of 16).
    """
    found = None if part.bands else skewed(schedule, part)  # an order of isl's gives the same again
    if found is None or len(found.skews) < 2:
        return  # rows of a line are short of nothing that a tile could keep
    first, *others = found.skews
    steps = _STEPS if len(others) == 1 else _STEPS_OF_PLANES
    # A space loop moves by its skew in one step: tiles that move by their own width have edges that are straight.
    sizes = (steps, *(steps * max(1, skew) for skew in (first, *others[:-1])), 0)
    rows = _ROWS if len(others) == 1 else 1
    if len(others) == 1:
        # Long rows are as fast where they are skewed (jacobi-2d 123 ms, straight 120, on two cores 67 and 65; fdtd-2d
        # 121 and 123, 64 and 67); those of planes are short: heat-3d 419 ms skewed, 380 straight.
        found = replace(found, rows=None)
    widest = max(x.dtype.bytes for x in schedule.function.tensors)
    # Vectors as long as a line: nearly every one of a shifted row touches two, and half as many are still faster than
    # half as long ones (jacobi-2d 314 ms against 368, fdtd-2d 327 against 371, heat-3d 829 against 865).
    lanes = target.lanes(widest)
    done = tiled(found, sizes, rows, lanes, threads=target.cores)
    if done is not None and target.cores > 1:
        across = diamonds(found, (_DIAMOND, *sizes[2:-1]), rows, lanes)
        if across is not None:
            yield across
            if len(others) > 1:
                return
    if done is None:
        sizes = (_STEPS_STAGGERED, *(_BLOCK_STAGGERED for _ in others), 0)
        done = staggered(found, sizes, _IN_FLIGHT, threads=target.cores)
    if done is not None:
        yield done
