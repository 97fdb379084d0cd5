"""Temporaries with a place for each point of the loops around them, so that those loops may be exchanged and blocked.

    for i: for j: {w = A[i, j]; for k: w -= …; A[i, j] = w}
    ->  for i: for j: {w[i, j] = A[i, j]; for k: w[i, j] -= …; A[i, j] = w[i, j]}

What it costs in memory is weighed by whoever compares the schedules.
"""

from __future__ import annotations

from collections.abc import Iterator

from polydl.dsl.tensor import TensorRole
from polydl.poly.tree import Band, Sequence, Tree, children, statements_below
from polydl.scheduler.expansion import Expand
from polydl.scheduler.recipes.common import attempt
from polydl.scheduler.schedule import Schedule

__all__ = ["point_places"]


def point_places(schedule: Schedule) -> Schedule:
    """The schedule with a place for each iteration of all loops around a sequence, innermost sequences first, for every
    temporary scalar that is stored to in it and whose values do not leave the iteration; itself where there is none.

    A scalar that has got places in an inner sequence needs none in the outer ones.
    """
    scalars = [t.name for t in schedule.function.tensors if t.role is TensorRole.TEMPORARY and not t.shape]
    for loops, inside in _sequences(schedule.tree, ()):
        stored = {s.target for s in schedule.function.statements() if s.name in inside}
        for name in scalars:
            if name in stored and not schedule.function.tensor(name).shape:
                schedule = attempt(schedule, Expand(name, loops)) or schedule
    return schedule


def _sequences(tree: Tree, around: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], frozenset[str]]]:
    """The loops around each sequence that is in one, and the statements in it, innermost first."""
    if isinstance(tree, Band):
        around = (*around, *(m.name for m in tree.members))
    for child in children(tree):
        yield from _sequences(child, around)
    if isinstance(tree, Sequence) and around:
        yield around, frozenset(statements_below(tree))
