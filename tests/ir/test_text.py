"""Printing and parsing: the text is the one we want to read, and reading it back is the identity."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

from polydl.dtypes import BOOL, F32, F64, I8, U8
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const, Expr, Load, Unary, Var
from polydl.ir.kernel import Block, For, Kernel, Stmt, Store
from polydl.ir.parser import parse_expr, parse_kernel, parse_stmt
from polydl.ir.printer import print_expr, print_kernel, print_stmt
from polydl.ir.rewrite import walk_stmts
from tests.ir.strategies import any_expression, any_kernel, any_statement


@given(any_expression)
@settings(max_examples=400)
def test_expressions_survive_the_text(e: Expr) -> None:
    assert parse_expr(print_expr(e)) == e


@given(any_statement)
@settings(max_examples=300)
def test_statements_survive_the_text(s: Stmt) -> None:
    assert parse_stmt(print_stmt(s)) == s


@given(any_kernel)
@settings(max_examples=200)
def test_kernels_survive_the_text(k: Kernel) -> None:
    assert parse_kernel(print_kernel(k)) == k


@pytest.mark.parametrize(
    ("e", "text"),
    [
        (Var("i") * 4 + Var("j.o") // 2, "i * 4 + j.o // 2"),
        ((Var("i") + 4) * Var("j"), "(i + 4) * j"),
        (Var("i") - (Var("j") - 1), "i - (j - 1)"),
        (Load("X", (Var("i"), Const(-1, F32)), F32, Var("i") < 3), "X[i, -1.0 where i < 3]"),
        (Load("X", (), F64), "X[]:f64"),
        (Unary("neg", Const(3, U8)), "-(3u8)"),
        (Unary("not", Var("m", BOOL, 16)), "not m:boolx16"),
        (Const(math.nan, F32), "nan"),
        (Const(-math.inf, F64), "-inf:f64"),
        (Const(-0.0, F32), "-0.0"),
        (Const(-128, I8), "-128i8"),
        (Var("if"), "`if`"),
    ],
)
def test_text_of_expressions(e: Expr, text: str) -> None:
    assert print_expr(e) == text
    assert parse_expr(text) == e


KERNEL = """\
kernel conv(in X: f32[N, 64], const W: f64[64], out Y: f32[N, 64]) sizes(N):
  check N > 0 else 1, "N must be \\"positive\\""
  parallel for n in 0..N:
    alloc acc: register f32[64]
    unroll for v in 0..64 step 16 owns Y, acc:
      acc[ramp(v, 1, 16)] = X[n, ramp(v, 1, 16)] * f32(W[v])
    prefetch write Y[n, 0]
    let x = acc[0] + 1.0:
      Y[n, 0] = select(x > 0.0, x, -x) where n < N
    if n == 0 and not N == 1:
      barrier
    else:
      block:
        pass"""


def test_text_of_a_kernel() -> None:
    k = parse_kernel(KERNEL)
    assert print_kernel(k) == KERNEL
    (loop,) = (s for s in walk_stmts(k.body) if isinstance(s, For) and s.var == "n")
    (store,) = (s for s in walk_stmts(loop) if isinstance(s, Store) and s.mask is not None)
    assert Load("W", (Var("v"),), F64) in [
        e for s in walk_stmts(k.body) if isinstance(s, Store) for e in _loads(s)
    ]
    assert store.value.dtype == F32


def _loads(s: Store) -> list[Load]:
    from polydl.ir.rewrite import loads

    return loads(s)


def test_marker_points_at_a_loop_and_is_ignored_by_the_parser() -> None:
    k = parse_kernel(KERNEL)
    text = print_kernel(k, lambda s: "this\nloop" if isinstance(s, For) and s.var == "v" else None)
    assert "    unroll for v in 0..64 step 16 owns Y, acc:  # <== this loop\n" in text
    assert parse_kernel(text) == k


def test_long_signatures_are_broken_over_lines() -> None:
    text = "kernel f(" + ", ".join(f"in Input{i}: f32[64, 64, 64]" for i in range(9)) + "):\n  pass"
    k = parse_kernel(text)
    assert len(print_kernel(k).splitlines()) == 12
    assert parse_kernel(print_kernel(k)) == k
    assert k.body == Block(())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("for i in 0..4:\n", "suite must follow"),
        ("X[i = 3", "never closed"),
        ("X[i] = 3 $", "unexpected character '$'"),
        ("X[i] = a < b < c", "do not chain"),
        ("X[i] = foo(3)", "no function 'foo' of 1 operands"),
        ("X[i] = x:f33", "'f33' is not a type"),
        ("X[i] = 1\n  Y[i] = 2", "wrongly indented"),
        ("check x else y, 3", "expected an integer"),
        ("X[i] =", "the end of the line"),
    ],
)
def test_bad_text_is_refused(text: str, what: str) -> None:
    with pytest.raises(InvalidProgram, match="(?s)" + what.replace("$", "[$]")):
        parse_stmt(text)
