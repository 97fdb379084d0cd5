"""Generic traversal: every part of every statement is reached, scopes are respected, nothing unchanged is copied."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings

from polydl.dtypes import F32, INDEX
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const, Expr, Load, Var, map_children, substitute, transform, walk
from polydl.ir.kernel import Block, Kernel, Stmt
from polydl.ir.parser import parse_expr, parse_stmt
from polydl.ir.printer import print_stmt
from polydl.ir.rewrite import (
    EMPTY,
    all_expressions,
    block,
    bound_names,
    expressions,
    free_variables,
    fresh_name,
    loads,
    loops,
    map_buffers,
    map_expressions,
    map_stmts,
    map_substatements,
    rename_buffers,
    rename_variables,
    stores,
    substitute_stmt,
    walk_stmts,
)
from tests.ir.strategies import any_expression, any_kernel, any_statement

NEST = """\
for i in 0..n:
  alloc t: local f32[n, 4]
  if i < m:
    let x = X[i]
    t[i, 0] = x + Y[x:f32] where i < n
  else:
    check i < n else 1, "m"
    prefetch X[i]
    barrier"""


@given(any_expression)
def test_identity_maps_return_the_same_object(e: Expr) -> None:
    assert map_children(e, lambda x: x) is e
    assert transform(e, lambda x: x) is e
    assert substitute(e, {"not in there": Const(1, INDEX)}) is e


@given(any_statement)
def test_identity_maps_of_statements(s: Stmt) -> None:
    assert map_substatements(s, lambda x: x) is s
    assert map_stmts(s, lambda x: x) is s
    assert map_expressions(s, lambda e: e) == s


@given(any_statement)
@settings(max_examples=150)
def test_substitution_removes_the_variable(s: Stmt) -> None:
    changed = substitute_stmt(s, {"i": Var("fresh")})
    assert "i" not in free_variables(changed)
    assert ("fresh" in free_variables(changed)) == ("i" in free_variables(s))
    assert bound_names(changed) == bound_names(s)


@given(any_statement)
@settings(max_examples=150)
def test_renaming_there_and_back_is_the_identity(s: Stmt) -> None:
    there, back = {"i": "renamed", "N": "size"}, {"renamed": "i", "size": "N"}
    assert rename_variables(rename_variables(s, there), back) == s
    assert rename_buffers(rename_buffers(s, there), back) == s
    assert "i" not in bound_names(rename_variables(s, there)) | free_variables(rename_variables(s, there))


@given(any_kernel)
@settings(max_examples=50)
def test_kernels_are_values(k: Kernel) -> None:
    again = pickle.loads(pickle.dumps(k))  # noqa: S301
    assert again == k
    assert hash(again) == hash(k)


def test_what_is_in_a_nest() -> None:
    s = parse_stmt(NEST)
    assert [type(x).__name__ for x in walk_stmts(s)] == [
        "For", "Alloc", "If", "Let", "Store", "Block", "Check", "Prefetch", "Barrier",
    ]  # fmt: skip
    assert free_variables(s) == {"n", "m"}
    assert free_variables(loops(s)[0].body) == {"n", "m", "i"}
    assert free_variables(parse_expr("a + X[b where c < 1]")) == {"a", "b", "c"}
    assert bound_names(s) == {"i", "x"}
    assert [x.buffer for x in loads(s)] == ["X", "Y"]
    assert [x.index for x in loads(s, "Y")] == [(Var("x", F32),)]
    assert loads(parse_expr("A[B[0]] + A[1]"), "A") == [parse_expr("A[B[0]]"), parse_expr("A[1]")]
    assert [x.buffer for x in stores(s)] == ["t"]
    assert stores(s, "u") == []
    assert [len(expressions(x)) for x in walk_stmts(s)] == [2, 2, 1, 1, 4, 0, 1, 1, 0]
    assert sum(isinstance(x, Var) and x.name == "n" for x in all_expressions(s)) == 4


def test_substitution_respects_scopes() -> None:
    s = parse_stmt("Y[i] = 1.0\nfor i in 0..i:\n  Y[i] = 2.0\nlet i = i + 1\nY[i] = 3.0")
    assert print_stmt(substitute_stmt(s, {"i": Const(7, INDEX)})) == (
        "Y[7] = 1.0\nfor i in 0..7:\n  Y[i] = 2.0\nlet i = 7 + 1\nY[i] = 3.0"
    )


def test_substitution_is_simultaneous() -> None:
    swapped = substitute_stmt(parse_stmt("Y[i, j] = 1.0"), {"i": Var("j"), "j": Var("i")})
    assert print_stmt(swapped) == "Y[j, i] = 1.0"


def test_capture_is_refused() -> None:
    with pytest.raises(InvalidProgram, match="would capture i"):
        substitute_stmt(parse_stmt("for i in 0..4:\n  Y[i + n] = 1.0"), {"n": Var("i")})


def test_rewriting_bottom_up() -> None:
    s = parse_stmt(NEST)
    emptied = map_stmts(s, lambda x: EMPTY if print_stmt(x) == "barrier" else x)
    assert "barrier" not in print_stmt(emptied)
    doubled = map_buffers(s, lambda b: type(b)(b.name, b.dtype, (Const(2, INDEX), *b.shape), b.memory))
    assert "alloc t: local f32[2, n, 4]" in print_stmt(doubled)
    assert "alloc u: local f32[n, 4]" in print_stmt(rename_buffers(s, {"t": "u", "X": "Z"}))
    assert "    u[i, 0] = x + Y[x] where i < n" in print_stmt(rename_buffers(s, {"t": "u"}))


def test_blocks_are_flattened() -> None:
    a, b, c = (parse_stmt(f"Y[{i}] = 1.0") for i in range(3))
    assert block([a, Block((b, c)), EMPTY]) == Block((a, b, c))
    assert block([EMPTY, a]) is a
    assert block([]) == EMPTY


def test_fresh_names() -> None:
    assert fresh_name("i", {"j"}) == "i"
    assert fresh_name("i", {"i", "i_2"}) == "i_3"


def test_constants_are_equal_by_value() -> None:
    nan, also_nan = Const(float("nan"), F32), Const(float("inf") - float("inf"), F32)
    assert nan == also_nan
    assert hash(nan) == hash(also_nan)
    assert Const(0.0, F32) != Const(-0.0, F32)
    assert Const(1, INDEX) != Const(1.0, F32)
    assert Load("X", (), F32) != Const(1.0, F32)
    assert len(list(walk(parse_expr("select(a < 1, b, X[c where d < 2])")))) == 10
