"""The declarative form: names, axes, targets and what is refused."""

from __future__ import annotations

import pytest

from polydl.dsl import FunctionBuilder, TensorRole, max_over, reduce_over, sum_over
from polydl.dtypes import F32, F64, I64
from polydl.errors import InvalidProgram
from polydl.ir.expr import Var, and_


def test_axes_are_named_after_the_parameters_of_the_body() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (4, 5))
    y = b.compute("y", (4, 5), lambda i, j: x[i, j] + 1.0)
    (c,) = b.build([y]).computations
    assert [a.name for a in c.axes] == ["i", "j"]
    assert c.index == (Var("i"), Var("j"))


def test_variadic_bodies_get_numbered_axes() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (4, 5))
    y = b.compute("y", (4, 5), lambda *i: x[i])
    assert [a.name for a in b.build([y]).computations[0].axes] == ["i0", "i1"]


def test_a_reduction_puts_its_axes_last_and_starts_from_the_identity() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (4, 5))
    y = b.compute("y", (4,), lambda i: max_over({"k": 5}, lambda k: x[i, k]))
    function = b.build([y])
    init, update = function.statements()
    assert (init.name, update.name) == ("y_init", "y")
    assert update.op == "max"
    assert [a.name for a in init.axes] == ["i"]
    assert init.value.value == float("-inf")  # type: ignore[union-attr]


def test_only_conditions_on_kept_axes_restrict_the_initial_value() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (4, 5))
    y = b.compute(
        "y",
        (4,),
        lambda i: reduce_over(
            "add", {"k": 5}, lambda k: x[i, k], where=lambda k: and_(and_(i < 3, k > 0), k < i)
        ),
    )
    init, update = b.build([y]).statements()
    assert init.conditions == (Var("i") < 3,)
    assert len(update.conditions) == 3


def test_names_never_collide() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (4,))
    first = b.compute("x", (4,), lambda i: x[i])
    assert first.name == "x_1"
    total = b.compute("total", (), lambda: sum_over((4,), lambda k: x[k]))
    init = b.compute("total_init", (4,), lambda i: x[i])
    assert (total.name, init.name) == ("total", "total_init_1")
    assert b.temporary("a/b:0", (1,)).name == "a_b_0"
    assert b.temporary("0", (1,)).name == "t0"


def test_outputs_come_in_order_and_get_their_role() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (4,))
    y, z = b.compute("y", (4,), lambda i: x[i]), b.compute("z", (4,), lambda i: x[i])
    function = b.build([z, y])
    assert [t.name for t in function.of_role(TensorRole.OUTPUT)] == ["z", "y"]
    assert b.tensor("x").role is TensorRole.INPUT


def test_refusals() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (4, 5))
    with pytest.raises(InvalidProgram, match="given 1 subscripts"):
        b.compute("y", (4,), lambda i: x[i])
    with pytest.raises(InvalidProgram, match="types f32 and i64"):
        b.compute("y", (4, 5), lambda i, j: x[i, j] + i)
    with pytest.raises(InvalidProgram, match="one name for an outer and a reduction axis"):
        b.compute("y", {"i": 4}, lambda i: sum_over({"i": 5}, lambda k: x[k, k]))
    with pytest.raises(InvalidProgram, match="stores f32 values into the f64 tensor"):
        b.compute("y", (4, 5), lambda i, j: x[i, j], into=b.temporary("t", (4, 5), F64))
    with pytest.raises(InvalidProgram, match="stores at 2 subscripts"):
        b.compute("y", (4, 5), lambda i, j: x[i, j], into=b.temporary("u", (4,), F32))
    with pytest.raises(InvalidProgram, match="is an input and cannot be an output"):
        b.build([x])
    with pytest.raises(InvalidProgram, match="has no tensor 'nothing'"):
        b.tensor("nothing")
    with pytest.raises(InvalidProgram, match="not a reduction operator"):
        b.compute("y", (4,), lambda i: reduce_over("sub", (5,), lambda k: x[i, k]))
    assert b.compute("n", (3,), lambda i: i * 2).dtype == I64
