"""The mathematical functions against float64, densely: errors in units of the last place of the true value."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from polydl.dtypes import F32, F64, INDEX, DType
from polydl.ir.expr import Call, Const, Expr, Load, Var
from polydl.ir.interpret import interpret
from polydl.ir.kernel import Binding, Buffer, For, Kernel, Param, Role, Store
from tests.codegen.native import LEVELS, level, run_kernel

Function = Callable[[np.ndarray], np.ndarray]
X = Load("X", (Var("i"),), F32)
erf = np.vectorize(math.erf, otypes=[np.float64])

# function, numpy's in float64, allowed units in the last place
SPELLED: list[tuple[str, Function, float]] = [
    ("exp", np.exp, 1.5),
    ("log", np.log, 1.5),
    ("tanh", np.tanh, 2.0),
    ("erf", erf, 2.0),
]


def all_over(count: int = 400_000) -> np.ndarray:
    """Floats of every sign and exponent, subnormals and specials included."""
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**32, count, np.uint64).astype(np.uint32)
    usual = np.concatenate(
        [rng.uniform(-1, 1, count // 2), rng.uniform(-20, 20, count // 2), rng.uniform(-110, 95, count)]
    )
    special = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        1.0,
        -1.0,
        88.72284,
        88.7229,
        -87.4,
        -103.97,
        -103.98,
        -104.1,
        1e-45,
        1.1754944e-38,
    ]
    return np.concatenate([bits.view(np.float32), usual.astype(np.float32), np.array(special, np.float32)])


def unary(e: Expr, n: int, dtype: DType = F32) -> Kernel:
    shape = (Const(n, INDEX),)
    params = (Param(Buffer("X", dtype, shape), Role.INPUT), Param(Buffer("Y", e.dtype, shape), Role.OUTPUT))
    return Kernel(
        "unary",
        (),
        params,
        For("i", Const(0, INDEX), shape[0], Store("Y", (Var("i"),), e), Binding.VECTOR, 1, n),
    )


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """|got - want| in spacings of float32 at want; infinite where one is not finite and the other differs."""
    with np.errstate(all="ignore"):
        rounded = want.astype(np.float32)
        spacing = np.spacing(np.maximum(np.abs(rounded), np.float32(1.1754944e-38))).astype(np.float64)
        distance = np.abs(got.astype(np.float64) - want) / spacing
    same = (got == rounded) | ((got != got) & (want != want))
    return np.where(
        same,
        np.minimum(np.nan_to_num(distance, nan=0.0, posinf=0.0), 1e9),
        np.nan_to_num(distance, nan=np.inf),
    )


@pytest.mark.parametrize(("function", "truth", "allowed"), SPELLED, ids=[s[0] for s in SPELLED])
@pytest.mark.parametrize("target", LEVELS)
def test_accuracy(target: str, function: str, truth: Function, allowed: float) -> None:
    machine = level(target)
    x = all_over()
    y = np.zeros_like(x)
    assert run_kernel(unary(Call(function, (X,)), len(x)), machine, {"X": x, "Y": y}) == [0]
    with np.errstate(all="ignore"):
        error = ulps(y, truth(x.astype(np.float64)))
    worst = int(np.argmax(error))
    assert error[worst] <= allowed, f"{function}({x[worst]!r}) = {y[worst]!r}, {error[worst]} ulp"


@pytest.mark.parametrize("function", [s[0] for s in SPELLED])
def test_scalars_and_vectors_agree(function: str) -> None:
    """A tail computed one by one has the bits that full vectors have."""
    machine = level("native")
    x = all_over(2000)
    results = []
    for binding in (Binding.VECTOR, Binding.SEQUENTIAL):
        kernel = unary(Call(function, (X,)), len(x))
        assert isinstance(kernel.body, For)
        loop = For("i", kernel.body.lower, kernel.body.upper, kernel.body.body, binding, 1, len(x))
        y = np.zeros_like(x)
        run_kernel(Kernel("one", (), kernel.params, loop), machine, {"X": x, "Y": y})
        results.append(y)
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize(
    "function",
    ["sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh",
     "floor", "ceil", "trunc", "round_even", "isnan", "isinf"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_other_functions(dtype: DType, function: str) -> None:
    """Within 2 units in the last place of the interpreter's."""
    rng = np.random.default_rng(0)
    special = [0.0, -0.0, 0.5, 1.5, 2.5, -1.5, 1.0, -1.0, np.inf, -np.inf, np.nan]
    x = np.concatenate([special, rng.uniform(-1, 1, 60), rng.uniform(-9, 9, 60)]).astype(dtype.numpy)
    kernel = unary(Call(function, (Load("X", (Var("i"),), dtype),)), len(x), dtype)
    out = kernel.params[1].buffer.dtype.numpy
    want, got = np.zeros(len(x), out), np.zeros(len(x), out)
    interpret(kernel, {"X": x, "Y": want}, {})
    assert run_kernel(kernel, level("native"), {"X": x, "Y": got}) == [0]
    tolerance = 0.0 if out == np.bool_ else 2 * float(np.finfo(dtype.numpy).eps)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=0)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 0.0, 1.7, -2.0])
def test_pow_of_constants(exponent: float) -> None:
    x = np.array([0.0, 1, -1, 2.5, -2.5, 1e-20, 1e15, np.inf, np.nan, 0.3], np.float32)
    if exponent != 0.5:  # numpy takes the square root there, which IEEE's pow does not
        x = np.append(x, np.array([-0.0, -np.inf], np.float32))
    kernel = unary(Call("pow", (X, Const(exponent, F32))), len(x))
    want, got = np.zeros_like(x), np.zeros_like(x)
    interpret(kernel, {"X": x, "Y": want}, {})
    run_kernel(kernel, level("native"), {"X": x, "Y": got})
    np.testing.assert_allclose(got, want, rtol=2.5e-7, atol=0)
    np.testing.assert_array_equal(np.signbit(got[~np.isnan(want)]), np.signbit(want[~np.isnan(want)]))
