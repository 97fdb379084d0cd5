"""Loops over `range`, as axes with the direction in which time runs along them."""

from __future__ import annotations

import ast

from polydl.dsl.capture_functions import BUILTINS
from polydl.dsl.capture_tree import Loop, simple
from polydl.dsl.capture_values import Scope
from polydl.dsl.function import Axis
from polydl.dsl.wellformed import RESERVED
from polydl.ir.expr import Expr, Var, as_expr

__all__ = ["loop_over"]


def loop_over(scope: Scope, node: ast.expr, name: str) -> tuple[Loop, Expr]:
    """The loop over a `range`, and the value of its iterator there."""
    match node:
        case ast.Call(func=func, args=arguments, keywords=[]) if (
            scope.outer(func) is range and 1 <= len(arguments) <= 3
        ):
            pass
        case _:
            raise scope.source.error(node, "a loop must run over a range", next=f"for {name} in range(…)")
    start: ast.expr = arguments[0] if len(arguments) > 1 else ast.copy_location(ast.Constant(0), node)
    stop = arguments[0] if len(arguments) == 1 else arguments[1]
    step = scope.value(arguments[2]) if len(arguments) == 3 else 1
    if not isinstance(step, int) or isinstance(step, bool) or step == 0:
        raise scope.source.error(
            arguments[2], "the step of a loop must be a constant other than 0", next="write the number"
        )
    ascending = step > 0
    firsts = _bounds(scope, start, "max" if ascending else "min")
    lasts = _bounds(scope, stop, "min" if ascending else "max")
    axis = name if name not in RESERVED else f"{name}_"
    var = Var(axis)
    if step == 1:
        more = (*(var >= x for x in firsts[1:]), *(var < x for x in lasts[1:]))
        return Loop(Axis(axis, firsts[0], lasts[0]), more, 1), var
    if step == -1:
        more = (*(var <= x for x in firsts[1:]), *(var > x for x in lasts[1:]))
        return Loop(Axis(axis, simple(lasts[0] + 1), simple(firsts[0] + 1)), more, -1), var
    if len(firsts) > 1:
        raise scope.source.error(
            start, "a loop with a step starts at one value", next="start at one affine expression"
        )
    iterator = simple(firsts[0] + var * step)
    distance = lasts[0] - firsts[0] if ascending else firsts[0] - lasts[0]
    count = simple((distance + (abs(step) - 1)) // abs(step))
    more = tuple(iterator < x if ascending else iterator > x for x in lasts[1:])
    return Loop(Axis(axis, as_expr(0), count), more, 1), iterator


def _bounds(scope: Scope, node: ast.expr, extreme: str) -> list[Expr]:
    """The affine expressions whose `extreme` is a bound."""
    match node:
        case ast.Call(func=func, args=arguments, keywords=[]) if (
            scope.outer(func) is BUILTINS[extreme] and len(arguments) > 1
        ):
            return [e for a in arguments for e in _bounds(scope, a, extreme)]
        case _:
            return [scope.affine(node, "a bound of a loop")]
