"""The helper functions of a C file, each written when first used.

A vector type is named by element and length (`f32x16`), a helper by what it does and its type (`fma_f32x16`). Vectors
are GCC's and Clang's (`vector_size`): what these cannot say (fused multiply-add, minimum, masked access, square roots)
is said by intrinsics where the compiler's flags allow them, by lanes elsewhere: a file compiles for every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from polydl.codegen.c.values import memory_dtype, scalar_type, signed
from polydl.dtypes import BOOL, DType
from polydl.errors import InvalidProgram

__all__ = ["X86_VECTORS", "Library", "halves", "lanewise"]

# Vectors of the x86 levels: bytes -> (macro that allows them, prefix of the intrinsics, type's width)
X86_VECTORS: Final = {
    16: ("__SSE2__", "_mm", "128"),
    32: ("__AVX__", "_mm256", "256"),
    64: ("__AVX512F__", "_mm512", "512"),
}


class Library:
    """Types and helpers used so far, in an order in which each is defined before its use."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}
        self._functions: dict[str, str] = {}
        self.intrinsics = False  # whether some helper needs the compiler's intrinsics headers

    def type(self, dtype: DType, lanes: int = 1) -> str:
        """The type of a value; of a vector of booleans, ask for the integers it consists of."""
        if lanes == 1:
            return scalar_type(dtype)
        if lanes & (lanes - 1) or dtype == BOOL:
            raise InvalidProgram(
                f"C has no vector of {lanes} x {dtype}", why="vectors have a power of two of numbers as lanes"
            )
        name = f"{dtype.name}x{lanes}"
        if name not in self._types:
            scalar, size = scalar_type(dtype), dtype.bytes * lanes
            self._types[name] = f"typedef {scalar} {name} __attribute__((vector_size({size})));"
        return name

    def unaligned(self, dtype: DType, lanes: int) -> str:
        """The type of a vector in memory: aligned as its elements are, and allowed to lie in arrays of them."""
        name = f"{self.type(dtype, lanes)}_in_memory"
        if name not in self._types:
            self._types[name] = (
                f"typedef {self.type(dtype, lanes)} {name} __attribute__((aligned({dtype.bytes}), may_alias));"
            )
        return name

    def suffix(self, dtype: DType, lanes: int) -> str:
        """What distinguishes the helpers of a type."""
        return dtype.name if lanes == 1 else self.type(dtype, lanes)

    def mask(self, dtype: DType, lanes: int) -> str:
        """The type of a mask whose lanes are as wide as the elements of `dtype`."""
        return self.type(signed(memory_dtype(dtype).bits), lanes) if lanes > 1 else "bool"

    def function(self, name: str, result: str, parameters: str, body: Callable[[], Iterable[str]]) -> str:
        """The helper `name`, defined now unless it is. `body` gives its lines, defining what it calls."""
        if name not in self._functions:
            lines = body()
            self._functions[name] = "\n".join(
                [f"INLINE {result} {name}({parameters}) {{", *(f"{_indent(x)}{x}" for x in lines), "}"]
            )
        return name

    def define(self, name: str, text: str) -> None:
        """A definition that is no inline function."""
        self._functions.setdefault(name, text)

    def text(self) -> str:
        """All types, then all helpers."""
        return "\n".join(["\n".join(self._types.values()), "", "\n\n".join(self._functions.values())])


def _indent(line: str) -> str:
    return "" if line.startswith("#") else "    "


def lanewise(vector: str, lanes: int, lane: Callable[[int], str]) -> str:
    """A vector spelled lane by lane."""
    return f"({vector}){{{', '.join(lane(k) for k in range(lanes))}}}"


def halves(library: Library, name: str, dtype: DType, lanes: int) -> str:
    """The helper NAME_low or NAME_high of a vector: half of its lanes."""
    vector, half = library.type(dtype, lanes), library.type(dtype, lanes // 2)
    first = 0 if name == "low" else lanes // 2

    def body() -> Iterable[str]:
        numbers = ", ".join(str(first + k) for k in range(lanes // 2))
        return [
            "#if POLYDL_SHUFFLE",
            f"return __builtin_shufflevector(v, v, {numbers});",
            "#else",
            f"return {lanewise(half, lanes // 2, lambda k: f'v[{first + k}]')};",
            "#endif",
        ]

    if lanes == 2:
        return library.function(f"{name}_{vector}", half, f"{vector} v", lambda: [f"return v[{first}];"])
    return library.function(f"{name}_{vector}", half, f"{vector} v", body)
