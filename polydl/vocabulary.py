"""Words that the schedule tree and the loop IR share."""

from __future__ import annotations

from enum import Enum

__all__ = ["Binding", "Memory"]


class Binding(str, Enum):
    """How the iterations of a loop are executed."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"
    VECTOR = "vector"
    UNROLL = "unroll"


class Memory(str, Enum):
    """Where a buffer lives."""

    GLOBAL = "global"  # parameters and the arena
    LOCAL = "local"  # private to one iteration of the enclosing loops: stack or per-thread scratch
    REGISTER = "register"
    SHARED = "shared"  # GPU work-group memory
