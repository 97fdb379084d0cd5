"""A whole network (or one function) as a list of kernel calls over a static memory plan.

A `Program` is what every back end compiles: its steps run in order inside one parallel region; `barrier` says that a
step must wait for all threads to have finished the steps before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from polydl.artifact import TemporarySpec, TensorSpec
from polydl.ir.kernel import Kernel

__all__ = ["Program", "Slot", "Space", "Step"]


class Space(str, Enum):
    INPUT = "input"
    OUTPUT = "output"
    CONSTANT = "constant"
    WORKSPACE = "workspace"
    TEMPORARY = "temporary"  # of a size that is known at the call


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an argument lives: the `index`-th input or output, or `offset` bytes into the constants or the workspace.

    Offsets are multiples of 64. The table of outputs goes on with the temporaries; their index counts from its start.
    """

    space: Space
    index: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One call of `kernel` with `args` for its params, in order; several steps may share a kernel."""

    name: str
    kernel: Kernel
    args: tuple[Slot, ...]
    barrier: bool = True
    flops: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    steps: tuple[Step, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sizes: tuple[str, ...] = ()
    constants_bytes: int = 0
    workspace_bytes: int = 0
    temporaries: tuple[TemporarySpec, ...] = ()
