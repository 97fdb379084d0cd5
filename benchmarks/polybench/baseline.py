"""The C of a kernel compiled by the compilers of this machine, loaded and called with numpy arrays."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.polybench.csource import Parameter, emit, parameters
from benchmarks.polybench.kernel import Data, Kernel
from polydl.errors import InvalidInput, ToolchainError, UsageError

__all__ = ["BASELINES", "Baseline", "available", "build"]

_PATIENCE: Final = 120.0  # seconds for one compilation


@dataclass(frozen=True, slots=True)
class Baseline:
    """A compiler with its options. All of them compile for one thread, as the C is written."""

    name: str
    compiler: str
    options: tuple[str, ...]
    restrict: bool

    def command(self) -> list[str]:
        """The compiler and its options."""
        return [self.compiler, "-std=c11", "-O3", "-march=native", *self.options]


BASELINES: Final[dict[str, Baseline]] = {
    baseline.name: baseline
    for baseline in (
        Baseline("gcc", "gcc", (), restrict=False),
        Baseline("gcc-fast", "gcc", ("-ffast-math",), restrict=True),
        Baseline("clang", "clang", (), restrict=False),
        Baseline("clang-fast", "clang", ("-ffast-math",), restrict=True),
        # Neither with -ffast-math nor with -polly-parallel: Polly of LLVM 14 then compiles gemver wrongly, and 2mm, 3mm
        # and gemm to code whose results differ from run to run.
        Baseline("polly", "clang", ("-mllvm", "-polly"), restrict=True),
    )
}


@functools.cache
def available(name: str) -> str:
    """Why the baseline cannot be used here; empty if it can."""
    baseline = BASELINES.get(name)
    if baseline is None:
        raise UsageError(f"no baseline {name!r}", why=f"there are {', '.join(BASELINES)}")
    if shutil.which(baseline.compiler) is None:
        return f"{baseline.compiler} is not installed"
    command = [*baseline.command(), "-x", "c", "-c", "-o", os.devnull, "-"]
    done = subprocess.run(
        command, input="int kernel;\n", capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[0] if done.stderr.strip() else f"{baseline.compiler} failed"
    return ""


def build(
    kernel: Kernel, size: str, name: str, folder: Path, *, constants: bool = True
) -> Callable[[Data], Callable[[], None]]:
    """The kernel compiled by the baseline `name`: given arrays, a call that works on them in place.

    `constants` compiles the extents of the data set in, as PolyBench does by default; without, they are parameters.
    """
    baseline = BASELINES[name]
    sizes = kernel.at(size)
    stem = folder / f"{kernel.name}-{size}-{name}{'' if constants else '-symbolic'}"
    source, unit, library = (stem.with_name(stem.name + suffix) for suffix in (".c", ".o", ".so"))
    source.write_text(emit(kernel, constants=sizes if constants else None, restrict=baseline.restrict))
    _run([*baseline.command(), "-fPIC", "-c", str(source), "-o", str(unit)])
    # Linked without the compiler's options: with -ffast-math, gcc links start-up code that flushes denormals to zero in
    # the whole process, and every other contestant would run under it.
    _run([baseline.compiler, "-shared", str(unit), "-o", str(library), "-lm"])
    function = ctypes.CDLL(str(library)).kernel
    function.restype = None
    extents = [] if constants else [ctypes.c_long(n) for n in sizes.values()]
    taken = [parameter for parameter in parameters(kernel) if parameter.kind == "f64"]
    shapes = {p.name: tuple(sizes[extent] for extent in p.extents) for p in taken}

    def bind(data: Data) -> Callable[[], None]:
        return functools.partial(function, *extents, *(_argument(p, shapes[p.name], data) for p in taken))

    return bind


def _argument(parameter: Parameter, shape: tuple[int, ...], data: Data) -> ctypes.c_double | ctypes.c_void_p:
    value = data[parameter.name]
    if not parameter.extents:
        return ctypes.c_double(float(value))
    if not (
        isinstance(value, np.ndarray)
        and value.shape == shape
        and value.dtype == np.float64
        and value.flags.c_contiguous
    ):
        raise InvalidInput(f"{parameter.name} is not a contiguous float64 array of shape {shape}")
    return ctypes.c_void_p(value.ctypes.data)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(
            f"{command[0]} took more than {_PATIENCE:g} s", where=" ".join(command)
        ) from error
    if done.returncode:
        raise ToolchainError(f"{command[0]} failed", where=" ".join(command), why=done.stderr.strip()[:2000])
