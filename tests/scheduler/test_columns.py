"""Orthogonalisations in panels of columns: found by their dependences, right for every size, on one thread and two."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.polybench.kernels import KERNELS
from polydl import LoopProgram, loops
from polydl.poly.tree import members
from polydl.scheduler.automatic.choose import optimize
from polydl.scheduler.automatic.columns import column_panels
from polydl.scheduler.automatic.orders import orders
from polydl.scheduler.automatic.strategy import parts
from polydl.scheduler.copies import CopyInOut
from polydl.scheduler.instances import RunFirst
from polydl.scheduler.schedule import Schedule
from polydl.vocabulary import Binding


def _reflections(A: "f64[M, N]", V: "f64[M, N]") -> None:
    """Reflections of ever shorter columns, the sums of all of them in one scalar."""
    for k in range(N):
        s = 1.0
        for i in range(k, M):
            s += A[i, k] * A[i, k]
        for i in range(k, M):
            V[i, k] = A[i, k] / s
        for j in range(k + 1, N):
            t = 0.0
            for i in range(k, M):
                t += V[i, k] * A[i, j]
            for i in range(k, M):
                A[i, j] -= t * V[i, k]


def _rows(A: "f64[N, M]", R: "f64[N, N]") -> None:
    """Rows made orthogonal: contiguous as they are."""
    for k in range(N):
        s = 1.0
        for i in range(M):
            s += A[k, i] * A[k, i]
        for j in range(k + 1, N):
            R[k, j] = 0.0
            for i in range(M):
                R[k, j] += A[k, i] * A[j, i] / s
            for i in range(M):
                A[j, i] -= A[k, i] * R[k, j]


def _all_columns(A: "f64[M, N]", R: "f64[N, N]") -> None:
    """Steps that each need all columns of the one before."""
    for k in range(N):
        s = 1.0
        for j in range(k, N):
            for i in range(M):
                s += A[i, j]
        for i in range(M):
            A[i, k] = A[i, k] / s
        for j in range(k + 1, N):
            for i in range(M):
                R[k, j] += A[i, k] * A[i, j]
            for i in range(M):
                A[i, j] -= A[i, k] * R[k, j]


PROGRAMS: dict[str, Callable[..., None]] = {
    "gramschmidt": KERNELS["gramschmidt"].function,
    "reflections": _reflections,
    "rows": _rows,
}


def _arrays(name: str, m: int, n: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(m * 1000 + n)
    a = draw.uniform(0.5, 1.0, (m, n))
    np.fill_diagonal(a, 7.0)
    match name:
        case "gramschmidt":
            return {"A": a, "Q": np.full((m, n), 3.0), "R": np.full((n, n), 5.0)}
        case "reflections":
            return {"A": a, "V": np.full((m, n), 3.0)}
        case _:
            return {"A": a.T.copy(), "R": np.full((n, n), 5.0)}


@cache
def _schedules(name: str) -> tuple[LoopProgram, tuple[Schedule, ...]]:
    program = loops(threads=2)(PROGRAMS[name])
    order, bands = next(iter(orders(Schedule.of(program.function), 20_000_000)))
    found = [s for part in parts(order.tree, bands) for s in column_panels(order, part, program.target)]
    return program, tuple(found[:1])


@cache
def _compiled(name: str, threads: int) -> list[LoopProgram]:
    program = loops(threads=threads)(PROGRAMS[name])
    return [program.scheduled(s) for s in _schedules(name)[1]]


@cache
def _plain(name: str) -> LoopProgram:
    program = loops(threads=1)(PROGRAMS[name])
    return program.scheduled(Schedule.of(program.function))


@pytest.mark.parametrize("name", PROGRAMS)
def test_columns_are_taken_together_through_a_block_of_steps(name: str) -> None:
    _, schedules = _schedules(name)
    assert schedules
    for schedule in schedules:
        assert any(isinstance(t, RunFirst) for t in schedule.trace)
        assert any(isinstance(t, CopyInOut) for t in schedule.trace) == (name != "rows")
        bindings = {m.binding for m in members(schedule.tree)}
        assert bindings >= {Binding.UNROLL, Binding.VECTOR, Binding.PARALLEL}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
@given(m=st.integers(0, 60), n=st.integers(0, 70))
@settings(max_examples=12, deadline=None)
def test_every_size_gives_what_the_loops_say(name: str, threads: int, m: int, n: int) -> None:
    m = max(m, n) if name == "gramschmidt" else m  # more columns than rows would be divided by rounding noise
    wanted = _arrays(name, m, n)
    _plain(name)(**wanted)
    for program in _compiled(name, threads):
        data = _arrays(name, m, n)
        program(**data)
        for key, value in data.items():
            np.testing.assert_allclose(value, wanted[key], rtol=1e-9, atol=1e-11)


def test_it_is_what_optimisation_chooses() -> None:
    program = loops(PROGRAMS["gramschmidt"])
    chosen = optimize(program.function, program.target)
    assert {type(t) for t in chosen.trace} >= {CopyInOut, RunFirst}


def test_nothing_is_proposed_where_a_block_needs_all_columns() -> None:
    program = loops(_all_columns)
    plain = Schedule.of(program.function)
    assert not [s for part in parts(plain.tree) for s in column_panels(plain, part, program.target)]
