"""The pipeline, readable from top to bottom: from a function or a model to an artifact that runs.

    function ─ recipe or user's schedule ─► Schedule ─ lower ─► Kernel ─► Program ─ back end ─► Artifact ─► Module
    model ─ import ─ optimise ─ groups ─ layouts ─► one Function a group ─► … ─► one Program
"""

from __future__ import annotations

from polydl.artifact import TensorSpec
from polydl.codegen.llvm import compile_program
from polydl.codegen.lower import lower
from polydl.codegen.program import Program, Slot, Space, Step
from polydl.dsl import Function, Tensor, TensorRole
from polydl.dsl.tensor import numbers
from polydl.errors import UsageError
from polydl.ir.expr import Const, Expr, Var
from polydl.runtime import Module
from polydl.scheduler.recipes import default_schedule
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target, parse

__all__ = ["compile_function", "program_of"]

_ALIGN = 64


def compile_function(what: Function | Schedule, *, target: str | Target = "native", threads: int | None = None) -> Module:
    """A function, by recipe, or a schedule, compiled and loaded: call it with its inputs and constants, in order.

    Inputs and outputs are arrays in storage order (the tensors' layouts).
    """
    machine = parse(target) if isinstance(target, str) else target
    schedule = what if isinstance(what, Schedule) else default_schedule(what, machine)
    return Module(compile_program(program_of(schedule), machine), threads=threads)


def program_of(schedule: Schedule) -> Program:
    """A program of one step; temporaries lie in the workspace."""
    function = schedule.function
    kernel = lower(schedule)
    given = function.of_role(TensorRole.INPUT, TensorRole.CONSTANT)
    results = function.of_role(TensorRole.OUTPUT)
    slots: dict[str, Slot] = {t.name: Slot(Space.INPUT, i) for i, t in enumerate(given)}
    slots |= {t.name: Slot(Space.OUTPUT, i) for i, t in enumerate(results)}
    offset = 0
    for p in kernel.params:
        if p.buffer.name not in slots:
            count = 1
            for n in numbers(p.buffer.shape, p.buffer.name):
                count *= n
            slots[p.buffer.name] = Slot(Space.WORKSPACE, 0, offset)
            offset += -(-count * p.buffer.dtype.bytes // _ALIGN) * _ALIGN
    step = Step(function.name, kernel, tuple(slots[p.buffer.name] for p in kernel.params), barrier=False)
    return Program(
        function.name,
        (step,),
        tuple(_spec(t) for t in given),
        tuple(_spec(t) for t in results),
        function.sizes,
        workspace_bytes=offset,
    )


def _spec(t: Tensor) -> TensorSpec:
    return TensorSpec(t.name, t.dtype, tuple(_size(e, t) for e in t.storage.shape))


def _size(e: Expr, t: Tensor) -> int | str:
    match e:
        case Const(value=value):
            return int(value)
        case Var(name=name):
            return name
        case _:
            raise UsageError(f"the shape of {t.name} is neither a number nor a size", where=str(e))
