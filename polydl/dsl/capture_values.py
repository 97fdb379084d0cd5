"""Python expressions as expressions of the DSL: values of statements, subscripts, bounds and conditions.

A Python number has no type of its own until it meets a typed operand, as in numpy. Iterators and sizes are integers;
where they meet a floating-point value they are converted, as in Python. Two different element types never meet without
a conversion that the program spells.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

import numpy as np

from polydl.dsl.capture import Source
from polydl.dsl.capture_arithmetic import Value, combine, inverted, is_condition, negated, number
from polydl.dsl.capture_functions import BUILTINS, called
from polydl.dsl.polyhedral import condition_text, from_affine, to_affine
from polydl.dsl.tensor import Tensor
from polydl.dtypes import BOOL, F64, INDEX, DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import Binary, Cast, Const, Expr, Load, Select, Unary, as_expr, walk
from polydl.ir.semantics import limits

__all__ = ["Scope", "Value"]

_OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "mod",
    ast.Pow: "pow", ast.BitAnd: "bitand", ast.BitOr: "bitor", ast.BitXor: "bitxor", ast.LShift: "shl",
    ast.RShift: "shr",
}  # fmt: skip
_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip


@dataclass
class Scope:
    """What names mean at a place of the program."""

    source: Source
    outside: Mapping[str, Any]  # names that the function takes from around it
    arrays: dict[str, Tensor] = field(default_factory=dict)  # parameters, and scalars as arrays of rank 0
    numbers: dict[str, Value] = field(default_factory=dict)  # sizes, names for affine expressions, iterators
    finished: set[str] = field(default_factory=set)  # iterators whose loop is over
    untyped: dict[int, Select] = field(
        default_factory=dict
    )  # choices between numbers, which have no type yet
    places: list[tuple[ast.Subscript, Load]] = field(default_factory=list)  # where array elements are named

    # -- values --------------------------------------------------------------------------------------------------

    def value(self, node: ast.expr) -> Value:
        """The value of an expression that a statement computes."""
        match node:
            case ast.Constant(value=bool() | int() | float() as literal):
                return literal
            case ast.Name():
                return self._name(node)
            case ast.Subscript() | ast.Attribute():
                return self._element(node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return negated(self.value(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return number(self.value(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return combine(self, node, _OPERATORS[type(op)], self.value(left), self.value(right))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                sides = self.value(body), self.value(orelse)
                choice = Select(self.condition(test), *self.balanced(node, *sides))
                if all(isinstance(x, int | float) or id(x) in self.untyped for x in sides):
                    self.untyped[id(choice)] = choice
                return choice
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return inverted(self, node, self.value(operand))
            case ast.Call():
                return called(self, node)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return self.condition(node)
            case _:
                raise self.source.error(
                    node,
                    f"a {type(node).__name__} cannot be compiled",
                    why="values are made of numbers, array elements, arithmetic and mathematical functions",
                    next="write it with these, element by element",
                )

    def typed(self, node: ast.expr, dtype: DType) -> Expr:
        """The value of an expression that is stored where elements have type `dtype`."""
        value = self.value(node)
        return self.convert(node, value, dtype)

    def convert(self, node: ast.AST, value: Value, dtype: DType) -> Expr:
        """`value` as `dtype`: numbers take it, integers become floating-point; anything else is an error."""
        if isinstance(value, int | float):
            return self.literal(node, value, dtype)
        if value.dtype == dtype:
            return value
        if isinstance(value, Cast) and value.operand.dtype == BOOL and dtype != BOOL:
            return Cast(dtype, value.operand)  # a condition that counts, which is 0 or 1 of any type
        if id(value) in self.untyped and not (value.dtype.is_float and dtype.is_integer):
            choice = self.untyped[id(value)]
            choice = Select(choice.cond, *(self._retyped(node, x, dtype) for x in (choice.a, choice.b)))
            self.untyped[id(choice)] = choice
            return choice
        if (dtype.is_float and value.dtype.is_integer) or (value.dtype == BOOL and dtype != BOOL):
            return Cast(dtype, value)
        raise self.source.error(
            node,
            f"a value of type {value.dtype} meets the type {dtype}",
            why="types are never mixed silently",
            next=f"convert it: np.{dtype.numpy.name}(…)",
        )

    def _is_untyped(self, value: Expr) -> bool:
        """Whether a value takes the type of what it meets, as numbers do."""
        return id(value) in self.untyped or (isinstance(value, Cast) and value.operand.dtype == BOOL)

    def _retyped(self, node: ast.AST, side: Expr, dtype: DType) -> Expr:
        """A side of a choice between numbers, which takes the type that the choice meets."""
        return (
            self.literal(node, side.value, dtype)
            if isinstance(side, Const)
            else self.convert(node, side, dtype)
        )

    def literal(self, node: ast.AST, value: int | float, dtype: DType) -> Expr:
        """A Python number as a constant of `dtype`; an error where the type does not hold it."""
        least, most = limits(dtype) if dtype.is_integer else (-math.inf, math.inf)
        held = dtype == BOOL or not math.isfinite(value) or least <= value <= most
        try:
            if held:
                return as_expr(value, dtype)
        except (InvalidProgram, OverflowError, ValueError):
            pass
        shown = f"{value}" if isinstance(value, float) or value.bit_length() <= 128 else "of that size"
        raise self.source.error(
            node,
            f"the number {shown} is no {dtype}",
            why="" if held else f"{dtype} holds {least} to {most}",
            next="use an array of a floating-point type" if held else "use a type that holds it",
        )

    def _name(self, node: ast.Name) -> Value:
        name = node.id
        if name in self.numbers:
            return self.numbers[name]
        if name in self.arrays:
            tensor = self.arrays[name]
            if tensor.rank:
                raise self.source.error(
                    node,
                    f"the whole array {name} stands where a number is needed",
                    next=f"subscript it: {name}[{', '.join('ijklmn'[: tensor.rank])}]",
                )
            return tensor[()]
        if name in self.finished:
            raise self.source.error(
                node,
                f"iterator {name} is used after its loop",
                next="write its last value as an expression of the sizes",
            )
        found = self.outside.get(name)
        if isinstance(found, bool | int | float | np.integer | np.floating):
            return found.item() if isinstance(found, np.generic) else found
        raise self.source.error(
            node,
            f"'{name}' has no value here",
            why="it is no parameter, size, iterator, assigned scalar or number outside of the function"
            if name not in self.outside
            else f"it is a {type(found).__name__}, not a number",
            next="pass it as a parameter",
        )

    def _element(self, node: ast.Subscript | ast.Attribute) -> Value:
        extent = self.extent(node)
        if extent is not None:
            return extent
        if isinstance(node, ast.Attribute):
            found = self.outer(node)
            if isinstance(found, float | int):
                return found
            raise self.source.error(
                node, f"'{ast.unparse(node)}' cannot be compiled", next="use array elements and numbers"
            )
        tensor, index = self.access(node, gathers=True)
        return tensor[index]

    def extent(self, node: ast.expr) -> Expr | None:
        """`A.shape[0]` and `len(A)` as sizes; None for anything else."""
        match node:
            case ast.Subscript(value=ast.Attribute(value=ast.Name(id=name), attr="shape"), slice=which):
                d = self.value(which)
            case ast.Call(func=ast.Name(id="len") as func, args=[ast.Name(id=name)], keywords=[]) if (
                self.outer(func) is len
            ):
                d = 0
            case _:
                return None
        tensor = self.arrays.get(name)
        if tensor is None or not isinstance(d, int) or not -tensor.rank <= d < tensor.rank:
            raise self.source.error(
                node,
                f"'{ast.unparse(node)}' is no dimension of an array parameter",
                next="ask for one by its number: A.shape[0], A.shape[-1]",
            )
        return tensor.shape[d]

    def access(self, node: ast.Subscript, *, gathers: bool) -> tuple[Tensor, tuple[Expr, ...]]:
        """The array and the subscripts of `A[i, j]` or `A[i][j]`."""
        parts: list[ast.expr] = []
        base: ast.expr = node
        while isinstance(base, ast.Subscript):
            inner = base.slice
            parts[:0] = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            base = base.value
        if not isinstance(base, ast.Name) or base.id not in self.arrays:
            raise self.source.error(
                base,
                f"'{ast.unparse(base)}' is no array parameter",
                next="annotate a parameter with its type and shape",
            )
        tensor = self.arrays[base.id]
        if len(parts) != tensor.rank:
            raise self.source.error(
                node,
                f"{base.id} has {tensor.rank} dimensions, here are {len(parts)} subscripts",
                next="loop over the other dimensions" if len(parts) < tensor.rank else "drop a subscript",
            )
        index = tuple(self._subscript(p, tensor, d, gathers) for d, p in enumerate(parts))
        self.places.append((node, tensor[index]))
        return tensor, index

    def _subscript(self, node: ast.expr, tensor: Tensor, d: int, gathers: bool) -> Expr:
        if isinstance(node, ast.Slice):
            raise self.source.error(node, "a slice cannot be compiled", next="write a loop over the elements")
        value = self.value(node)
        if isinstance(value, int) and not isinstance(value, bool):
            return as_expr(value) if value >= 0 else self._simple(tensor.shape[d] + as_expr(value))
        if isinstance(value, bool | float) or not value.dtype.is_integer:
            raise self.source.error(
                node, "a subscript is no integer", next="compute it from iterators and sizes, with //"
            )
        if to_affine(value) is not None:
            return self._simple(value)
        if gathers and any(isinstance(x, Load) for x in walk(value)):
            return value if value.dtype == INDEX else Cast(INDEX, value)
        return self._not_affine(node, value, "a subscript")

    # -- integers ------------------------------------------------------------------------------------------------

    def affine(self, node: ast.expr, role: str) -> Expr:
        """An expression of iterators and sizes that is affine; `role` says in errors what it is."""
        value = self.value(node)
        if isinstance(value, float) or (not isinstance(value, int) and value.dtype != INDEX):
            raise self.source.error(
                node, f"{role} is no integer expression of iterators and sizes", next="use // for division"
            )
        if isinstance(value, int):
            return self.literal(node, value, INDEX)
        if to_affine(value) is None:
            return self._not_affine(node, value, role)
        return self._simple(value)

    def constant(self, node: ast.expr) -> Value | None:
        """The value of an expression that is a number, or affine in the sizes; None for any other."""
        try:
            value = self.value(node)
        except InvalidProgram:
            return None
        if isinstance(value, int | float):
            return value
        return self._simple(value) if value.dtype == INDEX and to_affine(value) is not None else None

    def _simple(self, value: Expr) -> Expr:
        form = to_affine(value)
        return value if form is None else from_affine(form)

    def _not_affine(self, node: ast.expr, value: Expr, role: str) -> Expr:
        if any(isinstance(x, Load) for x in walk(value)):
            why, then = (
                "it depends on the contents of an array or on a scalar",
                "make it a size parameter, or an expression of iterators",
            )
        elif any(isinstance(x, Binary) and x.op == "mul" for x in walk(value)):
            why, then = (
                "it multiplies iterators or sizes with each other",
                "use one subscript per dimension, or make the product a size of its own",
            )
        else:
            why, then = (
                "only sums of iterators and sizes with constant factors, and // and % by positive constants, are",
                "rewrite it so",
            )
        raise self.source.error(node, f"{role} is not affine in iterators and sizes", why, then)

    # -- conditions ----------------------------------------------------------------------------------------------

    def affine_condition(self, node: ast.expr) -> Expr:
        """A condition on iterators and sizes."""
        condition = self.condition(node)
        try:
            condition_text(condition)
        except InvalidProgram:
            raise self.source.error(
                node,
                "the condition of an if is not affine in iterators and sizes",
                why="it depends on the contents of an array or on a scalar"
                if any(isinstance(x, Load) for x in walk(condition))
                else "it has products of iterators or sizes",
                next="choose between values instead: x = a if … else b",
            ) from None
        return condition

    def outer(self, node: ast.expr) -> Any:
        """What a name or an attribute of a module outside of the function is; None where it is unknown."""
        match node:
            case ast.Name(id=name):
                return self.outside.get(name, BUILTINS.get(name))
            case ast.Attribute(value=ast.Name(id=base), attr=attr):
                module = self.outside.get(base)
                if isinstance(module, ModuleType) and module.__name__ in ("math", "numpy"):
                    return getattr(module, attr, None)
        return None

    def condition(self, node: ast.expr) -> Expr:
        match node:
            case ast.BoolOp(op=op, values=values):
                first, *rest = map(self.condition, values)
                for c in rest:
                    first = Binary("and" if isinstance(op, ast.And) else "or", first, c)
                return first
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Unary("not", self.condition(operand))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                result: Expr | None = None
                sides = [left, *comparators]
                for sign, x, y in zip(ops, sides, sides[1:], strict=False):
                    if type(sign) not in _COMPARISONS:
                        raise self.source.error(
                            node, "this comparison cannot be compiled", next="use <, <=, ==, !=, >=, >"
                        )
                    a, b = self.balanced(node, self.value(x), self.value(y))
                    one = Binary(_COMPARISONS[type(sign)], a, b)
                    result = one if result is None else Binary("and", result, one)
                assert result is not None
                return result
            case _:
                found = self.value(node)
                if isinstance(found, bool):
                    return Const(found, BOOL)
                if isinstance(found, int | float) or found.dtype != BOOL:
                    raise self.source.error(node, "a condition is needed here", next="compare: … != 0")
                return found

    # -- types ---------------------------------------------------------------------------------------------------

    def balanced(self, node: ast.AST, a: Value, b: Value) -> tuple[Expr, Expr]:
        """Two operands of one type. A condition that meets a number is 0 or 1, as in Python."""
        if is_condition(a) != is_condition(b) and not (isinstance(a, bool) or isinstance(b, bool)):
            a, b = number(a), number(b)
        if isinstance(a, int | float) and isinstance(b, int | float):
            dtype = F64 if isinstance(a, float) or isinstance(b, float) else INDEX
            return self.literal(node, a, dtype), self.literal(node, b, dtype)
        if isinstance(a, int | float):
            assert not isinstance(b, int | float)
            dtype = F64 if isinstance(a, float) and b.dtype.is_integer else b.dtype
            return self.literal(node, a, dtype), self.convert(node, b, dtype)
        if isinstance(b, int | float):
            dtype = F64 if isinstance(b, float) and a.dtype.is_integer else a.dtype
            return self.convert(node, a, dtype), self.literal(node, b, dtype)
        takes_any = self._is_untyped(a) and not self._is_untyped(b)
        if (b.dtype.is_float and a.dtype.is_integer) or (takes_any and a.dtype.is_float == b.dtype.is_float):
            return self.convert(node, a, b.dtype), b
        return a, self.convert(node, b, a.dtype)
