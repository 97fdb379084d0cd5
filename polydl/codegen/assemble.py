"""From scheduled functions to one program: kernels, argument places, barriers, and the packed weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from polydl.artifact import Extent, TemporarySpec, TensorSpec
from polydl.codegen.lower import lower
from polydl.codegen.program import Program, Slot, Space, Step
from polydl.codegen.work import flops, traffic
from polydl.dsl import Tensor, TensorRole
from polydl.dsl.polyhedral import to_affine
from polydl.dsl.tensor import numbers
from polydl.errors import InvalidProgram, UsageError
from polydl.ir.expr import Const, Expr, Var
from polydl.ir.kernel import Kernel, Param, Role
from polydl.poly.affine import Affine, FloorDiv, Mod
from polydl.scheduler.schedule import Schedule

__all__ = ["Assembly", "Part", "assemble", "program_of"]

_ALIGN: Final = 64
_PAGE: Final = 4096  # large constants start on a page of their own

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One step to be: a schedule, places and sizes in bytes of its inputs and outputs, the contents of its constants.

    `free` is the offset in the workspace from which on the step's own temporaries may lie. `work` is the arithmetic
    operations and the least bytes moved, where somebody knows better than the function (which counts padded channels).
    """

    name: str
    schedule: Schedule
    slots: Mapping[str, tuple[Slot, int]]
    constants: Mapping[str, Array]
    free: int = 0
    work: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    program: Program
    constants: Array  # the weight image, bytes


def assemble(
    name: str, parts: Sequence[Part], inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> Assembly:
    """The program that runs `parts` in order. Equal functions are lowered once; equal packed constants stored once."""
    kernels: dict[int, Kernel] = {}
    image = _Image()
    steps: list[Step] = []
    since: list[tuple[Slot, int, bool]] = []  # accesses since the last barrier: place, bytes, written
    workspace = max((p.free for p in parts), default=0)
    for part in parts:
        if id(part.schedule) not in kernels:
            kernels[id(part.schedule)] = lower(part.schedule)
        kernel = kernels[id(part.schedule)]
        args, used, end = _places(part, kernel, image)
        workspace = max(workspace, end)
        barrier = any(_clash(a, b) for a in since for b in used)
        if barrier:
            since = []
        since += used
        function = part.schedule.function
        work = part.work or (flops(function), traffic(function))
        steps.append(Step(part.name, kernel, args, barrier, *work))
    constants = image.bytes()
    program = Program(name, tuple(steps), inputs, outputs, (), constants.nbytes, workspace)
    return Assembly(program, constants)


def _places(
    part: Part, kernel: Kernel, image: _Image
) -> tuple[tuple[Slot, ...], list[tuple[Slot, int, bool]], int]:
    """Slots of the kernel's parameters, what it accesses outside the constants, and where its temporaries end."""
    args: list[Slot] = []
    used: list[tuple[Slot, int, bool]] = []
    end = part.free
    for p in kernel.params:
        tensor = part.schedule.function.tensor(p.buffer.name)
        if tensor.name in part.constants:
            args.append(image.add(tensor.pack(part.constants[tensor.name])))
            continue
        if tensor.name in part.slots:
            slot, size = part.slots[tensor.name]
        else:
            slot, size = Slot(Space.WORKSPACE, 0, end), _bytes(p)
            end += -(-size // _ALIGN) * _ALIGN
        args.append(slot)
        used.append((slot, size, p.role in (Role.OUTPUT, Role.INOUT, Role.WORKSPACE)))
    return tuple(args), used, end


def _clash(a: tuple[Slot, int, bool], b: tuple[Slot, int, bool]) -> bool:
    """Whether two accesses touch the same bytes and one of them writes."""
    (s, size, writes), (t, other, also) = a, b
    if not (writes or also) or (s.space, s.index) != (t.space, t.index):
        return False
    return s.offset < t.offset + other and t.offset < s.offset + size


class _Image:
    """The weight image under construction."""

    def __init__(self) -> None:
        self._size = 0
        self._known: dict[tuple[bytes, str, tuple[int, ...]], Slot] = {}
        self._pieces: list[tuple[int, Array]] = []

    def add(self, array: Array) -> Slot:
        """A place for `array`; the same one for equal contents."""
        key = (hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest(), str(array.dtype), array.shape)
        if key not in self._known:
            align = _PAGE if array.nbytes >= _PAGE else _ALIGN
            offset = -(-self._size // align) * align
            self._known[key] = Slot(Space.CONSTANT, 0, offset)
            self._pieces.append((offset, array))
            self._size = offset + max(array.nbytes, 1)
        return self._known[key]

    def bytes(self) -> Array:
        """The finished image."""
        total = -(-self._size // _ALIGN) * _ALIGN
        image = np.zeros(total, np.uint8)
        for offset, array in self._pieces:
            image[offset : offset + array.nbytes] = np.frombuffer(
                np.ascontiguousarray(array).tobytes(), np.uint8
            )
        return image


def program_of(schedule: Schedule) -> Program:
    """A program of one step: inputs and constants are its inputs; temporaries lie in the workspace, those of symbolic
    shape in memory that the runtime makes for each call.

    A tensor updated in place is an output whose buffer holds the contents before the call.
    """
    function = schedule.function
    kernel = lower(schedule)
    given = function.of_role(TensorRole.INPUT, TensorRole.CONSTANT)
    results = function.of_role(TensorRole.OUTPUT, TensorRole.INOUT)
    slots: dict[str, Slot] = {t.name: Slot(Space.INPUT, i) for i, t in enumerate(given)}
    slots |= {t.name: Slot(Space.OUTPUT, i) for i, t in enumerate(results)}
    offset = 0
    temporaries: list[TemporarySpec] = []
    for p in kernel.params:
        if p.buffer.name in slots:
            continue
        if not all(isinstance(e, Const) for e in p.buffer.shape):
            slots[p.buffer.name] = Slot(Space.TEMPORARY, len(results) + len(temporaries))
            shape = tuple(_extent(e, p.buffer.name) for e in p.buffer.shape)
            temporaries.append(TemporarySpec(p.buffer.name, p.buffer.dtype, shape))
        else:
            slots[p.buffer.name] = Slot(Space.WORKSPACE, 0, offset)
            offset += -(-_bytes(p) // _ALIGN) * _ALIGN
    args = tuple(slots[p.buffer.name] for p in kernel.params)
    step = Step(function.name, kernel, args, False, flops(function), traffic(function))
    return Program(
        function.name,
        (step,),
        tuple(_spec(t) for t in given),
        tuple(_spec(t) for t in results),
        function.sizes,
        workspace_bytes=offset,
        temporaries=tuple(temporaries),
    )


def _extent(e: Expr, tensor: str) -> Extent:
    """An extent as a formula of the sizes."""
    form = to_affine(e)
    if form is None:
        raise InvalidProgram(f"the shape of {tensor} is not affine in the sizes", where=str(e))
    return _formula(form)


def _formula(form: Affine) -> Extent:
    terms: list[tuple[int, str | Extent, int]] = []
    for atom, c in form.terms:
        match atom:
            case FloorDiv(dividend, divisor):
                terms.append((c, _formula(dividend), divisor))
            case Mod(dividend, modulus):  # x - m * floor(x / m)
                terms += [(c, _formula(dividend), 1), (-c * modulus, _formula(dividend), modulus)]
            case _:
                terms.append((c, atom, 1))
    return Extent(form.constant, tuple(terms))


def _bytes(p: Param) -> int:
    return prod(numbers(p.buffer.shape, p.buffer.name)) * p.buffer.dtype.bytes


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
