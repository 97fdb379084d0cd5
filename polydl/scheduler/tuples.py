"""Statements that store tuples stay as they are: transformations of statements know of one value and one target."""

from __future__ import annotations

from polydl.dsl.function import Computation, Function
from polydl.dsl.polyhedral import loads
from polydl.errors import NotApplicable

__all__ = ["require_kept_tuples"]


def require_kept_tuples(before: Function, after: Function) -> None:
    """NotApplicable where a statement that stores a tuple has changed, or another one that shares a tensor with it."""
    for c in before.computations:
        if not c.also:
            continue
        shared = _tensors(c)
        if c not in after.computations:
            raise NotApplicable(
                f"{c.name} stores {1 + len(c.also)} values at once, and would be another statement",
                next="reorder, tile or fuse its loops; or compute the values separately",
            )
        writers = [[x for x in f.computations if shared & _targets(x)] for f in (before, after)]
        if writers[0] != writers[1]:
            changed = next(
                x for x in (*writers[0], *writers[1]) if x not in writers[0] or x not in writers[1]
            )
            raise NotApplicable(
                f"{changed.name} shares a tensor with {c.name}, which stores {1 + len(c.also)} values at once",
                next="reorder, tile or fuse the loops; or compute the values separately",
            )


def _targets(c: Computation) -> set[str]:
    return {c.target, *(x.target for x in c.also)}


def _tensors(c: Computation) -> set[str]:
    """All tensors that the computation accesses."""
    values = [c.value, *(x.value for x in c.also)]
    values += [
        e for e in (c.reduction.init if c.reduction else None, *(x.init for x in c.also)) if e is not None
    ]
    return _targets(c) | {load.buffer for e in values for load in loads(e)}
