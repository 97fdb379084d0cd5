"""Compiles the C back end's text with the compilers of this machine and runs it on numpy arrays."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydl.artifact import Artifact
from polydl.codegen.c import compile_to_c
from polydl.codegen.program import Program
from polydl.ir.kernel import Kernel, Role
from polydl.targets import Target
from tests.codegen.native import ENTRY, call, program_of

STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror")
# (compiler, flags): vectors by instructions, and by whatever the compiler makes of them
COMPILERS = {
    "gcc": ("gcc", ("-O1", "-march=native")),
    "clang": ("clang", ("-O1", "-march=native")),
    "plain": ("gcc", ("-O1",)),
}
_alive: list[Any] = []


def compiler(name: str) -> str:
    """The path of a compiler, or skip."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def build(text: str, where: Path, name: str, flags: Sequence[str], output: str = "model.so") -> Path:
    """Compiles C text; warnings are errors."""
    path = compiler(name)
    (where / "model.c").write_text(text)
    libraries = [] if {"-c", "-S"} & set(flags) else ["-lm"]
    command = [path, *STRICT, *flags, "model.c", "-o", output, *libraries]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return where / output


@lru_cache(maxsize=64)
def compiled(program: Program, target: Target, toolchain: str = "gcc") -> tuple[Artifact, Any]:
    """What to know about the program, and its entry point."""
    name, flags = COMPILERS[toolchain]
    compiler(name)
    text, artifact = compile_to_c(program, target)
    with tempfile.TemporaryDirectory() as folder:
        path = build(text, Path(folder), name, [*flags, "-shared", "-fPIC"])
        library = ctypes.CDLL(str(path))
    _alive.append(library)
    return artifact, ENTRY((artifact.entry, library))


def run_program(
    program: Program,
    target: Target,
    inputs: Sequence[np.ndarray[Any, Any]],
    outputs: Sequence[np.ndarray[Any, Any]],
    sizes: Sequence[int] = (),
    threads: int = 1,
    constants: np.ndarray[Any, Any] | None = None,
    toolchain: str = "gcc",
) -> list[int]:
    """Runs a program; the code each thread returns."""
    artifact, function = compiled(program, target, toolchain)
    return call(artifact, inputs, outputs, sizes, threads, constants, function)


def run_kernel(
    kernel: Kernel,
    target: Target,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    sizes: Mapping[str, int] | None = None,
    threads: int = 1,
    toolchain: str = "gcc",
) -> list[int]:
    """Compiles and runs `kernel` on arrays by parameter name, written in place."""
    inputs = [arrays[p.buffer.name] for p in kernel.params if p.role in (Role.INPUT, Role.CONSTANT)]
    outputs = [arrays[p.buffer.name] for p in kernel.params if p.role not in (Role.INPUT, Role.CONSTANT)]
    numbers = [(sizes or {})[s] for s in kernel.sizes]
    return run_program(program_of(kernel), target, inputs, outputs, numbers, threads, None, toolchain)
