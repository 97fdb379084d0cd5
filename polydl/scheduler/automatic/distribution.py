"""Loops moved into the branches below them, so that each innermost nest can be turned to suit the memory.

    for j: {s = 0; for i: {y[i, j] = f(x[i, j], s); s = y[i, j]}}
    ->  for j: s[j] = 0
        for i: for j.o: for j.i [vector]: {y[i, j] = f(x[i, j], s[j]); s[j] = y[i, j]}

The scalar has got a place for each iteration of the loop (`private_places`): with one for all of them the loop could
not be moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from polydl.dsl.tensor import TensorRole
from polydl.poly.tree import Band, Sequence, members, walk
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.strategy import Part, parts
from polydl.scheduler.automatic.streams import shared_out, vectors_below
from polydl.scheduler.expansion import Expand
from polydl.scheduler.loops import Distribute, Split
from polydl.scheduler.recipes.common import attempt
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["distributed_loops", "private_places"]

_STRIP: Final = 512  # columns for one core: a few pages of lines, and little state


def private_places(schedule: Schedule) -> Schedule:
    """The schedule with a place for each iteration of the outermost loop of a nest, for every temporary tensor that a
    nest stores to; itself where there is none or the values do not stay within iterations."""
    temporaries = {t.name for t in schedule.function.tensors if t.role is TensorRole.TEMPORARY}
    for part in parts(schedule.tree):
        nest = part.subtree(schedule.tree)
        if not isinstance(nest, Band) or len(list(members(nest))) < 2:
            continue
        stored = {s.target for s in schedule.function.statements() if s.name in part.statements}
        for name in sorted(stored & temporaries):
            schedule = attempt(schedule, Expand(name, (nest.members[0].name,))) or schedule
    return schedule


def distributed_loops(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The part with the loops around its sequences moved into their branches, and then vectors; for several cores in
    parallel strips of the outermost loop too."""
    nest = part.subtree(schedule.tree)
    if not isinstance(nest, Band) or not isinstance(nest.child, Sequence):
        return
    loop = nest.members[-1].name
    moved = _distributed(schedule, part, loop)
    if moved is not None:
        yield shared_out(vectors_below(moved, part, target), part, target)
    if target.cores > 1 and len(nest.members) == 1:
        strips = attempt(schedule, Split(loop, _STRIP), SeparateTiles((f"{loop}.o",)))
        inside = None if strips is None else _distributed(strips, part, f"{loop}.i")
        if inside is not None:
            yield shared_out(vectors_below(inside, part, target), part, target)


def _distributed(schedule: Schedule, part: Part, loop: str) -> Schedule | None:
    """The schedule with a loop moved into all branches below it, into those of the branches too; None if into none."""
    pending, changed = [loop], None
    while pending:
        name = pending.pop()
        here = changed or schedule
        band = here.band(name)
        nested = any(isinstance(x, Band) for x in walk(band.child))
        if band.members[-1].name != name or not isinstance(band.child, Sequence) or not nested:
            continue
        before = {m.name for m in members(here.tree)}
        moved = attempt(here, Distribute(name))
        if moved is not None:
            changed = moved
            pending += [name, *({m.name for m in members(moved.tree)} - before)]
    return changed
