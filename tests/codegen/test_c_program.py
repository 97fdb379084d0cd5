"""C programs: steps, threads, barriers, local memory, checks; made kernels against the interpreter; sanitizers; ARM."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polydl.artifact import TensorSpec
from polydl.codegen.c import compile_to_c, emit_c
from polydl.codegen.embed import write_source
from polydl.codegen.program import Program, Slot, Space, Step
from polydl.dtypes import BOOL, F32, I32, I64, INDEX
from polydl.errors import InvalidProgram
from polydl.ir.expr import Binary, Cast, Const, Load, Select, Var, and_, call, cast, eq, maximum
from polydl.ir.interpret import interpret
from polydl.ir.kernel import (
    Alloc,
    Barrier,
    Binding,
    Block,
    Buffer,
    Check,
    For,
    Kernel,
    Memory,
    Param,
    Role,
    Store,
)
from polydl.targets import native, parse
from tests.codegen.from_c import STRICT, build, compiler, run_kernel, run_program
from tests.codegen.kernels import arrays, kernels
from tests.codegen.native import program_of
from tests.codegen.native import run_kernel as run_llvm
from tests.codegen.test_llvm_program import VI, VJ, VK, N, buffer, c, gather, load, loop, scale
from tests.codegen.test_llvm_semantics import elementwise, interesting, pairs

# ---- made kernels --------------------------------------------------------------------------------


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(kernels(), st.sampled_from(["x86-64", "x86-64-avx2", "x86-64-avx512"]), st.sampled_from([1, 2]))
def test_made_kernels_agree_with_the_interpreter(
    made: tuple[Kernel, dict[str, int]], target: str, threads: int
) -> None:
    kernel, sizes = made
    want, got = arrays(), arrays()
    assert interpret(kernel, want, sizes) == 0
    assert run_kernel(kernel, parse(target), got, sizes, threads) == [0] * threads
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


# ---- programs ------------------------------------------------------------------------------------


def chain() -> Program:
    """X -> workspace -> workspace -> Y with a shared kernel; then a constant is added."""
    plus = Kernel(
        "plus", (),
        (Param(buffer("A", N), Role.INPUT), Param(buffer("B", N), Role.CONSTANT), Param(buffer("C", N), Role.OUTPUT)),
        loop("i", N, Store("C", (VI,), load("A", VI) + load("B", VI)), Binding.PARALLEL),
    )  # fmt: skip
    w0, w1 = Slot(Space.WORKSPACE, 0, 0), Slot(Space.WORKSPACE, 0, 448)
    steps = (
        Step("one", scale(2.0), (Slot(Space.INPUT, 0), w0)),
        Step("two", scale(2.0), (w0, w1)),
        Step("three */ /* ??/", scale(2.0), (w1, w0)),
        Step("add", plus, (w0, Slot(Space.CONSTANT, 0, 64), Slot(Space.OUTPUT, 0))),
    )
    spec = (TensorSpec("x", F32, (N,)),), (TensorSpec("y", F32, (N,)),)
    return Program("net", steps, *spec, constants_bytes=64 + 4 * N, workspace_bytes=900)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_steps_run_in_order_over_workspace_and_constants(threads: int) -> None:
    program = chain()
    constants = np.arange(16 + N, dtype=np.float32)
    x, y = np.arange(N, dtype=np.float32), np.zeros(N, np.float32)
    for _ in range(20):
        y[:] = 0
        assert run_program(program, native(), [x], [y], (), threads, constants) == [0] * threads
        np.testing.assert_array_equal(y, 8 * x + constants[16:])
    assert emit_c(program, native()).count("static NOINLINE int32_t k") == 2, "equal kernels are one function"
    assert emit_c(program, native()) == emit_c(chain(), native())


@pytest.mark.parametrize("threads", [1, 3])
def test_serial_parts_run_once_and_shared_memory_is_shared(threads: int) -> None:
    whole, mine = buffer("T", 64, memory=Memory.LOCAL), buffer("M", 1, memory=Memory.LOCAL)
    second = Alloc(mine, Block((Store("M", (c(0),), load("T", 63 - VI)), Store("Y", (VI,), load("M", c(0))))))
    fill = loop("i", 64, Store("T", (VI,), load("X", VI) + 1.0), Binding.PARALLEL)
    body = Block((
        Store("COUNT", (c(0),), load("COUNT", c(0)) + 1.0),
        Alloc(whole, Block((fill, Barrier(), loop("i", 64, second, Binding.PARALLEL)))),
        Barrier(),
        Store("COUNT", (c(1),), load("Y", c(0)) + load("Y", c(63))),
    ))  # fmt: skip
    outputs = (Param(buffer("Y", 64), Role.OUTPUT), Param(buffer("COUNT", 2), Role.INOUT))
    params = (Param(buffer("X", 64), Role.INPUT), *outputs)
    program = program_of(Kernel("shared", (), params, body))
    for _ in range(20):
        x, y, count = np.arange(64, dtype=np.float32), np.zeros(64, np.float32), np.zeros(2, np.float32)
        assert run_program(program, native(), [x], [y, count], (), threads) == [0] * threads
        np.testing.assert_array_equal(y, x[::-1] + 1)
        np.testing.assert_array_equal(count, [1.0, 65.0])


@pytest.mark.parametrize("barriers", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_failed_check_reports_its_code_and_blocks_nobody(threads: int, barriers: bool) -> None:
    program = program_of(gather(barriers))
    assert compile_to_c(program, native())[1].checks == ("index out of range",)
    x, p, y = np.arange(16, dtype=np.float32), np.arange(8)[::-1].copy(), np.zeros(8, np.float32)
    assert run_program(program, native(), [x, p], [y], (), threads) == [0] * threads
    np.testing.assert_array_equal(y, x[p] * (2 if barriers else 1))
    p[7] = 1 << 40
    assert run_program(program, native(), [x, p], [y], (), threads) == [0] * (threads - 1) + [1]


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
        emit_c(program_of(kernel), native())


def strides() -> Kernel:
    """Every kind of load and store, with and without masks; names that C would not like."""
    inside = and_(VJ >= 2, VJ < 17)
    outputs = {
        "two": load("X", VJ * 2), "three": load("X", VJ * 3 + 1), "int": load("X", 39 - VJ),
        "f32x16": load("X", cast(INDEX, Load("P", (VJ,), I32))),
        "double": Select(inside, load("X", VJ * 3 - 6), Const(7.0, F32)),
        "M_PI": Select(inside, load("X", cast(INDEX, Load("P", (VJ - 2,), I32))), Const(-0.0, F32)),
    }  # fmt: skip
    stores = [Store(name, (VJ,), e) for name, e in outputs.items()]
    stores += [Store("wide", (VJ * 2,), load("X", VJ)), Store("bits", (VJ,), eq(VJ % 3, 0))]
    params = [Param(buffer("X", 64), Role.INPUT), Param(buffer("P", 20, dtype=I32), Role.INPUT)]
    params += [Param(buffer(name, 20), Role.OUTPUT) for name in outputs]
    params += [Param(buffer("wide", 39), Role.INOUT), Param(buffer("bits", 20, dtype=BOOL), Role.OUTPUT)]
    return Kernel("strides", (), tuple(params), loop("j", 20, Block(tuple(stores)), Binding.VECTOR, 20))


@pytest.mark.parametrize("target", ["x86-64", "x86-64-avx512", "aarch64"])
def test_strided_gathered_and_masked_vectors(target: str) -> None:
    kernel = strides()
    rng = np.random.default_rng(0)
    given = {"X": rng.random(64).astype(np.float32), "P": rng.integers(0, 64, 20).astype(np.int32)}

    def fresh() -> dict[str, np.ndarray]:
        outs = [p.buffer for p in kernel.params if p.role != Role.INPUT]
        return {
            b.name: np.zeros([int(x.value) for x in b.shape if isinstance(x, Const)], b.dtype.numpy)
            for b in outs
        }

    want, got = fresh(), fresh()
    interpret(kernel, given | want, {})
    assert run_kernel(kernel, parse(target), given | got) == [0]
    for name, values in want.items():
        np.testing.assert_array_equal(got[name], values, err_msg=name)


def tile() -> Kernel:
    """A micro kernel of 6 rows by 2 vectors of 16."""
    u, v = Var("u"), Var("v")

    def nest(body: Store) -> For:
        return loop("u", 6, loop("v", 32, body, Binding.VECTOR, 32), Binding.UNROLL)

    update = Store("acc", (u, v), load("acc", u, v) + load("A", u, VK) * load("B", VK, v))
    first, last = Store("acc", (u, v), Const(0.0, F32)), Store("C", (u, v), maximum(load("acc", u, v), 0.0))
    acc = buffer("acc", 6, 32, memory=Memory.REGISTER)
    body = Alloc(acc, Block((nest(first), loop("k", 64, nest(update)), nest(last))))
    params = (Param(buffer("A", 6, 64), Role.INPUT), Param(buffer("B", 64, 32), Role.CONSTANT))
    return Kernel("tile", (), (*params, Param(buffer("C", 6, 32), Role.OUTPUT)), body)


def test_register_tiles_are_variables() -> None:
    machine = parse("x86-64-avx512")
    text = emit_c(program_of(tile()), machine)
    assert "f32x16 acc_0_0 = splat_f32x16(0.0f);" in text
    assert "f32x16 acc_5_16 = splat_f32x16(0.0f);" in text
    assert "acc[" not in text
    rng = np.random.default_rng(1)
    a, b = rng.random((6, 64)).astype(np.float32), rng.random((64, 32)).astype(np.float32)
    by_c, by_llvm = np.zeros((6, 32), np.float32), np.zeros((6, 32), np.float32)
    assert run_kernel(tile(), native(), {"A": a, "B": b, "C": by_c}) == [0]
    assert run_llvm(tile(), native(), {"A": a, "B": b, "C": by_llvm}) == [0]
    np.testing.assert_array_equal(by_c, by_llvm)


def test_accumulators_stay_in_registers(tmp_path: Path) -> None:
    """GCC keeps them there: no load or store of the stack between the multiply-adds."""
    compiler("gcc")
    if native().arch != "x86-64":
        pytest.skip("looks at x86 assembly")
    text = emit_c(program_of(tile()), parse("x86-64-avx512"))
    flags = ["-O3", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-S"]
    assembly = build(text, tmp_path, "gcc", flags, "model.s").read_text()
    body = re.split(r"\nk0_tile[.\w]*:", assembly)[1].split("\tret")[0]
    fused = [line for line in body.splitlines() if "vfmadd" in line]
    assert len(fused) >= 12
    assert all("%zmm" in line for line in fused)
    assert "(%rsp)" not in body


# ---- the text ------------------------------------------------------------------------------------


def everything() -> list[Program]:
    return [chain(), program_of(gather(True)), program_of(strides()), program_of(tile())]


@pytest.mark.parametrize("name", ["gcc", "clang"])
@pytest.mark.parametrize("flags", [(), ("-march=native",), ("-mavx2", "-mfma"), ("-fopenmp",)], ids=" ".join)
def test_no_warnings_whatever_the_flags(tmp_path: Path, name: str, flags: tuple[str, ...]) -> None:
    if name == "clang" and "-fopenmp" in flags:
        pytest.skip("clang's OpenMP header is a package of its own")
    for target in ("x86-64", "x86-64-avx512"):
        for program in everything():
            build(emit_c(program, parse(target)), tmp_path, name, ["-O2", *flags, "-c"], "model.o")


def test_no_globals_and_no_allocation(tmp_path: Path) -> None:
    compiler("gcc")
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    build(emit_c(chain(), native()), tmp_path, "gcc", ["-O2", "-c"], "model.o")
    done = subprocess.run(
        ["nm", "model.o"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    symbols = [line.split()[-2:] for line in done.stdout.splitlines()]
    assert [name for kind, name in symbols if kind == "T"] == ["polydl_net"]
    assert not [name for kind, name in symbols if kind in "BbDdCcGgSs"]
    assert {name for kind, name in symbols if kind == "U"} <= {
        "syscall",
        "memset",
        "memcpy",
        "_GLOBAL_OFFSET_TABLE_",
    }


def test_every_kernel_says_what_it_is() -> None:
    text = emit_c(chain(), native())
    assert "/* scale, for one, two, three * / / * __/. Loops:" in text
    assert "     parallel i in 0..7" in text
    assert "vector j in" in text


def test_no_undefined_behaviour(tmp_path: Path) -> None:
    """The sanitizer finds none where every operator meets every corner of its type, nor in the programs."""
    compiler("gcc")
    flags = [
        "-O1",
        "-shared",
        "-fPIC",
        "-fsanitize=undefined,float-cast-overflow",
        "-fno-sanitize-recover=all",
    ]
    script = ["import ctypes, numpy as np, sys"]
    tried = []
    for dtype in (I32, I64):
        a, b = Load("A", (VI,), dtype), Load("B", (VI,), dtype)
        ops = ["add", "sub", "mul", "div", "floordiv", "mod", "shl", "shr", "min", "max"]
        x, y = pairs(dtype)
        tried.append((elementwise("ops", {"A": dtype, "B": dtype}, {o: Binary(o, a, b) for o in ops}, len(x),
                                     Binding.SEQUENTIAL), {"A": x, "B": y}))  # fmt: skip
    x = interesting(F32, 80)
    a = Load("A", (VI,), F32)
    outputs = {t.name: Cast(t, a) for t in (I32, I64)} | {
        f: call(f, a) for f in ("exp", "log", "tanh", "erf")
    }
    tried.append((elementwise("casts", {"A": F32}, outputs, len(x), Binding.SEQUENTIAL), {"A": x}))
    tried.append((strides(), {"X": np.ones(64, np.float32), "P": np.arange(20, dtype=np.int32)}))
    for k, (kernel, arguments) in enumerate(tried):
        text, artifact = compile_to_c(program_of(kernel), native())
        build(text, tmp_path, "gcc", flags, f"model{k}.so")
        outs = [p.buffer for p in kernel.params if p.role != Role.INPUT]
        sizes = [
            int(np.prod([int(d.value) for d in b.shape if isinstance(d, Const)])) * b.dtype.bytes
            for b in outs
        ]
        for name, array in arguments.items():
            np.save(tmp_path / f"{k}_{name}.npy", array)
        order = [p.buffer.name for p in kernel.params if p.role == Role.INPUT]
        script += [
            f"ins = [np.load('{k}_' + n + '.npy') for n in {order!r}]",
            f"outs = [np.zeros(n, np.uint8) for n in {sizes!r}]",
            "p = lambda arrays: (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])",
            f"f = ctypes.CDLL('./model{k}.so').{artifact.entry}",
            "f.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 2 + [ctypes.c_void_p] + [ctypes.c_int64] * 2",
            "assert f(p(ins), p(outs), 0, 0, 0, 0, 1, 0, 0, 1) == 0",
        ]
    (tmp_path / "run.py").write_text("\n".join(script))
    done = subprocess.run([sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "runtime error" not in done.stderr


@pytest.mark.parametrize("threads", [1, 2])
def test_aarch64(tmp_path: Path, threads: int) -> None:
    """The same text for ARM: compiled by a cross compiler, run by an emulator."""
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    name = "aarch64-linux-gnu-gcc"
    if emulator is None or shutil.which(name) is None:
        pytest.skip(f"{name} and qemu-aarch64 are not both installed")
    program, constants = chain(), np.arange(16 + N, dtype=np.float32)
    text, artifact = compile_to_c(program, parse("aarch64"))
    write_source(artifact, text, constants, tmp_path)
    command = [name, *STRICT, "-O2", "-static", "main.c", "model.c", "-lm", "-pthread", "-o", "model"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    x = np.arange(N, dtype=np.float32)
    x.tofile(tmp_path / "x.bin")
    run = [emulator, "./model", "-t", str(threads), "-i", "x.bin", "-o", "y.bin"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.fromfile(tmp_path / "y.bin", np.float32), 8 * x + constants[16:])


def test_the_openmp_driver(tmp_path: Path) -> None:
    compiler("gcc")
    program, constants = chain(), np.arange(16 + N, dtype=np.float32)
    text, artifact = compile_to_c(program, native())
    library = ctypes.CDLL(str(build(text, tmp_path, "gcc", ["-O1", "-shared", "-fPIC", "-fopenmp"])))
    function = getattr(library, f"{artifact.entry}_omp")
    function.argtypes = [*[ctypes.c_void_p] * 5, ctypes.c_int, ctypes.c_void_p]
    x, y = np.arange(N, dtype=np.float32), np.zeros(N, np.float32)
    workspace = np.zeros(artifact.workspace_bytes + 2 * artifact.scratch_bytes + 64, np.uint8)
    barrier = np.zeros(16, np.uint64)
    ins, outs = (ctypes.c_void_p * 1)(x.ctypes.data), (ctypes.c_void_p * 1)(y.ctypes.data)
    aligned = [v.ctypes.data + -v.ctypes.data % 64 for v in (workspace, barrier)]
    assert function(ins, outs, constants.ctypes.data, aligned[0], None, 2, aligned[1]) == 0
    np.testing.assert_array_equal(y, 8 * x + constants[16:])


def test_a_check_is_a_plain_return_without_barriers() -> None:
    body = Block((Check(Load("P", (c(0),), I64) > 0, 1, "bad */ one"), Store("Y", (c(0),), Const(1.0, F32))))
    params = (Param(buffer("P", 1, dtype=I64), Role.INPUT), Param(buffer("Y", 1), Role.OUTPUT))
    assert "if (!(P[0] > 0)) return 1; /* bad * / one */" in emit_c(
        program_of(Kernel("k", (), params, body)), native()
    )
