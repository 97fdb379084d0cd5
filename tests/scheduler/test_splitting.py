"""Loops split where one row or column keeps them from being vectors or parallel."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.polybench.kernels import KERNELS
from polydl import LoopProgram, loops
from polydl.poly.tree import members
from polydl.scheduler.automatic.choose import optimize
from polydl.scheduler.automatic.splitting import split_loops
from polydl.scheduler.automatic.strategy import parts
from polydl.scheduler.schedule import Schedule
from polydl.vocabulary import Binding


def _pivot(A: "f64[N, N]") -> None:
    """Row k of step k changes in the middle of the others, whose columns wait for column k."""
    for k in range(N):
        for i in range(N):
            for j in range(N):
                A[i, j] = A[i, j] + 0.25 * A[i, k] * A[k, j]


def _chain(A: "f64[N, N]") -> None:
    """Nothing to split: every column waits for the one before it."""
    for i in range(N):
        for j in range(1, N):
            A[i, j] = A[i, j] + A[i, j - 1]


PROGRAMS: dict[str, Callable[..., None]] = {
    "floyd-warshall": KERNELS["floyd-warshall"].function,
    "pivot": _pivot,
}


@cache
def _split(name: str, threads: int) -> list[LoopProgram]:
    program = loops(threads=threads)(PROGRAMS[name])
    plain = Schedule.of(program.function)
    target = replace(program.target, cores=threads)
    return [program.scheduled(s) for part in parts(plain.tree) for s in split_loops(plain, part, target)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_one_core_gets_vectors_and_two_get_threads(name: str) -> None:
    (alone,) = _split(name, 1)
    assert Binding.VECTOR in {m.binding for m in members(alone.compiled_schedule().tree)}
    assert any(
        Binding.PARALLEL in {m.binding for m in members(p.compiled_schedule().tree)} for p in _split(name, 2)
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
@given(n=st.integers(0, 40))
@settings(max_examples=10, deadline=None)
def test_every_size_gives_what_the_loops_say(name: str, threads: int, n: int) -> None:
    start = np.random.default_rng(n).uniform(0.0, 1.0, (n, n)) / max(n, 1)
    wanted = start.copy()
    _plain(name)(wanted)
    for program in _split(name, threads):
        data = start.copy()
        program(data)
        np.testing.assert_allclose(data, wanted, rtol=1e-9, atol=1e-12)


@cache
def _plain(name: str) -> LoopProgram:
    program = loops(threads=1)(PROGRAMS[name])
    return program.scheduled(program.schedule())


def test_a_chain_has_no_place_to_split() -> None:
    program = loops(_chain)
    plain = Schedule.of(program.function)
    (part,) = parts(plain.tree)
    assert not list(split_loops(plain, part, replace(program.target, cores=1)))


def test_it_is_what_optimisation_chooses() -> None:
    program = loops(PROGRAMS["floyd-warshall"])
    chosen = optimize(program.function, replace(program.target, cores=1))
    assert Binding.VECTOR in {m.binding for m in members(chosen.tree)}
