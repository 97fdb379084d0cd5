"""Every transformation on a small program: the tree it makes, letter by letter, and the result it keeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from polydl import poly
from polydl.codegen.lower import lower
from polydl.dsl import Layout
from polydl.ir import print_kernel
from polydl.scheduler import (
    TRANSFORMS,
    Accumulate,
    AffineOrder,
    Collapse,
    ComputeAt,
    Contract,
    CopyInOut,
    Diamond,
    Distribute,
    Expand,
    Fold,
    Fuse,
    FuseShifted,
    IndexSetSplit,
    Inline,
    Local,
    Pack,
    Parallel,
    PartialSums,
    Prefetch,
    Privatize,
    ReadAhead,
    Rebase,
    Reorder,
    Reverse,
    RunFirst,
    Schedule,
    Separate,
    SeparateTiles,
    Sequential,
    SetLayout,
    SetMemory,
    Shift,
    Skew,
    Split,
    SplitSum,
    Tensorise,
    Tile,
    Transform,
    Unimodular,
    Unroll,
    UnrollAndJam,
    Vectorize,
)
from polydl.vocabulary import Memory
from tests.scheduler.loop_cases import product, weighted
from tests.scheduler.programs import (
    Case,
    blur,
    byte_matmul,
    chain,
    convolution,
    gather,
    heat,
    in_place,
    interleaved,
    matmul,
    normalised,
    triangular,
    window,
)
from tests.scheduler.running import check_compiled, check_lowered

Golden = Callable[[str, str], None]

ROWS = Fuse(("i", "top.i", "rest.i", "total_init.i", "total.i", "y.i"))

AFFINE = """\
sequence
  filter a
    band a
      for x = i + j
      for y = j
      leaf
  filter b0
    band b0
      for u = i
      for v = -j
      leaf
  filter b1
    band b1
      for p = j
      for q = -i
      leaf
  filter c
    band c
      for r = i
      for s = j
      leaf
  filter s_init
    leaf
  filter s
    band s
      for t = p + q
      for w = q
      leaf
