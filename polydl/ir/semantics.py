"""What every operator of the expression language computes, on numpy arrays and scalars.

One definition serves the interpreters and constant folding. Mathematical functions on f16 and f32 are computed in
float64 and rounded once, which makes the interpreter a reference for the back ends' approximations.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import numpy as np

from polydl.dtypes import BOOL, INDEX, DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const

__all__ = [
    "apply_binary",
    "apply_call",
    "apply_cast",
    "apply_unary",
    "constant",
    "limits",
    "to_const",
    "wrap",
]

Value = Any  # a numpy array or scalar


def limits(dtype: DType) -> tuple[int, int]:
    """The least and the greatest value of an integer type (or of bool: 0 and 1)."""
    if dtype.kind == "i":
        return -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1
    return (0, (1 << dtype.bits) - 1) if dtype.kind == "u" else (0, 1)


def wrap(value: int, dtype: DType) -> int:
    """`value` reduced modulo 2^bits into the range of an integer type."""
    low, high = limits(dtype)
    return value if low <= value <= high else (value - low) % (1 << dtype.bits) + low


def constant(c: Const) -> Value:
    """The numpy scalar a literal denotes: floats are rounded to the type, integers wrap."""
    if c.dtype.is_integer:
        return c.dtype.numpy.type(wrap(int(c.value), c.dtype))
    with np.errstate(all="ignore"):
        return c.dtype.numpy.type(c.value)


def to_const(value: Value, dtype: DType) -> Const:
    """The literal of a numpy scalar."""
    return Const(value.item(), dtype)


def _quotient(a: Value, b: Value) -> tuple[Value, Value]:
    """`b` without the divisors that trap (0, and -1 for signed types), and where `a // b` is defined by them."""
    safe = np.where((b == 0) | (b == -1) if b.dtype.kind == "i" else b == 0, b.dtype.type(1), b)
    return safe, np.where(b == 0, a.dtype.type(0), np.negative(a))


def _floordiv(a: Value, b: Value) -> Value:
    safe, special = _quotient(a, b)
    return np.where(safe == b, np.floor_divide(a, safe), special)


def _truncdiv(a: Value, b: Value) -> Value:
    safe, special = _quotient(a, b)
    quotient = np.floor_divide(a, safe)
    inexact = (np.remainder(a, safe) != 0) & ((a < 0) != (safe < 0))
    return np.where(safe == b, quotient + inexact.astype(a.dtype), special)


def _mod(a: Value, b: Value) -> Value:
    safe, _ = _quotient(a, b)
    return np.where(safe == b, np.remainder(a, safe), a.dtype.type(0))


def _shift(shift: Callable[[Value, Value], Value], a: Value, b: Value) -> Value:
    bits = a.dtype.itemsize * 8
    inside = (b >= 0) & (b < bits)
    return np.where(inside, shift(a, np.where(inside, b, b.dtype.type(0))), a.dtype.type(0))


_BINARY: Final[dict[str, Callable[[Value, Value], Value]]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "floordiv": _floordiv, "mod": _mod,
    "min": np.minimum, "max": np.maximum, "lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal,
    "gt": np.greater, "ge": np.greater_equal, "and": np.logical_and, "or": np.logical_or,
    "bitand": np.bitwise_and, "bitor": np.bitwise_or, "bitxor": np.bitwise_xor,
    "shl": lambda a, b: _shift(np.left_shift, a, b), "shr": lambda a, b: _shift(np.right_shift, a, b),
    "div": lambda a, b: np.true_divide(a, b) if a.dtype.kind == "f" else _truncdiv(a, b),
}  # fmt: skip


_INDEX: Final[dict[str, Callable[[int, int], int | bool]]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "min": min, "max": max,
    "lt": operator.lt, "le": operator.le, "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "ge": operator.ge,
    "floordiv": lambda a, b: a // b if b else 0, "mod": lambda a, b: a % b if b else 0,
}  # fmt: skip


def apply_binary(op: str, a: Value, b: Value) -> Value:
    """`a op b`, both of one type."""
    if type(a) is type(b) is np.int64 and op in _INDEX:  # subscripts: ten times faster than by numpy
        value = _INDEX[op](int(a), int(b))
        return np.bool_(value) if isinstance(value, bool) else np.int64(wrap(value, INDEX))
    with np.errstate(all="ignore"):
        return _BINARY[op](a, b)


def apply_unary(op: str, a: Value) -> Value:
    with np.errstate(all="ignore"):
        match op:
            case "neg":
                return np.negative(a)
            case "abs":
                return np.abs(a)
            case "not":
                return np.logical_not(a)
            case "invert":
                return np.invert(a)
    raise InvalidProgram(f"unknown unary operator '{op}'")


def _elementwise(f: Callable[..., float]) -> Callable[..., Value]:
    return lambda *xs: np.asarray(np.frompyfunc(f, len(xs), 1)(*xs)).astype(np.float64)[()]


def _fma_scalar(a: float, b: float, c: float) -> float:
    """`a*b + c` rounded once."""
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return a * b + c if a * b == 0 else 0.0  # the sign of a zero sum
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _fma_narrow(a: Value, b: Value, c: Value) -> Value:
    """fma of f16 or f32 operands held in float64: the product is exact, and the sum is rounded to odd (Boldo and
    Melquiond), so that the final rounding to the narrow type is the only one that counts."""
    product = a * b
    total = product + c
    part = total - product
    error = (product - (total - part)) + (c - part)  # TwoSum
    bits = np.asarray(total).view(np.int64)
    even = np.isfinite(total) & np.isfinite(error) & (error != 0) & ((bits & 1) == 0)
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where(even, np.nextafter(total, toward), total)


_CALLS: Final[dict[str, Callable[..., Value]]] = {  # on float64
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "rsqrt": lambda x: 1.0 / np.sqrt(x), "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "erf": _elementwise(math.erf),
    "pow": np.power, "fma": _elementwise(_fma_scalar), "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "round_even": np.rint, "fmod": np.fmod,
}  # fmt: skip


def apply_call(function: str, *operands: Value) -> Value:
    """A function of FUNCTIONS on float operands of one type."""
    with np.errstate(all="ignore"):
        if function == "isnan":
            return np.isnan(operands[0])
        if function == "isinf":
            return np.isinf(operands[0])
        dtype = operands[0].dtype
        wide = [np.asarray(x, dtype=np.float64) for x in operands]
        compute = _fma_narrow if function == "fma" and dtype != np.float64 else _CALLS[function]
        return np.asarray(compute(*wide)).astype(dtype)[()]


def apply_cast(dtype: DType, a: Value) -> Value:
    """`a` converted: float to integer truncates, saturates and maps nan to 0; to bool is `a != 0`; integers wrap."""
    with np.errstate(all="ignore"):
        if dtype == BOOL:
            return np.not_equal(a, a.dtype.type(0))
        if dtype.is_float or a.dtype.kind != "f":
            return a.astype(dtype.numpy)
        low, high = limits(dtype)
        whole = np.trunc(np.asarray(a, dtype=np.float64))
        inside = (whole >= float(low)) & (whole < float(high + 1))
        result = np.where(inside, whole, 0.0).astype(dtype.numpy)
        result = np.where(whole >= float(high + 1), dtype.numpy.type(high), result)
        return np.where(whole < float(low), dtype.numpy.type(low), result)[()]
