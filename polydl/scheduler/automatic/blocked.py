"""Factorisations and the like in blocks: steps that wait for each other, and behind each block one large update.

    for k: for i: for j: …        ->  for k.o:
                                        what other instances of the block wait for   tiles, innermost loops in vectors,
                                                                                     parallel behind the diagonal
                                        the update, which nothing there waits for   register tiles

In `A[i, j] -= A[i, k] * A[k, j]` with the divisions `A[i, k] /= A[k, k]` between, a block of columns `k` needs its own
columns and rows in order; the rest of the matrix takes all of the block at once, as a product of matrices. Which
instances these are is computed (`poly.free_instances`), not guessed from the form of the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from polydl.poly.tree import Band, members, walk
from polydl.scheduler.automatic.apart import axis_of, counterpart, free, suits_vectors, taken_apart
from polydl.scheduler.automatic.strategy import Part, innermost_bands
from polydl.scheduler.automatic.updates import Update, update_of, update_tiled
from polydl.scheduler.bindings import Parallel
from polydl.scheduler.instances import RunFirst
from polydl.scheduler.loops import Reorder, Split, Tile
from polydl.scheduler.recipes.common import attempt
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["blocked"]

# Steps of a block. Register tiles are loaded and stored once per block; its own columns and rows run slower.
_BLOCKS: Final = (48, 96)


def blocked(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The part with blocks of one of the loops of its outermost band, where that frees an update."""
    band = next((x for x in walk(part.subtree(schedule.tree)) if isinstance(x, Band)), None)
    if band is None or not schedule.reassociate:
        return
    names = tuple(m.name for m in band.members)
    for step in names:
        for size in _BLOCKS:
            done = _in_blocks(schedule, names, step, size, target)
            if done is None:
                break
            yield done


def _in_blocks(
    schedule: Schedule, names: tuple[str, ...], step: str, size: int, target: Target
) -> Schedule | None:
    others = tuple(n for n in names if n != step)
    inside = f"{step}.i"
    done = attempt(
        schedule, Reorder((step, *others)), Split(step, size), Reorder((f"{step}.o", *others, inside))
    )
    if done is None or not others:
        return None
    late = free(done, others[0])
    updates = {}
    for s in late:
        found = update_of(done, s, (*others, inside))
        if late[s] != "false" and found is not None and found.reduced == inside:
            updates[s] = found
    first = tuple(s for s in late if s not in updates or late[s])
    if not updates or not first:
        return None
    conditions = tuple(f"not ({late[s]})" if s in updates else "" for s in first)
    divided = attempt(done, RunFirst(others[0], first, conditions))
    if divided is None:
        return None
    behind = counterpart(done, divided, others[0])
    done = _updated(divided, behind, updates, target)
    return None if done is None else _in_tiles(done, step, others, size, target)


def _updated(schedule: Schedule, loop: str, updates: dict[str, Update], target: Target) -> Schedule | None:
    """The nest from `loop` on with each of its statements by itself, in register tiles."""
    waiting = [s for s, _ in schedule.member(loop).exprs]
    while waiting:
        s, *waiting = waiting
        rest = ""
        if waiting:
            divided = attempt(schedule, RunFirst(loop, (s,), ("",)))
            if divided is None:
                return None
            rest = counterpart(schedule, divided, loop)
            schedule = divided
        names = tuple(m.name for m in schedule.band(loop).members)
        own = names[names.index(loop) :]
        tiled = update_tiled(schedule, s, own, target)
        if tiled is None:
            return None
        schedule, loop = tiled, rest
    return schedule


def _in_tiles(
    schedule: Schedule, step: str, others: tuple[str, ...], size: int, target: Target
) -> Schedule | None:
    """The nest of loops `others` and the steps of a block in tiles, whose innermost loop is contiguous where most is
    done."""
    tiles = tuple(f"{n}.o" for n in others)
    points = (*(f"{n}.i" for n in others), f"{step}.i")
    tiled = attempt(schedule, Tile(others, (size,) * len(others)))
    if tiled is None:
        return None
    best = max(points, key=lambda n: _suited(tiled, n))
    done = attempt(tiled, Reorder((*tiles, *(n for n in points if n != best), best)))
    if done is None:
        return None
    known = {m.name for m in members(done.tree)} - {best}
    if target.cores > 1:
        done = _shared(done, f"{step}.o", tiles)
    innermost = (b.members[-1].name for b in innermost_bands(done.tree))
    for loop in [n for n in innermost if n not in known]:
        done = taken_apart(done, loop, target)
    return done


def _shared(schedule: Schedule, block: str, tiles: tuple[str, ...]) -> Schedule:
    """The tiles on the diagonal first, in each direction, and those behind it in parallel, where that is legal."""
    for loop in tiles:
        statements = tuple(s for s, _ in schedule.member(loop).exprs)
        conditions = tuple(
            f"{schedule.member(loop).expr(s)} = {schedule.member(block).expr(s)}" for s in statements
        )
        divided = attempt(schedule, RunFirst(loop, statements, conditions))
        behind = None if divided is None else counterpart(schedule, divided, loop)
        parallel = None if divided is None or behind is None else attempt(divided, Parallel(behind))
        schedule = parallel or schedule
    return schedule


def _suited(schedule: Schedule, loop: str) -> int:
    """How many statements, the deepest ones most, have their vectors along a loop."""
    total = 0
    for name, time in schedule.member(loop).exprs:
        s = schedule.statement(name)
        total += suits_vectors(schedule, s, axis_of(time)) * 10 ** len(s.axes)
    return total
