"""Every operator of the expression contract, compiled for every x86 level the host runs, against the interpreter."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest

from polydl.dtypes import BOOL, F32, F64, I8, I16, I32, I64, INDEX, U8, U16, U32, U64, DType
from polydl.ir.expr import BINARY_OPS, COMPARISONS, Binary, Cast, Const, Expr, Load, Unary, Var
from polydl.ir.interpret import interpret
from polydl.ir.kernel import Binding, Block, Buffer, For, Kernel, Param, Role, Stmt, Store
from tests.codegen.native import LEVELS, level, run_kernel

NUMBERS = (F32, F64, I8, I16, I32, I64, U8, U16, U32, U64)
INTEGER_ONLY = {"floordiv", "mod", "bitand", "bitor", "bitxor", "shl", "shr"}


def interesting(dtype: DType, count: int) -> np.ndarray:
    """`count` values: the corners of the type and random ones."""
    rng = np.random.default_rng(zlib.crc32(dtype.name.encode()))
    if dtype == BOOL:
        return rng.integers(0, 2, count).astype(bool)
    if dtype.is_float:
        info = np.finfo(dtype.numpy)
        corners = [0.0, -0.0, 1, -1, np.nan, np.inf, -np.inf, 0.5, -1.5, 2.5, float(info.max), float(info.tiny),
                   127.9, -129, 255.5, 65536, 2.0**31, -(2.0**31) - 1000, 2.0**32, 2.0**63, -(2.0**63), 2.0**64,
                   1e30]  # fmt: skip
        values = np.concatenate([corners, rng.standard_normal(count) * 10.0 ** rng.integers(-3, 12, count)])
    else:
        info = np.iinfo(dtype.numpy)
        corners = [info.min, info.max, 0, 1, 2, 3, info.max - 1, info.min + 1, dtype.bits, dtype.bits - 1, 7]
        values = np.concatenate(
            [
                np.array(corners, dtype.numpy),
                np.array([-1]).astype(dtype.numpy),
                rng.integers(info.min, info.max, count, dtype.numpy),
            ]
        )
    return values.astype(dtype.numpy)[:count]


def pairs(dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of corners, then random pairs."""
    few = interesting(dtype, 22)
    a, b = (np.array(x, dtype.numpy) for x in zip(*itertools.product(few, few)))
    return a, b


def elementwise(
    name: str, inputs: dict[str, DType], outputs: dict[str, Expr], n: int, binding: Binding
) -> Kernel:
    """`OUT[i] = expression over IN[i]` for every output, in one loop over n."""
    i = Var("i")
    length = Const(n, INDEX)
    stores: list[Stmt] = [Store(out, (i,), e) for out, e in outputs.items()]
    params = [Param(Buffer(x, t, (length,)), Role.INPUT) for x, t in inputs.items()]
    params += [Param(Buffer(x, e.dtype, (length,)), Role.OUTPUT) for x, e in outputs.items()]
    lanes = n if binding == Binding.VECTOR else None
    loop = For("i", Const(0, INDEX), length, Block(tuple(stores)), binding, 1, lanes)
    return Kernel(name, (), tuple(params), loop)


def check(kernel: Kernel, inputs: dict[str, np.ndarray], target_name: str) -> None:
    """Compiled and interpreted results are the same bits (NaN payloads apart)."""
    target = level(target_name)
    outs = {p.buffer.name: p.buffer.dtype.numpy for p in kernel.params if p.role == Role.OUTPUT}
    n = len(next(iter(inputs.values())))
    expected = {k: np.zeros(n, t) for k, t in outs.items()}
    actual = {k: np.zeros(n, t) for k, t in outs.items()}
    assert interpret(kernel, inputs | expected, {}) == 0
    assert run_kernel(kernel, target, inputs | actual) == [0]
    for name, want in expected.items():
        got = actual[name]
        wrong = ~((want == got) | ((want != want) & (got != got)))
        k = int(np.argmax(wrong))
        detail = {x: v[k] for x, v in inputs.items()}
        assert not wrong.any(), f"{kernel.name} {name} {detail}: expected {want[k]!r}, got {got[k]!r}"


