"""Reductions by users' operators, scans, places of extremes, recurrences and einsum: on every road the same values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydl.compiler import compile_function, program_of
from polydl.dsl import (
    Function,
    FunctionBuilder,
    Operator,
    argmax_over,
    argmin_over,
    interpret,
    max_over,
    reduce_over,
    scan_over,
    select_first,
    sum_over,
)
from polydl.dtypes import F32, F64, I32, I64, DType
from polydl.errors import IllegalSchedule, InvalidProgram, NotApplicable, RunError, UsageError
from polydl.ir.expr import Expr, Var, and_, call, cast, eq, maximum, ne, or_
from polydl.ir.printer import print_expr
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
from polydl.targets import parse
from tests.codegen.from_c import compiled, run_program

Array = np.ndarray[Any, Any]

LARGEST = Operator(
    "largest",
    lambda a, b: select_first(or_(b[0] > a[0], and_(eq(b[0], a[0]), b[1] < a[1])), b, a),
    identity=(float("-inf"), 1 << 40),
    commutative=True,
)
AFFINE = Operator("affine", lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1]), identity=(1.0, 0.0))
LOG_ADD = Operator(
    "log_add",
    lambda a, b: maximum(a, b) + call("log", 1.0 + call("exp", -abs_(a - b))),
    identity=-1e30,
    commutative=True,
)
LATEST = Operator("latest", lambda a, b: select_first(ne(b[0], 0.0), b, a), (0.0, 0))  # order decides
MOMENTS = Operator("moments", lambda a, b: (a[0] + b[0], a[1] + b[1]), identity=(0.0, 0.0), commutative=True)


def abs_(e: Expr) -> Expr:
    return maximum(e, -e)


def everywhere(what: Function | Schedule, *arrays: Array, sizes: dict[str, int] | None = None) -> list[Array]:
    """What the interpreter says; LLVM's and C's results must agree with it."""
    schedule = what if isinstance(what, Schedule) else Schedule.of(what)
    names = [t.name for t in schedule.function.tensors if t.role.value == "input"]
    wanted = list(interpret(schedule.function, dict(zip(names, arrays, strict=True)), sizes).values())
    got = [np.zeros_like(w) for w in wanted]
    run_in_c(schedule, arrays, got, sizes or {})
    roads: list[tuple[str, Sequence[Any]]] = [("c", got)]
    for road in (what, schedule):
        machine = [np.zeros_like(w) for w in wanted]
        compile_function(road, threads=1).update(arrays, machine, sizes or {})
        roads.append(("llvm", machine))
    for name, results in roads:
        for w, r in zip(wanted, results, strict=True):
            np.testing.assert_allclose(r, w, rtol=2e-5, atol=2e-5, err_msg=name)
    return wanted


def run_in_c(
    schedule: Schedule, arrays: Sequence[Array], outputs: list[Array], sizes: dict[str, int]
) -> None:
    """Run as C, with the memory that the temporaries of these sizes need."""
    program = program_of(schedule)
    artifact, _ = compiled(program, parse("native"))
    more = [np.zeros(t.bytes(sizes), np.uint8) for t in artifact.temporaries]
    assert run_program(program, parse("native"), arrays, [*outputs, *more], list(sizes.values())) == [0]


def integers(rng: np.random.Generator, *shape: int) -> Array:
    """Small whole numbers as f32, with ties."""
    return rng.integers(-4, 5, shape).astype(np.float32)


RNG = np.random.default_rng(7)


# ---- reductions by operators ---------------------------------------------------------------------------------------


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


# ---- places of extremes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, F64, I32])
@pytest.mark.parametrize("least", [False, True])
def test_arg_of_extremes(dtype: DType, least: bool) -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (7, 33), dtype)
    over = argmin_over if least else argmax_over
    rows = f.compute("rows", "i", lambda i: over("k", lambda k: x[i, k]))
    whole = f.compute("whole", "", lambda: over("i k", lambda i, k: x[i, k]))
    x_ = RNG.integers(-4, 5, (7, 33)).astype(dtype.numpy)
    got = everywhere(f.build([rows, whole]), x_)
    numpys = np.argmin if least else np.argmax
    np.testing.assert_array_equal(got[0], numpys(x_, axis=1))
    assert got[1] == numpys(x_)


def test_arg_of_nan_is_its_place() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (3, 20))
    at = f.compute("at", "i", lambda i: argmax_over("k", lambda k: x[i, k]))
    x_ = integers(RNG, 3, 20)
    x_[1, [7, 9]] = np.nan
    np.testing.assert_array_equal(everywhere(f.build([at]), x_)[0], x_.argmax(1))


def test_arg_among_the_points_of_a_condition() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (20,))
    at = f.compute("at", "", lambda: argmax_over("k", lambda k: x[k], where=lambda k: eq(k % 3, 1)))
    x_ = integers(RNG, 20)
    assert everywhere(f.build([at]), x_)[0] == 1 + 3 * x_[1::3].argmax()


# ---- scans ---------------------------------------------------------------------------------------------------------


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


# ---- recurrences ---------------------------------------------------------------------------------------------------


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


# ---- gathers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [I32, I64])
def test_gathers_are_checked(dtype: DType) -> None:
    f = FunctionBuilder("f")
    table, at = f.input("table", (10, 4)), f.input("at", (6,), dtype)
    y = f.compute("y", {"i": 6, "j": 4}, lambda i, j: table[at[i], j] * 2.0)
    function = f.build([y])
    t, k = integers(RNG, 10, 4), RNG.integers(0, 10, 6).astype(dtype.numpy)
    np.testing.assert_array_equal(everywhere(function, t, k)[0], t[k] * 2.0)
    for bad in (10, -1, 1 << 30):
        k[3] = bad
        with pytest.raises(RunError, match=r"subscript 0 of table\[.*at\[i\].*, j\] in y is out of range"):
            compile_function(function, threads=1)(t, k)


def test_subscripts_that_are_not_affine_are_checked() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (9,))
    function = f.build([f.compute("y", {"i": 4, "j": 4}, lambda i, j: x[i * j])])
    with pytest.raises(RunError, match=r"subscript 0 of x\[i \* j\] in y is out of range"):
        compile_function(function, threads=1)(integers(RNG, 9))
    with pytest.raises(InvalidProgram, match="a subscript of x is a f32"):
        f.compute("z", {"i": 4}, lambda i: x[cast(F32, i)])


# ---- einsum --------------------------------------------------------------------------------------------------------

EINSUMS = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("ij,jk", (3, 4), (4, 5)),
    ("ik,jk->ji", (3, 4), (5, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (7, 4, 5)),
    ("...ij,...jk", (2, 1, 3, 4), (1, 7, 4, 5)),
    ("ii->i", (4, 4)),
    ("ii", (4, 4)),
    ("ij->ji", (3, 4)),
    ("ij->", (3, 4)),
    ("ba", (3, 4)),
    ("i,j->ij", (3,), (4,)),
    ("i,i", (5,), (5,)),
    ("ij,j,jk->ik", (3, 4), (4,), (4, 5)),
    ("ab,bc,cd,de->ae", (2, 3), (3, 4), (4, 5), (5, 2)),
    ("iij,jk->ik", (3, 3, 4), (4, 5)),
    ("i...->...", (3, 4, 2)),
    ("...", (3, 4)),
    ("a...b,b->a...", (2, 3, 4), (4,)),
]


@pytest.mark.parametrize(("spec", "shapes"), [(e[0], e[1:]) for e in EINSUMS], ids=[e[0] for e in EINSUMS])
def test_einsum_is_numpys(spec: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    f = FunctionBuilder("f")
    arrays = [RNG.standard_normal(s) for s in shapes]
    operands = [f.input(f"x{k}", a.shape, F64) for k, a in enumerate(arrays)]
    (got,) = everywhere(f.build([f.einsum(spec, *operands)]), *arrays)
    wanted = np.einsum(spec, *arrays)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-10)


def test_einsum_in_symbolic_sizes() -> None:
    f = FunctionBuilder("f")
    m, n, k = f.sizes("M N K")
    a, b = f.input("a", (m, k), F64), f.input("b", (k, n), F64)
    a_, b_ = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 5))
    (got,) = everywhere(f.build([f.einsum("ij,jk", a, b)]), a_, b_, sizes={"M": 3, "N": 5, "K": 4})
    np.testing.assert_allclose(got, a_ @ b_)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ij,jk->ik,", "is no einsum"),
        ("ij,j1->i", "is no einsum"),
        ("ij->i", "is of 1 operands, 2 are given"),
        ("ij,jk->iz", "'z' in the result but in no operand"),
        ("ij,jk->ii", "'i' in the result twice"),
        ("i,jk->ik", "gives 'i' to a, which has 2 dimensions"),
        ("ij,ik->jk", "axis i has two extents"),
    ],
)
def test_einsums_that_are_refused(spec: str, message: str) -> None:
    f = FunctionBuilder("f")
    a, b = f.input("a", (3, 4)), f.input("b", (4, 5))
    with pytest.raises(InvalidProgram, match=message):
        f.einsum(spec, a, b)


# ---- inferred ranges -----------------------------------------------------------------------------------------------


def _ranges(function: Function, name: str) -> dict[str, tuple[str, str]]:
    return {a.name: (print_expr(a.lower), print_expr(a.upper)) for a in function.computation(name).axes}


def test_ranges_come_from_what_is_read() -> None:
    f = FunctionBuilder("f")
    m, n, k = f.sizes("M N K")
    a, b = f.input("a", (m, k)), f.input("b", (k, n))
    c = f.compute("c", "i j", lambda i, j: sum_over("k", lambda k: a[i, k] * b[k, j]))
    assert _ranges(f.build([c]), "c") == {"i": ("0", "M"), "j": ("0", "N"), "k": ("0", "K")}


def test_ranges_of_windows() -> None:
    f = FunctionBuilder("f")
    (n,) = f.sizes("N")
    x, w, z = f.input("x", (n,)), f.input("w", (5,)), f.input("z", (21,))
    y = f.compute("y", "i", lambda i: sum_over("r", lambda r: x[i + r] * w[r]))
    smooth = f.compute("smooth", "i", lambda i: x[i - 1] + x[i] + x[i + 1], into=f.temporary("s", (n,)))
    strided = f.compute("strided", "i", lambda i: max_over("r", lambda r: z[2 * i + r] * w[r]))
    back = f.compute("back", "i", lambda i: z[19 - i])
    function = f.build([y, smooth, strided, back])
    assert _ranges(function, "y")["i"] == ("0", "N + -4")
    assert _ranges(function, "smooth")["i"] == ("1", "N + -1")
    assert _ranges(function, "strided")["i"] == ("0", "9")
    assert _ranges(function, "back")["i"] == ("-1", "20")


def test_accesses_that_disagree_are_named() -> None:
    f = FunctionBuilder("f")
    m, n = f.sizes("M N")
    x, y, z = f.input("x", (m,)), f.input("y", (n,)), f.input("z", (m,))
    with pytest.raises(
        InvalidProgram, match=r"disagree on the range of axis i(.|\n)*x\[i.*needs 0 <= i < M(.|\n)*y"
    ):
        f.compute("c", "i", lambda i: x[i] + y[i])
    with pytest.raises(InvalidProgram, match="axis i of d has no range"):
        f.compute("d", "i", lambda i: x[0] + cast(F32, i))
    with pytest.raises(InvalidProgram, match="axis i of e has no range"):
        f.compute("e", "i j", lambda i, j: x[i % 2] + z[i + j])
    w = f.input("w", (2,))
    with pytest.raises(InvalidProgram, match="the range of axis i of g is empty"):
        f.compute("g", "i", lambda i: w[i - 1] + w[i] + w[i + 1])


def test_given_ranges_stay_and_others_follow() -> None:
    f = FunctionBuilder("f")
    x = f.input("x", (10, 12))
    y = f.compute("y", {"i": (2, 7), "j": None}, lambda i, j: x[i, j] + x[i - 1, j])
    function = f.build([y])
    assert _ranges(function, "y") == {"i": ("2", "7"), "j": ("0", "12")}
    x_ = integers(RNG, 10, 12)
    np.testing.assert_array_equal(everywhere(function, x_)[0], x_[2:7] + x_[1:6])


# ---- the judge on everything at once -------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 9)),
    steps=st.lists(
        st.sampled_from(
            [
                Reverse("k"),
                Reverse("v_i"),
                Reorder(("k", "v_i")),
                Parallel("v_i"),
                Split("k", 4),
                Vectorize("k"),
            ]
        ),
        max_size=3,
    ),
    operator=st.sampled_from([LARGEST, LATEST]),
)
def test_what_the_judge_lets_pass_is_right(
    sizes: tuple[int, int], steps: list[Transform], operator: Operator
) -> None:
    f = FunctionBuilder("f")
    x = f.input("x", sizes)
    v, w = f.compute_several("v w", "v_i", lambda v_i: reduce_over(operator, "k", lambda k: (x[v_i, k], k)))
    schedule = Schedule.of(f.build([v, w]))
    x_ = integers(RNG, *sizes)
    wanted = interpret(schedule.function, {"x": x_})
    for step in steps:
        try:
            schedule = schedule.apply(step)
        except (IllegalSchedule, NotApplicable, UsageError):
            continue
    got = [np.zeros_like(a) for a in wanted.values()]
    run_in_c(schedule, [x_], got, {})
    for a, b in zip(got, wanted.values(), strict=True):
        np.testing.assert_array_equal(a, b)
