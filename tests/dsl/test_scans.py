"""Scans, and recurrences over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydl.dsl import (
    FunctionBuilder,
    scan_over,
)
from polydl.dtypes import F64
from polydl.errors import IllegalSchedule, InvalidProgram
from polydl.ir.expr import Var, and_
from polydl.scheduler import (
    Parallel,
    Schedule,
)
from tests.dsl.forms import AFFINE, RNG, everywhere, integers


@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 20),
    axis=st.sampled_from(["i", "k"]),
    op=st.sampled_from(["add", "max", "min"]),
    exclusive=st.booleans(),
    reverse=st.booleans(),
    start=st.sampled_from([None, 3.0]),
)
def test_scans(
    rows: int, columns: int, axis: str, op: str, exclusive: bool, reverse: bool, start: float | None
) -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (rows, columns))
    y = f.compute(
        "y", "i k", lambda i, k: scan_over(op, axis, x[i, k], start, exclusive=exclusive, reverse=reverse)
    )
    x_ = integers(RNG, rows, columns)
    (got,) = everywhere(f.build([y]), x_)
    ufunc: Any = {"add": np.add, "max": np.maximum, "min": np.minimum}[op]
    along = np.moveaxis(x_, 0 if axis == "i" else 1, 0)
    along = along[::-1] if reverse else along
    neutral = {"add": 0.0, "max": -np.inf, "min": np.inf}[op] if start is None else start
    first = np.full_like(along[:1], neutral)
    whole = ufunc.accumulate(np.concatenate([first, along]), axis=0)
    wanted = whole[:-1] if exclusive else whole[1:]
    wanted = wanted[::-1] if reverse else wanted
    np.testing.assert_array_equal(got, np.moveaxis(wanted, 0, 0 if axis == "i" else 1))


def test_scans_of_tuples_in_symbolic_sizes() -> None:
    f = FunctionBuilder("f")
    (n,) = f.sizes("N")
    a, c = f.input("a", (n,), F64), f.input("c", (n,), F64)
    p, q = f.compute_several("p q", "k", lambda k: scan_over(AFFINE, "k", (a[k], c[k])))
    function = f.build([p, q])
    for size in (1, 2, 17):
        a_, c_ = RNG.uniform(-1, 1, size), RNG.standard_normal(size)
        _, got = everywhere(function, a_, c_, sizes={"N": size})
        state = 0.0
        for k in range(size):
            state = state * a_[k] + c_[k]
            assert got[k] == pytest.approx(state)


def test_scans_keep_their_order() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (8, 8))
    y = f.compute("y", "i k", lambda i, k: scan_over("add", "k", x[i, k]))
    schedule = Schedule.of(f.build([y]))
    with pytest.raises(IllegalSchedule, match="flow dependence on y"):
        schedule.apply(Parallel("y_next.k"))
    everywhere(schedule.apply(Parallel("y_next.i")), integers(RNG, 8, 8))


def test_scans_that_make_no_sense() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (8, 8))
    with pytest.raises(InvalidProgram, match="scans along z, which is none of its axes"):
        f.compute("y", "i k", lambda i, k: scan_over("add", "z", x[i, k]))
    with pytest.raises(InvalidProgram, match="on which the range of k depends"):
        f.compute("y", {"i": 8, "k": (0, Var("i"))}, lambda i, k: scan_over("add", "i", x[i, k]))
    with pytest.raises(InvalidProgram, match="has a condition or subscripts of its own"):
        f.compute("y", "i k", lambda i, k: scan_over("add", "i", x[i, k]), where=lambda i, k: i < k)


def test_a_stencil_over_time() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (30,), F64)
    u = f.recurrence(
        "u",
        {"t": (1, 8), "i": None},
        lambda u, t, i: (u[t - 1, i - 1] + u[t - 1, i + 1]) * 0.5,
        initial=lambda i: x[i],
        where=lambda t, i: and_(i >= 1, i < 29),
    )
    x_ = RNG.standard_normal(30)
    (got,) = everywhere(f.build([u]), x_)
    wanted = x_.copy()
    for _ in range(7):
        wanted[1:-1] = (wanted[:-2] + wanted[2:]) * 0.5
    np.testing.assert_allclose(got[-1], wanted)


def test_two_times_back_with_a_moving_boundary() -> None:
    """The wave equation, driven at its left end."""
    f = FunctionBuilder("f")
    (steps,) = f.sizes("T")
    x, drive = f.input("x", (20,), F64), f.input("drive", (steps,), F64)
    u = f.recurrence(
        "u",
        {"t": (2, steps + 2), "i": 20},
        lambda u, t, i: (
            2.0 * u[t - 1, i] - u[t - 2, i] + 0.1 * (u[t - 1, i - 1] - 2.0 * u[t - 1, i] + u[t - 1, i + 1])
        ),
        initial=(lambda i: x[i], lambda i: x[i] * 0.5),
        where=lambda t, i: and_(i >= 1, i < 19),
        boundary=lambda t, i: drive[t - 2],
    )
    x_, drive_ = RNG.standard_normal(20), RNG.standard_normal(6)
    last = f.compute("last", "i", lambda i: u[steps + 1, i])
    (got,) = everywhere(f.build([last]), x_, drive_, sizes={"T": 6})
    before, now = x_, x_ * 0.5
    for t in range(2, 8):
        new = np.full(20, drive_[t - 2])
        new[1:-1] = 2 * now[1:-1] - before[1:-1] + 0.1 * (now[:-2] - 2 * now[1:-1] + now[2:])
        before, now = now, new
    np.testing.assert_allclose(got, now)


def test_recurrences_of_several() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (5,), F64)
    p, v = f.recurrences(
        "p v",
        {"t": (1, 11), "i": 5},
        lambda p, v, t, i: (p[t - 1, i] + 0.1 * v[t - 1, i], v[t - 1, i] - 0.1 * p[t - 1, i]),
        initial=(lambda i: x[i], lambda i: x[i] * 2.0),
    )
    x_ = RNG.standard_normal(5)
    got, _ = everywhere(f.build([p, v]), x_)
    place, speed = x_, x_ * 2
    for _ in range(10):
        place, speed = place + 0.1 * speed, speed - 0.1 * place
    np.testing.assert_allclose(got[-1], place)
