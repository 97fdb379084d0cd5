"""A kernel's loops compiled by polydl through its decorator, with symbolic sizes and the automatic schedule."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import polydl
from benchmarks.polybench.kernel import Data, Kernel

__all__ = ["Program", "build"]


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled kernel, good for every data set. `seconds` is what capturing and compiling took."""

    kernel: Kernel
    program: polydl.LoopProgram
    seconds: float

    def run(self, size: str, data: Data) -> None:
        """Run on `data`, in place."""
        self.bound(size)(data)()

    def bound(self, size: str) -> Callable[[Data], Callable[[], None]]:
        """The kernel at one data set: given arrays, a call that works on them in place."""
        taken = self.kernel.parameters()
        sizes = {name: value for name, value in self.kernel.at(size).items() if name in taken}

        def bind(data: Data) -> Callable[[], None]:
            return self.program.bind(**sizes, **data)

        return bind


def build(kernel: Kernel, *, threads: int, reassociate: bool = True) -> Program:
    """Capture and compile the kernel's loops for this machine."""
    start = time.perf_counter()
    program = polydl.loops(threads=threads, reassociate=reassociate, optimize=True)(kernel.function)
    program.compile()
    return Program(kernel, program, time.perf_counter() - start)
