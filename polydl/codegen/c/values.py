"""C spellings of types and literals, and the expressions the emitter passes around."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from polydl.dtypes import BOOL, F16, F32, I8, I16, I32, I64, U8, U16, U32, U64, DType

__all__ = [
    "ADDITIVE", "ATOM", "BITWISE", "COMPARISON", "LOGICAL", "MULTIPLICATIVE", "TERNARY", "UNARY", "Value", "literal",
    "memory_dtype", "scalar_type", "signed", "unsigned",
]  # fmt: skip

# How tightly an expression binds, loosest last; mixtures that compilers warn about are kept apart.
ATOM, UNARY, MULTIPLICATIVE, ADDITIVE, COMPARISON, BITWISE, LOGICAL, TERNARY = range(8)

_SCALARS: Final = {
    "f16": "_Float16", "f32": "float", "f64": "double", "i8": "int8_t", "i16": "int16_t", "i32": "int32_t",
    "i64": "int64_t", "u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t", "bool": "bool",
}  # fmt: skip
_SIGNED: Final = {8: I8, 16: I16, 32: I32, 64: I64}
_UNSIGNED: Final = {8: U8, 16: U16, 32: U32, 64: U64}


def scalar_type(dtype: DType) -> str:
    """The C type of one value."""
    return _SCALARS[dtype.name]


def memory_dtype(dtype: DType) -> DType:
    """The type of an element in memory: booleans are bytes."""
    return U8 if dtype == BOOL else dtype


def signed(bits: int) -> DType:
    """The signed integer type of that width."""
    return _SIGNED[bits]


def unsigned(bits: int) -> DType:
    """The unsigned integer type of that width."""
    return _UNSIGNED[bits]


@dataclass(frozen=True, slots=True)
class Value:
    """A C expression. `bits` is the width of the lanes of a vector of booleans (0 or -1 in each); `constant` the number
    a literal stands for; `prec` how tightly the expression binds."""

    text: str
    dtype: DType
    lanes: int = 1
    bits: int = 0
    prec: int = ATOM
    constant: int | float | bool | None = None

    def within(self, prec: int) -> str:
        """The text as an operand of an operator that binds `prec` tightly."""
        return self.text if self.prec <= prec else f"({self.text})"

    @property
    def element(self) -> DType:
        """The type of a lane as C knows it: vectors of booleans are vectors of integers."""
        return signed(self.bits) if self.dtype == BOOL and self.lanes > 1 else self.dtype


def literal(value: int | float | bool, dtype: DType) -> Value:
    """A scalar literal. Integers wrap; floats are written in as few digits as read back exactly."""
    if dtype == BOOL:
        return Value("true" if value else "false", BOOL, constant=bool(value))
    if dtype.is_float:
        text, number = _float(float(value), dtype)
        return Value(text, dtype, prec=UNARY if text.startswith("-") else ATOM, constant=number)
    low = -(1 << (dtype.bits - 1)) if dtype.kind == "i" else 0
    number = (int(value) - low) % (1 << dtype.bits) + low
    if dtype.kind == "u":
        text = f"UINT64_C({number})" if dtype.bits == 64 else f"{number}u"
    elif number == low and dtype.bits >= 32:
        text = f"INT{dtype.bits}_MIN"
    elif abs(number) > 2**31 - 1:
        text = f"INT64_C({number})"
    else:
        text = str(number)
    return Value(text, dtype, prec=UNARY if text.startswith("-") else ATOM, constant=number)


def _float(value: float, dtype: DType) -> tuple[str, float]:
    with np.errstate(over="ignore"):
        number = dtype.numpy.type(value)
    cast = "(_Float16)" if dtype == F16 else ""
    suffix = "f" if dtype in (F16, F32) else ""
    if math.isnan(number):
        return f"{cast}(float)NAN" if suffix else "(double)NAN", math.nan
    if math.isinf(number):
        sign = "-" if number < 0 else ""
        return f"{sign}(float)INFINITY" if suffix else f"{sign}(double)INFINITY", float(number)
    text = np.format_float_positional(number, unique=True, trim="0") if 1e-4 <= abs(number) < 1e7 or number == 0 else (
        np.format_float_scientific(number, unique=True, trim="0")
    )  # fmt: skip
    return f"{cast}{text}{suffix}", float(number)
