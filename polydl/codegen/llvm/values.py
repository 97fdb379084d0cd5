"""LLVM's types and literals for polydl's element types, and the SSA values the emitter passes around."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

from polydl.dtypes import BOOL, F16, F32, F64, I64, DType

__all__ = [
    "Value",
    "boolean",
    "floating",
    "integer",
    "literal",
    "memory_type",
    "register_type",
    "splat_literal",
]

_FLOATS: Final = {"f16": "half", "f32": "float", "f64": "double"}


def register_type(dtype: DType, lanes: int = 1) -> str:
    """The type of a value in registers: booleans are single bits."""
    scalar = _FLOATS[dtype.name] if dtype.is_float else "i1" if dtype == BOOL else f"i{dtype.bits}"
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def memory_type(dtype: DType, lanes: int = 1) -> str:
    """The type of an element in memory: booleans are bytes."""
    scalar = "i8" if dtype == BOOL else register_type(dtype)
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def literal(value: int | float | bool, dtype: DType) -> str:
    """A scalar literal. Integers wrap; floats are written in hexadecimal, exactly."""
    if dtype == BOOL:
        return "true" if value else "false"
    if not dtype.is_float:
        n = int(value) & ((1 << dtype.bits) - 1)
        return str(n - (1 << dtype.bits) if n >> (dtype.bits - 1) else n)
    number = float(value)
    if dtype == F16:
        return f"0xH{_half_bits(number):04X}"
    if dtype == F32 and math.isfinite(number):
        number = _to_f32(number)
    if math.isnan(number):
        return "0x7FF8000000000000"
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


def _to_f32(number: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return math.copysign(math.inf, number)


def _half_bits(number: float) -> int:
    try:
        return int(struct.unpack("<H", struct.pack("<e", number))[0])
    except OverflowError:
        return 0xFC00 if number < 0 else 0x7C00


def splat_literal(text: str, dtype: DType, lanes: int) -> str:
    """The literal `text` repeated in all lanes."""
    return text if lanes == 1 else f"splat ({register_type(dtype)} {text})"


@dataclass(slots=True, eq=False)
class Value:
    """An SSA value or a scalar literal.

    `depth` is the nesting level that defines it (0 for literals and arguments); `constant` is the number a scalar
    literal stands for; `low`/`high` bound a scalar integer where known (inclusive).
    """

    text: str
    dtype: DType
    lanes: int = 1
    depth: int = 0
    constant: int | float | bool | None = None
    low: int | None = None
    high: int | None = None

    @property
    def type(self) -> str:
        return register_type(self.dtype, self.lanes)


def integer(value: int, dtype: DType = I64) -> Value:
    """A scalar integer literal."""
    text = literal(value, dtype)
    wrapped = int(text)
    return Value(text, dtype, constant=wrapped, low=wrapped, high=wrapped)


def floating(value: float, dtype: DType = F32) -> Value:
    """A scalar float literal."""
    assert dtype in (F16, F32, F64), dtype
    return Value(literal(value, dtype), dtype, constant=float(value))


def boolean(value: bool) -> Value:
    """A scalar truth value."""
    return Value("true" if value else "false", BOOL, constant=bool(value))