"""

ALONE = (Distribute("j"), Distribute("i"))
BLOCKS = (
    *ALONE,
    *(Split("k", 4), Split("S2.i", 2), Split("S2.j", 6), Split("S2.j.i", 3)),
    Reorder(("S2.j.o", "k.o", "S2.i.o", "S2.j.i.o", "k.i", "S2.i.i", "S2.j.i.i")),
    *(Pack("w", "k.o", "S2"), Pack("x", "S2.i.o", "S2", scaled=True)),
)

DOTS = (
    SetLayout("B", Layout.parse("d0, d1 -> d0 // 4, d1, d0 % 4 in 3, 40, 4")),
    Split("C.j", 16), Split("k", 4), Reorder(("C.i", "C.j.o", "k.o", "C.j.i", "k.i")),
    Tensorise(("C.j.i", "k.i"), "vpdpbusd"),
)  # fmt: skip

CASES: dict[str, tuple[Case, tuple[Transform, ...]]] = {
    "split": (matmul(6, 7, 5), (Split("C.j", 4),)),
    "tile": (matmul(6, 7, 5), (Tile(("C.i", "C.j"), (4, 3)),)),
    "tile_with_a_loop_between": (matmul(6, 7, 5), (Reorder(("C.i", "k", "C.j")), Tile(("C.i", "C.j"), (4, 3)))),
    "tile_triangle": (triangular(9), (Tile(("lower.i", "lower.j", "k"), (4, 4, 4)),)),
    "tile_symbolic": (matmul(6, 7, 5, symbolic=True), (Tile(("C.i", "C.j", "k"), (4, 3, 2)),)),
    "tile_stencil_after_skewing": (heat(4, 9), (Skew("step.t", "step.i", 1), Tile(("step.t", "step.i"), (2, 4)))),
    "reorder": (matmul(6, 7, 5), (Reorder(("k", "C.i", "C.j")),)),
    "reorder_some": (matmul(6, 7, 5), (Reorder(("k", "C.i")),)),
    "fuse": (matmul(6, 7, 5, bias=True), (Fuse(("i", "C.i", "D.i")),)),
    "fuse_two_of_three": (matmul(6, 7, 5, bias=True), (Fuse(("C.i", "D.i")),)),
    "fuse_deeper": (matmul(6, 7, 5, bias=True), (Fuse(("i", "C.i", "D.i")), Fuse(("j", "C.j", "D.j")))),
    "fuse_what_was_separated": (
        matmul(6, 7, 5),
        (Split("C.i", 4), Separate("C.i.o"), Fuse(("C.i.o", "C.i.o.tail"))),
    ),
    "distribute": (normalised(4, 5), (ROWS, Distribute("i"))),
    "collapse": (normalised(4, 5), (Collapse("y.i", "y.j"),)),
    "collapse_a_halo": (chain(5, 3), (Collapse("i", "j"), Split("i", 4))),
    "skew": (in_place(5, 6), (Skew("seidel.i", "seidel.j", 1),)),
    "wavefront": (
        in_place(6, 7),
        (Skew("seidel.i", "seidel.j", 2), Reorder(("seidel.j", "seidel.i")), Parallel("seidel.i")),
    ),
    "vector_wavefront": (
        in_place(6, 7),
        (Skew("seidel.i", "seidel.j", 2), Reorder(("seidel.j", "seidel.i")), Vectorize("seidel.i")),
    ),
    "shift": (blur(8), (Shift("b", "b.i", 1), Fuse(("i", "b.i")))),
    "reverse": (chain(5, 3), (Reverse("i"), Reverse("j"))),
    "reverse_symbolic": (triangular(5, symbolic=True), (Reverse("i"),)),
    "parallel": (matmul(6, 7, 5), (Parallel("C.i"), Parallel("C.j"))),
    "parallel_inner": (heat(3, 9), (Parallel("step.i"),)),
    "vectorize": (matmul(6, 7, 5), (Split("C.j", 4), Reorder(("C.i", "C.j.o", "k", "C.j.i")), Vectorize("C.j.i"))),
    "vectorize_reduction": (matmul(6, 7, 5), (Vectorize("k"),)),
    "vectorize_a_reduction_into_many_places": (gather(6, 5), (Collapse("y.j", "y.i"), Vectorize("y.j"))),
    "unroll": (matmul(6, 7, 5), (Split("k", 2), Unroll("k.i"))),
    "sequential": (matmul(6, 7, 5), (Parallel("C.i"), Sequential("C.i"))),
    "separate": (matmul(6, 7, 5), (Tile(("C.i", "C.j"), (4, 4)), Separate("C.i.o"), Separate("C.j.o"))),
    "separate_tiles_in_blocks": (
        matmul(14, 5, 3),
        (Split("C.i", 8), Split("C.i.i", 4), Separate("C.i.i.o"), Unroll("C.i.i.i")),
    ),
    "separate_lower_bound": (blur(9), (Split("b.i", 4), Separate("b.i.o"))),
    "index_set_split": (heat(3, 9), (IndexSetSplit("step.i", 4),)),
    "index_set_split_outer": (matmul(6, 7, 5), (IndexSetSplit("C.i", 2), Parallel("C.i.tail"))),
    "run_first": (heat(3, 9), (RunFirst("step.i", ("step",), ("i < 4 or i > 6",)),)),
    "run_first_statements": (
        normalised(4, 5),
        (ROWS, RunFirst("i", ("top", "top_init"), ("", "")), RunFirst("i.rest", ("rest",), ("i < 2",))),
    ),
    "run_first_symbolic": (triangular(5, symbolic=True), (RunFirst("lower.j", ("lower",), ("2*j < N",)),)),
    "local": (normalised(4, 5), (ROWS, Local("rest", ("i",)), Local("top", ("i",), Memory.REGISTER))),
    "local_in_separated_tiles": (
        blur(14),
        (
            Split("b.i", 4), ComputeAt("a", "b.i.o", "b", True), Separate("b.i.o"),
        ),
    ),
    "set_memory": (
        normalised(4, 5),
        (
            ROWS, Local("rest", ("i",)), Unroll("rest.j"), Unroll("total.j"), Vectorize("y.j"),
            SetMemory("rest", Memory.REGISTER),
        ),
    ),
    "set_layout": (matmul(6, 8, 5), (SetLayout("C", Layout.blocked((6, 8), 1, 4)),)),
    "set_layout_halo": (
        convolution(1, 4, 4, 3, 3),
        (SetLayout("x", Layout.blocked((1, 4, 5, 5), 1, 4, (0, 0, -1, -1))),),
    ),
    "set_layout_reversed": (blur(8), (SetLayout("a", Layout.parse("d0 -> 7 - d0 in 8")),)),
    "pack": (
        matmul(6, 7, 5),
        (
            Tile(("C.j", "k"), (4, 3)),
            Pack("B", "k.o", "C", Layout.parse("d0, d1 -> d1 // 4, d0, d1 % 4 in 2, 5, 4")),
            Pack("A", "C.i", "C"),
        ),
    ),
    "pack_halo": (
        convolution(1, 2, 3, 5, 5),
        (Tile(("y.h", "y.w"), (2, 4)), Reorder(("y.h.o", "y.w.o", "y.k")), Pack("x", "y.w.o", "y")),
    ),
    "pack_strided": (
        convolution(1, 2, 8, 5, 7, r=1, stride=2),
        (Split("y.k", 4), Pack("x", "y.k.o", "y", Layout.parse("d0, d1, d2, d3 -> d2, d1, d3 in 3, 2, 4"))),
    ),
    "pack_between_what_is_overwritten": (interleaved(), (Fuse(("b.i", "odd.i")), Pack("a", "b.i", "b"))),
    "pack_in_parallel": (matmul(6, 7, 5), (Split("C.i", 2), Parallel("C.i.o"), Pack("A", "C.i.o", "C"))),
    "pack_for_parallel": (
        matmul(6, 7, 5),
        (Split("k", 3), Reorder(("k.o", "C.i", "C.j")), Pack("B", "k.o", "C"), Parallel("C.i")),
    ),
    "inline": (normalised(4, 5), (Inline("rest"),)),
    "inline_a_local": (normalised(4, 5), (ROWS, Local("rest", ("i",)), Inline("rest"))),
    "inline_into_a_reduction": (normalised(4, 5), (Inline("rest"), Fuse(("top.i", "total_init.i")))),
    "accumulate": (
        matmul(6, 7, 5),
        (
            Accumulate("C"), Fuse(("i", "C_acc.i", "C.i")), Fuse(("j", "C_acc.j", "C.j")),
            Local("C_acc", ("j",), Memory.REGISTER),
        ),
    ),
    "privatize": (matmul(3, 4, 10), (Privatize("C", "k", 4), Vectorize("kv"))),
    "privatize_for_threads": (normalised(4, 5), (Privatize("top", "j", 2), Parallel("jv"))),
    "fuse_shifted": (blur(8), (FuseShifted(("i", "b.i")),)),
    "fuse_shifted_chain": (normalised(4, 5), (FuseShifted(("i", "top.i", "rest.i", "total_init.i")),)),
    "unroll_and_jam": (matmul(6, 7, 5), (UnrollAndJam("C.i", 4),)),
    "unroll_and_jam_around_vectors": (
        matmul(6, 8, 5),
        (Reorder(("C.i", "k", "C.j")), Vectorize("C.j"), UnrollAndJam("C.i", 2)),
    ),
    "unroll_and_jam_imperfect": (weighted(), (Expand("t", ("i",)), UnrollAndJam("i", 2))),
    "unroll_and_jam_symbolic": (matmul(6, 7, 5, symbolic=True), (UnrollAndJam("C.i", 2), UnrollAndJam("C.j", 2))),
    "unimodular": (
        in_place(5, 6),
        (Unimodular(("seidel.i", "seidel.j"), ((2, 1), (1, 0)), ("wave", "point"), (-3, 0)), Parallel("point")),
    ),
    "unimodular_interchange": (matmul(6, 7, 5), (Unimodular(("C.i", "k"), ((0, 1), (1, 0))),)),
    "unimodular_symbolic": (triangular(5, symbolic=True), (Unimodular(("i", "j"), ((1, -1), (0, 1)), ("d", "e")),)),
    "affine_order": (
        chain(5, 3),
        (AffineOrder(AFFINE),),
    ),
    "separate_tiles": (
        triangular(9),
        (
            Tile(("lower_init.i", "lower_init.j"), (2, 2)),
            SeparateTiles(("lower_init.i.o", "lower_init.j.o")),
        ),
    ),
    "tensorise": (byte_matmul(3, 32, 8), DOTS),
    "tensorise_with_tails": (byte_matmul(3, 40, 10), (*DOTS[:-1], Separate("C.j.o"), Separate("k.o"), DOTS[-1])),
    "diamond": (heat(6, 12), (Diamond("step.t", "step.i", 4), Parallel("step.i.o"))),
    "prefetch": (
        matmul(6, 32, 9),
        (Reorder(("C.i", "k", "C.j")), Split("C.j", 16), Vectorize("C.j.i"), Prefetch("B", "k", 4)),
    ),
    "read_ahead": (convolution(1, 3, 4, 5, 5), (ReadAhead("weights", "s", 2),)),
    "read_ahead_of_one_dimension": (convolution(1, 3, 4, 5, 5), (ReadAhead("bias", "z.w", 2),)),
    "prefetch_rows": (heat(4, 9), (Prefetch("u", "step.t", 1),)),
    "prefetch_backwards": (chain(5, 3), (Reverse("i"), Prefetch("x", "i", 2))),
    "prefetch_once": (matmul(6, 16, 8), (UnrollAndJam("C.i", 2), Prefetch("B", "k", 3))),
    "fold": (blur(8), (FuseShifted(("i", "b.i")), Fold("a", 0, 3))),
    "fold_rows": (window(6, 5), (FuseShifted(("i", "b.i")), Fold("a", 0, 3), Parallel("j"), Parallel("b.j"))),
    "contract": (weighted(), (Expand("t", ("i",)), Contract("t", (0,)))),
    "contract_after_fusion": (
        matmul(6, 7, 5, bias=True),
        (Fuse(("i", "C.i", "D.i")), Contract("C", (0,)), Fuse(("j", "C.j", "D.j")), Contract("C", (0,))),
    ),
    "expand": (weighted(), (Expand("t", ("i",)), Parallel("i"))),
    "expand_for_distribution": (weighted(), (Expand("t", ("i",)), Distribute("i"))),
    "expand_symbolic": (weighted(symbolic=True), (Expand("t", ("i",)), Distribute("i"), Parallel("S3.i"))),
    "expand_tiles": (weighted(), (Split("i", 2), Expand("t", ("i.o", "i.i")), Parallel("i.o"))),
    "expand_one_of_two_uses": (weighted(twice=True), (Expand("t", ("i",)), Parallel("i"))),
    "copy_in_out": (
        weighted(symbolic=True),
        (CopyInOut("y", "S3", (1, 0), loaded=False), CopyInOut("x", "S1", (1, 0))),
    ),
    "copy_in_out_of_one_part": (product(), (*ALONE, Rebase("S2"), CopyInOut("y", "S2", (1, 0)))),
    "copy_in_out_of_a_computation": (matmul(6, 7, 5, bias=True), (CopyInOut("B", "C", (1, 0)),)),
    "copy_in_out_of_sums": (matmul(6, 7, 5, bias=True), (CopyInOut("C", "C", (1, 0), loaded=False),)),
    "partial_sums": (
        product(),
        (*ALONE, Split("k", 4), Reorder(("k.o", "S2.i", "S2.j", "k.i")), PartialSums("S2", "S2.j")),
    ),
    "partial_sums_in_whole_tiles": (product(), (*BLOCKS, PartialSums("S2", "S2.j.i.o", ("S2.i.o", "S2.j.i.o")))),
    "rebase": (product(), (*ALONE, Rebase("S2"), Split("k", 4), Reorder(("k.o", "S2.i", "S2.j", "k.i")))),
    "split_sum": (product(terms=True), (Distribute("j"), SplitSum("S2"), Split("k", 4))),
    "partial_sums_of_a_triangle": (
        product(triangle=True),
        (
            *(Split("j2", 8), Split("j2.i", 4), Split("k", 4), Reorder(("j2.o", "k.o", "j2.i.o", "k.i", "j2.i.i"))),
            Pack("x", "k.o", "S2", name="p", read=1),
            PartialSums("S2", "j2.i.o", ("j2.i.o",)),
        ),
    ),
    "pack_scaled": (product(), (*ALONE, Tile(("S2.i", "k"), (2, 4)), Pack("x", "k.o", "S2", scaled=True))),
    "compute_at": (blur(8), (ComputeAt("a", "b.i", "b"),)),
    "compute_at_tiles": (
        matmul(6, 8, 5, bias=True),
        (Tile(("D.i", "D.j"), (2, 4)), ComputeAt("C", "D.j.o", "D"), Local("C", ("D.j.o",))),
    ),
    "compute_at_broadcast": (normalised(4, 5), (ComputeAt("total", "y.i", "y"), ComputeAt("top", "rest.i", "rest"))),
    "recompute": (blur(14), (Split("b.i", 4), ComputeAt("a", "b.i.o", "b", True), Parallel("b.i.o"))),
    "recompute_reduction": (
        matmul(6, 8, 5, bias=True),
        (Tile(("D.i", "D.j"), (2, 4)), ComputeAt("C", "D.j.o", "D", True), Parallel("D.i.o")),
    ),
    "recompute_what_others_read": (normalised(4, 5), (ComputeAt("rest", "y.i", "y", True),)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_golden_tree_and_loops(name: str, golden: Golden) -> None:
    case, steps = CASES[name]
    schedule = case.schedule().apply(*steps)
    trace = "\n".join(map(repr, steps))
    text = f"{trace}\n\n{poly.format_tree(schedule.tree)}\n\n{print_kernel(lower(schedule))}"
    golden(f"scheduler/{name}.txt", text)
    assert poly.parse_tree(poly.format_tree(schedule.tree)) == schedule.tree
    assert schedule.trace == steps


@pytest.mark.parametrize("name", CASES)
def test_the_result_is_kept(name: str) -> None:
    case, steps = CASES[name]
    check_lowered(case.schedule().apply(*steps), case)


@pytest.mark.parametrize("name", [n for n in CASES if not CASES[n][0].sizes])
def test_compiled_on_two_threads(name: str) -> None:
    case, steps = CASES[name]
    check_compiled(case.schedule().apply(*steps), case, threads=2)


def test_every_transformation_is_here() -> None:
    used = {type(step).__name__ for _, steps in CASES.values() for step in steps}
    assert used == set(TRANSFORMS)


def test_replaying_a_trace_gives_the_schedule() -> None:
    for case, steps in CASES.values():
        schedule = case.schedule().apply(*steps)
        assert Schedule.replay(case.function, schedule.trace) == schedule
