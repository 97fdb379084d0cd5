"""What a back end hands to the runtime: all that the two share.

Calling convention of the entry point (C notation)::

    int32_t ENTRY(void *const *inputs, void *const *outputs, const void *constants, void *workspace,
                  const int64_t *sizes, int64_t thread, int64_t threads, void *barrier, int64_t first, int64_t last);

Every one of `threads` threads calls it with its own number `thread` and otherwise equal arguments; the threads meet
at `barrier` (64 zeroed, 64-byte aligned bytes; may be null when `threads` is 1). It runs the steps `first <= s < last`
and returns 0, or the positive code of a failed run-time check (see `checks`). `workspace` holds `workspace_bytes +
threads * scratch_bytes` bytes, 64-byte aligned, of undefined contents; `constants` is the 64-byte aligned weight image.
Inputs and outputs are dense row-major arrays, aligned to their element size at least. Behind the outputs, `outputs`
points to memory for the `temporaries`: arrays whose shapes depend on the sizes, 64-byte aligned, of undefined contents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from polydl.dtypes import DType

__all__ = ["Artifact", "Extent", "StepInfo", "TemporarySpec", "TensorSpec"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output: `shape` entries are numbers or names of symbolic sizes."""

    name: str
    dtype: DType
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Extent:
    """`constant + Σ coefficient * floor(term / divisor)`; a term is the name of a size or another extent."""

    constant: int
    terms: tuple[tuple[int, str | Extent, int], ...] = ()  # coefficient, term, divisor > 0

    def names(self) -> Iterator[str]:
        """The sizes that it depends on."""
        for _, term, _ in self.terms:
            if isinstance(term, str):
                yield term
            else:
                yield from term.names()

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The number that it is for these sizes."""
        return self.constant + sum(
            c * ((sizes[t] if isinstance(t, str) else t.evaluate(sizes)) // d) for c, t, d in self.terms
        )


@dataclass(frozen=True, slots=True)
class TemporarySpec:
    """An array that a call needs for itself, of a shape that depends on the sizes; a negative extent means none."""

    name: str
    dtype: DType
    shape: tuple[Extent, ...]

    def bytes(self, sizes: Mapping[str, int]) -> int:
        """What it takes for these sizes."""
        return prod(max(0, e.evaluate(sizes)) for e in self.shape) * self.dtype.bytes


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One step (a fused group's kernel) for profiles and explanations: arithmetic operations and least traffic."""

    name: str
    flops: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """Compiled code with its argument layout. `code` is a relocatable object file for `triple`."""

    code: bytes
    entry: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sizes: tuple[str, ...]
    steps: tuple[StepInfo, ...]
    constants_bytes: int
    workspace_bytes: int
    scratch_bytes: int  # per thread
    triple: str
    cpu: str
    features: tuple[str, ...]
    checks: tuple[str, ...] = field(default=())  # message of run-time check code k+1
    temporaries: tuple[TemporarySpec, ...] = field(default=())
