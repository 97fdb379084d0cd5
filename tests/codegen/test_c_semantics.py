"""Every operator of the expression contract through C, against the interpreter; and the mathematical functions."""

from __future__ import annotations

import numpy as np
import pytest

from polydl.dtypes import BOOL, F32, F64, I8, I32, I64, U8, DType
from polydl.ir.expr import BINARY_OPS, COMPARISONS, Binary, Call, Cast, Const, Expr, Load, Unary, Var
from polydl.ir.interpret import interpret
from polydl.ir.kernel import Binding, For, Kernel, Role
from polydl.targets import parse
from tests.codegen.from_c import COMPILERS, run_kernel
from tests.codegen.native import level
from tests.codegen.test_llvm_math import SPELLED, Function, all_over, ulps, unary
from tests.codegen.test_llvm_semantics import INTEGER_ONLY, NUMBERS, elementwise, interesting, pairs

TOOLCHAINS = sorted(COMPILERS)
# every type with one compiler, one type of a kind with the others: small types have long vectors, slow to compile
TYPES = [("gcc", t) for t in (*NUMBERS, BOOL)] + [
    (c, t) for c in TOOLCHAINS if c != "gcc" for t in (F32, F64, I32, U8)
]


def check(
    kernel: Kernel, inputs: dict[str, np.ndarray], toolchain: str, target: str = "x86-64-avx512"
) -> None:
    """Compiled and interpreted results are the same bits (NaN payloads apart)."""
    outs = {p.buffer.name: p.buffer.dtype.numpy for p in kernel.params if p.role == Role.OUTPUT}
    n = len(next(iter(inputs.values())))
    expected = {k: np.zeros(n, t) for k, t in outs.items()}
    actual = {k: np.zeros(n, t) for k, t in outs.items()}
    assert interpret(kernel, inputs | expected, {}) == 0
    assert run_kernel(kernel, parse(target), inputs | actual, toolchain=toolchain) == [0]
    for name, want in expected.items():
        got = actual[name]
        wrong = ~((want == got) | ((want != want) & (got != got)))
        k = int(np.argmax(wrong))
        detail = {x: v[k] for x, v in inputs.items()}
        assert not wrong.any(), f"{kernel.name} {name} {detail}: expected {want[k]!r}, got {got[k]!r}"


@pytest.mark.parametrize(("toolchain", "dtype"), TYPES, ids=str)
def test_binary_operators(toolchain: str, dtype: DType) -> None:
    a, b = Load("A", (Var("i"),), dtype), Load("B", (Var("i"),), dtype)
    if dtype == BOOL:
        ops = {"and", "or"} | COMPARISONS
    else:
        ops = BINARY_OPS - {"and", "or"} - (INTEGER_ONLY if dtype.is_float else set())
    x, y = pairs(dtype)
    for binding in (Binding.SEQUENTIAL, Binding.VECTOR):
        exprs = {op: Binary(op, a, b) for op in sorted(ops)}
        check(
            elementwise("binary", {"A": dtype, "B": dtype}, exprs, len(x), binding),
            {"A": x, "B": y},
            toolchain,
        )


@pytest.mark.parametrize("dtype", [I32, I64, U8, I8], ids=str)
@pytest.mark.parametrize("target", ["x86-64", "x86-64-avx512"])
def test_operators_with_a_constant(target: str, dtype: DType) -> None:
    a = Load("A", (Var("i"),), dtype)
    numbers = [0, 1, 2, 7, 16, dtype.bits] + ([-1, -8, -5] if dtype.kind == "i" else [])
    ops = ["floordiv", "mod", "div", "shl", "shr", "min", "max", "mul"]
    outputs = {f"{op}_{n % 256}": Binary(op, a, Const(n, dtype)) for op in ops for n in numbers}
    x = interesting(dtype, 64)
    check(elementwise("constant", {"A": dtype}, outputs, len(x), Binding.VECTOR), {"A": x}, "gcc", target)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_extremes_and_unary_operators_of_floats(toolchain: str, dtype: DType) -> None:
    a = Load("A", (Var("i"),), dtype)
    outputs: dict[str, Expr] = {op: Unary(op, a) for op in ("neg", "abs")}
    for name, number in (("zero", 0.0), ("six", 6.0), ("nan", float("nan")), ("inf", float("-inf"))):
        for op in ("min", "max"):
            outputs[f"{op}_{name}"] = Binary(op, a, Const(number, dtype))
            outputs[f"{name}_{op}"] = Binary(op, Const(number, dtype), a)
    x = interesting(dtype, 101)
    check(elementwise("extremes", {"A": dtype}, outputs, len(x), Binding.VECTOR), {"A": x}, toolchain)


