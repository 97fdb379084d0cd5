"""Questions about statements that several passes ask."""

from __future__ import annotations

from collections.abc import Iterator

from polydl.ir.expr import Expr, Ramp, walk
from polydl.ir.kernel import Binding, For, Stmt, Store
from polydl.ir.rewrite import loads, walk_stmts

__all__ = ["contains", "has_binding", "subscript_lanes"]


def contains(s: Stmt, *kinds: type) -> bool:
    """Whether `s` is or holds a statement of one of the classes."""
    return any(isinstance(x, kinds) for x in walk_stmts(s))


def has_binding(s: Stmt, binding: Binding) -> bool:
    """Whether `s` is or holds a loop with that binding."""
    return any(isinstance(x, For) and x.binding == binding for x in walk_stmts(s))


def _last_subscripts(s: Stmt) -> Iterator[tuple[str, Expr]]:
    for load in loads(s):
        if load.index:
            yield load.buffer, load.index[-1]
    for store in walk_stmts(s):
        if isinstance(store, Store) and store.index:
            yield store.buffer, store.index[-1]


def subscript_lanes(s: Stmt) -> dict[str, int]:
    """The widest ramp in a last subscript of each buffer."""
    widest: dict[str, int] = {}
    for buffer, subscript in _last_subscripts(s):
        for e in walk(subscript):
            if isinstance(e, Ramp):
                widest[buffer] = max(widest.get(buffer, 1), e.lanes)
    return widest
