"""The reference interpreter of functions against numpy, and every rule of the contract that can be broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydl.dsl import (
    Axis,
    Computation,
    Function,
    FunctionBuilder,
    Reduction,
    Tensor,
    TensorRole,
    interpret,
    reduce_over,
    sum_over,
)
from polydl.dtypes import BOOL, F32, I32, I64
from polydl.errors import InvalidInput, InvalidProgram, OutOfBounds
from polydl.ir.expr import Expr, Var, and_, as_expr, cast, select


def test_matrix_product_with_symbolic_sizes() -> None:
    b = FunctionBuilder("matmul")
    m, n, k = b.sizes("M N K")
    x, y = b.input("x", (m, k)), b.input("y", (k, n))
    z = b.compute("z", {"i": m, "j": n}, lambda i, j: sum_over({"k": k}, lambda r: x[i, r] * y[r, j]))
    rng = np.random.default_rng(0)
    a, c = rng.standard_normal((5, 7)).astype(np.float32), rng.standard_normal((7, 3)).astype(np.float32)
    result = interpret(b.build([z]), {"x": a, "y": c}, {"M": 5, "N": 3, "K": 7})
    np.testing.assert_allclose(result["z"], a @ c, rtol=1e-5)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.modules["polydl.dsl.interpret"], "_CHUNK", 7)
    b = FunctionBuilder("f")
    x = b.input("x", (4, 5, 6))
    total = b.compute("total", {"i": 4}, lambda i: sum_over({"j": 5, "k": 6}, lambda j, k: x[i, j, k]))
    corner = b.compute(
        "corner",
        {"i": 4},
        lambda i: reduce_over(
            "add", {"j": (0, i + 1), "k": 6}, lambda j, k: x[i, j, k], where=lambda j, k: k <= j
        ),
    )
    a = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    result = interpret(b.build([total, corner]), {"x": a})
    np.testing.assert_array_equal(result["total"], a.sum((1, 2)))
    expected = [sum(a[i, j, k] for j in range(i + 1) for k in range(j + 1)) for i in range(4)]
    np.testing.assert_array_equal(result["corner"], expected)


def test_triangular_domains_store_nothing_else() -> None:
    b = FunctionBuilder("f")
    n = b.sizes("N")[0]
    x = b.input("x", (n, n))
    y = b.temporary("y", (n, n))
    b.compute("low", {"i": n, "j": (0, Var("i") + 1)}, lambda i, j: x[i, j] * 2.0, into=y)
    a = np.arange(16, dtype=np.float32).reshape(4, 4)
    result = interpret(b.build([y]), {"x": a}, {"N": 4})["y"]
    np.testing.assert_array_equal(result, np.tril(a) * 2)


def test_recurrences_see_what_was_stored_before() -> None:
    b = FunctionBuilder("sweep")
    x = b.input("x", (4, 5))
    y = b.temporary("y", (4, 5))
    b.compute("copy", (4, 5), lambda i, j: x[i, j], into=y)
    b.compute("sweep", {"i": (1, 4), "j": (1, 5)}, lambda i, j: y[i - 1, j] + y[i, j - 1] + y[i, j], into=y)
    a = np.ones((4, 5), np.float32)
    expected = a.copy()
    for i in range(1, 4):
        for j in range(1, 5):
            expected[i, j] = expected[i - 1, j] + expected[i, j - 1] + expected[i, j]
    np.testing.assert_array_equal(interpret(b.build([y]), {"x": a})["y"], expected)


def test_a_recurrence_along_one_axis_runs_the_others_at_once() -> None:
    b = FunctionBuilder("scan")
    x = b.input("x", (3, 1000))
    y = b.temporary("y", (3, 1000))
    b.compute("first", {"i": 1, "j": 1000}, lambda i, j: x[i, j], into=y)
    b.compute(
        "scan", {"j": 1000, "i": (1, 3)}, lambda j, i: y[i - 1, j] + x[i, j], into=y, at=lambda j, i: (i, j)
    )
    a = np.random.default_rng(0).standard_normal((3, 1000)).astype(np.float32)
    np.testing.assert_allclose(interpret(b.build([y]), {"x": a})["y"], np.cumsum(a, 0), rtol=1e-5)


def test_reductions_without_initial_value_go_on_from_the_target() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (3,))
    y = b.temporary("y", (2,))
    b.compute("start", (2,), lambda i: cast(F32, i) * 10.0, into=y)
    function = b.build([y])
    i, k = Axis("i", as_expr(0), as_expr(2)), Axis("k", as_expr(0), as_expr(3))
    more = Computation("more", (i, k), (), "y", (Var("i"),), x[Var("k")], Reduction("add", ("k",), None))
    function = Function(function.name, (), function.tensors, (*function.computations, more))
    np.testing.assert_array_equal(interpret(function, {"x": np.array([1, 2, 3], np.float32)})["y"], [6, 16])


def test_updates_of_one_element_by_many_points_all_count() -> None:
    b = FunctionBuilder("histogram")
    y = b.temporary("y", (3,), I64)
    b.compute("zero", (3,), lambda i: 0, into=y)
    function = b.build([y])
    axes = (Axis("i", as_expr(0), as_expr(3)), Axis("j", as_expr(0), as_expr(4)))
    count = Computation(
        "count", axes, (), "y", ((Var("i") + Var("j")) // 2,), as_expr(1), Reduction("add", ("i", "j"), None)
    )
    function = Function(function.name, (), function.tensors, (*function.computations, count))
    expected = np.bincount([(i + j) // 2 for i in range(3) for j in range(4)])
    np.testing.assert_array_equal(interpret(function, {})["y"], expected)


def test_the_last_of_several_stores_stays() -> None:
    b = FunctionBuilder("f")
    y = b.temporary("y", (2,), I64)
    b.compute("c", {"i": 6}, lambda i: i, into=y, at=lambda i: (i // 3,))
    z = b.temporary("z", (), I64)
    b.compute("d", {"i": 6}, lambda i: i, into=z, at=lambda i: ())
    result = interpret(b.build([y, z]), {})
    np.testing.assert_array_equal(result["y"], [2, 5])
    assert result["z"].shape == ()
    assert result["z"] == 5


def test_negative_origins() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (5,), lower=(-2,))
    y = b.compute("y", {"i": (-1, 2)}, lambda i: x[i - 1] + x[i + 1])
    assert y.extents == (3,)
    np.testing.assert_array_equal(
        interpret(b.build([y]), {"x": np.arange(5, dtype=np.float32)})["y"], [2, 4, 6]
    )


def test_a_load_that_is_not_chosen_is_not_performed() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (3,))
    y = b.compute("y", (5,), lambda i: select(and_(i >= 1, i < 4), x[i - 1], 7.0))
    np.testing.assert_array_equal(
        interpret(b.build([y]), {"x": np.array([1, 2, 3], np.float32)})["y"], [7, 1, 2, 3, 7]
    )


@pytest.mark.parametrize("op", ["and", "or", "bitxor", "min", "mul"])
def test_reduction_operators(op: str) -> None:
    dtype = BOOL if op in ("and", "or") else I32
    b = FunctionBuilder("f")
    x = b.input("x", (3, 4), dtype)
    y = b.compute("y", (3,), lambda i: reduce_over(op, (4,), lambda k: x[i, k]))
    a = np.random.default_rng(0).integers(0, 5, (3, 4)).astype(dtype.numpy)
    ufunc: Any = {
        "and": np.logical_and,
        "or": np.logical_or,
        "bitxor": np.bitwise_xor,
        "min": np.minimum,
        "mul": np.multiply,
    }[op]
    np.testing.assert_array_equal(interpret(b.build([y]), {"x": a})["y"], ufunc.reduce(a, axis=1))


def test_sums_of_floats_are_rounded_once() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (100_000,))
    y = b.compute("y", (), lambda: sum_over((100_000,), lambda k: x[k]))
    a = np.full(100_000, 0.1, np.float32)
    assert interpret(b.build([y]), {"x": a})["y"] == np.float32(a.astype(np.float64).sum())


def test_empty_domains() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (2, 0))
    y = b.compute("y", (2,), lambda i: reduce_over("max", (0,), lambda k: x[i, k]))
    np.testing.assert_array_equal(
        interpret(b.build([y]), {"x": np.zeros((2, 0), np.float32)})["y"], [-np.inf, -np.inf]
    )


def test_a_subscript_out_of_bounds_names_the_point() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (2, 3))
    y = b.compute("y", (2, 3), lambda i, j: x[i, j + 1])
    with pytest.raises(
        OutOfBounds, match=r"subscript 3 of dimension 1 is outside 'x'(.|\n)*y\[i = 0, j = 2\]"
    ):
        interpret(b.build([y]), {"x": np.zeros((2, 3), np.float32)})


def test_data_dependent_subscripts_are_checked() -> None:
    b = FunctionBuilder("f")
    x, k = b.input("x", (3,)), b.input("k", (4,), I64)
    function = b.build([b.compute("y", (4,), lambda i: x[k[i]])])
    a = np.array([5, 6, 7], np.float32)
    np.testing.assert_array_equal(
        interpret(function, {"x": a, "k": np.array([2, 0, 1, 2])})["y"], [7, 5, 6, 7]
    )
    with pytest.raises(OutOfBounds, match="subscript -1"):
        interpret(function, {"x": a, "k": np.array([2, 0, -1, 2])})


def test_stores_out_of_bounds_are_refused() -> None:
    b = FunctionBuilder("f")
    y = b.temporary("y", (3,), I64)
    b.compute("c", (3,), lambda i: i, into=y, at=lambda i: (i + 1,))
    with pytest.raises(OutOfBounds, match="outside 'y'"):
        interpret(b.build([y]), {})


def test_reading_what_nothing_has_stored_is_refused() -> None:
    b = FunctionBuilder("f")
    t = b.temporary("t", (4,))
    b.compute("part", {"i": 3}, lambda i: 1.0, into=t)
    y = b.compute("y", (4,), lambda i: t[i])
    with pytest.raises(InvalidProgram, match=r"element of 't' that nothing has stored to(.|\n)*i = 3"):
        interpret(b.build([y]), {})


def test_inputs_must_fit() -> None:
    b = FunctionBuilder("f")
    n = b.sizes("N")[0]
    b.assume(n >= 2)
    x = b.input("x", (n,))
    function = b.build([b.compute("y", (n,), lambda i: x[i])])
    good = np.zeros(3, np.float32)
    for arrays, sizes, message in (
        ({}, {"N": 3}, "input 'x' is missing"),
        ({"x": good}, {}, "values for the sizes"),
        ({"x": good}, {"N": 4}, r"must be f32\[4\]"),
        ({"x": good.astype(np.float64)}, {"N": 3}, "it is float64"),
        ({"x": good, "z": good}, {"N": 3}, "no inputs called"),
        ({"x": good[:1]}, {"N": 1}, "break an assumption"),
    ):
        with pytest.raises(InvalidInput, match=message):
            interpret(function, arrays, sizes)


def test_inputs_are_never_stored_to() -> None:
    x = Tensor("x", F32, (as_expr(2),), TensorRole.INPUT)
    c = Computation("c", (Axis("i", as_expr(0), as_expr(2)),), (), "x", (Var("i"),), as_expr(0.0))
    with pytest.raises(InvalidProgram, match="stores to the input"):
        interpret(Function("f", (), (x,), (c,)), {"x": np.zeros(2, np.float32)})


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), min_size=2, max_size=3),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_any_affine_domain_is_walked_in_order(bounds: list[tuple[int, int]], divisor: int, rest: int) -> None:
    """The last store to one cell is that of the lexicographically last point, whatever the domain's form."""
    b = FunctionBuilder("f")
    y = b.temporary("y", (1,), I64)
    names = [f"i{d}" for d in range(len(bounds))]
    extents: dict[str, Any] = {}
    for d, (low, size) in enumerate(bounds):
        lower: Expr = as_expr(low) if d == 0 else Var(names[d - 1]) + low
        extents[names[d]] = (lower, lower + size)

    def code(i: tuple[Any, ...]) -> Any:
        return (i[0] * 100 + i[1]) * 100 + i[-1]

    def condition(i: tuple[Any, ...]) -> Any:
        return (i[0] + i[-1]) % (divisor + 1)

    b.compute("zero", (1,), lambda i: -(10**9), into=y)
    b.compute(
        "c", extents, lambda *i: code(i), into=y, at=lambda *i: (0,), where=lambda *i: condition(i) <= rest
    )

    def walk(prefix: tuple[int, ...]) -> list[tuple[int, ...]]:
        if len(prefix) == len(bounds):
            return [prefix] if condition(prefix) <= rest else []
        low, size = bounds[len(prefix)]
        start = low + (prefix[-1] if prefix else 0)
        return [p for v in range(start, start + size) for p in walk((*prefix, v))]

    points = walk(())
    expected = code(points[-1]) if points else -(10**9)
    assert interpret(b.build([y]), {})["y"][0] == expected
