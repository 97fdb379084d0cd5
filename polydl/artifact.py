"""What a back end hands to the runtime: all that the two share.

Calling convention of the entry point (C notation)::

    int32_t ENTRY(void *const *inputs, void *const *outputs, const void *constants, void *workspace,
                  const int64_t *sizes, int64_t thread, int64_t threads, void *barrier, int64_t first, int64_t last);

Every one of `threads` threads calls it with its own number `thread` and otherwise equal arguments; the threads meet
at `barrier` (64 zeroed, 64-byte aligned bytes; may be null when `threads` is 1). It runs the steps `first <= s < last`
and returns 0, or the positive code of a failed run-time check (see `checks`). `workspace` holds `workspace_bytes +
threads * scratch_bytes` bytes, 64-byte aligned, of undefined contents; `constants` is the 64-byte aligned weight image.
Inputs and outputs are dense row-major arrays, aligned to their element size at least.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from polydl.dtypes import DType

__all__ = ["Artifact", "StepInfo", "TensorSpec"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output: `shape` entries are numbers or names of symbolic sizes."""

    name: str
    dtype: DType
    shape: tuple[int | str, ...]


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
