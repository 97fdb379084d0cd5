"""Hardware instructions: declared by what they compute, found in the code of machines that have them, exact results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polydl.codegen.assemble import program_of
from polydl.codegen.c import emit_c
from polydl.codegen.llvm import emit_asm, emit_llvm
from polydl.compiler import compile_function
from polydl.dsl import TensorRole
from polydl.dsl.function import Axis, Computation, Function, Reduction
from polydl.dsl.tensor import Layout, Tensor
from polydl.dtypes import F32
from polydl.errors import InvalidProgram, UsageError
from polydl.ir.expr import Var, as_expr
from polydl.scheduler import Reorder, Schedule, Separate, SetLayout, Split, Tensorise
from polydl.scheduler.instructions import INSTRUCTIONS, Instruction, declare
from polydl.targets import native, parse
from tests.codegen.from_c import run_program
from tests.scheduler.programs import byte_matmul, matmul

VNNI = parse("x86-64-avx512+avx512vnni")


def dots(m: int, n: int, k: int) -> Schedule:
    """Products of bytes in the layout of the instruction; the rest of columns and rows in loops."""
    layout = Layout.parse(f"d0, d1 -> d0 // 4, d1, d0 % 4 in {-(-k // 4)}, {n}, 4")
    schedule = (
        byte_matmul(m, n, k)
        .schedule()
        .apply(
            SetLayout("B", layout),
            Split("C.j", 16),
            Split("k", 4),
            Reorder(("C.i", "C.j.o", "k.o", "C.j.i", "k.i")),
        )
    )
    for loop, extent, tile in (("C.j.o", n, 16), ("k.o", k, 4)):
        if extent % tile:
            schedule = schedule.apply(Separate(loop))
    return schedule.apply(Tensorise(("C.j.i", "k.i"), "vpdpbusd"))


@pytest.mark.parametrize("shape", [(3, 32, 8), (1, 16, 4), (5, 48, 64), (2, 40, 10), (3, 33, 7)])
def test_results_are_exact(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    schedule = dots(m, n, k)
    r = np.random.default_rng(k)
    a, b = r.integers(0, 256, (m, k), np.uint8), r.integers(-128, 128, (k, n), np.int8)
    wanted = a.astype(np.int32) @ b.astype(np.int32)
    packed = schedule.function.tensor("B").pack(b)
    with compile_function(schedule, threads=1) as module:
        np.testing.assert_array_equal(module(a, packed), wanted)
    for toolchain in ("gcc", "plain"):  # the plain one compiles the loops
        out = np.empty((m, n), np.int32)
        assert set(run_program(program_of(schedule), native(), [a, packed], [out], toolchain=toolchain)) == {
            0
        }
        np.testing.assert_array_equal(out, wanted)


def test_the_instruction_is_in_the_code_of_machines_that_have_it() -> None:
    program = program_of(dots(4, 32, 16))
    assert "vpdpbusd" in emit_asm(program, VNNI)
    assert "_mm512_dpbusd_epi32" in emit_c(program, VNNI)
    assert "vpdpbusd" not in emit_llvm(program, parse("x86-64-avx2"))
    assert "_mm512_dpbusd_epi32" not in emit_c(program, parse("x86-64-avx2"))


def _rank_one(name: str) -> Instruction:
    """c[i, j] += a[i] * b[j] on 2 x 4 numbers, spelled for everything that LLVM compiles for."""
    i, j = Var("i"), Var("j")
    tensors = (
        Tensor("a", F32, (as_expr(2),), TensorRole.INPUT),
        Tensor("b", F32, (as_expr(4),), TensorRole.INPUT),
        Tensor("c", F32, (as_expr(2), as_expr(4)), TensorRole.INOUT),
    )
    axes = (Axis("i", as_expr(0), as_expr(2)), Axis("j", as_expr(0), as_expr(4)))
    value = tensors[0][i] * tensors[1][j]
    outer = Computation("outer", axes, (), "c", (i, j), value, Reduction("add", (), None))
    lines = ["%{v}b = load <4 x float>, ptr {b}, align 4"]
    for row in range(2):
        lines += [
            f"%{{v}}p{row} = getelementptr float, ptr {{a}}, i64 {row}",
            f"%{{v}}a{row} = load float, ptr %{{v}}p{row}, align 4",
            f"%{{v}}s{row} = insertelement <4 x float> poison, float %{{v}}a{row}, i32 0",
            f"%{{v}}v{row} = shufflevector <4 x float> %{{v}}s{row}, <4 x float> poison, <4 x i32> zeroinitializer",
            f"%{{v}}q{row} = getelementptr float, ptr {{c}}, i64 {4 * row}",
            f"%{{v}}c{row} = load <4 x float>, ptr %{{v}}q{row}, align 4",
            f"%{{v}}m{row} = fmul <4 x float> %{{v}}v{row}, %{{v}}b",
            f"%{{v}}r{row} = fadd <4 x float> %{{v}}c{row}, %{{v}}m{row}",
            f"store <4 x float> %{{v}}r{row}, ptr %{{v}}q{row}, align 4",
        ]
    return Instruction(name, Function(name, (), tensors, (outer,)), (), tuple(lines))


def test_a_user_declares_an_instruction() -> None:
    """A rank-one update of whole numbers in floats: the tile of C must be dense, so C has a blocked layout."""
    declare(_rank_one("outer2x4"))
    try:
        case = matmul(4, 8, 6)
        tiles = Layout.parse("d0, d1 -> d0 // 2, d1 // 4, d0 % 2, d1 % 4 in 2, 2, 2, 4")
        loops = ("k", "C.i.o", "C.j.o", "C.i.i", "C.j.i")
        schedule = case.schedule().apply(
            SetLayout("A", Layout.parse("d0, d1 -> d1, d0 in 6, 4")),
            SetLayout("C", tiles),
            Split("C.i", 2),
            Split("C.j", 4),
            Reorder(loops),
            Tensorise(loops[3:], "outer2x4"),
        )
        assert "fmul <4 x float>" in emit_llvm(program_of(schedule), parse("x86-64"))
        given = case.arrays()
        with compile_function(schedule, threads=1) as module:
            got = module(schedule.function.tensor("A").pack(given["A"]), given["B"])
        wanted = schedule.function.tensor("C").pack(given["A"] @ given["B"])
        np.testing.assert_array_equal(got, wanted)
    finally:
        del INSTRUCTIONS["outer2x4"]


def test_a_name_means_one_instruction() -> None:
    with pytest.raises(UsageError, match="another instruction vpdpbusd"):
        declare(replace(INSTRUCTIONS["vpdpbusd"], features=()))
    assert declare(INSTRUCTIONS["vpdpbusd"]) is INSTRUCTIONS["vpdpbusd"]


def test_a_body_is_one_computation_over_numbers() -> None:
    good = INSTRUCTIONS["vpdpbusd"]
    c = good.body.computations[0]
    axes = (Axis("j", as_expr(1), as_expr(16)), c.axes[1])
    with pytest.raises(InvalidProgram, match="over a box of numbers"):
        declare(replace(good, name="x", body=replace(good.body, computations=(replace(c, axes=axes),))))
    with pytest.raises(InvalidProgram, match="not one computation"):
        declare(replace(good, name="x", body=matmul(4, 4, 4).function))
    assert "x" not in INSTRUCTIONS
