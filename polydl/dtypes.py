"""Element types, shared by every package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from polydl.errors import InvalidProgram

__all__ = [
    "BOOL",
    "F16",
    "F32",
    "F64",
    "I8",
    "I16",
    "I32",
    "I64",
    "INDEX",
    "U8",
    "U16",
    "U32",
    "U64",
    "DType",
    "by_name",
    "from_numpy",
    "promote",
]


@dataclass(frozen=True, slots=True)
class DType:
    """A scalar element type. `kind`: f float, i signed, u unsigned, b boolean (stored as one byte of 0 or 1)."""

    name: str
    kind: Literal["f", "i", "u", "b"]
    bits: int

    @property
    def bytes(self) -> int:
        """Size in memory, in bytes."""
        return self.bits // 8

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type of the same representation."""
        return np.dtype(_NUMPY[self.name])

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    def __str__(self) -> str:
        return self.name


_NUMPY: Final = {
    "f16": "float16", "f32": "float32", "f64": "float64", "i8": "int8", "i16": "int16", "i32": "int32",
    "i64": "int64", "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "bool": "bool",
}  # fmt: skip

F16, F32, F64 = DType("f16", "f", 16), DType("f32", "f", 32), DType("f64", "f", 64)
I8, I16, I32, I64 = DType("i8", "i", 8), DType("i16", "i", 16), DType("i32", "i", 32), DType("i64", "i", 64)
U8, U16, U32, U64 = DType("u8", "u", 8), DType("u16", "u", 16), DType("u32", "u", 32), DType("u64", "u", 64)
BOOL = DType("bool", "b", 8)
INDEX: Final = I64  # the type of loop iterators, sizes and subscripts

_ALL: Final = {t.name: t for t in (F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64, BOOL)}


def by_name(name: str) -> DType:
    """The type called `name` ("f32", "i64", "bool", …)."""
    if name not in _ALL:
        raise InvalidProgram(f"unknown element type '{name}'", next=f"use one of {', '.join(_ALL)}")
    return _ALL[name]


def from_numpy(dtype: Any) -> DType:
    """The polydl type of a numpy dtype; InvalidProgram where there is none."""
    name = np.dtype(dtype).name
    for short, full in _NUMPY.items():
        if full == name:
            return _ALL[short]
    raise InvalidProgram(
        f"numpy type '{name}' has no polydl element type", next=f"use one of {', '.join(_ALL)}"
    )


def promote(a: DType, b: DType) -> DType:
    """The type of `a op b`: equal types only. Mixing is an error, never silent."""
    if a == b:
        return a
    raise InvalidProgram(
        f"operands have types {a} and {b}", why="types are never mixed silently", next="add a cast"
    )
