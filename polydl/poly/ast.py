"""From schedule tree to loops: isl's AST generation, returned as plain values.

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
from typing import Literal, Union

import islpy

from polydl.errors import InvalidProgram
from polydl.poly.affine import Affine, FloorDiv, Mod, constant
from polydl.poly.isl import guarded, map_of, set_of, thread_context
from polydl.poly.model import Scop
from polydl.poly.paths import Path, paths
from polydl.poly.sets import restrict, schedule_text
from polydl.poly.tree import Member, Tree

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
    "generate",
    "iterator_names",
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


Ast = Union[int, str, Op]


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


Node = Union[ForNode, IfNode, BlockNode, CallNode]


def iterator_names(scop: Scop, depth: int) -> tuple[str, ...]:
    """The names of the schedule dimensions: `c0`, `c1`, … (another prefix where a parameter is called so)."""
    prefix = "c"
    while any(p.startswith(prefix) and p[len(prefix) :].isdigit() for p in scop.parameters):
        prefix += "c"
    return tuple(f"{prefix}{d}" for d in range(depth))


@guarded
def generate(scop: Scop, tree: Tree) -> Node:
    """Loops that run every statement instance once, in the order of the tree (which must be verified).

    Raises `PolyhedralBlowup` where isl's budget does not suffice.
    """
    every = paths(scop, tree)
    depth, schedule = _schedule(scop, every)
    names = iterator_names(scop, depth)
    context = thread_context()
    build = islpy.AstBuild.from_context(set_of(scop.context).params() if scop.context else set_of("{ : }").params())
    ids = islpy.IdList.alloc(context, depth)
    for name in names:
        ids = ids.add(islpy.Id(name, context=context))
    build = build.set_iterators(ids).set_options(_options(scop, every, depth))
    node = build.node_from_schedule_map(schedule)
    return _node(node, {name: d for d, name in enumerate(names)}, {}) or BlockNode(())


def _schedule(scop: Scop, every: tuple[Path, ...]) -> tuple[int, islpy.UnionMap]:
    """The number of dimensions and the flat schedule.  # { Statement -> Time }"""
    together: dict[tuple[object, ...], int] = {}
    for path in every:
        together[path.coordinates] = together.get(path.coordinates, 0) + 1
    textual = {s.name: k for k, s in enumerate(scop.statements)}
    depth = max((len(p.coordinates) + (together[p.coordinates] > 1) for p in every), default=0)
    schedule = None
    for number, path in enumerate(every):
        statement = scop.statement(path.statement)
        times = list(path.exprs)
        if together[path.coordinates] > 1:
            times.append(constant(textual[path.statement]))
        times += [constant(0)] * (depth - len(times))
        text = schedule_text(scop.parameters, statement.name, statement.iterators, tuple(times))
        piece = map_of(text).intersect_domain(restrict(scop, statement, path.conditions))
        piece = piece.set_tuple_name(islpy.dim_type.in_, f"{number}_{path.statement}")  # read back by `_node`
        part = islpy.UnionMap.from_map(piece)
        schedule = part if schedule is None else schedule.union(part)
    if schedule is None:
        raise InvalidProgram("the program has no statements")
    return depth, schedule


def _options(scop: Scop, every: tuple[Path, ...], depth: int) -> islpy.UnionMap:
    """Generate one loop per band member: isl would else cut a loop where the statements in it begin and end."""
    wanted: dict[str, None] = {}
    for path in every:
        fixed = ""
        for d, coordinate in enumerate(path.coordinates):
            if isinstance(coordinate, Member):
                wanted[f"[{', '.join(f't{k}' for k in range(depth))}] -> atomic[{d}]{' : ' + fixed if fixed else ''}"] = None
            else:
                fixed += f"{' and ' if fixed else ''}t{d} = {coordinate.index}"
    text = f"{{ {'; '.join(wanted)} }}"
    return islpy.UnionMap.read_from_str(thread_context(), text)


