"""Programs: steps, slots, threads, barriers, local memory, run-time checks, and object code for other machines."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from polydl.artifact import TensorSpec
from polydl.codegen.llvm import compile_program, emit_asm, emit_llvm
from polydl.codegen.program import Program, Slot, Space, Step
from polydl.dtypes import F32, I32, I64, INDEX, DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const, Expr, Load, Select, Var, and_, call, cast
from polydl.ir.kernel import (
    Alloc,
    Barrier,
    Binding,
    Block,
    Buffer,
    Check,
    For,
    If,
    Kernel,
    Let,
    Memory,
    Param,
    Role,
    Stmt,
    Store,
)
from polydl.targets import native, parse
from tests.codegen.native import LEVELS, level, program_of, run_kernel
from tests.codegen.native import call as call_artifact

N = 100
VI, VJ, VK = Var("i"), Var("j"), Var("k")


def c(n: int) -> Const:
    return Const(n, INDEX)


def buffer(name: str, *shape: int, dtype=F32, memory=Memory.GLOBAL) -> Buffer:
    return Buffer(name, dtype, tuple(c(n) for n in shape), memory)


def loop(
    var: str, n: int | Expr, body: Stmt, binding: Binding = Binding.SEQUENTIAL, length: int | None = None
) -> For:
    return For(var, c(0), c(n) if isinstance(n, int) else n, body, binding, 1, length)


def load(name: str, *index: Expr, dtype=F32) -> Load:
    return Load(name, index, dtype)


def scale(factor: float, n: int = N) -> Kernel:
    """Y = factor * X, in parallel vectors of 16."""
    at = VI * 16 + VJ
    body = loop(
        "j",
        Select(n - VI * 16 < 16, n - VI * 16, c(16)),
        Store("Y", (at,), load("X", at) * factor),
        Binding.VECTOR,
        16,
    )
    params = (Param(buffer("X", n), Role.INPUT), Param(buffer("Y", n), Role.OUTPUT))
    return Kernel("scale", (), params, loop("i", -(-n // 16), body, Binding.PARALLEL))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_steps_run_in_order_over_workspace_and_constants(threads: int) -> None:
    """X -> workspace -> workspace -> Y with a shared kernel; then a constant is added."""
    double, plus = (
        scale(2.0),
        Kernel(
            "plus",
            (),
            (
                Param(buffer("A", N), Role.INPUT),
                Param(buffer("B", N), Role.CONSTANT),
                Param(buffer("C", N), Role.OUTPUT),
            ),
            loop("i", N, Store("C", (VI,), load("A", VI) + load("B", VI)), Binding.PARALLEL),
        ),
    )
    w0, w1 = Slot(Space.WORKSPACE, 0, 0), Slot(Space.WORKSPACE, 0, 448)
    steps = (
        Step("one", double, (Slot(Space.INPUT, 0), w0), flops=N, bytes=8 * N),
        Step("two", double, (w0, w1)),
        Step("three", scale(2.0), (w1, w0)),
        Step("add", plus, (w0, Slot(Space.CONSTANT, 0, 64), Slot(Space.OUTPUT, 0))),
    )
    spec = (TensorSpec("x", F32, (N,)),), (TensorSpec("y", F32, (N,)),)
    artifact = compile_program(
        Program("net", steps, *spec, constants_bytes=64 + 4 * N, workspace_bytes=900), native()
    )
    assert [s.name for s in artifact.steps] == ["one", "two", "three", "add"]
    assert artifact.steps[0].flops == N
    assert artifact.workspace_bytes >= 900
    constants = np.arange(16 + N, dtype=np.float32)
    x, y = np.arange(N, dtype=np.float32), np.zeros(N, np.float32)
    for _ in range(20):
        y[:] = 0
        assert call_artifact(artifact, [x], [y], threads=threads, constants=constants) == [0] * threads
        np.testing.assert_array_equal(y, 8 * x + constants[16:])


def test_equal_kernels_are_compiled_once() -> None:
    program = Program(
        "twice",
        tuple(Step(f"s{k}", scale(2.0), (Slot(Space.INPUT, 0), Slot(Space.OUTPUT, 0))) for k in range(3)),
        (TensorSpec("x", F32, (N,)),),
        (TensorSpec("y", F32, (N,)),),
    )
    assert emit_llvm(program, native()).count("define internal i32 @k") == 1


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_serial_parts_run_once_and_shared_memory_is_shared(threads: int) -> None:
    """Thread 0 counts; all fill a buffer that is allocated around the parallel loops; all read each other's part."""
    whole = buffer("T", 64, memory=Memory.LOCAL)
    mine = buffer("M", 1, memory=Memory.LOCAL)
    body = Block(
        (
            Store("COUNT", (c(0),), load("COUNT", c(0)) + 1.0),
            Alloc(
                whole,
                Block(
                    (
                        loop("i", 64, Store("T", (VI,), load("X", VI) + 1.0), Binding.PARALLEL),
                        Barrier(),
                        loop(
                            "i",
                            64,
                            Alloc(
                                mine,
                                Block(
                                    (
                                        Store("M", (c(0),), load("T", 63 - VI)),
                                        Store("Y", (VI,), load("M", c(0))),
                                    )
                                ),
                            ),
                            Binding.PARALLEL,
                        ),
                    )
                ),
            ),
            Barrier(),
            Store("COUNT", (c(1),), load("Y", c(0)) + load("Y", c(63))),
        )
    )
    params = (
        Param(buffer("X", 64), Role.INPUT),
        Param(buffer("Y", 64), Role.OUTPUT),
        Param(buffer("COUNT", 2), Role.INOUT),
    )
    kernel = Kernel("shared", (), params, body)
    artifact = compile_program(program_of(kernel), native())
    assert artifact.scratch_bytes >= 4
    assert artifact.workspace_bytes >= 256
    for _ in range(20):
        x, y, count = np.arange(64, dtype=np.float32), np.zeros(64, np.float32), np.zeros(2, np.float32)
        assert call_artifact(artifact, [x], [y, count], threads=threads) == [0] * threads
        np.testing.assert_array_equal(y, x[::-1] + 1)
        np.testing.assert_array_equal(count, [1.0, 65.0])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 7), (1, 16)])
