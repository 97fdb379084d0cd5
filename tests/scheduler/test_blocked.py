"""Factorisations in blocks: found by their dependences, right for every size, on one thread and two."""

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
from polydl.scheduler.automatic.blocked import blocked
from polydl.scheduler.automatic.choose import optimize
from polydl.scheduler.automatic.orders import orders
from polydl.scheduler.automatic.strategy import parts
from polydl.scheduler.bindings import Parallel
from polydl.scheduler.instances import RunFirst
from polydl.scheduler.loops import Tile
from polydl.scheduler.schedule import Schedule
from polydl.vocabulary import Binding


def _unit_lower(L: "f64[N, N]", B: "f64[N, M]") -> None:
    """Many right-hand sides of a triangular system, by columns of L."""
    for k in range(N):
        for i in range(k + 1, N):
            for j in range(M):
                B[i, j] -= L[i, k] * B[k, j]


def _last_column_first(A: "f64[N, N]") -> None:
    """An elimination that needs the one before it everywhere."""
    for k in range(N - 1):
        for i in range(N):
            for j in range(N):
                A[i, j] -= A[N - 1 - i, k] * A[k + 1, N - 1 - j]


def _lu_by_scalars(A: "f64[N, N]") -> None:
    """LU factorisation with every element summed in one scalar that all elements share."""
    for i in range(N):
        for j in range(i):
            w = A[i, j]
            for k in range(j):
                w -= A[i, k] * A[k, j]
            A[i, j] = w / A[j, j]
        for j in range(i, N):
            w = A[i, j]
            for k in range(i):
                w -= A[i, k] * A[k, j]
            A[i, j] = w


PROGRAMS: dict[str, Callable[..., None]] = {
    "lu": KERNELS["lu"].function,
    "cholesky": KERNELS["cholesky"].function,
    "unit_lower": _unit_lower,
    "lu_by_scalars": _lu_by_scalars,
}


def _arrays(name: str, n: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(n)
    square = draw.uniform(0.1, 0.9, (n, n)) / max(n, 1)
    if name == "unit_lower":
        return {"L": square, "B": draw.uniform(-1, 1, (n, 17))}
    return {"A": square @ square.T + np.eye(n)}


@cache
def _schedules(name: str) -> tuple[LoopProgram, tuple[Schedule, ...]]:
    program = loops(threads=2)(PROGRAMS[name])
    found: list[Schedule] = []
    for order, bands in orders(Schedule.of(program.function), 20_000_000):
        for part in parts(order.tree, bands):
            found += list(blocked(order, part, program.target))[:1]
    return program, tuple(dict.fromkeys(found))


@cache
def _compiled(name: str, threads: int) -> list[LoopProgram]:
    program = loops(threads=threads)(PROGRAMS[name])
    return [program.scheduled(s) for s in _schedules(name)[1]]


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_update_is_freed_and_runs_in_register_tiles(name: str) -> None:
    _, schedules = _schedules(name)
    assert schedules
    for schedule in schedules:
        assert any(isinstance(t, RunFirst) for t in schedule.trace)
        assert {m.binding for m in members(schedule.tree)} >= {
            Binding.UNROLL,
            Binding.VECTOR,
            Binding.PARALLEL,
        }


@pytest.mark.parametrize(("name", "directions"), [("lu", 2), ("cholesky", 1), ("lu_by_scalars", 2)])
def test_threads_share_the_tiles_behind_the_diagonal(name: str, directions: int) -> None:
    """Of a block's own rows and columns, beside the updates behind it."""
    _, schedules = _schedules(name)
    for schedule in schedules:
        parallel = {t.loop for t in schedule.trace if isinstance(t, Parallel)}
        tiled = {f"{n}.o" for t in schedule.trace if isinstance(t, Tile) for n in t.loops}
        shared = {n for n in parallel if any(n.startswith(f"{tile}.rest") for tile in tiled)}
        assert len(shared) >= directions


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
@given(n=st.integers(0, 130))
@settings(max_examples=12, deadline=None)
def test_every_size_gives_what_the_loops_say(name: str, threads: int, n: int) -> None:
    wanted = _arrays(name, n)
    plain = _plain(name)
    plain(**wanted)
    for program in _compiled(name, threads):
        data = _arrays(name, n)
        program(**data)
        for key, value in data.items():
            np.testing.assert_allclose(value, wanted[key], rtol=1e-9, atol=1e-11)


@cache
def _plain(name: str) -> LoopProgram:
    return loops(threads=1)(PROGRAMS[name])


@pytest.mark.parametrize("name", ["lu", "cholesky", "lu_by_scalars"])
def test_it_is_what_optimisation_chooses(name: str) -> None:
    program = loops(PROGRAMS[name])
    chosen = optimize(program.function, program.target)
    assert any(isinstance(t, RunFirst) for t in chosen.trace)


def test_nothing_is_proposed_where_no_update_is_free() -> None:
    program = loops(_last_column_first)
    plain = Schedule.of(program.function)
    assert not [s for part in parts(plain.tree) for s in blocked(plain, part, program.target)]


def test_sums_that_keep_their_order_are_not_blocked() -> None:
    program = loops(KERNELS["lu"].function)
    plain = Schedule.of(program.function, reassociate=False)
    assert not [s for part in parts(plain.tree) for s in blocked(plain, part, program.target)]
