"""Simplification keeps every value, and reaches the forms the compiler counts on."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydl.dtypes import F32, I64, INDEX, U8
from polydl.ir.expr import Binary, Cast, Const, Expr, Load, Var, substitute, walk
from polydl.ir.interpret import evaluate, interpret
from polydl.ir.kernel import Block, For, If, Kernel, Let, Stmt, Store
from polydl.ir.parser import parse_expr, parse_kernel, parse_stmt
from polydl.ir.printer import print_expr, print_stmt
from polydl.ir.simplify import Range, bounds, linear, simplify, simplify_kernel, simplify_stmt
from tests.ir.strategies import DTYPES, INDEX_VARIABLES, constants, expressions, index_expressions

ranges = st.fixed_dictionaries(
    {
        name: st.tuples(st.integers(-9, 40), st.integers(0, 33)).map(lambda t: Range(t[0], t[0] + t[1]))
        for name in INDEX_VARIABLES
    }
)


def no_load(buffer: str, index: tuple[Any, ...]) -> Any:
    raise AssertionError("nothing is loaded here")


def bits(value: Any) -> Any:
    """A value as something that compares bit by bit (all nans are one)."""
    item = np.asarray(value).item()
    if isinstance(item, float):
        return "nan" if math.isnan(item) else struct.pack("d", item)
    return item


def point_in(known: Mapping[str, Range], data: st.DataObject) -> dict[str, int]:
    return {
        k: data.draw(st.integers(r.low, r.high), label=k)
        for k, r in known.items()
        if r.low is not None and r.high is not None
    }


def test_adding_the_opposite_is_subtracting() -> None:
    assert simplify(parse_expr("a:f64 + -(b:f64 * c:f64)")) == parse_expr("a:f64 - b:f64 * c:f64")
    assert simplify(parse_expr("a:f64 - -(b:f64 * c:f64)")) == parse_expr("a:f64 + b:f64 * c:f64")


@given(index_expressions(), ranges, st.data())
@settings(max_examples=600)
def test_index_arithmetic_keeps_its_value_and_bounds(
    e: Expr, known: Mapping[str, Range], data: st.DataObject
) -> None:
    simple = simplify(e, known)
    low, high = bounds(e, known)
    for _ in range(3):
        env = point_in(known, data)
        value = evaluate(e, env, no_load)
        assert evaluate(simple, env, no_load) == value, print_expr(simple)
        assert low is None or low <= value
        assert high is None or value <= high


@given(index_expressions(), ranges)
@settings(max_examples=200)
def test_simplification_is_idempotent(e: Expr, known: Mapping[str, Range]) -> None:
    simple = simplify(e, known)
    again = simplify(simple, known)
    assert sum(1 for _ in walk(again)) <= sum(1 for _ in walk(simple))


@given(st.sampled_from(DTYPES).flatmap(expressions), st.data())
@settings(max_examples=600)
def test_data_expressions_keep_every_bit(e: Expr, data: st.DataObject) -> None:
    env = {f"v_{t.name}": evaluate(data.draw(constants(t)), {}, no_load) for t in DTYPES}
    # a variable of the index type is an index: within ±2^47, unless its range says otherwise
    known = {"v_i64": Range(-(1 << 63), (1 << 63) - 1)}

    def load(buffer: str, index: tuple[Any, ...]) -> Any:
        dtype = next(t for t in DTYPES if buffer == f"B_{t.name}")
        return (
            dtype.numpy.type(1.5 * float(index[0]))
            if dtype.kind == "f"
            else np.int64(index[0] * 85).astype(dtype.numpy)
        )

    assert bits(evaluate(simplify(e, known), env, load)) == bits(evaluate(e, env, load)), print_expr(
        simplify(e, known)
    )


@given(index_expressions(), ranges, st.data())
@settings(max_examples=200)
def test_linear_form_has_the_same_value(e: Expr, known: Mapping[str, Range], data: st.DataObject) -> None:
    form = linear(e, ["a"], known)
    env = point_in(known, data)
    if form is None:
        return
    value = form.const + sum(c * int(evaluate(atom, env, no_load)) for atom, c in form.terms)
    assert value == evaluate(e, env, no_load)
    others = [atom for atom, _ in form.terms if not isinstance(atom, Var)]
    assert not any(isinstance(x, Var) and x.name == "a" for atom in others for x in walk(atom))


KNOWN = {"a": Range(0, None), "b": Range(0, 15), "c": Range(0, 3), "N": Range(1, None), "d": Range(-8, 8)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("(16*a + b) // 16", "a"),
        ("(16*a + b) % 16", "b"),
        ("(4*a + c) // 16", "a // 4"),
        ("(4*a + c) % 16", "c + a % 4 * 4"),
        ("a // 4 * 4 + a % 4", "a"),
        ("a // 4 // 4", "a // 16"),
        ("a % 16 % 4", "a % 4"),
        ("a % 16 // 4", "a // 4 % 4"),
        ("a // 4 % 4 * 4 + a % 4", "a % 16"),
        ("a // 16 * 16 + a // 4 % 4 * 4 + a % 4", "a"),
        ("(a - 1) // 4 * 4 + (a - 1) % 4", "a - 1"),
        ("a - 4 * (a // 4)", "a % 4"),
        ("(8*a + 4*c + 3) // 16", "(a * 2 + c) // 4"),
        ("(a + 16) // 16", "a // 16 + 1"),
        ("(17*a) % 16", "a % 16"),
        ("b // 16", "0"),
        ("b % 16", "b"),
        ("(b + 16) % 16", "b"),
        ("a // 1 + a % 1", "a"),
        ("a // 0 + a % 0", "0"),
        ("-7 // 2", "-4"),
        ("-7 % 2", "1"),
        ("min(b, 16)", "b"),
        ("max(b, a + 16)", "a + 16"),
        ("min(min(a, 7), a)", "min(a, 7)"),
        ("abs(b)", "b"),
        ("b < 16", "true"),
        ("a * 16 + b < a * 16 + 10", "b < 10"),
        ("4 * a < 15", "a < 4"),
        ("5 - a < 2", "a > 3"),
        ("2 * a == 5", "false"),
        ("not a < 3", "a >= 3"),
        ("a < N and b < 16", "a < N"),
        ("N < N + 1", "true"),
        ("select(b >= 0, a, N)", "a"),
        ("select(not a < N, 1, 2)", "select(a >= N, 1, 2)"),
        ("select(not X[0] < 1.0, 1, 2)", "select(X[0] < 1.0, 2, 1)"),
        ("max(3, max(a, max(N, 5)))", "max(max(N, a), 5)"),
        ("(N*a + b) * 2 - 2 * N * a", "b * 2"),
        ("a*0 + b*1 + 0", "b"),
        ("ramp(a, 1, 16) * 2 + 3", "ramp(a * 2 + 3, 2, 16)"),
        ("ramp(16 * a, 1, 16) // 16", "broadcast(a, 16)"),
        ("ramp(16 * a, 1, 16) % 16", "ramp(0, 1, 16)"),
        ("ramp(a, 1, 16) - ramp(b, 1, 16)", "broadcast(a - b, 16)"),
        ("i64(i32(b))", "b"),
        ("i64(i32(a))", "i64(i32(a))"),
        ("X[a + a] * 1.0 - 0.0", "X[a * 2]"),
        ("X[0] + 0.0", "X[0] + 0.0"),
        ("X[0] - -0.0", "X[0] - -0.0"),
        ("X[0 where b < 16]", "X[0]"),
        ("X[0 where b > 16]", "0.0"),
        ("0.1 + 0.2", "0.30000001192092896"),
        ("f64(0.5) / 0.0f64", "inf:f64"),
        ("200u8 + 100u8", "44u8"),
        ("100i8 + 100i8 > 0i8", "false"),
        ("x:u8 - x:u8 + 3u8", "3u8"),
        ("A[a]:i64 + 1 > A[a]:i64", "A[a]:i64 + 1 > A[a]:i64"),
        ("A[a]:u8 >= 0u8", "true"),
        ("i32(A[a]:u8) < 256i32", "true"),
        ("x:i8 * 2i8 // 2i8", "x:i8 * 2i8 // 2i8"),
    ],
)
def test_normal_forms(before: str, after: str) -> None:
    assert print_expr(simplify(parse_expr(before), KNOWN)) == after


def test_bounds_of_data_are_those_of_the_type() -> None:
    assert bounds(Load("A", (), U8)) == (None, None)
    assert bounds(Cast(I64, Load("A", (), U8)) * 2) == (0, 510)
    assert bounds(Load("A", (), I64) + 1) == (None, None)
    assert bounds(Var("a"), {"a": Range(2, None)}) == (2, None)
    assert bounds(Const(1.0, F32)) == (None, None)


def test_linear_coefficients_of_an_address() -> None:
    n, k, v = Var("n"), Var("k"), Var("v")
    address = (n * Var("N") + k) * 16 + v
    form = linear(address, ["v", "k"])
    assert form is not None
    assert (form.coefficient("v"), form.coefficient("k"), form.coefficient("n")) == (1, 16, 0)
    assert linear(address, ["n"]) is None
    assert linear(v // 4, ["v"]) is None
    assert linear((16 * k + v) // 16, ["v"], {"v": Range(0, 15), "k": Range(0, 9)}) is not None
    assert linear(Load("X", (), F32), ["v"]) is None


def test_one_simplifier_may_meet_a_name_in_two_scopes() -> None:
    s = parse_stmt(
        """