def test_collapsed_parallel_loops(threads: int, shape: tuple[int, int]) -> None:
    n, m = shape
    nest = loop(
        "i",
        n,
        loop("j", m, Store("Y", (VI, VJ), cast(F32, VI * 10 + VJ)), Binding.PARALLEL),
        Binding.PARALLEL,
    )
    y = np.zeros(shape, np.float32)
    codes = run_kernel(
        Kernel("nest", (), (Param(buffer("Y", n, m), Role.OUTPUT),), nest),
        native(),
        {"Y": y},
        threads=threads,
    )
    assert codes == [0] * threads
    np.testing.assert_array_equal(y, np.arange(n)[:, None] * 10 + np.arange(m))


def gather(barriers: bool) -> Kernel:
    """Y[i] = X[P[i]], each subscript checked; then, perhaps behind a barrier, Y[i] doubled."""
    index = Var("p")
    first = loop(
        "i",
        8,
        Let(
            "p",
            Load("P", (VI,), I64),
            Block(
                (
                    Check(and_(index >= 0, index < 16), 1, "index out of range"),
                    Store("Y", (VI,), load("X", index)),
                )
            ),
        ),
        Binding.PARALLEL,
    )
    second = loop("i", 8, Store("Y", (VI,), load("Y", VI) * 2.0), Binding.PARALLEL)
    params = (
        Param(buffer("X", 16), Role.INPUT),
        Param(buffer("P", 8, dtype=I64), Role.INPUT),
        Param(buffer("Y", 8), Role.OUTPUT),
    )
    return Kernel("gather", (), params, Block((first, Barrier(), second)) if barriers else first)


