"""The description of a CPU that schedules and code generation consult."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Arch", "Target"]

Arch = Literal["x86-64", "aarch64"]


@dataclass(frozen=True, slots=True)
class Target:
    """A CPU to compile for. Everything is decided by these fields, never by a marketing name.

    `cpu` and `features` are LLVM's names; cache sizes are what one core may count on, in bytes (a shared level is
    divided by the cores that share it).
    """

    name: str
    arch: Arch
    triple: str
    cpu: str
    features: tuple[str, ...]
    vector_bytes: int
    vector_registers: int
    fma: bool
    cores: int = 1
    l1d_bytes: int = 32 * 1024
    l2_bytes: int = 256 * 1024
    l3_bytes: int = 1024 * 1024
    line_bytes: int = 64

    def lanes(self, element_bytes: int) -> int:
        """Elements of `element_bytes` bytes in one native vector."""
        return max(1, self.vector_bytes // element_bytes)

    def tile_rows(self, columns: int) -> int:
        """Most rows of a register tile that is `columns` vectors wide.

        The accumulators, the columns' operand vectors and one broadcast element must be registers at once.
        Measured on Zen 5 with AVX-512: tiles of 14x2, 9x3 and 6x4 vectors reach 95 to 99 % of the multiply-add peak;
        7x4 spills and falls to 85 to 90 %, and a single column (28x1) is bound by its loads.
        """
        return max(1, (self.vector_registers - 1 - columns) // columns)

    def has(self, feature: str) -> bool:
        """Whether the (LLVM-named) feature may be used."""
        return feature in self.features

    @property
    def masked_vectors(self) -> bool:
        """Whether loads and stores under a lane mask are single instructions for every element size."""
        return self.has("avx512bw") and self.has("avx512vl")
