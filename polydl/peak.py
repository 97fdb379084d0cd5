"""The machine's measured limits: multiply-adds a second and bytes a second, for rooflines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from polydl.artifact import Artifact, TensorSpec
from polydl.codegen.llvm import compile_program
from polydl.codegen.program import Program, Slot, Space, Step
from polydl.dtypes import F32
from polydl.ir.expr import Binary, Const, Expr, Load, Var, as_expr
from polydl.ir.kernel import Alloc, Block, Buffer, For, Kernel, Param, Role, Stmt, Store
from polydl.runtime import Module
from polydl.targets import Target, parse
from polydl.vocabulary import Binding, Memory

__all__ = ["Peak", "measure_peak"]

_STEPS: Final = 20_000
_STREAM: Final = 64 << 20  # bytes: more than a share of any last-level cache


@dataclass(frozen=True, slots=True)
class Peak:
    """Float32 operations and bytes read from memory a second, all `threads` together."""

    flops_per_second: float
    bytes_per_second: float


def measure_peak(target: str | Target = "native", threads: int = 1) -> Peak:
    """Run multiply-adds on registers, and a sum over a large array; the best of several rounds each."""
    machine = parse(target) if isinstance(target, str) else target
    lanes = machine.lanes(4)
    chains = 24 if machine.vector_registers >= 32 else 10
    work = 2.0 * _STEPS * chains * lanes * threads
    with Module(_compile(_multiply_adds(lanes, chains, threads), machine), threads=threads) as module:
        flops = work / _best(module, [np.full(lanes, 0.5, np.float32)])
    count = _STREAM // 4
    with Module(_compile(_sum(count, lanes, threads), machine), threads=threads) as module:
        rate = _STREAM / _best(module, [np.zeros(count, np.float32)])
    return Peak(flops, rate)


def _best(module: Module, inputs: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> float:
    return min(module.bench(*inputs, rounds=7).samples)


def _compile(kernel: Kernel, machine: Target) -> Artifact:
    def spec(p: Param) -> TensorSpec:
        return TensorSpec(
            p.buffer.name, p.buffer.dtype, tuple(int(e.value) for e in p.buffer.shape if isinstance(e, Const))
        )

    given, made = (tuple(p for p in kernel.params if (p.role is Role.OUTPUT) == out) for out in (False, True))
    args = (Slot(Space.INPUT, 0), Slot(Space.OUTPUT, 0))
    step = Step(kernel.name, kernel, args, False)
    return compile_program(
        Program(kernel.name, (step,), tuple(map(spec, given)), tuple(map(spec, made))), machine
    )


def _kernel(name: str, size: int, out: int, body: Stmt) -> Kernel:
    x = Buffer("x", F32, (as_expr(size),))
    y = Buffer("y", F32, (as_expr(out),))
    return Kernel(name, (), (Param(x, Role.INPUT), Param(y, Role.OUTPUT)), body)


def _lane_loop(lanes: int, body: Stmt) -> Stmt:
    return For("v", as_expr(0), as_expr(lanes), body, Binding.VECTOR, 1, lanes)


def _accumulators(lanes: int, chains: int, steps: Expr, value: Expr, fused: bool) -> Stmt:
    """`acc[j] = acc[j] * acc0 + x` or `acc[j] += value` over `steps` steps, unrolled over the chains; then y = sum."""
    acc = Buffer("acc", F32, (as_expr(chains * lanes),), Memory.REGISTER)
    place: tuple[Expr, ...] = (Var("j") * lanes + Var("v"),)
    old = Load("acc", place, F32)
    new = Binary("add", Binary("mul", old, value), value) if fused else Binary("add", old, value)

    def over(var: str, inner: Stmt) -> Stmt:
        return For(var, as_expr(0), as_expr(chains), _lane_loop(lanes, inner), Binding.UNROLL)

    total = Store(
        "y",
        (Var("t") * lanes + Var("v"),),
        Binary("add", Load("y", (Var("t") * lanes + Var("v"),), F32), old),
    )
    zero = _lane_loop(lanes, Store("y", (Var("t") * lanes + Var("v"),), Const(0.0, F32)))
    body = Block(
        (
            zero,
            over("j", Store("acc", place, Const(0.0, F32))),
            For("s", as_expr(0), steps, over("j", Store("acc", place, new))),
            over("j", total),
        )
    )
    return Alloc(acc, body)


def _multiply_adds(lanes: int, chains: int, threads: int) -> Kernel:
    inner = _accumulators(lanes, chains, as_expr(_STEPS), Load("x", (Var("v"),), F32), fused=True)
    return _kernel(
        "fma_peak", lanes, threads * lanes, For("t", as_expr(0), as_expr(threads), inner, Binding.PARALLEL)
    )


def _sum(count: int, lanes: int, threads: int) -> Kernel:
    chains = 8
    steps = count // (threads * chains * lanes)
    place = (Var("t") * steps + Var("s")) * (chains * lanes) + Var("j") * lanes + Var("v")
    inner = _accumulators(lanes, chains, as_expr(steps), Load("x", (place,), F32), fused=False)
    return _kernel(
        "stream", count, threads * lanes, For("t", as_expr(0), as_expr(threads), inner, Binding.PARALLEL)
    )
