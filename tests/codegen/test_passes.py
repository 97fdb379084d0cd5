"""Passes keep the meaning of kernels: the interpreter before and after, and the compiled code, agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from polydl.codegen.llvm import lower
from polydl.codegen.passes import Unroll, Vectorize, distribute, flatten
from polydl.ir import parse_kernel
from polydl.ir.expr import Const
from polydl.ir.interpret import interpret
from polydl.ir.kernel import Binding, Kernel
from polydl.ir.rewrite import loops
from polydl.targets import parse
from tests.codegen.kernels import arrays, kernels
from tests.codegen.native import LEVELS, level, run_kernel

Arrays = dict[str, np.ndarray[Any, Any]]
Made = tuple[Kernel, dict[str, int]]


def same(before: Arrays, after: Arrays) -> None:
    for name, want in before.items():
        np.testing.assert_array_equal(after[name], want, err_msg=name)


def reference(kernel: Kernel, sizes: dict[str, int]) -> Arrays:
    data = arrays()
    assert interpret(kernel, data, sizes) == 0
    return data


@given(kernels())
def test_unroll(made: Made) -> None:
    kernel, sizes = made
    after = Unroll()(kernel)
    assert not any(loop.binding == Binding.UNROLL for loop in loops(after.body))
    data = arrays()
    interpret(after, data, sizes)
    same(reference(kernel, sizes), data)


@pytest.mark.parametrize("name", ["x86-64", "x86-64-avx2", "x86-64-avx512"])
def test_vectorize(name: str) -> None:
    @given(kernels())
    def run(made: Made) -> None:
        kernel, sizes = made
        after = Vectorize(parse(name))(kernel)
        assert not any(loop.binding == Binding.VECTOR for loop in loops(after.body))
        data = arrays()
        interpret(after, data, sizes)
        same(reference(kernel, sizes), data)

    run()


def test_a_sum_over_no_lanes_touches_nothing() -> None:
    kernel = parse_kernel(
        """kernel masked(inout x: f32[8], inout s: f32[4]) sizes(N):
  for i in 0..8:
    vector for v in 0..8 length 8:
      if v + i < N:
        s[i] = s[i] + x[v]
"""
    )
    after = Vectorize(parse("x86-64-avx512"))(kernel)
    assert not any(loop.binding == Binding.VECTOR for loop in loops(after.body))
    x, s = np.arange(8, dtype=np.float32), np.zeros(4, np.float32)
    interpret(after, {"x": x, "s": s}, {"N": 4})  # s[4] and what follows is not there
    np.testing.assert_array_equal(s, [6, 3, 1, 0])


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_distribute(threads: int) -> None:
    @given(kernels())
    @settings(max_examples=50)
    def run(made: Made) -> None:
        kernel, sizes = made
        after = distribute(kernel)
        data = arrays()
        for thread in reversed(range(threads)):
            interpret(after, data, sizes | {"thread": thread, "threads": threads})
        same(reference(kernel, sizes), data)

    run()


def in_shapes_of(kernel: Kernel, data: Arrays) -> Arrays:
    """Views of the arrays in the shapes that the kernel declares: `flatten` makes some one-dimensional."""
    shapes = {
        p.buffer.name: tuple(int(n.value) for n in p.buffer.shape if isinstance(n, Const))
        for p in kernel.params
    }
    return {name: a.reshape(shapes.get(name, a.shape)) for name, a in data.items()}


@given(kernels())
def test_flatten(made: Made) -> None:
    kernel, sizes = made
    after = flatten(kernel)
    data = arrays()
    interpret(after, in_shapes_of(after, data), sizes)
    same(reference(kernel, sizes), data)


@given(kernels())
def test_all_passes(made: Made) -> None:
    kernel, sizes = made
    after = lower(kernel, parse("x86-64-avx512"))
    data = arrays()
    for thread in range(2):
        interpret(after, in_shapes_of(after, data), sizes | {"thread": thread, "threads": 2})
    same(reference(kernel, sizes), data)


@pytest.mark.parametrize("target", LEVELS)
def test_compiled(target: str) -> None:
    machine = level(target)

    @given(kernels())
    @settings(max_examples=60)
    def run(made: Made) -> None:
        kernel, sizes = made
        data = arrays()
        assert run_kernel(kernel, machine, data, sizes) == [0]
        same(reference(kernel, sizes), data)

    run()