@pytest.mark.parametrize("dtype", [t for t in (*NUMBERS, BOOL) if not t.is_float], ids=str)
def test_unary_operators_of_integers(dtype: DType) -> None:
    a = Load("A", (Var("i"),), dtype)
    ops = ["not"] if dtype == BOOL else ["neg", "abs", "invert"]
    x = interesting(dtype, 77)
    check(
        elementwise("unary", {"A": dtype}, {op: Unary(op, a) for op in ops}, len(x), Binding.VECTOR),
        {"A": x},
        "gcc",
    )


@pytest.mark.parametrize(("toolchain", "dtype"), TYPES, ids=str)
def test_casts(toolchain: str, dtype: DType) -> None:
    a = Load("A", (Var("i"),), dtype)
    x = interesting(dtype, 77)
    outputs: dict[str, Expr] = {t.name: Cast(t, a) for t in (*NUMBERS, BOOL) if t != dtype}
    for binding in (Binding.SEQUENTIAL, Binding.VECTOR):
        check(elementwise("casts", {"A": dtype}, outputs, len(x), binding), {"A": x}, toolchain)


# ---- mathematical functions ----------------------------------------------------------------------


@pytest.mark.parametrize(("function", "truth", "allowed"), SPELLED, ids=[s[0] for s in SPELLED])
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_accuracy(toolchain: str, function: str, truth: Function, allowed: float) -> None:
    x = all_over(100_000)
    y = np.zeros_like(x)
    kernel = unary(Call(function, (Load("X", (Var("i"),), F32),)), len(x))
    assert run_kernel(kernel, parse("x86-64-avx512"), {"X": x, "Y": y}, toolchain=toolchain) == [0]
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
        kernel = unary(Call(function, (Load("X", (Var("i"),), F32),)), len(x))
        assert isinstance(kernel.body, For)
        loop = For("i", kernel.body.lower, kernel.body.upper, kernel.body.body, binding, 1, len(x))
        y = np.zeros_like(x)
        run_kernel(Kernel("one", (), kernel.params, loop), machine, {"X": x, "Y": y})
        results.append(y)
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("toolchain", ["gcc", "plain"])
def test_other_functions(toolchain: str, dtype: DType) -> None:
    """Within 2 units in the last place of the interpreter's."""
    functions = ["sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh",
                 "atanh", "floor", "ceil", "trunc", "round_even", "isnan", "isinf"]  # fmt: skip
    rng = np.random.default_rng(0)
    special = [0.0, -0.0, 0.5, 1.5, 2.5, -1.5, 1.0, -1.0, np.inf, -np.inf, np.nan]
    x = np.concatenate([special, rng.uniform(-1, 1, 60), rng.uniform(-9, 9, 60)]).astype(dtype.numpy)
    a = Load("A", (Var("i"),), dtype)
    outputs: dict[str, Expr] = {f: Call(f, (a,)) for f in functions}
    outputs |= {
        f"pow{k}": Call("pow", (a, Const(e, dtype))) for k, e in enumerate((2.0, 3.0, 4.0, -1.0, 1.0, 1.7))
    }
    outputs["fmod"] = Call("fmod", (a, Const(0.7, dtype)))
    outputs["exact"] = Call("fma", (a, a, Const(-0.1, dtype)))
    kernel = elementwise("functions", {"A": dtype}, outputs, len(x), Binding.VECTOR)
    want = {k: np.zeros(len(x), e.dtype.numpy) for k, e in outputs.items()}
    got = {k: np.zeros(len(x), e.dtype.numpy) for k, e in outputs.items()}
    interpret(kernel, {"A": x} | want, {})
    assert run_kernel(kernel, parse("x86-64-avx512"), {"A": x} | got, toolchain=toolchain) == [0]
    for name, values in want.items():
        tolerance = 0.0 if values.dtype == bool or name == "exact" else 2 * float(np.finfo(dtype.numpy).eps)
        np.testing.assert_allclose(got[name], values, rtol=tolerance, atol=0, err_msg=name)
