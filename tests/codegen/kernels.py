"""Hypothesis-made kernels whose loops may be run in any of the ways their bindings say.

Every value is a small integer, also in f32, so that no rounding hides or excuses a difference and reductions may be
reassociated. Row `i` of every output belongs to iteration `i` of the outer loop, element `(i, j)` to iteration `j` of
the inner one; only reductions meet in a common place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from polydl.dtypes import F32, I32, INDEX, DType
from polydl.ir.expr import (
    Binary,
    Cast,
    Const,
    Expr,
    Load,
    Select,
    Var,
    and_,
    maximum,
    minimum,
)
from polydl.ir.kernel import (
    Alloc,
    Binding,
    Block,
    Buffer,
    For,
    If,
    Kernel,
    Let,
    Memory,
    Param,
    Prefetch,
    Role,
    Stmt,
    Store,
)

ROWS, COLUMNS, STRIDE = 5, 40, 3
VI, VJ, VK, N = Var("i"), Var("j"), Var("k"), Var("n")

_SHAPES = {
    "A": ((ROWS, COLUMNS), F32, Role.INPUT),
    "B": ((COLUMNS * STRIDE,), I32, Role.CONSTANT),
    "OUT": ((ROWS, COLUMNS), F32, Role.OUTPUT),
    "THIRD": ((ROWS, COLUMNS * STRIDE), F32, Role.OUTPUT),
    "INTS": ((ROWS, COLUMNS), I32, Role.INOUT),
    "SUM": ((ROWS,), I32, Role.INOUT),
    "TOP": ((ROWS, 2), F32, Role.INOUT),
}


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Fresh arguments: small integers everywhere."""
    rng = np.random.default_rng(5)
    return {k: rng.integers(-4, 5, shape).astype(t.numpy) for k, (shape, t, _) in _SHAPES.items()}


def _c(n: int) -> Const:
    return Const(n, INDEX)


def _wrapped(e: Expr, extent: int) -> Expr:
    return Binary("mod", e, _c(extent))


@st.composite
def _index(draw: st.DrawFn, names: list[Var]) -> Expr:
    e: Expr = _c(draw(st.integers(0, 7)))
    for v in draw(st.lists(st.sampled_from(names), max_size=3)):
        e = e + v * draw(st.sampled_from([1, 1, 2, 3, -1]))
    return e


@st.composite
def _cond(draw: st.DrawFn, names: list[Var]) -> Expr:
    e = Binary(
        draw(st.sampled_from(["lt", "ge", "eq", "ne", "gt", "le"])), draw(_index(names)), draw(_index(names))
    )
    if draw(st.booleans()):
        e = and_(e, draw(_cond(names)))
    return e


@st.composite
def _expr(draw: st.DrawFn, dtype: DType, names: list[Var], local: bool, depth: int = 2) -> Expr:
    kinds = ["load", "load", "guarded", "const", "index"] + (["local"] if local and dtype == F32 else [])
    if depth:
        kinds += ["binary", "binary", "select", "cast"]
    match draw(st.sampled_from(kinds)):
        case "load" if dtype == F32:
            if draw(st.booleans()):
                return Load("A", (VI, VJ), F32)
            return Load(
                "A", (_wrapped(draw(_index(names)), ROWS), _wrapped(draw(_index(names)), COLUMNS)), F32
            )
        case "load":
            subscript = draw(
                st.sampled_from([VJ, VJ * STRIDE, VJ * 2 + 1, VI, _wrapped(draw(_index(names)), COLUMNS)])
            )
            return Load("B", (subscript,), I32)
        case "guarded":
            where = draw(_index(names))
            buffer, extent, source = ("A", COLUMNS, F32) if dtype == F32 else ("B", COLUMNS * STRIDE, I32)
            index = (VI, where) if buffer == "A" else (where,)
            inside = and_(where >= 0, where < extent)
            return Select(
                inside, Load(buffer, index, source), Const(0, dtype) if dtype != F32 else Const(1.0, F32)
            )
        case "const":
            n = draw(st.integers(-3, 3))
            return Const(float(n), F32) if dtype == F32 else Const(n, I32)
        case "index":
            return Cast(dtype, _wrapped(draw(_index(names)), 5))
        case "local":
            return Load("T", (_c(0),), F32)
        case "binary":
            a, b = (draw(_expr(dtype, names, local, depth - 1)) for _ in range(2))
            return Binary(draw(st.sampled_from(["add", "sub", "mul", "min", "max"])), a, b)
        case "select":
            a, b = (draw(_expr(dtype, names, local, depth - 1)) for _ in range(2))
            return Select(draw(_cond(names)), a, b)
        case _:
            return Cast(dtype, draw(_expr(I32 if dtype == F32 else F32, names, local, depth - 1)))


