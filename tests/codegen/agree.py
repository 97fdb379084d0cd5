"""A kernel does the same interpreted, interpreted after the passes, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from polydl.codegen.llvm import lower
from polydl.dsl.tensor import numbers
from polydl.ir import verify
from polydl.ir.interpret import interpret
from polydl.ir.kernel import Kernel
from polydl.targets import Target
from tests.codegen.native import run_kernel

__all__ = ["check", "data"]


def data(kernel: Kernel) -> dict[str, np.ndarray[Any, Any]]:
    """Distinct numbers in every buffer, as far as the type goes."""
    made = {}
    for p in kernel.params:
        shape = numbers(p.buffer.shape)
        made[p.buffer.name] = np.arange(prod(shape)).astype(p.buffer.dtype.numpy).reshape(shape)
    return made


def check(kernel: Kernel, target: Target, late: Callable[[Kernel], Kernel] = lambda k: k) -> None:
    """`late`: passes that run after those of `lower`. The interpreter refuses what is outside of a buffer."""
    verify(kernel)
    want, compiled, passed = data(kernel), data(kernel), data(kernel)
    assert interpret(kernel, want, {}) == 0
    assert run_kernel(kernel, target, compiled) == [0]
    after = late(lower(kernel, target))
    verify(after)
    shapes = {p.buffer.name: numbers(p.buffer.shape) for p in after.params}
    interpret(after, {n: a.reshape(shapes[n]) for n, a in passed.items()}, {"thread": 0, "threads": 1})
    for name, array in want.items():
        np.testing.assert_array_equal(compiled[name], array, err_msg=name)
        np.testing.assert_array_equal(passed[name], array, err_msg=name)
