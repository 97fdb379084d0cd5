"""Places of extremes: argmin and argmax."""

from __future__ import annotations

import numpy as np
import pytest

from polydl.dsl import (
    FunctionBuilder,
    argmax_over,
    argmin_over,
)
from polydl.dtypes import F32, F64, I32, DType
from polydl.ir.expr import eq
from tests.dsl.forms import RNG, everywhere, integers


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
