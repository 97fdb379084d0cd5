"""Around one call of generated code: the native arguments it is given, and the error that its result stands for."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydl.artifact import Artifact
from polydl.errors import RunError
from polydl.runtime.memory import aligned_bytes
from polydl.runtime.teams_ir import CALL_BYTES

__all__ = ["Frame", "failure"]

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64


class Frame:
    """What one call in flight owns: its workspace and the native argument arrays."""

    __slots__ = ("block", "inputs", "outputs", "pointers", "sizes", "temporaries", "workspace")

    def __init__(self, artifact: Artifact, entry: int, constants: int, workspace_bytes: int) -> None:
        """`entry` and `constants` are addresses: of the code and of its weight image."""
        self.workspace = aligned_bytes(workspace_bytes)
        self.inputs: Any = (_POINTER * max(len(artifact.inputs), 1))()
        self.temporaries: list[NDArray[np.uint8]] = []
        self.outputs: Any = (_POINTER * max(len(artifact.outputs) + len(artifact.temporaries), 1))()
        self.sizes: Any = (_INT * max(len(artifact.sizes), 1))()
        self.pointers = (
            ctypes.addressof(self.inputs),
            ctypes.addressof(self.outputs),
            constants,
            int(self.workspace.ctypes.data),
            ctypes.addressof(self.sizes),
        )
        # the call block of teams_ir: entry, the five pointers, first, last
        self.block: Any = (_INT * (CALL_BYTES // 8))(entry, *self.pointers, 0, 0)


def failure(artifact: Artifact, code: int) -> RunError:
    """The error of a positive return code."""
    if 1 <= code <= len(artifact.checks):
        return RunError(artifact.checks[code - 1], why="a check of the compiled code failed at run time")
    return RunError(
        f"the compiled code returned {code}, which is no check of its own", next="build the package again"
    )
