"""Runs a schedule on every road: the loop IR's interpreter, LLVM, and C where a compiler is there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from polydl import dsl, ir
from polydl.codegen.lower import lower
from polydl.dsl import Function, TensorRole, capture
from polydl.ir import Role
from polydl.scheduler import Schedule
from polydl.targets import native
from tests.codegen import from_c
from tests.codegen.native import run_kernel
from tests.dsl.loop_programs import bound

__all__ = ["Array", "check", "loops", "python_of"]

Array = np.ndarray[Any, Any]


def loops(python: Callable[..., None], *, ordered: bool = False) -> Schedule:
    """The schedule of captured loops as written."""
    return Schedule.of(capture(python).function, reassociate=not ordered)


def python_of(
    python: Callable[..., None],
) -> Callable[[dict[str, Array], Mapping[str, int]], dict[str, Array]]:
    """What Python itself makes of the arrays."""

    def run(arrays: dict[str, Array], sizes: Mapping[str, int]) -> dict[str, Array]:
        result = {name: array.copy() for name, array in arrays.items()}
        named = python.__code__.co_varnames[: python.__code__.co_argcount]
        bound(python, dict(sizes))(**result, **{n: v for n, v in sizes.items() if n in named})
        return result

    return run


def check(
    schedule: Schedule,
    sizes: Mapping[str, int] | None = None,
    *,
    original: Function | None = None,
    python: Callable[..., None] | None = None,
) -> None:
    """The schedule computes what Python does or, without it, what the (original) function means; on all roads."""
    sizes = dict(sizes or {})
    function = original or schedule.function
    arrays = _arrays(function, sizes)
    if python is not None:
        wanted = python_of(python)(arrays, sizes)
    else:
        wanted = dsl.interpret(function, arrays, sizes)
    kernel = lower(schedule)
    ir.verify(kernel)
    target = native()
    roads: dict[str, Callable[[dict[str, Array]], object]] = {
        "interpreter": lambda given: [ir.interpret(kernel, given, sizes)],
        "LLVM": lambda given: run_kernel(kernel, target, given, sizes),
        "LLVM, two threads": lambda given: run_kernel(kernel, target, given, sizes, threads=2),
    }
    if shutil.which("gcc"):
        roads["C"] = lambda given: from_c.run_kernel(kernel, target, given, sizes, threads=2)
    for road, run in roads.items():
        given = {}
        for p in kernel.params:
            if p.role in (Role.INPUT, Role.CONSTANT, Role.INOUT):
                given[p.buffer.name] = arrays[p.buffer.name].copy()
            else:
                tensor = schedule.function.tensor(p.buffer.name)
                given[p.buffer.name] = np.full(_shape(tensor, sizes), 99, tensor.dtype.numpy)
        assert set(run(given)) <= {0}, road  # type: ignore[call-overload]
        for p in kernel.params:
            name = p.buffer.name
            if p.role in (Role.OUTPUT, Role.INOUT) and name in wanted:
                np.testing.assert_array_equal(given[name], wanted[name], err_msg=f"{road}: {name}")


def _arrays(function: Function, sizes: Mapping[str, int]) -> dict[str, Array]:
    """Small whole numbers, so that sums in any order are exact."""
    generator = np.random.default_rng(7)
    given = (TensorRole.INPUT, TensorRole.CONSTANT, TensorRole.INOUT)
    return {
        t.name: generator.integers(-3, 4, _shape(t, sizes)).astype(t.dtype.numpy)
        for t in function.of_role(*given)
    }


def _shape(tensor: dsl.Tensor, sizes: Mapping[str, int]) -> tuple[int, ...]:
    env = {n: np.int64(v) for n, v in sizes.items()}

    def no_load(*_: object) -> Any:
        raise AssertionError("a shape reads nothing")

    return tuple(int(ir.evaluate_array(e, env, no_load)) for e in tensor.shape)
