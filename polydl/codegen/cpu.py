"""What the CPU back ends share around their kernels: the passes, the distinct kernels of a program with their checks
numbered, and the places of local buffers behind the workspace.

Behind the program's workspace lie the local buffers that all threads share, then one scratch area per thread:

    | workspace | shared, by step | scratch of thread 0 | scratch of thread 1 | …
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from polydl.artifact import Artifact, StepInfo
from polydl.codegen.ahead import merged
from polydl.codegen.passes import Transpose, Unroll, Vectorize, accumulate, distribute, flatten, promote
from polydl.codegen.passes.walk import contains
from polydl.codegen.program import Program, Slot, Space
from polydl.ir.kernel import Check, Kernel, Stmt
from polydl.ir.rewrite import map_stmts
from polydl.targets import Target

__all__ = [
    "LARGEST_STACK_BUFFER", "Frame", "LocalBytes", "Routine", "Unit", "frame", "lower", "make_artifact", "symbol",
    "unit", "up",
]  # fmt: skip

_ALIGN: Final = 64
# Larger "register" buffers cannot be registers; they go to the scratch, so that no thread's stack overflows.
LARGEST_STACK_BUFFER: Final = 32 * 1024


def lower(kernel: Kernel, target: Target) -> Kernel:
    """The kernel that one thread runs, spelled for the target: threads, vectors, unrolled loops."""
    flat = distribute(flatten(kernel))
    return promote(accumulate(merged(Unroll()(Vectorize(target)(Transpose(target)(flat))))))


def symbol(name: str) -> str:
    """`name` as an identifier."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def up(size: int) -> int:
    """`size` rounded up to whole cache lines."""
    return -(-size // _ALIGN) * _ALIGN


@dataclass(frozen=True, slots=True)
class Routine:
    """A function to be generated: `aligned[k]` says that its k-th parameter is 64-byte aligned in every call."""

    name: str
    kernel: Kernel
    aligned: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """A program's functions: step k calls `routines[of_step[k]]`. A check's code is its place in `checks`, plus 1."""

    entry: str
    routines: tuple[Routine, ...]
    of_step: tuple[int, ...]
    checks: tuple[str, ...]


def unit(program: Program) -> Unit:
    """Equal kernels become one routine."""
    messages: list[str] = []
    known: dict[int, int] = {}  # by identity first: comparing kernels walks them
    distinct: dict[Kernel, int] = {}
    routines: list[Routine] = []
    for step in program.steps:
        if id(step.kernel) in known:
            continue
        if step.kernel not in distinct:
            distinct[step.kernel] = len(routines)
            kernel = _number_checks(step.kernel, messages)
            aligned = tuple(
                all(_aligned(other.args[k]) for other in program.steps if other.kernel == step.kernel)
                for k in range(len(step.args))
            )
            routines.append(Routine(f"k{len(routines)}_{symbol(kernel.name)}", kernel, aligned))
        known[id(step.kernel)] = distinct[step.kernel]
    of_step = tuple(known[id(step.kernel)] for step in program.steps)
    return Unit(f"polydl_{symbol(program.name)}", tuple(routines), of_step, tuple(messages))


def _aligned(slot: Slot) -> bool:
    return slot.space in (Space.CONSTANT, Space.WORKSPACE, Space.TEMPORARY) and slot.offset % _ALIGN == 0


def _number_checks(kernel: Kernel, messages: list[str]) -> Kernel:
    """The kernel with its checks numbered through the whole program."""
    if not contains(kernel.body, Check):
        return kernel

    def number(s: Stmt) -> Stmt:
        if not isinstance(s, Check):
            return s
        if s.message not in messages:
            messages.append(s.message)
        return replace(s, code=messages.index(s.message) + 1)

    return replace(kernel, body=map_stmts(kernel.body, number))


@dataclass(frozen=True, slots=True)
class LocalBytes:
    """The bytes of each local buffer of a routine: `scratch` is private to a thread, `shared` common to all."""

    scratch: tuple[int, ...]
    shared: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """Offsets into the workspace: of each step's shared buffers, and of the first thread's scratch."""

    shared: tuple[tuple[int, ...], ...]
    scratch: int
    scratch_bytes: int  # of one thread


def frame(program: Program, needs: Sequence[LocalBytes]) -> Frame:
    """Places for the local buffers, `needs` by step.

    Steps between two barriers may run at the same time on different threads: their shared buffers get places
    of their own. The scratch is a thread's own, and each step begins it anew.
    """
    base = up(program.workspace_bytes)
    offsets: list[tuple[int, ...]] = []
    used = most = 0
    for step, need in zip(program.steps, needs, strict=True):
        if step.barrier:
            used = 0
        places = []
        for size in need.shared:
            places.append(base + used)
            used += up(size)
        offsets.append(tuple(places))
        most = max(most, used)
    scratch = max((sum(map(up, need.scratch)) for need in needs), default=0)
    return Frame(tuple(offsets), base + most, scratch)


def make_artifact(program: Program, target: Target, code: bytes, parts: Unit, places: Frame) -> Artifact:
    """The artifact of `code` compiled from the program's `parts` with local buffers at `places`."""
    return Artifact(
        code=code,
        entry=parts.entry,
        inputs=program.inputs,
        outputs=program.outputs,
        sizes=program.sizes,
        steps=tuple(StepInfo(step.name, step.flops, step.bytes) for step in program.steps),
        constants_bytes=program.constants_bytes,
        workspace_bytes=places.scratch,
        scratch_bytes=places.scratch_bytes,
        triple=target.triple,
        cpu=target.cpu,
        features=target.features,
        checks=parts.checks,
        temporaries=program.temporaries,
    )
