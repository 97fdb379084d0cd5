"""Calling captured loops: arguments, sizes, memory, schedules of one's own, and what an explicit order forbids."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import polydl
from polydl.compiler import compile_function
from polydl.dsl import TensorRole, capture, interpret
from polydl.errors import IllegalSchedule, InvalidInput, NotApplicable, OutOfBounds, RunError, UsageError
from polydl.poly import format_tree, members
from polydl.scheduler import Expand, Inline, Parallel, Privatize, Reorder, Reverse, Tile
from polydl.scheduler.recipes import schedule_as_written
from polydl.scheduler.schedule import Schedule
from polydl.targets import parse
from tests.dsl.loop_programs import PROGRAMS, bound


@polydl.loops(threads=1)
def scale(n: "size", s: "f64", A: "f64[N, 3]", B: "f64[N, 3]") -> None:
    assert n <= N
    for i in range(n):
        for j in range(3):
            A[i, j] = s * B[i, j]


@polydl.loops(threads=1)
def totals(x: "f64[N, M]", y: "f64[N]") -> None:
    for i in range(N):
        for j in range(M):
            y[i] += x[i, j]


@polydl.loops(threads=1)
def odd_places(A: "f64[2 * N + 1]", B: "f64[N + M, 2]") -> None:
    for i in range(N):
        A[2 * i + 1] = A[2 * i + 2] + B[i + M, 1]


def pair(rows: int) -> tuple[Any, Any]:
    return np.zeros((rows, 3)), np.arange(rows * 3.0).reshape(rows, 3)


def test_positions_names_and_sizes() -> None:
    a, b = pair(4)
    scale(2, 3.0, a, B=b)
    np.testing.assert_array_equal(a, np.where(np.arange(4)[:, None] < 2, 3 * b, 0))
    scale(n=np.int64(4), s=np.float64(2), A=a, B=b)
    np.testing.assert_array_equal(a, 2 * b)
    assert scale.__name__ == "scale"
    assert "scale" in repr(scale)


def test_a_bound_call_runs_on_what_the_arrays_hold_then() -> None:
    a, b = pair(4)
    call = scale.bind(4, 2.0, a, b)
    assert not a.any()
    call()
    np.testing.assert_array_equal(a, 2 * b)
    b += 1
    call()
    np.testing.assert_array_equal(a, 2 * b)
    with pytest.raises(InvalidInput, match="'B' is not dense"):
        scale.bind(4, 1.0, a, b.T.copy().T)
    with pytest.raises(InvalidInput, match="share memory"):
        scale.bind(4, 1.0, a, a)


def test_views_are_updated_where_they_lie() -> None:
    _, b = pair(4)
    whole = np.zeros((8, 6))
    scale(4, 1.0, whole[::2, ::2], b.T.copy().T)
    np.testing.assert_array_equal(whole[::2, ::2], b)
    assert whole[1::2].sum() == whole[:, 1::2].sum() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": np.zeros((4, 3), np.float32)}, r"A must be an array f64\[N, 3\]"),
        ({"A": [[0.0]]}, "it is list"),
        ({"A": np.zeros((4, 2))}, "axis 1 of A is 2, not 3"),
        ({"B": np.zeros((5, 3))}, "size N is 4 by axis 0 of A but 5 by axis 0 of B"),
        ({"n": 5}, "break an assumption"),
        ({"n": -1}, "break an assumption"),
        ({"n": 2.0}, "size n must be an integer"),
        ({"s": np.float32(1)}, "s must be a float64"),
        ({"s": "1"}, "s must be a float64"),
        ({"s": None, "B": None}, "s must be a float64"),
        ({"s": 10**400}, "s must be a float64"),
        ({"n": 2**63}, "n must be an integer of 64 bits"),
        ({"A": np.ma.MaskedArray(np.zeros((4, 3)))}, "it is MaskedArray"),
        (
            {"A": np.lib.stride_tricks.sliding_window_view(np.zeros(6), 3, writeable=True)},
            "share their memory",
        ),
        ({"A": np.lib.stride_tricks.as_strided(np.zeros(3), (4, 3), (0, 8))}, "share their memory"),
        ({"t": 1}, "unexpected keyword"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    a, b = pair(4)
    with pytest.raises(InvalidInput, match=message):
        scale(**{"n": 4, "s": 1.0, "A": a, "B": b, **change})


def test_sizes_are_solved_from_computed_extents() -> None:
    a = np.arange(7.0)
    odd_places(a, np.ones((5, 2)))
    np.testing.assert_array_equal(a, [0, 3, 2, 5, 4, 7, 6])


@pytest.mark.parametrize(
    ("long", "rows", "message"),
    [
        (6, 5, r"axis 0 of A is 6, not N \* 2 \+ 1 = 5"),
        (0, 5, r"axis 0 of A is 0, not N \* 2 \+ 1 = -1"),
        (7, 2, "break an assumption of the program\n  where: M >= 0"),
    ],
)
def test_extents_that_no_size_makes(long: int, rows: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        odd_places(np.zeros(long), np.zeros((rows, 2)))


def test_missing_and_shared_arguments() -> None:
    a, b = pair(4)
    with pytest.raises(InvalidInput, match="B, n not given"):
        scale(s=1.0, A=a)
    with pytest.raises(InvalidInput, match="may share memory with 'B'"):
        scale(4, 1.0, a, a)
    a.setflags(write=False)
    with pytest.raises(InvalidInput, match="read-only"):
        scale(4, 1.0, a, b)


def test_sizes_known_from_shapes_need_not_be_given() -> None:
    x, y = np.ones((3, 5)), np.zeros(3)
    totals(x, y)
    np.testing.assert_array_equal(y, [5, 5, 5])


def test_interpret_leaves_its_arguments() -> None:
    a, b = pair(2)
    result = scale.interpret(2, 2.0, a, b)
    np.testing.assert_array_equal(result["A"], 2 * b)
    assert not a.any()


def test_data_dependent_subscripts_are_checked() -> None:
    program = polydl.loops(threads=1)(PROGRAMS["gather"].function)
    out = np.zeros(2)
    with pytest.raises(RunError, match="table"):
        program(np.ones(3), np.array([0, 3]), out)
    with pytest.raises(OutOfBounds, match="table"):
        program.interpret(np.ones(3), np.array([0, 3]), out)


# -- schedules ---------------------------------------------------------------------------------------------------


def test_original_order_is_pythons(golden: Callable[[str, str], None]) -> None:
    trees = {n: format_tree(Schedule.of(capture(p.function).function).tree) for n, p in PROGRAMS.items()}
    golden("loops_order.txt", "\n".join(f"# {n}\n{t}" for n, t in trees.items()))


def test_a_schedule_of_ones_own() -> None:
    program = polydl.loops(threads=2)(PROGRAMS["gemm"].function)
    plain = program.schedule()
    names = [m.name for m in members(plain.tree)]
    schedule = plain.apply(
        Reorder((names[-1], names[-2])), Tile((names[-1], names[-2]), (4, 8)), Parallel("i")
    )
    sizes = {"N": 9, "M": 11, "K": 13}
    arguments = PROGRAMS["gemm"].make(np.random.default_rng(0), **sizes)
    wanted = {n: np.copy(a) for n, a in arguments.items()}
    bound(PROGRAMS["gemm"].function, sizes)(**wanted)
    scheduled = program.scheduled(schedule)
    scheduled(**arguments)
    scheduled.compile().close()
    np.testing.assert_allclose(arguments["C"], wanted["C"], rtol=1e-12)
    with pytest.raises(UsageError, match="not one of gemm"):
        program.scheduled(totals.schedule())


def test_what_the_order_of_the_source_forbids() -> None:
    schedule = capture(PROGRAMS["seidel"].function)
    with pytest.raises(IllegalSchedule):
        Schedule.of(schedule.function).apply(Reverse("i"))
    with pytest.raises(IllegalSchedule):
        Schedule.of(schedule.function).apply(Parallel("j"))


def test_reductions_may_be_reordered_only_under_the_policy() -> None:
    assert totals.schedule().apply(Reverse("j")).trace
    strict = polydl.loops(reassociate=False)(totals.python)
    with pytest.raises(IllegalSchedule):
        strict.schedule().apply(Reverse("j"))


def test_partial_results_are_kept_by_other_means_where_an_order_is_given() -> None:
    schedule = totals.schedule()
    assert schedule.function.order is not None
    with pytest.raises(NotApplicable, match=r"next: PartialSums"):
        schedule.apply(Privatize("S1", "j", 4))


def test_scalars_are_inlined_where_an_order_is_given() -> None:
    program = polydl.loops(copied)
    x = np.arange(5.0)
    program.scheduled(program.schedule().apply(Inline("S1")))(x)
    np.testing.assert_array_equal(x, 6.5 * np.arange(5.0))
    doubled = polydl.loops(twice)
    with pytest.raises(NotApplicable, match=r"Expand\('t', \('i',\)\)"):
        doubled.schedule().apply(Inline("S1"))
    schedule = doubled.schedule().apply(Expand("t", ("i",)), Inline("S1"), Parallel("i"))
    assert [s.name for s in schedule.scop.statements] == ["S2"]
    y = np.zeros(5)
    doubled.scheduled(schedule)(np.arange(5.0), y)
    np.testing.assert_array_equal(y, 2 * np.arange(5.0) + 1)


def test_what_changes_before_its_use_is_not_inlined() -> None:
    schedule = polydl.loops(overtaken).schedule().apply(Expand("t", ("i",)))
    with pytest.raises(NotApplicable, match="x is written after S1"):
        schedule.apply(Inline("S1"))


def twice(x: "f64[N]", y: "f64[N]") -> None:
    for i in range(N):
        t = x[i] * 2.0
        y[i] = t + 1.0


def overtaken(x: "f64[N]", y: "f64[N]") -> None:
    for i in range(N):
        t = x[i] * 2.0
        x[i] = 0.0
        y[i] = t + 1.0


def test_scalars_that_are_set_before_every_read_are_taken() -> None:
    for function in (from_the_first, by_turns, of_the_last):
        program = polydl.loops(function)
        a, b = np.arange(1.0, 7.0), np.arange(1.0, 7.0)
        program(a)
        function.__globals__["N"] = 6
        function(b)
        del function.__globals__["N"]
        np.testing.assert_array_equal(a, b)


def from_the_first(A: "f64[N]") -> None:
    for i in range(N):
        if i == 0:
            t = A[i]
        A[i] = t


def by_turns(A: "f64[N]") -> None:
    for i in range(N):
        if i % 2 == 0:
            t = A[i]
        else:
            t = 1.0
        A[i] = t


def of_the_last(A: "f64[N]") -> None:
    assert N > 0
    for i in range(N):
        t = A[i]
    A[0] = t


def copied(x: "f64[N]") -> None:
    t = 0.5 * 3.0 + float(len(x))
    for i in range(N):
        x[i] = t * x[i]


def test_functions_updated_in_place_are_no_functions_of_inputs() -> None:
    function = capture(PROGRAMS["trisolv"].function).function
    assert function.tensor("x").role is TensorRole.INOUT
    assert function.tensor("L").role is TensorRole.INPUT
    module = compile_function(function, threads=1)
    with pytest.raises(InvalidInput, match="in place"):
        module(np.eye(2), np.zeros(2), np.ones(2))
    with pytest.raises(InvalidInput, match="not all given"):
        module.update([np.eye(2), np.ones(2)], [np.zeros(2)], {})
    x = np.ones(2)
    with pytest.raises(InvalidInput, match="shares memory"):
        module.update([np.eye(2), x], [x], {"N": 2})
    result = interpret(function, {"L": 2 * np.eye(2), "x": np.zeros(2), "b": np.ones(2)}, {"N": 2})
    np.testing.assert_array_equal(result["x"], [0.5, 0.5])


@pytest.mark.parametrize("name", ["gemm", "jacobi_2d", "seidel", "lu"])
def test_the_schedule_of_calls(name: str, golden: Callable[[str, str], None]) -> None:
    schedule = schedule_as_written(capture(PROGRAMS[name].function).function, parse("x86-64-avx2"))
    golden(f"loops_schedule_{name}.txt", "\n".join([*map(str, schedule.trace), format_tree(schedule.tree)]))


def test_strict_sums_stay_in_order() -> None:
    strict = schedule_as_written(totals.function, parse("x86-64-avx2"), reassociate=False)
    assert strict.trace == (Parallel("i"),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: polydl.loops(threads=0, optimize=True)(scale.python), "threads=0 is not a number"),
        (lambda: polydl.loops(target=None)(scale.python), "None is no target"),  # type: ignore[call-overload]
        (lambda: scale.scheduled(3), "3 is no schedule"),  # type: ignore[arg-type]
        (lambda: polydl.optimize(scale), "given a LoopProgram instead of a Function"),  # type: ignore[arg-type]
        (lambda: polydl.optimize(scale.function, "fast"), "unknown target 'fast'"),
        (lambda: polydl.optimize(scale.function, 3), "given a int instead of a Target"),  # type: ignore[arg-type]
    ],
)
def test_wrong_requests(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
