"""Subscripts that are not affine are checked when the code runs."""

from __future__ import annotations

import numpy as np
import pytest

from polydl.compiler import compile_function
from polydl.dsl import (
    FunctionBuilder,
)
from polydl.dtypes import F32, I32, I64, DType
from polydl.errors import InvalidProgram, RunError
from polydl.ir.expr import cast
from tests.dsl.forms import RNG, everywhere, integers


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
