"""Reductions by users' operators: on every road the same values, and only in orders that the operators allow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polydl.dsl import (
    Function,
    FunctionBuilder,
    Operator,
    reduce_over,
    select_first,
)
from polydl.dtypes import F32, F64, I64
from polydl.errors import IllegalSchedule, InvalidProgram, NotApplicable
from polydl.ir.expr import maximum
from polydl.scheduler import (
    Accumulate,
    Inline,
    Parallel,
    Privatize,
    Reorder,
    Reverse,
    Schedule,
    Split,
    Tile,
    Transform,
    Vectorize,
)
from tests.dsl.forms import AFFINE, LARGEST, LOG_ADD, MOMENTS, RNG, abs_, everywhere, integers


def _largest(rows: int, columns: int) -> Function:
    f = FunctionBuilder("f")
    x = f.input("x", (rows, columns))
    best, where = f.compute_several(
        "best where", "i", lambda i: reduce_over(LARGEST, "k", lambda k: (x[i, k], k))
    )
    return f.build([best, where])


def test_pairs_of_value_and_index() -> None:
    x = integers(RNG, 6, 41)
    best, where = everywhere(_largest(6, 41), x)
    np.testing.assert_array_equal(best, x.max(1))
    np.testing.assert_array_equal(where, x.argmax(1))


ORDERS: dict[str, tuple[Transform, ...]] = {
    "interchange": (Reorder(("k", "best.i")),),
    "reverse": (Reverse("k"),),
    "tiles": (Tile(("best.i", "k"), (4, 8)), Reorder(("k.o", "best.i.o", "k.i", "best.i.i"))),
    "lanes of one reduction": (Split("k", 8), Vectorize("k.i")),
    "lanes of several": (
        Split("best.i", 8),
        Reorder(("best.i.o", "k", "best.i.i")),
        Vectorize("best.i.i"),
        Parallel("best.i.o"),
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_a_commutative_tuple_reduces_in_any_order(name: str) -> None:
    x = integers(RNG, 21, 41)
    best, where = everywhere(Schedule.of(_largest(21, 41)).apply(*ORDERS[name]), x)
    np.testing.assert_array_equal(best, x.max(1))
    np.testing.assert_array_equal(where, x.argmax(1))


def _affine(rows: int, columns: int) -> Function:
    f = FunctionBuilder("f")
    a, c = f.input("a", (rows, columns), F64), f.input("c", (rows, columns), F64)
    p, q = f.compute_several("p q", "i", lambda i: reduce_over(AFFINE, "k", lambda k: (a[i, k], c[i, k])))
    return f.build([p, q])


def test_an_operator_that_does_not_commute_runs_in_order() -> None:
    a, c = RNG.uniform(-1, 1, (5, 9)), RNG.standard_normal((5, 9))
    schedule = Schedule.of(_affine(5, 9))
    p, q = everywhere(schedule.apply(Reorder(("k", "p.i"))), a, c)  # the order of each row stays
    wanted = np.zeros(5)
    for k in range(9):
        wanted = wanted * a[:, k] + c[:, k]
    np.testing.assert_allclose(q, wanted)
    np.testing.assert_allclose(p, a.prod(1))
    with pytest.raises(IllegalSchedule, match=r"p\(\d, \d\) must run before p\(\d, \d\)"):
        schedule.apply(Reverse("k"))
    with pytest.raises(IllegalSchedule):
        schedule.apply(Split("k", 4), Vectorize("k.i"))


def test_single_values_by_a_users_operator() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (3, 70))
    y = f.compute("y", "i", lambda i: reduce_over(LOG_ADD, "k", lambda k: x[i, k], where=lambda k: k < 60))
    function = f.build([y])
    x_ = RNG.standard_normal((3, 70)).astype(np.float32)
    for steps in ((), (Privatize("y", "k", 8),), (Accumulate("y"),)):
        (got,) = everywhere(Schedule.of(function).apply(*steps), x_)
        np.testing.assert_allclose(got, np.log(np.exp(x_[:, :60]).sum(1)), rtol=1e-5)


def test_partial_results_only_of_operators_that_commute() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (8,))
    last = Operator("last", lambda a, b: b + 0.0 * a, identity=0.0)
    function = f.build([f.compute("y", "", lambda: reduce_over(last, "k", lambda k: x[k]))])
    with pytest.raises(NotApplicable, match="not declared commutative"):
        Schedule.of(function).apply(Privatize("y", "k", 4))


def test_statements_that_store_tuples_stay() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (4, 6))
    t = f.compute("t", "i k", lambda i, k: x[i, k] * 2.0)
    best, where = f.compute_several("b w", "i", lambda i: reduce_over(LARGEST, "k", lambda k: (t[i, k], k)))
    schedule = Schedule.of(f.build([best, where]))
    for step in (Privatize("b", "k", 2), Accumulate("b"), Inline("t")):
        with pytest.raises(NotApplicable, match=r"stores 2 values at once|shares a tensor with b"):
            schedule.apply(step)


def test_claims_that_small_numbers_refute() -> None:
    first = Operator(
        "first", lambda a, b: select_first(b[0] > a[0], b, a), (float("-inf"), 0), commutative=True
    )
    with pytest.raises(InvalidProgram, match="declared commutative, and is not commutative"):
        first.of([F32, I64])
    distance = Operator("distance", lambda a, b: abs_(a - b), 0.0, commutative=True)
    with pytest.raises(InvalidProgram, match="declared commutative, and is not associative"):
        distance.of([F32])
    with pytest.raises(InvalidProgram, match=r"1\.0 is no identity of operator plus"):
        Operator("plus", lambda a, b: a + b, 1.0).of([F32])
    assert not replace(first, commutative=False).of([F32, I64]).commutative


def test_operators_that_do_not_fit_their_values() -> None:
    with pytest.raises(InvalidProgram, match="an identity of 1 values, the body gives 2"):
        Operator("plus", lambda a, b: a + b, 0.0).of([F32, F32])
    with pytest.raises(InvalidProgram, match="makes values of types bool of values of types f32"):
        Operator("less", lambda a, b: a < b, 0.0).of([F32])
    with pytest.raises(InvalidProgram, match="the identity -inf of operator most is no i64"):
        Operator("most", maximum, float("-inf")).of([I64])
    f = FunctionBuilder("f")
    x = f.input("x", (4,))
    with pytest.raises(InvalidProgram, match="operator weighted uses x"):
        Operator("weighted", lambda a, b: a + b * x[0], 0.0).of([F32])
    with pytest.raises(InvalidProgram, match="combines single values"):
        f.compute_several("a b", "", lambda: reduce_over("add", "k", lambda k: (x[k], x[k])))
    with pytest.raises(InvalidProgram, match="gives 2 values for 1 tensors"):
        f.compute("a", "", lambda: reduce_over(MOMENTS, "k", lambda k: (x[k], x[k])))


def test_sums_of_tuples_become_vectors() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (100,), F64)
    total, squares = f.compute_several(
        "s q", "", lambda: reduce_over(MOMENTS, "k", lambda k: (x[k], x[k] * x[k]))
    )
    x_ = RNG.standard_normal(100)
    schedule = Schedule.of(f.build([total, squares])).apply(Split("k", 8), Vectorize("k.i"))
    got = everywhere(schedule, x_)
    np.testing.assert_allclose(got, [x_.sum(), (x_ * x_).sum()])


def test_values_of_one_point_are_stored_at_once() -> None:
    """Each component reads what the others were: no order of the two stores alone would do."""
    f = FunctionBuilder("f")
    x = f.input("x", (9,), F64)
    a = f.temporary("a", (9,), F64)
    b = f.temporary("b", (9,), F64)
    f.compute("start_a", "i", lambda i: x[i], into=a)
    f.compute("start_b", "i", lambda i: x[i] * 10.0, into=b)
    f.compute_several(
        "swap swap2", {"t": 3, "i": None}, lambda t, i: (b[i], a[i]), into=(a, b), at=lambda t, i: (i,)
    )
    x_ = RNG.standard_normal(9)
    got = everywhere(f.build([a, b]), x_)
    np.testing.assert_array_equal(got, [x_ * 10.0, x_])
