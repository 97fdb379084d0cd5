"""Which write a read sees, where subscripts have remainders: isl's own dataflow analysis has lost writes there."""

from __future__ import annotations

import pytest

from polydl.dsl import Function, TensorRole
from polydl.dsl.function import Axis, Computation
from polydl.dsl.tensor import Tensor
from polydl.dtypes import F32
from polydl.errors import IllegalSchedule
from polydl.ir.expr import Var, as_expr
from polydl.poly import ValueViolation
from polydl.scheduler import Fold, Schedule


def evens() -> Schedule:
    """u[0, 2i] = x[j], several times each; y[3 - i] = u[j, i] for some."""
    i, j, zero = Var("i"), Var("j"), as_expr(0)
    x = Tensor("x", F32, (as_expr(8),), TensorRole.INPUT)
    u = Tensor("u", F32, (as_expr(4), as_expr(8)), TensorRole.TEMPORARY)
    y = Tensor("y", F32, (as_expr(8),), TensorRole.INOUT)
    write = Computation(
        "write", (Axis("i", zero, as_expr(4)), Axis("j", i, as_expr(3))), (), "u", (zero, i * 2), x[j,]
    )
    read = Computation(
        "read",
        (Axis("i", zero, as_expr(4)), Axis("j", zero, as_expr(2))),
        (i + j <= 3,),
        "y",
        (as_expr(3) - i,),
        u[j, i],
    )
    return Schedule.of(Function("evens", (), (x, u, y), (write, read), (), None))


def test_a_fold_onto_a_later_write_is_refused() -> None:
    with pytest.raises(IllegalSchedule) as caught:
        evens().apply(Fold("u", 1, 4))
    wrong = caught.value.violation
    assert isinstance(wrong, ValueViolation)
    assert (wrong.statement, wrong.reader) == ("read", (0, 0))
    assert (wrong.wanted, wrong.found) == (("write", (0, 2)), ("write", (2, 2)))


def test_a_fold_with_a_place_for_each_is_legal() -> None:
    assert evens().apply(Fold("u", 1, 8)).trace