_OPERATORS: dict[islpy.ast_expr_op_type, Operator] = {
    islpy.ast_expr_op_type.and_: "and",
    islpy.ast_expr_op_type.and_then: "and",
    islpy.ast_expr_op_type.or_: "or",
    islpy.ast_expr_op_type.or_else: "or",
    islpy.ast_expr_op_type.max: "max",
    islpy.ast_expr_op_type.min: "min",
    islpy.ast_expr_op_type.minus: "neg",
    islpy.ast_expr_op_type.add: "add",
    islpy.ast_expr_op_type.sub: "sub",
    islpy.ast_expr_op_type.mul: "mul",
    islpy.ast_expr_op_type.div: "floordiv",  # exact
    islpy.ast_expr_op_type.fdiv_q: "floordiv",
    islpy.ast_expr_op_type.pdiv_q: "floordiv",  # of a non-negative number
    islpy.ast_expr_op_type.pdiv_r: "mod",
    islpy.ast_expr_op_type.zdiv_r: "mod",  # compared with zero only
    islpy.ast_expr_op_type.cond: "select",
    islpy.ast_expr_op_type.select: "select",
    islpy.ast_expr_op_type.eq: "eq",
    islpy.ast_expr_op_type.le: "le",
    islpy.ast_expr_op_type.lt: "lt",
    islpy.ast_expr_op_type.ge: "ge",
    islpy.ast_expr_op_type.gt: "gt",
}


def _expr(expr: islpy.AstExpr, known: Mapping[str, Ast]) -> Ast:
    """An isl expression; iterators of loops that run once are replaced by their `known` value."""
    kind = expr.get_type()
    if kind == islpy.ast_expr_type.int:
        return int(expr.get_val().to_python())
    if kind == islpy.ast_expr_type.id:
        name = expr.get_id().get_name()
        return known.get(name, name)
    operator = _OPERATORS[expr.get_op_type()]
    args = [_expr(expr.get_op_arg(k), known) for k in range(expr.get_op_n_arg())]
    if operator in ("min", "max", "and", "or") and len(args) > 2:
        return Op(operator, tuple(args))
    return simplified(operator, tuple(args))


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


def _node(node: islpy.AstNode, dims: Mapping[str, int], known: dict[str, Ast]) -> Node | None:
    kind = node.get_type()
    if kind == islpy.ast_node_type.for_:
        iterator = node.for_get_iterator().get_id().get_name()
        lower = _expr(node.for_get_init(), known)
        if node.for_is_degenerate():
            return _node(node.for_get_body(), dims, {**known, iterator: lower})
        cond = node.for_get_cond()
        upper = _expr(cond.get_op_arg(1), known)
        if cond.get_op_type() == islpy.ast_expr_op_type.le:
            upper = simplified("add", (upper, 1))
        elif cond.get_op_type() != islpy.ast_expr_op_type.lt:
            raise InvalidProgram("isl generated a loop without a plain upper bound", where=f"loop '{iterator}'")
        step = _expr(node.for_get_inc(), known)
        body = _node(node.for_get_body(), dims, known)
        if not isinstance(step, int):
            raise InvalidProgram("isl generated a loop without a constant step", where=f"loop '{iterator}'")
        return None if body is None else ForNode(dims[iterator], iterator, lower, upper, step, body)
    if kind == islpy.ast_node_type.if_:
        then = _node(node.if_get_then_node(), dims, known)
        otherwise = _node(node.if_get_else_node(), dims, known) if node.if_has_else_node() else None
        return IfNode(_expr(node.if_get_cond(), known), then or BlockNode(()), otherwise)
    if kind == islpy.ast_node_type.block:
        listed = node.block_get_children()
        children = [_node(listed.get_at(k), dims, known) for k in range(listed.n_ast_node())]
        present = tuple(c for c in children if c is not None)
        return None if not present else present[0] if len(present) == 1 else BlockNode(present)
    if kind == islpy.ast_node_type.user:
        call = node.user_get_expr()
        path, statement = call.get_op_arg(0).get_id().get_name().split("_", 1)
        arguments = tuple(_expr(call.get_op_arg(k), known) for k in range(1, call.get_op_n_arg()))
        return CallNode(statement, arguments, int(path))
    raise InvalidProgram(f"isl generated an unexpected node ({kind})")


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
    inner = [f"({format_expr(a)})" if isinstance(a, Op) and a.op in _SYMBOLS else format_expr(a) for a in expr.args]
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
            return text if otherwise is None else f"{text}\n{indent}else:\n{format_ast(otherwise, indent + '  ')}"
        case ForNode():
            step = f", {node.step}" if node.step != 1 else ""
            bounds = f"{format_expr(node.lower)}, {format_expr(node.upper)}{step}"
            return f"{indent}for {node.iterator} in range({bounds}):\n{format_ast(node.body, indent + '  ')}"
