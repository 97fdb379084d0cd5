"""Updates in captured programs: `x = x + e` says the same as `x += e`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polydl.dsl.capture_values import Scope

__all__ = ["as_update"]


def as_update(scope: Scope, target: ast.expr, value: ast.expr) -> tuple[str, ast.expr] | None:
    """The operator and the other operand where `value` combines the old contents of `target`."""
    same = ast.dump(_loaded(target))

    def old(e: ast.expr) -> bool:
        return ast.dump(_loaded(e)) == same

    match value:
        case ast.BinOp(left=a, op=ast.Add(), right=b) if old(a) or old(b):
            return "add", b if old(a) else a
        case ast.BinOp(left=a, op=ast.Mult(), right=b) if old(a) or old(b):
            return "mul", b if old(a) else a
        case ast.BinOp(left=a, op=ast.Sub(), right=b) if old(a):
            return "sub", b
        case ast.Call(func=func, args=[a, b], keywords=[]) if old(a) or old(b):
            called = scope.outer(func)
            op = "min" if called is min else "max" if called is max else None
            return None if op is None else (op, b if old(a) else a)
        case _:
            return None


def _loaded(node: ast.expr) -> ast.expr:
    """A target of an assignment as the expression that reads it."""
    match node:
        case ast.Name(id=name):
            return ast.Name(name, ast.Load())
        case ast.Subscript(value=value, slice=inner):
            return ast.Subscript(_loaded(value), inner, ast.Load())
        case _:
            return node
