"""Programs that break the loop IR's contract are refused, with the text and a pointer at the place."""

from __future__ import annotations

import pytest

from polydl.dtypes import F32
from polydl.errors import InvalidProgram
from polydl.ir.expr import Binary, Call, Const, ReduceLanes, Unary, Var
from polydl.ir.kernel import Buffer, Kernel, Param, Role, Store
from polydl.ir.parser import parse_kernel
from polydl.ir.verify import verify

HEAD = "kernel f(in X: f32[N, 16], const W: i8[16], inout Y: f32[N, 16], workspace T: f32[4]) sizes(N):\n"


def kernel(body: str) -> Kernel:
    return parse_kernel(HEAD + "\n".join("  " + line for line in body.split("\n")))


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "barrier\nparallel for i in 0..N:\n  for j in 0..16:\n    Y[i, j] = X[i, j] * f32(W[j])\nbarrier",
        "for i in 0..N:\n  vector for v in 0..16 length 16:\n    Y[i, v] = X[i, v]",
        "vector for v in 0..min(N, 16) length 16:\n  Y[0, v] = 1.0",
        "for i in 0..4:\n  T[i] = 0.0\nfor i in 0..4:\n  T[i] = 1.0",
        "Y[0, ramp(0, 1, 16)] = X[0, ramp(0, 1, 16)] * 2.0 where ramp(0, 1, 16) < N",
        "Y[0, 0] = reduce_add(X[0, ramp(0, 1, 16)])",
        "alloc acc: register f32[2, 9]\nunroll for u in 0..2:\n  vector for v in 0..9 length 9:\n    acc[u, v] = 0.0",
        "alloc acc: register f32[16]\nunroll for u in 0..2:\n  let w = u * 8 + 1\n  acc[ramp(w, 1, 4)] = 0.0",
        "let x = X[0, 0]\nlet y = x > 0.0\nY[0, 0] = select(y, x, 0.0)",
        'check N < 10 else 3, "too many"\nprefetch X[0, 0]',
        "Y[0, 0] = f32(i32(W[0]) // 4i32 % 3i32 & 1i32)",
    ],
)
def test_good_programs_pass(body: str) -> None:
    verify(kernel(body))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("Y[i, 0] = 1.0", "variable 'i' is not defined here"),
        ("for i in 0..4:\n  for i in 0..4:\n    Y[i, 0] = 1.0", "variable 'i' is defined twice"),
        ("let N = 3\nY[N, 0] = 1.0", "variable 'N' is defined twice"),
        ("for i in 0..4:\n  T[i] = 0.0\nT[i] = 1.0", "variable 'i' is not defined here"),
        ("let x = 1.0\nY[0, 0] = x:f64", "variable 'x' is f32 of 1 lanes, used as f64 of 1"),
        ("Z[0] = 1.0", "buffer 'Z' does not exist here"),
        ("alloc X: local f32[4]\nX[0] = 1.0", "buffer 'X' is defined twice"),
        ("alloc t: local f32[4]:\n  t[0] = 1.0\nt[0] = 1.0", "buffer 't' does not exist here"),
        ("Y[0] = 1.0", "rank 2 and is used with 1 subscripts"),
        ("Y[0, 0] = X[0]", "rank 2 and is used with 1 subscripts"),
        ("X[0, 0] = 1.0", "buffer 'X' is read-only"),
        ("W[0] = 1i8", "buffer 'W' is read-only"),
        ("Y[0, 0] = 1.0f64", "a value of type f64 is stored to buffer 'Y' of type f32"),
        ("Y[0, 0] = X[0, 0]:f64", "buffer 'X' holds f32, read as f64"),
        ("Y[0, 0] = X[0, 0] + 1.0f64", "'add' meets operands of types f32 and f64"),
        ("Y[0, 0] = X[0, 0] % 2.0", "'mod' is not defined on type f32"),
        ("Y[0, 0] = X[0, 0] // 2.0", "'floordiv' is not defined on type f32"),
        ("Y[0, 0] = f32(true + false)", "'add' is not defined on type bool"),
        ("Y[0, 0] = f32(1 and 2)", "'and' is not defined on type i64"),
        ("Y[0, 0] = f32(~1.0)", "'invert' is not defined on type f32"),
        ("Y[0, 0] = f32(not 1)", "'not' is not defined on type i64"),
        ("Y[0, 0] = f32(exp(1))", "function 'exp' is not defined on type i64"),
        ("Y[0, 0] = pow(1.0, f32(1.0f64) + 1.0f64)", "'add' meets operands"),
        ("Y[0, 0] = select(1, 1.0, 2.0)", "select on i64, f32 and f32"),
        ("Y[0, 0] = f32(300u8)", "300 is not a value of type u8"),
        ("Y[0.0, 0] = 1.0", "subscript 0.0 has type f32, not i64"),
        ("Y[0, 0] = X[0, ramp(0, 1, 4)]", "a vector of 4 lanes is stored to 1 elements"),
        ("Y[0, ramp(0, 1, 4)] = X[0, ramp(0, 1, 8)]", "a vector of 8 lanes is stored to 4 elements"),
        ("Y[0, ramp(0, 1, 4)] = X[0, ramp(0, 1, 4)] + X[0, ramp(0, 1, 8)]", "lanes"),
        ("Y[0, ramp(0, 1, 4)] = 1.0 where ramp(0, 1, 8) < N", "mask ramp(0, 1, 8) < N is bool of 8 lanes"),
        ("Y[0, ramp(0, 1, 4)] = 1.0 where N", "mask N is i64 of 1 lanes"),
        ("Y[0, 0] = f32(broadcast(ramp(0, 1, 4), 4))", "a broadcast of 4 lanes to 4"),
        ("Y[0, 0] = f32(ramp(ramp(0, 1, 4), 1, 4))", "the base of a ramp"),
        ("Y[0, 0] = f32(reduce_and(ramp(0, 1, 4)))", "combining lanes by 'and' is not defined on type i64"),
        ("if N:\n  pass", "a condition, N, has type i64, not bool"),
        ("for i in 0..4.0:\n  pass", "a loop bound, 4.0, has type f32, not i64"),
        ("for i in 0..4 step 0:\n  pass", "loop 'i' has the step 0"),
        ("vector for v in 1..4 length 4:\n  Y[0, v] = 1.0", "does not run from 0 in steps of 1"),
        ("vector for v in 0..4 step 2 length 4:\n  Y[0, v] = 1.0", "does not run from 0 in steps of 1"),
        ("vector for v in 0..4:\n  Y[0, v] = 1.0", "has no planned number of lanes"),
        ("vector for v in 0..9 length 8:\n  Y[0, v] = 1.0", "more iterations than its 8 lanes"),
        ("for v in 0..8 length 8:\n  Y[0, v] = 1.0", "plans 8 lanes but is not a vector loop"),
        (
            "vector for v in 0..8 length 8:\n  parallel for i in 0..4:\n    pass",
            "parallel loop 'i' inside vector",
        ),
        ("alloc acc: register f32[4]\nfor i in 0..4:\n  acc[i] = 0.0", "not constant after unrolling"),
        ("alloc acc: register f32[4]\nunroll for i in 0..N:\n  acc[i] = 0.0", "not constant after unrolling"),
        ("alloc acc: register f32[4]\nacc[i64(W[0])] = 0.0", "not constant after unrolling"),
        ("alloc acc: register f32[N]\npass", "has no constant shape"),
        ("alloc t: local f32[4] align 48\npass", "no power of two"),
        ("parallel for i in 0..4:\n  barrier", "a barrier inside a parallel loop"),
        ('check N > 0 else 0, "zero"', "the code 0 of a check is not positive"),
        ("prefetch X[0]", "rank 2 and is used with 1 subscripts"),
    ],
)
def test_bad_programs_are_refused_with_a_pointer(body: str, what: str) -> None:
    with pytest.raises(InvalidProgram) as caught:
        verify(kernel(body))
    assert what in caught.value.what
    (marked,) = (line for line in caught.value.where.split("\n") if "# <== " in line)
    assert caught.value.what in " ".join(marked.split())


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (Binary("plus", Const(1.0, F32), Const(1.0, F32)), "no operator 'plus'"),
        (Unary("minus", Const(1.0, F32)), "no unary operator 'minus'"),
        (Call("exp", (Const(1.0, F32), Const(1.0, F32))), "no function 'exp' of 2 operands"),
        (ReduceLanes("sub", Var("x", F32)), "variable 'x' is not defined"),
        (ReduceLanes("sub", Const(1.0, F32)), "lanes cannot be combined by 'sub'"),
    ],
)
def test_unknown_operators_are_refused(value: Binary, what: str) -> None:
    k = Kernel("f", (), (Param(Buffer("Y", F32, ()), Role.OUTPUT),), Store("Y", (), value))
    with pytest.raises(InvalidProgram, match=what):
        verify(k)


def test_the_pointer_is_shown_with_its_surroundings_only() -> None:
    body = (
        "\n".join(f"T[{i % 4}] = 0.0" for i in range(100))
        + "\nT[0] = 1.0f64\n"
        + "\n".join(["T[0] = 0.0"] * 100)
    )
    with pytest.raises(InvalidProgram) as caught:
        verify(kernel(body))
    assert 30 < len(caught.value.where.split("\n")) < 50
