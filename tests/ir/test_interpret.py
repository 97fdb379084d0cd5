"""The reference interpreter: the contracts of expressions and kernels, case by case."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydl.dtypes import F32, I64
from polydl.errors import InvalidProgram, OutOfBounds
from polydl.ir.expr import BINARY_OPS, Const, Expr, Load, Select, Var
from polydl.ir.interpret import evaluate, evaluate_array, interpret
from polydl.ir.parser import parse_expr, parse_kernel
from polydl.ir.semantics import apply_binary
from tests.ir.strategies import DTYPES, constants, expressions, integer_values


def value_of(text: str, **env: Any) -> Any:
    def load(buffer: str, index: tuple[Any, ...]) -> Any:
        raise AssertionError(f"{buffer}{index} is loaded")

    return evaluate(parse_expr(text), env, load)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-7 // 2", -4), ("-7 % 2", 1), ("7 // -2", -4), ("7 % -2", -1), ("-7 / 2", -3), ("7 / -2", -3),
        ("7 // 0", 0), ("7 % 0", 0), ("7 / 0", 0),
        ("-128i8 // -1i8", -128), ("-128i8 / -1i8", -128), ("-128i8 % -1i8", 0), ("abs(-128i8)", -128),
        ("100i8 + 100i8", -56), ("0u8 - 1u8", 255), ("-(1u8)", 255), ("200u8 / 7u8", 28), ("~5", -6),
        ("1i8 << 7i8", -128), ("1i8 << 8i8", 0), ("1 << -1", 0), ("-8 >> 1", -4), ("-8 >> 64", 0), ("200u8 >> 3u8", 25),
        ("6 & 3", 2), ("6 | 3", 7), ("6 ^ 3", 5), ("min(3, -2)", -2), ("max(3u8, 250u8)", 250),
        ("i8(300)", 44), ("i8(300.7)", 127), ("i8(-300.7)", -128), ("u8(-1.5)", 0), ("i32(nan)", 0), ("i8(-2.9)", -2),
        ("i64(1e300f64)", 2**63 - 1), ("i64(-inf)", -(2**63)), ("u64(inf)", 2**64 - 1),
        ("u64(9.3e18f64)", 9300000000000000000),
        ("bool(nan)", True), ("bool(0.0)", False), ("bool(-3)", True), ("f32(true)", 1.0), ("i8(true)", 1),
        ("1.0 / 0.0", math.inf), ("sqrt(2.0f64)", math.sqrt(2.0)), ("erf(0.5f64)", math.erf(0.5)),
        ("pow(2.0, 10.0)", 1024.0),
        ("round_even(2.5)", 2.0), ("trunc(-2.5)", -2.0), ("fmod(-7.0, 3.0)", -1.0), ("isnan(nan)", True),
        ("isinf(-inf)", True),
        ("rsqrt(4.0)", 0.5), ("1.0 < nan", False), ("1.0 != nan", True), ("not (true and false)", True),
        ("fma(2.0, 3.0, 4.0)", 10.0), ("fma(inf:f64, 1.0f64, 1.0f64)", math.inf),
        ("fma(1e300f64, 1e300f64, 0.0f64)", math.inf),
        ("0.1 + 0.2", float(np.float32(0.1) + np.float32(0.2))), ("reduce_add(ramp(1, 2, 4))", 16),
        ("reduce_max(ramp(1, -2, 4) * 3)", 3), ("reduce_and(ramp(0, 1, 4) < 4)", True), ("ramp(3, 1, 1)", 3),
    ],
)  # fmt: skip
def test_operators(text: str, value: Any) -> None:
    result = value_of(text)
    assert np.ndim(result) == 0
    assert result == value
    assert result.dtype == parse_expr(text).dtype.numpy


@given(st.sampled_from(sorted(BINARY_OPS - {"and", "or"})), integer_values(I64), integer_values(I64))
def test_scalars_and_arrays_agree_on_integers(op: str, a: int, b: int) -> None:
    one = apply_binary(op, np.int64(a), np.int64(b))
    (element,) = apply_binary(op, np.array([a]), np.array([b]))
    assert one == element
    assert np.asarray(one).dtype == element.dtype


def test_nan_is_propagated_by_min_and_max() -> None:
    for text in ("min(nan, 1.0)", "min(1.0, nan)", "max(nan, 1.0)", "max(1.0, nan)"):
        assert math.isnan(value_of(text))


def test_fma_rounds_once() -> None:
    a, b = np.float32(1 + 2**-12), np.float32(1 - 2**-12)
    # a*b = 1 - 2^-24 rounds to 1 in f32, so the sum in two roundings is 0
    assert evaluate(
        parse_expr("fma(a:f32, b:f32, c:f32)"), {"a": a, "b": b, "c": np.float32(-1)}, no_load
    ) == -(2.0**-24)
    wide = evaluate(
        parse_expr("fma(a:f64, a:f64, c:f64)"), {"a": 1 + 2.0**-30, "c": -(1 + 2.0**-29)}, no_load
    )
    assert wide == 2.0**-60


@given(*[st.floats(width=16, allow_nan=False, allow_infinity=False)] * 3)
def test_narrow_fma_is_correctly_rounded(a: float, b: float, c: float) -> None:
    wide = evaluate(parse_expr("fma(a:f64, b:f64, c:f64)"), {"a": a, "b": b, "c": c}, no_load)
    narrow = evaluate(parse_expr("fma(a:f32, b:f32, c:f32)"), {"a": a, "b": b, "c": c}, no_load)
    assert narrow == np.float32(
        wide
    )  # the exact result of f16 operands needs less than 53 + 1 bits, or cancels


def no_load(buffer: str, index: tuple[Any, ...]) -> Any:
    raise AssertionError(f"{buffer}{index} is loaded")


def test_only_the_chosen_side_is_loaded() -> None:
    guarded = Select(Var("i") < 3, Const(1.0, F32), Load("X", (Var("i"),), F32))
    assert evaluate(guarded, {"i": 2}, no_load) == 1.0
    with pytest.raises(AssertionError, match="is loaded"):
        evaluate(guarded, {"i": 3}, no_load)


def test_vector_select_loads_only_the_lanes_it_needs() -> None:
    seen: list[int] = []

    def load(buffer: str, index: tuple[Any, ...]) -> Any:
        seen.append(int(index[0]))
        return np.float32(index[0])

    e = parse_expr(
        "select(ramp(0, 1, 4) < 2, X[ramp(0, 1, 4)], X[ramp(0, 1, 4) + 10 where ramp(0, 1, 4) != 3])"
    )
    np.testing.assert_array_equal(evaluate(e, {}, load), np.array([0, 1, 12, 0], np.float32))
    assert sorted(seen) == [0, 1, 12]


def test_unknown_variables_are_named() -> None:
    with pytest.raises(InvalidProgram, match="variable 'q' has no value"):
        value_of("q + 1")


@given(st.sampled_from(DTYPES).flatmap(expressions), st.data())
@settings(max_examples=200)
def test_array_evaluation_agrees_with_scalar_evaluation(e: Expr, data: st.DataObject) -> None:
    points = 3
    env = {
        f"v_{t.name}": np.array(
            [evaluate(data.draw(constants(t)), {}, no_load) for _ in range(points)], t.numpy
        )
        for t in DTYPES
    }

    def element(buffer: str, index: tuple[Any, ...]) -> Any:
        dtype = next(t for t in DTYPES if buffer == f"B_{t.name}")
        return np.int64(index[0] * 85).astype(dtype.numpy)

    def elements(buffer: str, index: tuple[Any, ...], where: Any) -> Any:
        dtype = next(t for t in DTYPES if buffer == f"B_{t.name}")
        return (np.asarray(index[0]) * 85).astype(dtype.numpy)

    together = np.broadcast_to(evaluate_array(e, env, elements), (points,))
    assert together.dtype == e.dtype.numpy
    for i in range(points):
        one = evaluate(e, {k: v[i] for k, v in env.items()}, element)
        np.testing.assert_array_equal(together[i], one)


def test_array_evaluation_tells_where_a_load_is_needed() -> None:
    x = np.arange(5, dtype=np.float32)

    def load(buffer: str, index: tuple[Any, ...], where: Any) -> Any:
        i = np.asarray(index[0])
        assert ((i >= 0) & (i < 5))[where].all()
        return x[np.clip(i, 0, 4)]

    padded = parse_expr("select(i >= 1 and i < 6, X[i - 1], 0.0)")
    i = np.arange(8)
    np.testing.assert_array_equal(evaluate_array(padded, {"i": i}, load), [0, 0, 1, 2, 3, 4, 0, 0])
    masked = parse_expr("X[i - 1 where i >= 1 and i < 6]")
    np.testing.assert_array_equal(evaluate_array(masked, {"i": i}, load), [0, 0, 1, 2, 3, 4, 0, 0])


def run(body: str, *, sizes: dict[str, int] | None = None, head: str = "", **buffers: Any) -> int:
    head = head or "kernel f(in X: f32[N], inout Y: f32[N]) sizes(N):"
    k = parse_kernel(head + "\n" + "\n".join("  " + line for line in body.split("\n")))
    return interpret(k, buffers, {"N": 4} if sizes is None else sizes)


def test_a_kernel_in_all_its_parts() -> None:
    x, y = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    body = """\