@pytest.mark.parametrize("binding", [Binding.SEQUENTIAL, Binding.VECTOR])
@pytest.mark.parametrize("dtype", [*NUMBERS, BOOL], ids=str)
@pytest.mark.parametrize("target", LEVELS)
def test_binary_operators(target: str, dtype: DType, binding: Binding) -> None:
    a, b = Load("A", (Var("i"),), dtype), Load("B", (Var("i"),), dtype)
    if dtype == BOOL:
        ops = {"and", "or"} | COMPARISONS
    else:
        ops = BINARY_OPS - {"and", "or"} - (INTEGER_ONLY if dtype.is_float else set())
    x, y = pairs(dtype)
    kernel = elementwise(
        "binary", {"A": dtype, "B": dtype}, {op: Binary(op, a, b) for op in sorted(ops)}, len(x), binding
    )
    check(kernel, {"A": x, "B": y}, target)


@pytest.mark.parametrize("dtype", [I32, I64, U8, I8], ids=str)
@pytest.mark.parametrize("target", LEVELS)
def test_operators_with_a_constant(target: str, dtype: DType) -> None:
    a = Load("A", (Var("i"),), dtype)
    numbers = [0, 1, 2, 7, 16, dtype.bits] + ([-1, -8, -5] if dtype.kind == "i" else [])
    ops = ["floordiv", "mod", "div", "shl", "shr", "min", "max", "mul"]
    outputs = {f"{op}_{n % 256}": Binary(op, a, Const(n, dtype)) for op in ops for n in numbers}
    x = interesting(dtype, 64)
    check(elementwise("constant", {"A": dtype}, outputs, len(x), Binding.VECTOR), {"A": x}, target)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("target", LEVELS)
def test_extremes_with_a_constant(target: str, dtype: DType) -> None:
    a = Load("A", (Var("i"),), dtype)
    outputs: dict[str, Expr] = {}
    for name, number in (("zero", 0.0), ("six", 6.0), ("nan", float("nan"))):
        for op in ("min", "max"):
            outputs[f"{op}_{name}"] = Binary(op, a, Const(number, dtype))
            outputs[f"{name}_{op}"] = Binary(op, Const(number, dtype), a)
    x = interesting(dtype, 100)
    check(elementwise("extremes", {"A": dtype}, outputs, len(x), Binding.VECTOR), {"A": x}, target)


@pytest.mark.parametrize("dtype", [*NUMBERS, BOOL], ids=str)
@pytest.mark.parametrize("target", LEVELS)
def test_unary_operators(target: str, dtype: DType) -> None:
    a = Load("A", (Var("i"),), dtype)
    ops = ["not"] if dtype == BOOL else ["neg", "abs"] + ([] if dtype.is_float else ["invert"])
    x = interesting(dtype, 77)
    kernel = elementwise("unary", {"A": dtype}, {op: Unary(op, a) for op in ops}, len(x), Binding.VECTOR)
    check(kernel, {"A": x}, target)


@pytest.mark.parametrize("binding", [Binding.SEQUENTIAL, Binding.VECTOR])
@pytest.mark.parametrize("dtype", [*NUMBERS, BOOL], ids=str)
@pytest.mark.parametrize("target", LEVELS)
def test_casts(target: str, dtype: DType, binding: Binding) -> None:
    a = Load("A", (Var("i"),), dtype)
    x = interesting(dtype, 77)
    outputs: dict[str, Expr] = {t.name: Cast(t, a) for t in (*NUMBERS, BOOL) if t != dtype}
    check(elementwise("casts", {"A": dtype}, outputs, len(x), binding), {"A": x}, target)
