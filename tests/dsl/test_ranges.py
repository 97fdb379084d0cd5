"""Ranges of axes that are read off what is accessed."""

from __future__ import annotations

import numpy as np
import pytest

from polydl.dsl import (
    Function,
    FunctionBuilder,
    max_over,
    sum_over,
)
from polydl.dtypes import F32
from polydl.errors import InvalidProgram
from polydl.ir.expr import cast
from polydl.ir.printer import print_expr
from tests.dsl.forms import RNG, everywhere, integers


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