for i in 0..4:
  X[i % 4, i // 4] = 1.0
for i in 4..8:
  X[i % 4, i // 4] = 2.0
for i in 7..8:
  X[i % 4, i // 4] = 3.0
"""
    )
    assert print_stmt(simplify_stmt(s)) == (
        "for i in 0..4:\n  X[i, 0] = 1.0\nfor i in 4..8:\n  X[i - 4, 1] = 2.0\nX[3, 1] = 3.0"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("for i in 0..0:\n  X[i] = 1.0", "pass"),
        ("for i in n..n + 1:\n  X[i] = 1.0", "X[n] = 1.0"),
        ("parallel for i in 0..8 step 16:\n  X[i] = 1.0", "X[0] = 1.0"),
        ("for i in 0..9 step 4:\n  X[min(i, 8)] = 1.0", "for i in 0..9 step 4:\n  X[i] = 1.0"),
        ("for i in A[0]:i64..A[0]:i64 + 1:\n  X[i] = 1.0", None),
        ("if n < n:\n  barrier\nelse:\n  pass", "pass"),
        ("if n < 4:\n  pass\nelse:\n  barrier", "if n >= 4:\n  barrier"),
        ("for i in 0..9:\n  if i < 4:\n    X[i // 4] = 1.0\n  else:\n    X[(i + 4) // 8] = 1.0",
         "for i in 0..9:\n  if i < 4:\n    X[0] = 1.0\n  else:\n    X[1] = 1.0"),
        ("if A[0]:i64 < n:\n  if A[0]:i64 < n:\n    barrier", "if A[0]:i64 < n:\n  if A[0]:i64 < n:\n    barrier"),
        ("if n < N:\n  if n < N and 3 < n:\n    barrier", "if n < N:\n  if n > 3:\n    barrier"),
        ("if n == 5:\n  X[n // 5, n % 5] = 1.0", "if n == 5:\n  X[1, 0] = 1.0"),
        ("let x = 3\nX[x] = 1.0", "X[3] = 1.0"),
        ("let x = n % 4\nX[x // 4] = 1.0", "let x = n % 4\nX[0] = 1.0"),
        ("let x = A[0]:i64\nif x + 1 > x:\n  barrier", "let x = A[0]:i64\nif x + 1 > x:\n  barrier"),
        ("X[0] = 1.0 where 1 < 0", "pass"),
        ("X[0] = 1.0 where broadcast(n <= n, 4)", "X[0] = 1.0"),
        ("alloc t: local f32[8 * 2]\nblock:\n  block:\n    t[0] = 1.0", "alloc t: local f32[16]\nt[0] = 1.0"),
        ("alloc t: local f32[4]\npass", "pass"),
        ('check 1 < 2 else 1, "never"', "pass"),
        ('check 2 < 1 else 1, "always"', 'check false else 1, "always"'),
        ("prefetch X[n * 1 + 0]", "prefetch X[n]"),
    ],
)  # fmt: skip
def test_statements(before: str, after: str | None) -> None:
    simple = simplify_stmt(parse_stmt(before))
    if after is None:  # a bound that is loaded is loaded once
        assert isinstance(simple, For | Let)
        assert (
            sum(isinstance(x, Load) for x in walk(simple.value if isinstance(simple, Let) else simple.lower))
            == 1
        )
    else:
        assert print_stmt(simple) == after


def test_sizes_are_never_negative() -> None:
    k = parse_kernel("kernel f(out Y: f32[N]) sizes(N):\n  if N >= 0:\n    Y[0] = 1.0")
    assert isinstance(simplify_kernel(k).body, Store)


@st.composite
def loop_nests(draw: st.DrawFn, names: tuple[str, ...] = INDEX_VARIABLES) -> Stmt:
    """Stores of subscripts into Y[0..64] under loops with small bounds and conditions."""
    kind = draw(st.sampled_from(["for", "for", "if", "block", "let", "store"])) if names else "store"
    bound = {n: Const(2, INDEX) for n in names}

    def expression() -> Expr:
        return substitute(draw(index_expressions(depth=3)), dict(bound))

    match kind:
        case "for":
            lower = draw(st.integers(0, 3))
            extent = draw(st.integers(0, 5))
            body = draw(loop_nests(names=names[1:]))
            return For(
                names[0],
                Const(lower, INDEX),
                Const(lower + extent, INDEX),
                body,
                step=draw(st.integers(1, 3)),
            )
        case "let":
            return Let(names[0], expression(), draw(loop_nests(names=names[1:])))
        case "if":
            condition = Binary(
                draw(st.sampled_from(["lt", "le", "gt", "ge", "eq", "ne"])), expression(), Const(3, INDEX)
            )
            otherwise = draw(st.none() | loop_nests(names=names))
            return If(condition, draw(loop_nests(names=names)), otherwise)
        case "block":
            return Block(tuple(draw(st.lists(loop_nests(names=names), max_size=2))))
    return Store("Y", (Binary("mod", expression(), Const(64, INDEX)),), expression())


@given(loop_nests())
@settings(max_examples=200)
def test_loop_nests_keep_their_effect(body: Stmt) -> None:
    k = parse_kernel("kernel f(out Y: i64[64]):\n  pass")
    before, after = np.zeros(64, np.int64), np.zeros(64, np.int64)
    assert interpret(Kernel(k.name, k.sizes, k.params, body), {"Y": before}, {}) == 0
    assert interpret(Kernel(k.name, k.sizes, k.params, simplify_stmt(body)), {"Y": after}, {}) == 0
    np.testing.assert_array_equal(after, before)
