"""Arithmetic of captured values: Python numbers fold, typed operands become expressions with Python's conversions."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from polydl.dsl.polyhedral import to_affine
from polydl.dtypes import BOOL, F64, INDEX
from polydl.ir.expr import Binary, Call, Cast, Expr, Load, Unary, walk

if TYPE_CHECKING:
    from polydl.dsl.capture_values import Scope

__all__ = ["Value", "combine", "inverted", "is_condition", "negated", "number", "power"]

Value: TypeAlias = Expr | int | float
"""A typed expression, or a number that takes the type of what it meets."""

_BITWISE: Final[dict[str, Callable[[int, int], int]]] = {
    "bitand": operator.and_, "bitor": operator.or_, "bitxor": operator.xor, "shl": operator.lshift,
    "shr": operator.rshift,
}  # fmt: skip
_LOGICAL: Final = {"bitand": "and", "bitor": "or", "bitxor": "ne"}
_DIVISIONS: Final = ("div", "floordiv", "mod")
_MOST_BITS: Final = 1024  # of a constant: no f64 is larger, and a longer shift or power would take all memory


def combine(scope: Scope, node: ast.AST, op: str, a: Value, b: Value) -> Value:
    """`a op b` with Python's conversions."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return _folded(scope, node, op, a, b)
    if op == "pow":
        return power(scope, node, a, b)
    if op in _BITWISE:
        return _bitwise(scope, node, op, a, b)
    if op == "add" and _is_truth(a) and _is_truth(b) and (_reads(a) or _reads(b)):
        raise scope.source.error(
            node,
            "two conditions are added",
            why="for numpy the sum of two of its bools is True, for Python two conditions count as 2",
            next="write a or b where one suffices, int(a) + int(b) to count",
        )
    a, b = number(a), number(b)
    if op in _DIVISIONS and isinstance(b, int) and b == 0 and _integral(a):
        raise scope.source.error(node, "an integer is divided by 0", next="divide by another number")
    if op in ("floordiv", "mod") and isinstance(b, int) and b < 0 and _is_affine(a):
        a, positive = scope.convert(node, -a, INDEX), scope.literal(node, -b, INDEX)
        quotient = Binary(
            op, a, positive
        )  # a // -b is -a // b, a % -b is -(-a % b): isl divides by b > 0 only
        return quotient if op == "floordiv" else -quotient
    if op == "div" and _integral(a) and _integral(b):
        a, b = scope.convert(node, a, F64), scope.convert(node, b, F64)
    left, right = scope.balanced(node, a, b)
    if op in ("floordiv", "mod") and left.dtype.is_float:
        raise scope.source.error(
            node, f"'{'//' if op == 'floordiv' else '%'}' of floating-point values cannot be compiled",
            next="use floor(a / b), or fmod",
        )  # fmt: skip
    return Binary(op, left, right)


def power(scope: Scope, node: ast.AST, a: Value, b: Value) -> Value:
    a, b = number(a), number(b)
    if isinstance(b, int) and not isinstance(a, int | float) and 1 <= b <= 2:
        return a if b == 1 else Binary("mul", a, a)
    if _integral(a) and _integral(b):
        raise scope.source.error(
            node, "a power of integers cannot be compiled", next="multiply, or convert to float first"
        )
    return Call("pow", scope.balanced(node, a, b))


def negated(value: Value) -> Value:
    return -number(value)


def inverted(scope: Scope, node: ast.AST, value: Value) -> Value:
    """`~value`."""
    if isinstance(value, int):
        return ~value
    if isinstance(value, float) or not (value.dtype.is_integer or value.dtype == BOOL):
        raise scope.source.error(node, "'~' is for integers and conditions", next="use - or not")
    return Unary("not" if value.dtype == BOOL else "invert", value)


def is_condition(value: Value) -> bool:
    return not isinstance(value, int | float) and value.dtype == BOOL


def number(value: Value) -> Value:
    """A condition as 0 or 1; any other value as it is."""
    if isinstance(value, bool):
        return int(value)
    return Cast(INDEX, value) if not isinstance(value, int | float) and value.dtype == BOOL else value


def _folded(scope: Scope, node: ast.AST, op: str, a: int | float, b: int | float) -> int | float:
    try:
        result = _computed(op, a, b)
    except (ArithmeticError, ValueError) as error:
        raise scope.source.error(node, "a constant expression has no value", why=str(error)) from None
    if isinstance(result, int) and result.bit_length() > _MOST_BITS:
        raise scope.source.error(node, "a constant expression is too large", why="no type holds its value")
    return result


def _computed(op: str, a: int | float, b: int | float) -> int | float:
    match op:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "mul":
            return a * b
        case "div":
            return a / b
        case "floordiv":
            return a // b
        case "mod":
            return a % b
        case "bitand" | "bitor" | "bitxor" | "shl" | "shr" if isinstance(a, int) and isinstance(b, int):
            if op == "shl" and b > _MOST_BITS:
                raise OverflowError("no type holds its value")
            return _BITWISE[op](a, b)
        case "bitand" | "bitor" | "bitxor" | "shl" | "shr":
            raise ValueError("bits are those of integers")
        case _:
            if isinstance(a, int) and isinstance(b, int) and a.bit_length() * abs(b) > 2 * _MOST_BITS:
                raise OverflowError("no type holds its value")
            result = a**b
            return result if isinstance(result, int | float) else math.nan


def _bitwise(scope: Scope, node: ast.AST, op: str, a: Value, b: Value) -> Expr:
    """`a & b` and the like, of integers; of conditions `&`, `|` and `^`."""
    left, right = scope.balanced(node, a, b)
    if left.dtype == BOOL and op in _LOGICAL:
        return Binary(_LOGICAL[op], left, right)
    if not left.dtype.is_integer:
        raise scope.source.error(node, f"bits of a {left.dtype} cannot be combined", next="use integers")
    return Binary(op, left, right)


def _integral(value: Value) -> bool:
    return isinstance(value, int) or (not isinstance(value, float) and value.dtype.is_integer)


def _is_affine(value: Value) -> bool:
    return not isinstance(value, int | float) and to_affine(value) is not None


def _is_truth(value: Value) -> bool:
    return isinstance(value, bool) or is_condition(value)


def _reads(value: Value) -> bool:
    return not isinstance(value, int | float) and any(isinstance(x, Load) for x in walk(value))
