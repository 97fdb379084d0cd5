"""Loops that one row or column keeps from being vectors or parallel, split there.

    for k: for i: for j: p[i, j] = min(p[i, j], p[i, k] + p[k, j])
    ->  for k: for i: {for j < k [vector]; j = k; for j > k [vector]}
        or, for threads, the same in each of  for i < k [parallel];  i = k;  for i > k [parallel]

Where to split is read off the dependences: what no dependence that the loop carries ends at comes first, what none
starts at comes last, and each of the two has none inside.
"""

from __future__ import annotations

from collections.abc import Iterator

from polydl.poly.tree import members
from polydl.scheduler.automatic.apart import counterpart, free, taken_apart
from polydl.scheduler.automatic.strategy import Part, innermost_bands
from polydl.scheduler.bindings import Parallel
from polydl.scheduler.instances import RunFirst
from polydl.scheduler.recipes.common import attempt
from polydl.scheduler.recipes.written import parallel
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["split_loops"]


def split_loops(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The part with its innermost loops taken apart; for several cores with one loop around them in pieces too."""
    inner = [tuple(m.name for m in band.members) for band in innermost_bands(part.subtree(schedule.tree))]
    split = _all_apart(schedule, part, target)
    if split is not schedule:
        yield parallel(split, part.statements)
    if target.cores > 1:
        for names in inner:
            for loop in names[:-1]:
                pieces = _for_threads(schedule, loop)
                if pieces is not None:
                    yield _all_apart(pieces, part, target)


def _all_apart(schedule: Schedule, part: Part, target: Target) -> Schedule:
    for loop in [band.members[-1].name for band in innermost_bands(part.subtree(schedule.tree))]:
        schedule = taken_apart(schedule, loop, target)
    return schedule


def _for_threads(schedule: Schedule, loop: str) -> Schedule | None:
    """The loop in a parallel piece, one in order, and another parallel one; None where dependences leave no such
    piece, or one that needs no splitting."""
    inside = [s for s, _ in schedule.member(loop).exprs]
    early = free(schedule, loop, first=True, carried=True)
    chosen = tuple(s for s in inside if early[s] != "false")
    if not chosen or all(early[s] == "" for s in inside):
        return None
    divided = attempt(schedule, RunFirst(loop, chosen, tuple(early[s] for s in chosen)), Parallel(loop))
    if divided is None:
        return None
    rest = counterpart(schedule, divided, loop)
    late = free(divided, rest, carried=True)
    left = [s for s, _ in divided.member(rest).exprs]
    waiting = tuple(s for s in left if late[s] != "")
    if not waiting or all(late[s] == "false" for s in left):
        return divided
    conditions = tuple("" if late[s] == "false" else f"not ({late[s]})" for s in waiting)
    again = attempt(divided, RunFirst(rest, waiting, conditions))
    if again is None:
        return divided
    last = counterpart(divided, again, rest)
    assigned = attempt(again, Parallel(last))
    bound = [m for m in members((assigned or again).tree) if m.binding is Binding.PARALLEL]
    return assigned if assigned is not None and bound else divided
