"""The whole way from loop IR through the LLVM back end and a package on disk to a call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polydl.artifact import TensorSpec
from polydl.codegen.llvm import compile_program
from polydl.codegen.program import Program, Slot, Space, Step
from polydl.dtypes import F32, INDEX
from polydl.ir.expr import Binary, Call, Const, Load, Var
from polydl.ir.kernel import Binding, Buffer, For, Kernel, Param, Role, Store
from polydl.runtime import load, save
from tests.codegen.native import LEVELS, level

N = 1000


def program() -> Program:
    """`t = exp(x)` into the workspace, then `y[i] = t[N-1-i] * c[i]`: step 2 reads what other threads wrote."""
    i, n = Var("i"), Const(N, INDEX)
    shape = (n,)

    def loop(body: Store) -> For:
        return For("i", Const(0, INDEX), n, body, Binding.PARALLEL, 1, None)

    first = Kernel(
        "exponential",
        (),
        (Param(Buffer("x", F32, shape), Role.INPUT), Param(Buffer("t", F32, shape), Role.OUTPUT)),
        loop(Store("t", (i,), Call("exp", (Load("x", (i,), F32),)))),
    )
    mirrored = Binary("sub", Const(N - 1, INDEX), i)
    second = Kernel(
        "scale",
        (),
        (
            Param(Buffer("t", F32, shape), Role.INPUT),
            Param(Buffer("c", F32, shape), Role.CONSTANT),
            Param(Buffer("y", F32, shape), Role.OUTPUT),
        ),
        loop(Store("y", (i,), Binary("mul", Load("t", (mirrored,), F32), Load("c", (i,), F32)))),
    )
    scratch, weights = Slot(Space.WORKSPACE), Slot(Space.CONSTANT)
    steps = (
        Step("exponential", first, (Slot(Space.INPUT), scratch), flops=N),
        Step("scale", second, (scratch, weights, Slot(Space.OUTPUT)), flops=N),
    )
    return Program(
        "net", steps, (TensorSpec("x", F32, (N,)),), (TensorSpec("y", F32, (N,)),), (), 4 * N, 4 * N
    )


@pytest.mark.parametrize("name", [name for name in LEVELS if name != "aarch64"])
def test_from_loop_ir_to_a_loaded_package(tmp_path: Path, name: str) -> None:
    weights = np.linspace(1, 2, N, dtype=np.float32)
    save(compile_program(program(), level(name)), weights, tmp_path / "net")
    x = np.linspace(-3, 3, N, dtype=np.float32)
    wanted = np.exp(x)[::-1] * weights
    for threads in (1, 2, 3):
        with load(tmp_path / "net", threads=threads, verify=True) as module:
            for _ in range(20):
                np.testing.assert_allclose(module(x), wanted, rtol=1e-6)
            assert [step.name for step in module.profile(x, rounds=1)] == ["exponential", "scale"]
