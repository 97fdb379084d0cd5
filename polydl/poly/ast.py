"""Loops as plain values: what AST generation returns and lowering reads.

Semantic contract
-----------------
* An `Ast` is an integer, a name (an iterator or a parameter) or an `Op`. `floordiv` rounds towards minus infinity and
  `mod` is its remainder, so `0 <= mod(x, m) < m`; comparisons and `and`/`or` give truth values and occur in
  conditions only; `select(c, a, b)` is a when c holds, else b.
* `ForNode`: `for iterator = lower; iterator < upper; iterator += step`; `dim` is the schedule dimension (the index into
  `paths.Path.coordinates` of every statement below). A loop that runs once for all values of its surroundings leaves no
  node; a band member may yield several loops, one after the other.
* `CallNode`: one statement instance; `arguments` are the values of its iterators, `path` the position in `paths(…)` of
  the path it is scheduled by (a filter may send instances of one statement along several).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from polydl.errors import InvalidProgram
from polydl.poly.affine import Affine, FloorDiv, Mod

__all__ = [
    "Ast",
    "BlockNode",
    "CallNode",
    "ForNode",
    "IfNode",
    "Node",
    "Op",
    "Operator",
    "affine_ast",
    "evaluate",
    "format_ast",
    "format_expr",
    "simplified",
]

Operator = Literal[
    "add", "sub", "mul", "floordiv", "mod", "min", "max", "neg",
    "and", "or", "lt", "le", "eq", "ge", "gt", "select",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Op:
    op: Operator
    args: tuple[Ast, ...]

    def __str__(self) -> str:
        return format_expr(self)


Ast = int | str | Op


@dataclass(frozen=True, slots=True)
class ForNode:
    dim: int
    iterator: str
    lower: Ast
    upper: Ast  # exclusive
    step: int
    body: Node


@dataclass(frozen=True, slots=True)
class IfNode:
    cond: Ast
    then: Node
    otherwise: Node | None


@dataclass(frozen=True, slots=True)
class BlockNode:
    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class CallNode:
    statement: str
    arguments: tuple[Ast, ...]
    path: int = 0


Node = ForNode | IfNode | BlockNode | CallNode


def simplified(operator: Operator, args: tuple[Ast, ...]) -> Ast:
    """`Op(operator, args)` with constants folded."""
    match operator, args:
        case "add", (int(a), int(b)):
            return a + b
        case "sub", (int(a), int(b)):
            return a - b
        case "mul", (int(a), int(b)):
            return a * b
        case "floordiv", (int(a), int(b)):
            return a // b
        case "mod", (int(a), int(b)):
            return a % b
        case "neg", (int(a),):
            return -a
        case ("add", (0, x)) | ("add" | "sub", (x, 0)) | ("mul", (1, x)) | ("mul" | "floordiv", (x, 1)):
            return x
        case "mul", (0, _) | (_, 0):
            return 0
        case "add", (Op("add", (x, int(a))), int(b)):
            return simplified("add", (x, a + b))
        case "add", (Op("sub", (x, int(a))), int(b)):
            return simplified("add", (x, b - a))
        case "add", (x, int(b)) if b < 0:
            return Op("sub", (x, -b))
        case "add", (Op("min" | "max" as end, parts), int(b)):
            return Op(end, tuple(simplified("add", (x, b)) for x in parts))
        case _:
            return Op(operator, args)


def affine_ast(expr: Affine) -> Ast:
    """An affine expression as an `Ast` over the same names."""
    total: Ast = 0
    for atom, c in sorted(expr.terms, key=lambda term: term[1] < 0):
        match atom:
            case FloorDiv(dividend, divisor):
                value: Ast = simplified("floordiv", (affine_ast(dividend), divisor))
            case Mod(dividend, modulus):
                value = simplified("mod", (affine_ast(dividend), modulus))
            case _:
                value = atom
        if c < 0 and total != 0:
            total = simplified("sub", (total, simplified("mul", (-c, value))))
        else:
            total = simplified("add", (total, simplified("mul", (c, value))))
    return simplified("add", (total, expr.constant))


def evaluate(expr: Ast, values: Mapping[str, int]) -> int:
    """The number (truth values as 0 and 1) of an expression."""
    if isinstance(expr, int):
        return expr
    if isinstance(expr, str):
        return values[expr]
    if expr.op == "select":
        cond, then, otherwise = expr.args
        return evaluate(then if evaluate(cond, values) else otherwise, values)
    if expr.op in ("and", "or"):
        # Like C: the second operand may only make sense where the first holds.
        for arg in expr.args:
            if bool(evaluate(arg, values)) is (expr.op == "or"):
                return int(expr.op == "or")
        return int(expr.op == "and")
    args = [evaluate(a, values) for a in expr.args]
    match expr.op, args:
        case "add", [a, b]:
            return a + b
        case "sub", [a, b]:
            return a - b
        case "mul", [a, b]:
            return a * b
        case "floordiv", [a, b]:
            return a // b
        case "mod", [a, b]:
            return a % b
        case "neg", [a]:
            return -a
        case "min", _:
            return min(args)
        case "max", _:
            return max(args)
        case "lt", [a, b]:
            return int(a < b)
        case "le", [a, b]:
            return int(a <= b)
        case "eq", [a, b]:
            return int(a == b)
        case "ge", [a, b]:
            return int(a >= b)
        case "gt", [a, b]:
            return int(a > b)
    raise InvalidProgram(f"'{expr.op}' does not take {len(args)} operands")


_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "mod": "%", "and": "and", "or": "or",
            "lt": "<", "le": "<=", "eq": "==", "ge": ">=", "gt": ">"}  # fmt: skip


def format_expr(expr: Ast) -> str:
    """Python syntax, fully parenthesised below the top."""
    if not isinstance(expr, Op):
        return str(expr)
    inner = [
        f"({format_expr(a)})" if isinstance(a, Op) and a.op in _SYMBOLS else format_expr(a) for a in expr.args
    ]
    if expr.op in _SYMBOLS:
        return f" {_SYMBOLS[expr.op]} ".join(inner)
    if expr.op == "neg":
        return f"-{inner[0]}"
    if expr.op == "select":
        return f"({inner[1]} if {inner[0]} else {inner[2]})"
    return f"{expr.op}({', '.join(format_expr(a) for a in expr.args)})"


def format_ast(node: Node, indent: str = "") -> str:
    """The loops as text, Python-like."""
    match node:
        case BlockNode(children=children):
            return "\n".join(format_ast(c, indent) for c in children) if children else f"{indent}pass"
        case CallNode(statement=statement, arguments=arguments):
            return f"{indent}{statement}({', '.join(format_expr(a) for a in arguments)})"
        case IfNode(cond=cond, then=then, otherwise=otherwise):
            text = f"{indent}if {format_expr(cond)}:\n{format_ast(then, indent + '  ')}"
            return (
                text
                if otherwise is None
                else f"{text}\n{indent}else:\n{format_ast(otherwise, indent + '  ')}"
            )
        case ForNode():
            step = f", {node.step}" if node.step != 1 else ""
            bounds = f"{format_expr(node.lower)}, {format_expr(node.upper)}{step}"
            return f"{indent}for {node.iterator} in range({bounds}):\n{format_ast(node.body, indent + '  ')}"
