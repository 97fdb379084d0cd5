"""Conditions and expressions of programs at one point, evaluated without the package's own machinery."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import lru_cache

from polydl.ir.expr import Binary, Const, Expr, Load, Unary, Var
from polydl.poly.affine import Affine, FloorDiv

__all__ = ["Values", "affine_value", "condition_holds", "index_value"]

Values = Mapping[str, int]


def affine_value(e: Affine, values: Values) -> int:
    """A time coordinate."""
    total = e.constant
    for atom, factor in e.terms:
        if isinstance(atom, str):
            total += factor * values[atom]
        elif isinstance(atom, FloorDiv):
            total += factor * (affine_value(atom.dividend, values) // atom.divisor)
        else:
            total += factor * (affine_value(atom.dividend, values) % atom.modulus)
    return total


def index_value(e: Expr, values: Values) -> int | None:
    """A subscript or a bound (a condition as 0 or 1); None where it depends on data."""
    match e:
        case Const(value=value):
            return int(value)
        case Var(name=name):
            return values[name]
        case Unary(op="neg", operand=x):
            inner = index_value(x, values)
            return None if inner is None else -inner
        case Unary(op="not", operand=x):
            inner = index_value(x, values)
            return None if inner is None else 1 - inner
        case Binary(op=op, a=a, b=b):
            left, right = index_value(a, values), index_value(b, values)
            return None if left is None or right is None else _binary(op, left, right)
        case Load():
            return None
        case _:
            raise AssertionError(f"{e} is no subscript")


def _binary(op: str, a: int, b: int) -> int:
    match op:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "mul":
            return a * b
        case "floordiv":
            return a // b
        case "mod":
            return a % b
        case "min":
            return min(a, b)
        case "max":
            return max(a, b)
        case "lt":
            return int(a < b)
        case "le":
            return int(a <= b)
        case "gt":
            return int(a > b)
        case "ge":
            return int(a >= b)
        case "eq":
            return int(a == b)
        case "ne":
            return int(a != b)
        case "and":
            return int(bool(a and b))
        case "or":
            return int(bool(a or b))
        case _:
            raise AssertionError(f"operator {op}")


_FLOOR = re.compile(r"floor\(\(")


@lru_cache(maxsize=4096)
def _parsed(condition: str) -> ast.expr:
    """isl's notation as Python's: `floor((x)/2)`, `(x) mod 2`, `=`, chains of comparisons."""
    text = condition
    while True:
        found = _FLOOR.search(text)
        if found is None:
            break
        depth, at = 2, found.end()
        while depth:  # the end of floor((…)/n)
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        inner = text[found.end() : at - 1]
        close = inner.rindex(")")
        dividend, divisor = inner[:close], inner[close + 1 :].lstrip("/")
        text = f"{text[: found.start()]}(({dividend})//{divisor}){text[at:]}"
    text = text.replace(" mod ", " % ")
    text = re.sub(r"(?<![<>=!])=(?!=)", "==", text)
    text = re.sub(r"\btrue\b", "1 == 1", re.sub(r"\bfalse\b", "1 == 0", text))
    return ast.parse(text.strip(), mode="eval").body


def condition_holds(condition: str, values: Values) -> bool:
    """Whether a filter's condition, in isl's notation, holds at a point."""
    return not condition or bool(_value(_parsed(condition), values))


def _value(node: ast.expr, values: Values) -> int:
    match node:
        case ast.Constant(value=int() as value):
            return value
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=x):
            return -_value(x, values)
        case ast.UnaryOp(op=ast.Not(), operand=x):
            return int(not _value(x, values))
        case ast.BoolOp(op=op, values=parts):
            found = [_value(p, values) for p in parts]
            return int(all(found) if isinstance(op, ast.And) else any(found))
        case ast.BinOp(left=a, op=op, right=b):
            left, right = _value(a, values), _value(b, values)
            match op:
                case ast.Add():
                    return left + right
                case ast.Sub():
                    return left - right
                case ast.Mult():
                    return left * right
                case ast.FloorDiv():
                    return left // right
                case ast.Mod():
                    return left % right
        case ast.Compare(left=first, ops=ops, comparators=rest):
            numbers = [_value(first, values), *(_value(x, values) for x in rest)]
            signs = [type(op) for op in ops]
            return int(all(_COMPARE[s](a, b) for a, s, b in zip(numbers, signs, numbers[1:], strict=False)))
        case _:
            pass
    raise AssertionError(f"condition {ast.unparse(node)}")


_COMPARE = {
    ast.Lt: int.__lt__, ast.LtE: int.__le__, ast.Gt: int.__gt__, ast.GtE: int.__ge__, ast.Eq: int.__eq__,
    ast.NotEq: int.__ne__,
}  # fmt: skip
