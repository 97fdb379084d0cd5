"""Compiles kernels and programs in the test process and runs them on numpy arrays."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from polydl.artifact import Artifact, TensorSpec
from polydl.codegen.llvm import compile_program
from polydl.codegen.program import Program, Slot, Space, Step
from polydl.ir.expr import Const, Var
from polydl.ir.kernel import Kernel, Role
from polydl.targets import Target, native, parse

LEVELS = ("x86-64", "x86-64-avx2", "x86-64-avx512")
ENTRY = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    *([ctypes.c_void_p] * 5),
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_int64,
)
_alive: list[Any] = []


def level(name: str) -> Target:
    """The target `name`, or skip: this machine cannot run its code."""
    target, host = parse(name), native()
    missing = set(target.features) - set(host.features)
    if target.arch != host.arch or missing:
        pytest.skip(f"this machine does not run {name} code (no {', '.join(sorted(missing)) or target.arch})")
    return target


def entry(artifact: Artifact) -> Any:
    """The artifact's entry point, callable from Python."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    builder = llvm.JITLibraryBuilder().add_object_img(artifact.code).add_current_process()
    jit = llvm.create_lljit_compiler()
    library = builder.export_symbol(artifact.entry).link(jit, "tested")
    _alive.extend((jit, library))
    return ENTRY(library[artifact.entry])


def program_of(kernel: Kernel) -> Program:
    """A program of one step, whose inputs and outputs are the kernel's parameters in order."""
    inputs, outputs, slots = [], [], []
    for param in kernel.params:
        shape = tuple(
            x.name if isinstance(x, Var) else int(x.value)
            for x in param.buffer.shape
            if isinstance(x, Var | Const)
        )
        spec = TensorSpec(param.buffer.name, param.buffer.dtype, shape)
        if param.role in (Role.INPUT, Role.CONSTANT):
            slots.append(Slot(Space.INPUT, len(inputs)))
            inputs.append(spec)
        else:
            slots.append(Slot(Space.OUTPUT, len(outputs)))
            outputs.append(spec)
    return Program(
        kernel.name, (Step(kernel.name, kernel, tuple(slots)),), tuple(inputs), tuple(outputs), kernel.sizes
    )


def call(
    artifact: Artifact,
    inputs: Sequence[np.ndarray[Any, Any]],
    outputs: Sequence[np.ndarray[Any, Any]],
    sizes: Sequence[int] = (),
    threads: int = 1,
    constants: np.ndarray[Any, Any] | None = None,
    function: Any = None,
) -> list[int]:
    """Runs all steps on `threads` threads (`function`, or the artifact's own code); the code each of them returns."""
    function = function or entry(artifact)
    ins = (ctypes.c_void_p * (len(inputs) + 1))(*[a.ctypes.data for a in inputs])
    outs = (ctypes.c_void_p * (len(outputs) + 1))(*[a.ctypes.data for a in outputs])
    numbers = (ctypes.c_int64 * (len(sizes) + 1))(*sizes)
    bytes_ = artifact.workspace_bytes + threads * artifact.scratch_bytes
    raw = np.full(bytes_ + 64 + 192, 0xA5, np.uint8)
    offset = -raw.ctypes.data % 64
    barrier = raw[offset + -(-bytes_ // 64) * 64 :][:64]
    barrier[:] = 0
    results = [-1] * threads

    def run(thread: int) -> None:
        results[thread] = function(
            ctypes.addressof(ins),
            ctypes.addressof(outs),
            0 if constants is None else constants.ctypes.data,
            raw.ctypes.data + offset,
            ctypes.addressof(numbers),
            thread,
            threads,
            barrier.ctypes.data,
            0,
            len(artifact.steps),
        )

    team = [threading.Thread(target=run, args=(t,)) for t in range(1, threads)]
    for member in team:
        member.start()
    run(0)
    for member in team:
        member.join()
    return results


def run_kernel(
    kernel: Kernel,
    target: Target,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    sizes: Mapping[str, int] | None = None,
    threads: int = 1,
) -> list[int]:
    """Compiles and runs `kernel` on arrays by parameter name, written in place."""
    artifact = compile_program(program_of(kernel), target)
    inputs = [arrays[p.buffer.name] for p in kernel.params if p.role in (Role.INPUT, Role.CONSTANT)]
    outputs = [arrays[p.buffer.name] for p in kernel.params if p.role not in (Role.INPUT, Role.CONSTANT)]
    return call(artifact, inputs, outputs, [(sizes or {})[s] for s in kernel.sizes], threads)
