"""Runs schedules, interpreted as loop IR or compiled, and compares with what the function means."""

from __future__ import annotations

import numpy as np

from polydl import dsl, ir
from polydl.codegen.lower import lower
from polydl.compiler import compile_function
from polydl.dsl import TensorRole
from polydl.ir import Role
from polydl.scheduler import Schedule
from tests.scheduler.programs import Array, Case

__all__ = ["check_compiled", "check_lowered", "interpreted", "wanted"]


def wanted(case: Case, seed: int = 0) -> dict[str, Array]:
    """What the function means."""
    return dsl.interpret(case.function, case.arrays(seed), case.sizes)


def interpreted(schedule: Schedule, case: Case, seed: int = 0) -> dict[str, Array]:
    """The outputs, in logical shapes, of the lowered schedule run by the reference interpreter."""
    kernel = lower(schedule)
    ir.verify(kernel)
    assert ir.parse_kernel(ir.print_kernel(kernel)) == kernel
    given = case.arrays(seed)
    buffers: dict[str, Array] = {}
    for p in kernel.params:
        tensor = schedule.function.tensor(p.buffer.name)
        shape = tuple(int(ir.evaluate_array(e, _env(case), _no_load)) for e in p.buffer.shape)
        if p.role in (Role.INPUT, Role.CONSTANT):
            array = given[tensor.name]
            buffers[tensor.name] = array if tensor.layout is None else tensor.pack(array)
        else:
            buffers[tensor.name] = np.full(shape, 99, tensor.dtype.numpy)
    assert ir.interpret(kernel, buffers, case.sizes) == 0
    outputs = schedule.function.of_role(TensorRole.OUTPUT)
    return {t.name: _unpacked(schedule, t.name, buffers[t.name], case) for t in outputs}


def _env(case: Case) -> dict[str, np.int64]:
    return {n: np.int64(v) for n, v in case.sizes.items()}


def _no_load(*_: object) -> Array:
    raise AssertionError("a shape reads nothing")


def _unpacked(schedule: Schedule, name: str, stored: Array, case: Case) -> Array:
    """An array in storage order as the logical array."""
    tensor = schedule.function.tensor(name)
    if tensor.layout is None:
        return stored
    shape = tensor.extents
    origin = [int(ir.evaluate_array(e, {}, _no_load)) for e in tensor.origin]
    grids = np.meshgrid(
        *(np.arange(o, o + s) for o, s in zip(origin, shape, strict=True)), indexing="ij", sparse=True
    )
    env = dict(zip(tensor.layout.dims, grids, strict=True))
    where = tuple(np.broadcast_to(ir.evaluate_array(e, env, _no_load), shape) for e in tensor.layout.index)
    return np.asarray(stored[where])


def check_lowered(schedule: Schedule, case: Case) -> None:
    """The schedule computes what the function means."""
    for seed in (0, 1):
        expected, got = wanted(case, seed), interpreted(schedule, case, seed)
        for name, array in expected.items():
            np.testing.assert_array_equal(got[name], array, err_msg=name)


def check_compiled(schedule: Schedule, case: Case, threads: int = 2, target: str = "native") -> None:
    """The compiled schedule computes what the function means (temporaries of constant size, row-major results)."""
    expected = wanted(case)
    with compile_function(schedule, target=target, threads=threads) as module:
        given = case.arrays()
        arrays = [
            schedule.function.tensor(n).pack(a) if schedule.function.tensor(n).layout else a
            for n, a in given.items()
        ]
        for _ in range(3):
            result = module(*arrays)
            results = result if isinstance(result, tuple | list) else (result,)
            for (name, array), got in zip(expected.items(), results, strict=True):
                np.testing.assert_array_equal(
                    _unpacked(schedule, name, np.asarray(got), case), array, err_msg=name
                )