@pytest.mark.parametrize("barriers", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_failed_check_reports_its_code_and_blocks_nobody(threads: int, barriers: bool) -> None:
    artifact = compile_program(program_of(gather(barriers)), native())
    assert artifact.checks == ("index out of range",)
    x, p, y = np.arange(16, dtype=np.float32), np.arange(8)[::-1].copy(), np.zeros(8, np.float32)
    assert call_artifact(artifact, [x, p], [y], threads=threads) == [0] * threads
    np.testing.assert_array_equal(y, x[p] * (2 if barriers else 1))
    p[7] = 1 << 40
    codes = call_artifact(artifact, [x, p], [y], threads=threads)
    assert codes == [0] * (threads - 1) + [1]


def test_checks_are_numbered_over_the_whole_program() -> None:
    def checked(message: str) -> Kernel:
        body = Block((Check(Load("P", (c(0),), I64) > 0, 1, message), Store("Y", (c(0),), Const(1.0, F32))))
        return Kernel(
            "checked",
            (),
            (Param(buffer("P", 1, dtype=I64), Role.INPUT), Param(buffer("Y", 1), Role.OUTPUT)),
            body,
        )

    steps = tuple(
        Step(m, checked(m), (Slot(Space.INPUT, k), Slot(Space.OUTPUT, 0)))
        for k, m in enumerate(("first", "second"))
    )
    specs = tuple(TensorSpec(n, I64, (1,)) for n in "ab")
    artifact = compile_program(Program("p", steps, specs, (TensorSpec("y", F32, (1,)),)), native())
    assert artifact.checks == ("first", "second")
    good, bad, y = np.ones(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.float32)
    assert call_artifact(artifact, [good, bad], [y]) == [2]
    assert call_artifact(artifact, [bad, bad], [y]) == [1]


def test_symbolic_sizes() -> None:
    n, m = Var("n"), Var("m")
    nest = loop("i", n, loop("j", m, Store("Y", (VJ, VI), load("X", VI, VJ)), Binding.VECTOR, 16))
    rows = Buffer("X", F32, (n, m)), Buffer("Y", F32, (m, n))
    kernel = Kernel("transpose", ("n", "m"), (Param(rows[0], Role.INPUT), Param(rows[1], Role.OUTPUT)), nest)
    for shape in ((1, 1), (5, 13), (3, 16)):
        x, y = np.random.default_rng(0).random(shape).astype(np.float32), np.zeros(shape[::-1], np.float32)
        assert run_kernel(kernel, native(), {"X": x, "Y": y}, {"n": shape[0], "m": shape[1]}) == [0]
        np.testing.assert_array_equal(y, x.T)


def test_symbolic_local_buffers_are_refused() -> None:
    local = Buffer("T", F32, (Var("n"),), Memory.LOCAL)
    body = Alloc(local, Store("Y", (c(0),), Const(1.0, F32)))
    kernel = Kernel("k", ("n",), (Param(buffer("Y", 1), Role.OUTPUT),), body)
    with pytest.raises(InvalidProgram, match="symbolic shape"):
        emit_llvm(kernel, native())


def micro_kernel(width: int, stride: Expr | int) -> Kernel:
    """C = A * B for a register tile of 6 rows, those of A `stride` elements apart, and 64 steps."""
    acc = buffer("acc", 6, width, memory=Memory.REGISTER)
    u, v = Var("u"), Var("v")

    def tile(body: Stmt) -> Stmt:
        return loop("u", 6, loop("v", width, body, Binding.VECTOR, width), Binding.UNROLL)

    update = Store("acc", (u, v), load("acc", u, v) + load("A", u, VK) * load("B", VK, v))
    body = Alloc(
        acc,
        Block(
            (
                tile(Store("acc", (u, v), Const(0.0, F32))),
                loop("k", 64, tile(update)),
                tile(Store("C", (u, v), load("acc", u, v))),
            )
        ),
    )
    params = (
        Param(Buffer("A", F32, (c(6), c(stride) if isinstance(stride, int) else stride)), Role.INPUT),
        Param(buffer("B", 64, width), Role.CONSTANT),
        Param(buffer("C", 6, width), Role.OUTPUT),
    )
    return Kernel("tile", () if isinstance(stride, int) else ("n",), params, body)


@pytest.mark.parametrize("stride", [64, "n"])
@pytest.mark.parametrize("target", ["x86-64-avx512", "x86-64-avx2"])
def test_register_tiles_stay_in_registers(target: str, stride: int | str) -> None:
    """A micro kernel of 6 rows by 2 vectors: no store and no reload of an accumulator in the loop.

    Two steps are spelled out at a time, unless each row has an address of its own: registers would not suffice.
    """
    machine = parse(target)
    kernel = micro_kernel(2 * machine.lanes(4), stride if isinstance(stride, int) else Var(stride))
    text = emit_asm(kernel, machine)
    instructions = [line for line in text.splitlines() if line.startswith("\tv")]
    assert sum("vfmadd" in line for line in instructions) == (24 if stride == 64 else 12)
    assert sum("vmovup" in line and line.rstrip().endswith(")") for line in instructions) == 12, (
        "stores beyond C's"
    )
    assert "(%rsp)" not in text.split("tile:")[1].split("retq")[0], "spilled"


def test_object_code_for_aarch64() -> None:
    target = parse("aarch64")
    artifact = compile_program(program_of(scale(3.0)), target)
    assert artifact.code[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", artifact.code, 18) == (183,)  # EM_AARCH64
    assert artifact.triple.startswith("aarch64")
    assert "fmul" in emit_asm(scale(3.0), target)
    assert ".4s" in emit_asm(scale(3.0, 4096), target)


def test_the_same_program_gives_the_same_bytes() -> None:
    assert compile_program(program_of(scale(2.0)), native()) == compile_program(
        program_of(scale(2.0)), native()
    )


def test_select_does_not_touch_the_other_side() -> None:
    """Padding: reading outside of X would fault or show garbage; scalars and vectors."""
    row = VI - 1
    inside = and_(row >= 0, row < 4)
    value = Select(inside, load("X", row, VJ), Const(-1.0, F32))
    for binding in (Binding.SEQUENTIAL, Binding.VECTOR):
        kernel = Kernel(
            "pad",
            (),
            (Param(buffer("X", 4, 20), Role.INPUT), Param(buffer("Y", 6, 20), Role.OUTPUT)),
            loop("i", 6, loop("j", 20, Store("Y", (VI, VJ), value), binding, 20)),
        )
        x, y = np.random.default_rng(0).random((4, 20)).astype(np.float32), np.zeros((6, 20), np.float32)
        assert run_kernel(kernel, level("native"), {"X": x, "Y": y}) == [0]
        np.testing.assert_array_equal(y, np.pad(x, ((1, 1), (0, 0)), constant_values=-1))


def test_strided_reversed_and_gathered_vectors() -> None:
    index = Load("P", (VJ,), I32)
    outputs = {
        "two": load("X", VJ * 2),
        "three": load("X", VJ * 3 + 1),
        "back": load("X", 39 - VJ),
        "at": load("X", cast(INDEX, index)),
    }
    stores = tuple(Store(name, (VJ,), e) for name, e in outputs.items())
    params = [Param(buffer("X", 64), Role.INPUT), Param(buffer("P", 20, dtype=I32), Role.INPUT)]
    params += [Param(buffer(name, 20), Role.OUTPUT) for name in outputs]
    kernel = Kernel("strides", (), tuple(params), loop("j", 20, Block(stores), Binding.VECTOR, 20))
    rng = np.random.default_rng(0)
    x, p = rng.random(64).astype(np.float32), rng.integers(0, 64, 20).astype(np.int32)
    results = {name: np.zeros(20, np.float32) for name in outputs}
    assert run_kernel(kernel, native(), {"X": x, "P": p} | results) == [0]
    j = np.arange(20)
    for name, want in {"two": x[2 * j], "three": x[3 * j + 1], "back": x[39 - j], "at": x[p]}.items():
        np.testing.assert_array_equal(results[name], want, err_msg=name)


@pytest.mark.parametrize("target", ["native", "x86-64-avx2", "x86-64"])
def test_lanes_backwards_are_contiguous_and_turned(target: str) -> None:
    """Whole and conditional vectors from the last element to the first, stored so too; no gathers, no scatters."""
    some = If(load("X", VJ) > 0.5, Store("some", (19 - VJ,), load("X", 39 - VJ)))
    kernel = Kernel(
        "turned",
        (),
        (
            Param(buffer("X", 40), Role.INPUT),
            Param(buffer("all", 20), Role.OUTPUT),
            Param(buffer("some", 20), Role.INOUT),
        ),
        loop("j", 20, Block((Store("all", (19 - VJ,), load("X", VJ)), some)), Binding.VECTOR, 20),
    )
    x = np.random.default_rng(0).random(40).astype(np.float32)
    every, few = np.zeros(20, np.float32), np.full(20, -1, np.float32)
    assert run_kernel(kernel, parse(target), {"X": x, "all": every, "some": few}) == [0]
    j = np.arange(20)
    np.testing.assert_array_equal(every, x[19 - j])
    np.testing.assert_array_equal(few, np.where(x[19 - j] > 0.5, x[20 + j], -1))
    text = emit_llvm(kernel, parse(target))
    assert "gather" not in text
    assert "scatter" not in text


@pytest.mark.parametrize("name", LEVELS)
def test_f16_is_computed_and_stored(name: str) -> None:
    from polydl.dtypes import F16

    kernel = Kernel(
        "half",
        (),
        (Param(buffer("X", 33, dtype=F16), Role.INPUT), Param(buffer("Y", 33, dtype=F16), Role.OUTPUT)),
        loop("i", 33, Store("Y", (VI,), call("exp", load("X", VI, dtype=F16)) + 1.0), Binding.VECTOR, 33),
    )
    target = level(name)
    x, y = np.linspace(-4, 4, 33).astype(np.float16), np.zeros(33, np.float16)
    assert run_kernel(kernel, target, {"X": x, "Y": y}) == [0]
    np.testing.assert_allclose(y, np.exp(x.astype(np.float64)) + 1, rtol=2e-3)


@pytest.mark.parametrize("name", LEVELS)
def test_f16_is_converted_as_by_numpy(name: str) -> None:
    from polydl.dtypes import F16, F64

    target = level(name)
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    steps = np.array(
        [0, 1, 4095, 4096, 4097, 8191], np.uint32
    )  # around each f16, and half way to the next one
    singles = (halves.astype(np.float32).view(np.uint32)[:, None] + steps).ravel().view(np.float32)
    with np.errstate(all="ignore"):
        doubles = singles * (1 + 1e-9)
        cases: list[tuple[Any, DType, Any]] = [
            (halves, F32, halves.astype(np.float32)),
            (singles, F16, singles.astype(np.float16)),
            (doubles.astype(np.float64), F16, doubles.astype(np.float64).astype(np.float16)),
        ]
    for given, dtype, wanted in cases:
        source = {2: F16, 4: F32, 8: F64}[given.itemsize]
        parts = (Param(buffer("X", given.size, dtype=source), Role.INPUT),
                 Param(buffer("Y", given.size, dtype=dtype), Role.OUTPUT))  # fmt: skip
        body = loop("i", given.size, Store("Y", (VI,), cast(dtype, load("X", VI, dtype=source))))
        found = np.zeros(given.size, wanted.dtype)
        assert run_kernel(Kernel("convert", (), parts, body), target, {"X": given, "Y": found}) == [0]
        bits = f"u{found.itemsize}"
        same = (found.view(bits) == wanted.view(bits)) | (np.isnan(found) & np.isnan(wanted))
        np.testing.assert_array_equal(given[~same], [])


def test_conditionals_take_one_branch() -> None:
    body = loop("i", 10, If(VI < 4, Store("Y", (VI,), Const(1.0, F32)), Store("Y", (VI,), Const(2.0, F32))))
    y = np.zeros(10, np.float32)
    assert run_kernel(
        Kernel("cond", (), (Param(buffer("Y", 10), Role.OUTPUT),), body), native(), {"Y": y}
    ) == [0]
    np.testing.assert_array_equal(y, [1.0] * 4 + [2.0] * 6)