check N == 4 else 1, "four"
parallel for i in 0..N step 2:
  alloc t: local f32[2]
  vector for v in 0..2 length 2:
    t[v] = X[i + v] * 2.0
  unroll for u in 0..2:
    let z = t[u] + 1.0
    if i == 0:
      Y[i + u] = z
    else:
      Y[i + u] = -z
barrier
prefetch X[1000]
Y[ramp(0, 2, 2)] = Y[ramp(1, 2, 2)] where ramp(0, 1, 2) < 1"""
    assert run(body, X=x, Y=y) == 0
    np.testing.assert_array_equal(y, [3, 3, -5, -7])


def test_a_failed_check_ends_the_kernel() -> None:
    y = np.zeros(4, np.float32)
    assert run('Y[0] = 1.0\ncheck N < 4 else 7, "small"\nY[1] = 1.0', X=y.copy(), Y=y) == 7
    np.testing.assert_array_equal(y, [1, 0, 0, 0])


def test_fresh_memory_is_poisoned() -> None:
    y = np.zeros(4, np.float32)
    assert run("alloc t: local f32[1]\nY[0] = t[0]", X=y.copy(), Y=y) == 0
    assert math.isnan(y[0])
    z = np.zeros(1, np.int16)
    head = "kernel f(out Z: i16[1]):"
    assert run("alloc t: register i16[1]\nZ[0] = t[0]:i16", head=head, Z=z, sizes={}) == 0
    assert z[0] == np.array(0xA5A5, np.uint16).view(np.int16)


@pytest.mark.parametrize(
    "body", ["Y[4] = 1.0", "Y[0] = X[-1]", "Y[ramp(1, 1, 4)] = 1.0", "for i in 0..9:\n  Y[0] = X[i]"]
)
def test_subscripts_are_checked(body: str) -> None:
    y = np.zeros(4, np.float32)
    with pytest.raises(OutOfBounds, match=r"is outside buffer '[XY]' of shape"):
        run(body, X=y.copy(), Y=y)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("X[0] = 1.0", "read-only"),
        ("Y[0] = Z[0]", "buffer 'Z' does not exist"),
        ("Y[0, 0] = 1.0", "rank 1, not 2"),
        ("Y[0] = X[ramp(0, 1, 4)]", "a vector is stored to one element"),
        ("Y[0] = X[0 where ramp(0, 1, 4) < 2]", "a vector masks the load of one element"),
    ],
)
def test_broken_programs_are_refused(body: str, what: str) -> None:
    y = np.zeros(4, np.float32)
    with pytest.raises(InvalidProgram, match=what):
        run(body, X=y.copy(), Y=y)


@pytest.mark.parametrize("y", [None, np.zeros(5, np.float32), np.zeros(4)])
def test_arrays_must_fit_the_parameters(y: Any) -> None:
    with pytest.raises(InvalidProgram, match=r"needs an array f32\[4\]"):
        run("pass", X=np.zeros(4, np.float32), Y=y)