@st.composite
def _stmt(draw: st.DrawFn, names: list[Var], local: bool, depth: int = 2) -> Stmt:
    kinds = ["out", "out", "ints", "strided", "sum", "top", "update"]
    if depth:
        kinds += ["if", "ifelse", "let", "block", "for", "alloc", "prefetch"]
    match draw(st.sampled_from(kinds)):
        case "out":
            return Store("OUT", (VI, VJ), draw(_expr(F32, names, local)))
        case "ints":
            return Store("INTS", (VI, VJ), draw(_expr(I32, names, local)))
        case "strided":
            return Store("THIRD", (VI, VJ * STRIDE), draw(_expr(F32, names, local)))
        case "update":
            return Store("INTS", (VI, VJ), Load("INTS", (VI, VJ), I32) + draw(_expr(I32, names, local, 1)))
        case "sum":
            return Store("SUM", (VI,), Load("SUM", (VI,), I32) + draw(_expr(I32, names, local)))
        case "top":
            return Store(
                "TOP", (VI, _c(1)), maximum(Load("TOP", (VI, _c(1)), F32), draw(_expr(F32, names, local)))
            )
        case "if":
            return If(draw(_cond(names)), draw(_stmt(names, local, depth - 1)))
        case "ifelse":
            return If(
                draw(_cond(names)), draw(_stmt(names, local, depth - 1)), draw(_stmt(names, local, depth - 1))
            )
        case "let":
            x = Var(f"x{len(names)}")  # names are not bound twice on a path
            return Let(x.name, _wrapped(draw(_index(names)), 9), draw(_stmt([*names, x], local, depth - 1)))
        case "for":
            upper = draw(st.sampled_from([_c(3), minimum(VI + 1, 2)]))
            binding = draw(st.sampled_from([Binding.SEQUENTIAL, Binding.UNROLL]))
            body = draw(_stmt([*names, VK] if VK not in names else names, local, depth - 1))
            return body if VK in names else For("k", _c(0), upper, body, binding)
        case "alloc":
            if local:
                return draw(_stmt(names, local, depth - 1))
            first = Store("T", (_c(0),), draw(_expr(F32, names, False)))
            body = Block((first, draw(_stmt(names, True, depth - 1))))
            memory = draw(st.sampled_from([Memory.LOCAL, Memory.REGISTER]))
            return Alloc(Buffer("T", F32, (_c(2),), memory), body)
        case "prefetch":
            return Block((Prefetch("A", (VI, VJ)), draw(_stmt(names, local, depth - 1))))
        case _:
            return Block((draw(_stmt(names, local, depth - 1)), draw(_stmt(names, local, depth - 1))))


@st.composite
def kernels(draw: st.DrawFn) -> tuple[Kernel, dict[str, int]]:
    """A kernel over the arrays of `arrays()`, and its sizes."""
    length = draw(st.sampled_from([1, 2, 3, 4, 7, 8, 16, 17, 24, 32, 40]))
    upper = draw(st.sampled_from([_c(length), minimum(N, length), minimum(_c(length), N - VI * 4)]))
    inner = For("j", _c(0), upper, draw(_stmt([VI, VJ], False)), Binding.VECTOR, 1, length)
    body: Stmt = inner
    if draw(st.booleans()):
        tail = draw(st.sampled_from([Binding.UNROLL, Binding.SEQUENTIAL]))
        body = Block((inner, For("j", _c(0), _c(3), draw(_stmt([VI, VJ], False)), tail)))
    outer = draw(st.sampled_from([Binding.SEQUENTIAL, Binding.PARALLEL, Binding.UNROLL]))
    first = draw(st.sampled_from([0, 0, 1]))
    nest = For(
        "i",
        _c(first),
        draw(st.sampled_from([_c(ROWS), minimum(N, ROWS)])),
        body,
        outer,
        draw(st.sampled_from([1, 1, 2])),
    )
    params = tuple(
        Param(Buffer(name, dtype, tuple(_c(x) for x in shape)), role)
        for name, (shape, dtype, role) in _SHAPES.items()
    )
    return Kernel("made", ("n",), params, nest), {"n": draw(st.sampled_from([0, 1, 3, 8, 20, 50]))}
