"""The same loops as C, compiled by the compilers of this machine: outputs against numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.polybench.baseline import BASELINES, available, build
from benchmarks.polybench.csource import emit
from benchmarks.polybench.kernel import difference
from benchmarks.polybench.kernels import KERNELS
from polydl.errors import InvalidInput, InvalidProgram, UsageError
from tests.polybench.references import reference

# mypy: disable-error-code="name-defined"
# ruff: noqa: F821


def usable(name: str) -> None:
    if why := available(name):
        pytest.skip(f"{name}: {why}")


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_c_of_the_loops_computes_what_numpy_does(kernel: Any, tmp_path: Path) -> None:
    usable("gcc")
    for size, constants in (("MINI", True), ("SMALL", False)):
        call = build(kernel, size, "gcc", tmp_path, constants=constants)
        data = kernel.data(size)
        call(data)()
        assert difference(kernel, kernel.data(size), data, reference(kernel, size)) < 1e-10


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "gcc"])
def test_every_compiler_agrees(name: str, tmp_path: Path) -> None:
    usable(name)
    for kernel in (KERNELS["gemver"], KERNELS["seidel-2d"]):
        call = build(kernel, "SMALL", name, tmp_path)
        data = kernel.data("SMALL")
        call(data)()
        assert difference(kernel, kernel.data("SMALL"), data, reference(kernel, "SMALL")) < 1e-10


def test_the_source_is_what_a_person_would_write() -> None:
    assert emit(KERNELS["trmm"], restrict=True) == (
        "#include <math.h>\n"
        "void kernel(long M, long N, double alpha, double A[restrict M][M], double B[restrict M][N])\n"
        "{\n"
        "    for (long i = 0; i < M; i += 1) {\n"
        "        for (long j = 0; j < N; j += 1) {\n"
        "            for (long k = (i + 1); k < M; k += 1) {\n"
        "                B[i][j] += (A[k][i] * B[k][j]);\n"
        "            }\n"
        "            B[i][j] = (alpha * B[i][j]);\n"
        "        }\n"
        "    }\n"
        "}\n"
    )
    assert "enum { N = 40 };" in emit(KERNELS["trisolv"], constants={"N": 40})
    assert "for (long j = (N - 2); j > 0; j -= 1)" in emit(KERNELS["adi"])


def _while(A: f64[N]) -> None:
    while True:
        A[0] = 1.0


def _rounding(A: f64[N]) -> None:
    for i in range(N):
        A[i] = i / N


def _unknown(A: f64[N]) -> None:
    A[0] = nowhere


def _stride(A: f64[N]) -> None:
    for i in range(0, N, N):
        A[i] = 1.0


def _untyped(A) -> None:  # type: ignore[no-untyped-def]
    A[0] = 1.0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_while, "while True"),
        (_rounding, "i / N"),
        (_unknown, "nowhere"),
        (_stride, "no constant step"),
        (_untyped, "no type"),
    ],
)
def test_what_plain_c_loops_are_not_made_from_is_refused(function: Callable[..., None], message: str) -> None:
    with pytest.raises(InvalidProgram, match=message):
        emit(replace(KERNELS["trisolv"], function=function))


def test_wrong_arrays_are_refused_before_c_sees_them(tmp_path: Path) -> None:
    usable("gcc")
    wrong: Any
    call = build(KERNELS["mvt"], "MINI", "gcc", tmp_path)
    for wrong in (np.zeros((40, 39)), np.zeros((40, 40), dtype=np.float32), np.zeros((40, 40)).T[::-1]):
        with pytest.raises(InvalidInput, match="A is not"):
            call({**KERNELS["mvt"].data("MINI"), "A": wrong})


def test_an_unknown_compiler_is_an_error() -> None:
    with pytest.raises(UsageError, match="icc"):
        available("icc")
