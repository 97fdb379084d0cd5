"""How values are stored: the vocabulary of layouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Final

from polydl.graph.ir import Value

__all__ = [
    "ALIGNMENT",
    "PLAIN",
    "Halo",
    "Layouts",
    "Placement",
    "Slice",
    "resolve",
    "storage_bytes",
    "storage_shape",
]

Halo = tuple[tuple[int, int], ...]
ALIGNMENT: Final = 64  # bytes; of every buffer and of every slice of one


@dataclass(frozen=True, slots=True)
class Placement:
    """How one value is stored. `block` None is row-major; `halo` has (before, after) per spatial dimension, or is
    ()."""

    block: int | None = None
    halo: Halo = ()

    def channels(self, channels: int) -> int:
        """Stored channels: a multiple of the block."""
        return channels if self.block is None else -(-channels // self.block) * self.block

    def __str__(self) -> str:
        halo = " halo " + " ".join(f"{a}+{b}" for a, b in self.halo) if self.halo else ""
        return (f"blocked by {self.block}" if self.block else "row-major") + halo


PLAIN: Final = Placement()


@dataclass(frozen=True, slots=True)
class Slice:
    """A value that lies inside the storage of `base`, `offset` bytes from its beginning."""

    base: str
    offset: int


@dataclass(frozen=True, slots=True)
class Layouts:
    """`placements` of all values that are not PLAIN; `slices`, by value; `free` are the groups that compute
    nothing."""

    placements: Mapping[str, Placement] = field(default_factory=dict)
    slices: Mapping[str, Slice] = field(default_factory=dict)
    free: frozenset[str] = frozenset()

    def of(self, value: str) -> Placement:
        return self.placements.get(value, PLAIN)


def storage_shape(value: Value, placement: Placement) -> tuple[int, ...]:
    """The dimensions of the array that holds `value`."""
    shape = value.shape
    if placement.halo:
        shape = (*shape[:2], *(n + a + b for n, (a, b) in zip(shape[2:], placement.halo, strict=True)))
    if placement.block is None:
        return shape
    return (shape[0], placement.channels(shape[1]) // placement.block, *shape[2:], placement.block)


def storage_bytes(value: Value, placement: Placement) -> int:
    return prod(storage_shape(value, placement)) * value.dtype.bytes


def resolve(value: str, slices: Mapping[str, Slice]) -> tuple[str, int]:
    """The value in whose storage `value` lies (itself, if it has its own), and at which byte."""
    offset = 0
    while value in slices:
        value, offset = slices[value].base, offset + slices[value].offset
    return value, offset
