"""Updates of one cell by several statements: free among each other by one operator, and by nothing else."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import polydl
from polydl.certificate import check_certificate
from polydl.dsl.loops import capture
from polydl.errors import IllegalSchedule
from polydl.scheduler import Parallel, RunFirst, Schedule, Split, Vectorize

Kernel = Callable[..., Any]


def same_operator(x: "f64[N]", y: "f64[N]", a: "f64[N, N]") -> None:
    for i in range(N):
        y[i] = max(y[i], x[i])
        for k in range(N):
            y[i] = max(y[i], a[i, k])


def other_operator(x: "f64[N]", y: "f64[N]", a: "f64[N, N]") -> None:
    for i in range(N):
        y[i] = min(y[i], x[i])
        for k in range(N):
            y[i] = max(y[i], a[i, k])


def read_between(x: "f64[N]", y: "f64[N]", a: "f64[N, N]") -> None:
    for i in range(N):
        y[i] = max(y[i], x[i])
        x[i] = y[i] * 2.0
        for k in range(N):
            y[i] = max(y[i], a[i, k])


def stored_between(x: "f64[N]", y: "f64[N]", a: "f64[N, N]") -> None:
    for i in range(N):
        y[i] = max(y[i], x[i])
        y[i] = x[i] * 2.0
        for k in range(N):
            y[i] = max(y[i], a[i, k])


def own_result_in_the_term(x: "f64[N]", y: "f64[N]", a: "f64[N, N]") -> None:
    for i in range(N):
        y[i] = max(y[i], y[i] + x[i])
        for k in range(N):
            y[i] = max(y[i], a[i, k])


def cell_of_all_iterations(x: "f64[N]", y: "f64[N]", a: "f64[N, N]") -> None:
    for i in range(N):
        y[0] = max(y[0], x[i])
    for i in range(N):
        for k in range(N):
            y[i] = max(y[i], a[i, k])


def two_sums(x: "f64[N]", y: "f64[N]") -> None:
    for i in range(N - 1):
        y[i] = y[i] + x[i]
        y[i + 1] = y[i + 1] + x[i]


def last_statement_first(kernel: Kernel, reassociate: bool = True) -> Schedule:
    s = Schedule.of(capture(kernel).function, reassociate=reassociate)
    return s.apply(RunFirst("i", (s.function.statements()[-1].name,), ("",)))


def test_updates_by_one_operator_may_be_exchanged() -> None:
    schedule = last_statement_first(same_operator)
    assert check_certificate(schedule.certificate())
    program = polydl.loops(threads=1)(same_operator)
    rng = np.random.default_rng(0)
    x, y, a = rng.random(9), rng.random(9), rng.random((9, 9))
    expected = np.maximum(np.maximum(y, x), a.max(axis=1))
    program.scheduled(schedule)(x, y, a)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    "kernel", [other_operator, read_between, stored_between, own_result_in_the_term], ids=lambda k: k.__name__
)
def test_near_misses_keep_their_order(kernel: Kernel) -> None:
    with pytest.raises(IllegalSchedule):
        last_statement_first(kernel)


def test_without_reassociation_they_keep_their_order() -> None:
    with pytest.raises(IllegalSchedule):
        last_statement_first(same_operator, reassociate=False)


def test_an_order_that_is_free_is_not_concurrency() -> None:
    """Iterations i and i + 1 meet in y[i + 1]: threads would overwrite each other, and so might lanes."""
    schedule = Schedule.of(capture(two_sums).function).apply(Split("i", 8))
    for transform in (Parallel("i.o"), Vectorize("i.i")):
        with pytest.raises(IllegalSchedule):
            schedule.apply(transform)


def test_an_update_at_one_cell_for_all_iterations_is_a_reduction_of_its_own() -> None:
    statements = capture(cell_of_all_iterations).function.statements()
    assert [s.op for s in statements] == ["max", "max"]
