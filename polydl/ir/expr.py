"""Scalar and vector expressions: the one expression language of the DSL's bodies and of the loop IR.

Semantic contract
-----------------
* An expression is a pure value of one element type (`dtype`) and one vector length (`lanes`, 1 = scalar).
* Arithmetic on integers wraps (two's complement); on floats it is IEEE 754 without reassociation or contraction,
  except where a back end is told otherwise. `floordiv` and `mod` are for integers; they round towards minus infinity
  (Python's meaning) and have the value 0 where the divisor is 0. `div` is float division, or C's truncating division
  on integers (0 for a zero divisor). Shifts by a negative amount or by the width or more give 0; `shr`
  of a signed integer keeps its sign.
* `min`/`max` propagate NaN. Comparisons give `bool`; `and`/`or`/`not` work on `bool`, `bitand`, `bitor`, `bitxor`,
  `invert` on integers.
* `Select` evaluates only the chosen side in the reference semantics: a `Load` in the other side is not performed.
  Back ends may speculate a side only if doing so cannot fault.
* `Cast` float → integer truncates towards zero, saturates at the type's range and maps NaN to 0; to bool it is
  `x != 0`.
* A scalar operand of an operation with a vector operand is broadcast.
* `Load(buffer, index)` names a tensor (in a Function, logical subscripts) or a buffer (in a Kernel, storage
  subscripts). A vector subscript loads element-wise (a gather); `Ramp(base, 1, lanes)` in the last subscript is a
  contiguous load. Lanes whose `mask` is false are not accessed and have the value 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import copysign
from typing import Final, TypeAlias, assert_never

from polydl.dtypes import BOOL, INDEX, DType
from polydl.errors import InvalidProgram
from polydl.ir.numbers import type_of_number

__all__ = [
    "BINARY_OPS", "COMPARISONS", "FUNCTIONS", "UNARY_OPS", "Binary", "Broadcast", "Call", "Cast", "Const",
    "Expr", "ExprLike", "Load", "Ramp", "ReduceLanes", "Select", "Unary", "Var", "and_", "as_expr", "call",
    "cast", "children", "eq", "map_children", "maximum", "minimum", "ne", "not_", "or_", "select",
    "substitute", "transform", "walk",
]  # fmt: skip

COMPARISONS: Final = frozenset({"lt", "le", "eq", "ne", "gt", "ge"})
BINARY_OPS: Final = COMPARISONS | {
    "add", "sub", "mul", "div", "floordiv", "mod", "min", "max", "and", "or", "bitand", "bitor", "bitxor", "shl", "shr",
}  # fmt: skip
UNARY_OPS: Final = frozenset({"neg", "abs", "not", "invert"})
FUNCTIONS: Final = {  # name -> number of operands; all on floats, result of the operands' type unless said
    "exp": 1, "log": 1, "sqrt": 1, "rsqrt": 1, "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1,
    "sinh": 1, "cosh": 1, "tanh": 1, "asinh": 1, "acosh": 1, "atanh": 1, "erf": 1, "pow": 2, "fma": 3,
    "floor": 1, "ceil": 1, "trunc": 1, "round_even": 1, "fmod": 2,  # fmod: sign of the dividend (C's)
    "isnan": 1, "isinf": 1,  # -> bool
}  # fmt: skip


class _Operators:
    """Python operators on expressions. `==` stays structural equality: use `eq(a, b)` for the comparison."""

    __slots__ = ()

    def __add__(self, other: ExprLike) -> Expr:
        return _binary("add", self, other)

    def __radd__(self, other: ExprLike) -> Expr:
        return _binary("add", other, self)

    def __sub__(self, other: ExprLike) -> Expr:
        return _binary("sub", self, other)

    def __rsub__(self, other: ExprLike) -> Expr:
        return _binary("sub", other, self)

    def __mul__(self, other: ExprLike) -> Expr:
        return _binary("mul", self, other)

    def __rmul__(self, other: ExprLike) -> Expr:
        return _binary("mul", other, self)

    def __truediv__(self, other: ExprLike) -> Expr:
        return _binary("div", self, other)

    def __rtruediv__(self, other: ExprLike) -> Expr:
        return _binary("div", other, self)

    def __floordiv__(self, other: ExprLike) -> Expr:
        return _binary("floordiv", self, other)

    def __rfloordiv__(self, other: ExprLike) -> Expr:
        return _binary("floordiv", other, self)

    def __mod__(self, other: ExprLike) -> Expr:
        return _binary("mod", self, other)

    def __rmod__(self, other: ExprLike) -> Expr:
        return _binary("mod", other, self)

    def __neg__(self) -> Expr:
        return Unary("neg", self)  # type: ignore[arg-type]

    def __lt__(self, other: ExprLike) -> Expr:
        return _binary("lt", self, other)

    def __le__(self, other: ExprLike) -> Expr:
        return _binary("le", self, other)

    def __gt__(self, other: ExprLike) -> Expr:
        return _binary("gt", self, other)

    def __ge__(self, other: ExprLike) -> Expr:
        return _binary("ge", self, other)

    def __bool__(self) -> bool:
        raise InvalidProgram(
            "an expression has no truth value while a program is being built",
            next="use polydl.select(cond, a, b), polydl.and_, polydl.or_, polydl.not_",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Const(_Operators):
    """A literal, nan and infinities included. Equal constants denote one value: nan is nan, -0.0 is not 0.0."""

    value: int | float | bool
    dtype: DType

    @property
    def lanes(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Const):
            return NotImplemented
        if self.dtype != other.dtype:
            return False
        a, b = self.value, other.value
        return (a == b and (a != 0 or copysign(1, a) == copysign(1, b))) or (a != a and b != b)

    def __hash__(self) -> int:
        return hash((0 if self.value != self.value else self.value, self.dtype))


@dataclass(frozen=True, slots=True)
class Var(_Operators):
    """A loop iterator, a symbolic size, or a name bound by `Let`."""

    name: str
    dtype: DType = INDEX
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class Load(_Operators):
    """The element of `buffer` at `index`."""

    buffer: str
    index: tuple[Expr, ...]
    dtype: DType
    mask: Expr | None = None

    @property
    def lanes(self) -> int:
        return max((i.lanes for i in self.index), default=1)


@dataclass(frozen=True, slots=True)
class Unary(_Operators):
    op: str
    operand: Expr

    @property
    def dtype(self) -> DType:
        return self.operand.dtype

    @property
    def lanes(self) -> int:
        return self.operand.lanes


@dataclass(frozen=True, slots=True)
class Binary(_Operators):
    """`a op b`; both operands have one type. Comparisons give `bool`."""

    op: str
    a: Expr
    b: Expr

    @property
    def dtype(self) -> DType:
        return BOOL if self.op in COMPARISONS else self.a.dtype

    @property
    def lanes(self) -> int:
        return max(self.a.lanes, self.b.lanes)


@dataclass(frozen=True, slots=True)
class Call(_Operators):
    """A mathematical function of FUNCTIONS."""

    function: str
    operands: tuple[Expr, ...]

    @property
    def dtype(self) -> DType:
        return BOOL if self.function in ("isnan", "isinf") else self.operands[0].dtype

    @property
    def lanes(self) -> int:
        return max(o.lanes for o in self.operands)


@dataclass(frozen=True, slots=True)
class Select(_Operators):
    """`a` where `cond`, else `b`."""

    cond: Expr
    a: Expr
    b: Expr

    @property
    def dtype(self) -> DType:
        return self.a.dtype

    @property
    def lanes(self) -> int:
        return max(self.cond.lanes, self.a.lanes, self.b.lanes)


@dataclass(frozen=True, slots=True)
class Cast(_Operators):
    dtype: DType
    operand: Expr

    @property
    def lanes(self) -> int:
        return self.operand.lanes


@dataclass(frozen=True, slots=True)
class Ramp(_Operators):
    """The vector `base, base + stride, …, base + (lanes-1)*stride` of index type."""

    base: Expr
    stride: int
    lanes: int

    @property
    def dtype(self) -> DType:
        return self.base.dtype


@dataclass(frozen=True, slots=True)
class Broadcast(_Operators):
    """A scalar repeated `lanes` times (written only where a vector is needed and no operand is one)."""

    operand: Expr
    lanes: int

    @property
    def dtype(self) -> DType:
        return self.operand.dtype


@dataclass(frozen=True, slots=True)
class ReduceLanes(_Operators):
    """The lanes of a vector combined to a scalar by `op` (add, mul, min, max, and, or); the order is free."""

    op: str
    operand: Expr

    @property
    def dtype(self) -> DType:
        return self.operand.dtype

    @property
    def lanes(self) -> int:
        return 1


Expr: TypeAlias = Const | Var | Load | Unary | Binary | Call | Select | Cast | Ramp | Broadcast | ReduceLanes
ExprLike: TypeAlias = Expr | int | float | bool | _Operators


def as_expr(value: ExprLike, dtype: DType | None = None) -> Expr:
    """`value` as an expression; a Python number becomes a constant of `dtype` (default: index, f32 or bool)."""
    if isinstance(value, _Operators):
        return value  # type: ignore[return-value]
    natural = type_of_number(value)
    if dtype is None:
        dtype = natural
    if dtype.is_float:
        return Const(float(value), dtype)
    if dtype == BOOL:
        return Const(bool(value), dtype)
    if isinstance(value, float) and value != int(value):
        raise InvalidProgram(
            f"the constant {value} is not an integer", why=f"it meets an operand of type {dtype}"
        )
    return Const(int(value), dtype)


def _binary(op: str, a: ExprLike, b: ExprLike) -> Expr:
    if not isinstance(a, _Operators):
        right = as_expr(b)
        return Binary(op, as_expr(a, right.dtype), right)
    left = as_expr(a)
    right = as_expr(b, left.dtype)
    if left.dtype != right.dtype:
        raise InvalidProgram(
            f"'{op}' meets operands of types {left.dtype} and {right.dtype}",
            why="types are never mixed silently",
            next="write cast(dtype, x) around one of them",
        )
    return Binary(op, left, right)


def minimum(a: ExprLike, b: ExprLike) -> Expr:
    return _binary("min", a, b)


def maximum(a: ExprLike, b: ExprLike) -> Expr:
    return _binary("max", a, b)


def eq(a: ExprLike, b: ExprLike) -> Expr:
    return _binary("eq", a, b)


def ne(a: ExprLike, b: ExprLike) -> Expr:
    return _binary("ne", a, b)


def and_(a: ExprLike, b: ExprLike) -> Expr:
    return _binary("and", a, b)


def or_(a: ExprLike, b: ExprLike) -> Expr:
    return _binary("or", a, b)


def not_(a: Expr) -> Expr:
    return Unary("not", a)


def select(cond: Expr, a: ExprLike, b: ExprLike) -> Expr:
    """`a` where `cond`, else `b`; numbers take the type of the other side."""
    if not isinstance(a, _Operators) and isinstance(b, _Operators):
        right = as_expr(b)
        return Select(cond, as_expr(a, right.dtype), right)
    left = as_expr(a)
    return Select(cond, left, as_expr(b, left.dtype))


def cast(dtype: DType, a: ExprLike) -> Expr:
    expr = as_expr(a)
    return expr if expr.dtype == dtype else Cast(dtype, expr)


def call(function: str, *operands: ExprLike) -> Expr:
    """A function of FUNCTIONS; numbers take the type of the first expression among the operands."""
    if FUNCTIONS.get(function) != len(operands):
        raise InvalidProgram(
            f"no function {function} of {len(operands)} operands", next=f"one of {sorted(FUNCTIONS)}"
        )
    dtype = next((o.dtype for o in operands if isinstance(o, _Operators)), None)  # type: ignore[attr-defined]
    return Call(function, tuple(as_expr(o, dtype) for o in operands))


def children(e: Expr) -> tuple[Expr, ...]:
    """The direct subexpressions of `e`, in evaluation order."""
    match e:
        case Const() | Var():
            return ()
        case Load(index=index, mask=mask):
            return index if mask is None else (*index, mask)
        case (
            Unary(operand=x) | Cast(operand=x) | Broadcast(operand=x) | ReduceLanes(operand=x) | Ramp(base=x)
        ):
            return (x,)
        case Binary(a=a, b=b):
            return (a, b)
        case Call(operands=operands):
            return operands
        case Select(cond=c, a=a, b=b):
            return (c, a, b)
        case _:
            assert_never(e)


def map_children(e: Expr, f: Callable[[Expr], Expr]) -> Expr:
    """`e` with `f` applied to each direct subexpression; `e` itself where nothing changed."""
    match e:
        case Const() | Var():
            return e
        case Binary(op, a, b):
            a2, b2 = f(a), f(b)
            return e if a2 is a and b2 is b else Binary(op, a2, b2)
        case Load(buffer, index, dtype, mask):
            index2, mask2 = _map_tuple(index, f), None if mask is None else f(mask)
            return e if index2 is index and mask2 is mask else Load(buffer, index2, dtype, mask2)
        case Unary(op, x):
            x2 = f(x)
            return e if x2 is x else Unary(op, x2)
        case Call(function, operands):
            operands2 = _map_tuple(operands, f)
            return e if operands2 is operands else Call(function, operands2)
        case Select(c, a, b):
            c2, a2, b2 = f(c), f(a), f(b)
            return e if c2 is c and a2 is a and b2 is b else Select(c2, a2, b2)
        case Cast(dtype, x):
            x2 = f(x)
            return e if x2 is x else Cast(dtype, x2)
        case Ramp(x, stride, lanes):
            x2 = f(x)
            return e if x2 is x else Ramp(x2, stride, lanes)
        case Broadcast(x, lanes):
            x2 = f(x)
            return e if x2 is x else Broadcast(x2, lanes)
        case ReduceLanes(op, x):
            x2 = f(x)
            return e if x2 is x else ReduceLanes(op, x2)
        case _:
            assert_never(e)


def _map_tuple(old: tuple[Expr, ...], f: Callable[[Expr], Expr]) -> tuple[Expr, ...]:
    """`old` with `f` applied; the same tuple where nothing changed."""
    new = tuple([f(x) for x in old])
    return old if all(x is y for x, y in zip(new, old, strict=True)) else new


def transform(e: Expr, f: Callable[[Expr], Expr]) -> Expr:
    """`f` applied bottom-up to every subexpression."""
    return f(map_children(e, lambda x: transform(x, f)))


def substitute(e: Expr, bindings: dict[str, Expr]) -> Expr:
    """`e` with variables replaced simultaneously."""

    def replace_var(x: Expr) -> Expr:
        return bindings.get(x.name, x) if isinstance(x, Var) else x

    return transform(e, replace_var)


def walk(e: Expr) -> Iterator[Expr]:
    """`e` and all its subexpressions, parents first."""
    yield e
    for child in children(e):
        yield from walk(child)
