"""Captured Python loops compute what Python computes: interpreted and compiled, for sizes from 0 on."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import polydl
from polydl.errors import UsageError
from tests.dsl.loop_programs import PROGRAMS, bound


@lru_cache(maxsize=64)
def compiled(name: str) -> polydl.LoopProgram:
    return polydl.loops(threads=1)(PROGRAMS[name].function)


def expected(name: str, arguments: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """What Python itself makes of the arguments."""
    result = copy.deepcopy(arguments)
    with np.errstate(all="ignore"):
        bound(PROGRAMS[name].function, sizes)(**result)
    return result


def same(got: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, array in got.items():
        tolerance = 1e-5 if np.asarray(array).dtype == np.float32 else 1e-11
        np.testing.assert_allclose(array, wanted[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("name", PROGRAMS)
@settings(max_examples=25)
@given(data=st.data())
def test_same_as_python(name: str, data: st.DataObject) -> None:
    program = PROGRAMS[name]
    sizes = {n: data.draw(st.integers(program.least, program.most), label=n) for n in program.sizes.split()}
    arguments = program.make(np.random.default_rng(sum(sizes.values())), **sizes)
    wanted = expected(name, arguments, sizes)
    same(compiled(name).interpret(**arguments), wanted)
    ran = copy.deepcopy(arguments)
    compiled(name)(**ran)
    same({n: a for n, a in ran.items() if isinstance(a, np.ndarray)}, wanted)


@pytest.mark.parametrize("name", PROGRAMS)
def test_larger_than_a_vector(name: str) -> None:
    program = PROGRAMS[name]
    sizes = {n: 19 + 4 * k for k, n in enumerate(program.sizes.split())}
    arguments = program.make(np.random.default_rng(1), **sizes)
    wanted = expected(name, arguments, sizes)
    compiled(name)(**arguments)
    same({n: a for n, a in arguments.items() if isinstance(a, np.ndarray)}, wanted)


@pytest.mark.parametrize("name", PROGRAMS)
def test_two_threads(name: str) -> None:
    program = PROGRAMS[name]
    sizes = {n: 33 + 5 * k for k, n in enumerate(program.sizes.split())}
    arguments = program.make(np.random.default_rng(2), **sizes)
    wanted = expected(name, arguments, sizes)
    parallel = polydl.loops(threads=2)(program.function)
    parallel(**arguments)
    parallel.compile().close()
    same({n: a for n, a in arguments.items() if isinstance(a, np.ndarray)}, wanted)


@pytest.mark.parametrize(("name", "threads"), [("gemm", 2), ("jacobi_1d", 1)])
def test_other_threads_are_woken_for_parallel_loops_only(name: str, threads: int) -> None:
    assert polydl.loops(threads=2)(PROGRAMS[name].function).compile().threads == threads


def test_a_wrong_number_of_threads_is_refused_without_parallel_loops_too() -> None:
    with pytest.raises(UsageError):
        polydl.loops(threads=0)(PROGRAMS["jacobi_1d"].function).compile()
