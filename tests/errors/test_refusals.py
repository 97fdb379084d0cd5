"""Programs and schedules that must be refused, each with the whole message."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from polydl.dsl import FunctionBuilder, Layout, sum_over
from polydl.errors import IllegalSchedule, InvalidProgram, NotApplicable, PolydlError, UsageError
from polydl.scheduler import (
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
    SetLayout,
    SetMemory,
    Shift,
    Skew,
    Split,
    Tensorise,
    Tile,
    Transform,
    Unimodular,
    Unroll,
    UnrollAndJam,
    Vectorize,
)
from polydl.vocabulary import Memory
from tests.errors.programs import (
    delayed,
    diagonal,
    overwritten,
    pair,
    prefix,
    prefix_temporary,
    rowwise,
    thirds,
    transposed,
    transposed_symbolic,
    triangle_sums,
    updated,
)
from tests.scheduler.loop_cases import carried, product, weighted
from tests.scheduler.programs import (
    byte_matmul,
    chain,
    gather,
    heat,
    in_place,
    matmul,
    normalised,
    triangular,
)

Golden = Callable[[str, str], None]

CONSUMERS_FIRST = """\
sequence
  filter b
    band b
      for x = i
      leaf
  filter a
    band a
      for y = i
      leaf
"""


ILLEGAL: dict[str, tuple[Callable[[], Schedule], tuple[Transform, ...]]] = {
    "reorder_stencil": (lambda: heat().schedule(), (Reorder(("step.i", "step.t")),)),
    "tile_stencil": (lambda: heat(8, 20).schedule(), (Tile(("step.t", "step.i"), (4, 4)),)),
    "parallel_time": (lambda: heat().schedule(), (Parallel("step.t"),)),
    "vectorize_time": (lambda: heat().schedule(), (Reorder(("step.t", "step.i")), Vectorize("step.t"))),
    "reverse_time": (lambda: heat().schedule(), (Reverse("step.t"),)),
    "parallel_in_place_rows": (lambda: in_place().schedule(), (Parallel("seidel.i"),)),
    "parallel_in_place_columns": (lambda: in_place().schedule(), (Parallel("seidel.j"),)),
    "vectorize_in_place": (lambda: in_place().schedule(), (Vectorize("seidel.j"),)),
    "reverse_in_place": (lambda: in_place().schedule(), (Reverse("seidel.j"),)),
    "reorder_in_place": (diagonal, (Reorder(("seidel.j", "seidel.i")),)),
    "tile_in_place": (diagonal, (Tile(("seidel.i", "seidel.j"), (2, 4)),)),
    "skew_backwards": (
        lambda: in_place().schedule(),
        (Reorder(("seidel.i", "seidel.j")), Skew("seidel.j", "seidel.i", -1)),
    ),
    "skewed_columns_in_parallel": (
        lambda: in_place().schedule(),
        (Skew("seidel.i", "seidel.j", 1), Parallel("seidel.j")),
    ),
    "parallel_reduction": (lambda: matmul().schedule(), (Parallel("k"),)),
    "parallel_tile_of_a_reduction": (lambda: matmul().schedule(), (Split("k", 4), Parallel("k.o"))),
    "vectorize_ordered_reduction": (
        lambda: Schedule.of(matmul().function, reassociate=False),
        (Vectorize("k"),),
    ),
    "reverse_ordered_reduction": (lambda: Schedule.of(matmul().function, reassociate=False), (Reverse("k"),)),
    "reverse_ordered_triangular_reduction": (
        lambda: Schedule.of(triangular().function, reassociate=False),
        (Reorder(("k", "lower.i", "lower.j")), Reverse("k")),
    ),
    "fuse_reduction_with_its_init": (
        lambda: matmul().schedule().apply(Fuse(("i", "C.i")), Reorder(("k", "C.j"))),
        (Fuse(("j", "k")),),
    ),
    "fuse_neighbours": (pair, (Fuse(("i", "b.i")),)),
    "fuse_transposed": (transposed, (Fuse(("i", "b.i")),)),
    "fuse_row_sums": (rowwise, (Fuse(("total.j", "y.j")),)),
    "shift_too_little": (pair, (Fuse(("i", "b.i")), Shift("b", "i", 1))),
    "fuse_tiles": (
        lambda: pair().apply(Split("i", 20), Split("b.i", 20)),
        (Fuse(("i.o", "b.i.o")), Fuse(("i.i", "b.i.i"))),
    ),
    "parallel_prefix_sums": (prefix, (Parallel("sums.i"),)),
    "run_first_what_waits": (prefix, (RunFirst("sums.i", ("sums",), ("i >= 8",)),)),
    "unrolled_prefix_sums_reversed": (prefix, (Reverse("sums.i"), Unroll("sums.i"))),
    "local_across_iterations": (prefix_temporary, (Local("y", ("i",)),)),
    "local_of_only_one_user": (pair, (Local("a", ("i",)),)),
    "local_needed_by_the_next_iteration": (delayed, (Local("a", ("b.i",)),)),
    "local_too_far_inside": (rowwise, (Local("rest", ("rest.j",)),)),
    "pack_what_is_overwritten": (thirds, (Fuse(("b.i", "third.i")), Pack("a", "b.i", "b"))),
    "compute_at_too_late": (pair, (Reverse("b.i"), ComputeAt("a", "b.i", "b"))),
    "compute_at_in_parallel": (pair, (Split("b.i", 4), ComputeAt("a", "b.i.o", "b"), Parallel("b.i.o"))),
    "unroll_and_jam_in_place": (diagonal, (UnrollAndJam("seidel.i", 2),)),
    "unroll_and_jam_time": (lambda: heat().schedule(), (UnrollAndJam("step.t", 2),)),
    "diamond_fronts_at_once": (
        lambda: heat().schedule(),
        (Diamond("step.t", "step.i", 4), Parallel("step.t.o")),
    ),
    "unimodular_backwards": (diagonal, (Unimodular(("seidel.i", "seidel.j"), ((1, 1), (0, 1))),)),
    "affine_order_of_consumers_first": (pair, (AffineOrder(CONSUMERS_FIRST),)),
    "separate_tiles_in_place": (
        lambda: in_place(9, 10).schedule(),
        (Tile(("seidel.i", "seidel.j"), (2, 3)), SeparateTiles(("seidel.i.o", "seidel.j.o"))),
    ),
    "fuse_shifted_columns": (
        lambda: in_place().schedule(),
        (FuseShifted(("i", "seidel.i")), Reverse("j"), FuseShifted(("j", "seidel.j")), Parallel("j")),
    ),
    "fold_too_little": (pair, (FuseShifted(("i", "b.i")), Fold("a", 0, 2))),
    "fold_before_fusion": (pair, (Fold("a", 0, 3),)),
    "fold_for_threads": (pair, (FuseShifted(("i", "b.i")), Fold("a", 0, 3), Parallel("i"))),
    "fold_then_distribute": (pair, (FuseShifted(("i", "b.i")), Fold("a", 0, 3), Distribute("i"))),
    "contract_before_fusion": (transposed, (Contract("a", (1,)),)),
    "contract_shared_by_threads": (
        lambda: matmul(bias=True).schedule(),
        (Fuse(("i", "C.i", "D.i")), Parallel("i"), Contract("C", (0,))),
    ),
    "expand_what_goes_on": (lambda: weighted().schedule(), (Split("j", 2), Expand("t", ("i", "j.o")))),
    "expand_what_the_next_iteration_reads": (carried, (Expand("t", ("i",)),)),
    "expand_what_nobody_writes_again": (carried, (Expand("u", ("i", "j")),)),
    "copy_not_loaded": (lambda: heat().schedule(), (CopyInOut("u", "step", (1, 0), loaded=False),)),
    "copy_of_sums_not_loaded": (
        lambda: triangular().schedule(),
        (CopyInOut("y", "lower", (1, 0), loaded=False),),
    ),
    "symbolic_sizes": (triangle_sums, (Parallel("sums.i"),)),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal(name: str, golden: Golden) -> None:
    start, steps = ILLEGAL[name]
    schedule = start()
    with pytest.raises(IllegalSchedule) as refusal:
        schedule.apply(*steps)
    assert "is illegal" in refusal.value.what
    assert refusal.value.where
    assert refusal.value.why
    golden(f"errors/{name}.txt", str(refusal.value))
    check_repair(schedule, steps, refusal.value)


def check_repair(schedule: Schedule, steps: tuple[Transform, ...], refusal: IllegalSchedule) -> None:
    """A repair that is offered is legal, is what the message says and what `repaired` does."""
    violation = refusal.violation
    assert violation.reason == refusal.why
    if not refusal.repair:
        assert not refusal.next
        with pytest.raises(IllegalSchedule):
            schedule.repaired(*steps)
        return
    refused = next(t for t in steps if f"{t} is illegal" == refusal.what)
    done = steps[: steps.index(refused)]
    made = schedule.apply(*done, *refusal.repair)
    assert schedule.repaired(*steps[: len(done) + 1]) == made
    assert refusal.next.startswith(f"apply({', '.join(map(repr, refusal.repair))})")


NOT_APPLICABLE: dict[str, tuple[Callable[[], Schedule], tuple[Transform, ...]]] = {
    "unroll_and_jam_by_one": (lambda: matmul().schedule(), (UnrollAndJam("C.i", 1),)),
    "unroll_and_jam_the_innermost": (lambda: matmul().schedule(), (UnrollAndJam("k", 2),)),
    "diamond_of_no_width": (lambda: heat().schedule(), (Diamond("step.t", "step.i", 0),)),
    "diamond_across_bands": (lambda: heat().schedule(), (Diamond("i", "step.i", 4),)),
    "unimodular_of_determinant_two": (
        lambda: matmul().schedule(),
        (Unimodular(("i", "j"), ((1, 1), (-1, 1))),),
    ),
    "unimodular_of_no_inverse": (lambda: matmul().schedule(), (Unimodular(("i", "j"), ((1, 2), (2, 4))),)),
    "unimodular_of_another_shape": (
        lambda: matmul().schedule(),
        (Unimodular(("i", "j"), ((1, 2, 0), (2, 4, 0))),),
    ),
    "unimodular_across_bands": (lambda: heat().schedule(), (Unimodular(("t", "step.i"), ((0, 1), (1, 0))),)),
    "unimodular_of_a_taken_name": (
        lambda: heat().schedule(),
        (Unimodular(("t", "i"), ((0, 1), (1, 0)), ("a", "step.t")),),
    ),
    "fuse_shifted_transposed_symbolic": (transposed_symbolic, (FuseShifted(("i", "b.i")),)),
    "partial_sums_of_padded_terms": (
        lambda: product().schedule().apply(Distribute("j"), Distribute("i"), Split("k", 4)),
        (PartialSums("S2", "k.o", ("k.o",)),),
    ),
    "separate_tiles_of_no_tile": (lambda: matmul().schedule(), (SeparateTiles(("C.i",)),)),
    "tensorise_floats": (
        lambda: matmul(4, 16, 4).schedule(),
        (Reorder(("C.i", "C.j", "k")), Tensorise(("C.j", "k"), "vpdpbusd")),
    ),
    "tensorise_rows_that_do_not_lie_so": (
        lambda: byte_matmul(3, 16, 4).schedule(),
        (Tensorise(("C.j", "k"), "vpdpbusd"),),
    ),
    "tensorise_other_extents": (
        lambda: byte_matmul(3, 8, 4).schedule(),
        (Tensorise(("C.j", "k"), "vpdpbusd"),),
    ),
    "tensorise_loops_in_another_order": (
        lambda: byte_matmul(3, 16, 4).schedule(),
        (Tensorise(("k", "C.j"), "vpdpbusd"),),
    ),
    "tensorise_a_vector": (
        lambda: byte_matmul(3, 16, 4).schedule(),
        (Unroll("k"), Tensorise(("C.j", "k"), "vpdpbusd")),
    ),
    "prefetch_nothing": (lambda: matmul().schedule(), (Prefetch("A", "i", 4),)),
    "prefetch_the_past": (lambda: matmul().schedule(), (Prefetch("A", "k", 0),)),
    "read_ahead_the_past": (lambda: matmul().schedule(), (ReadAhead("A", "k", 0),)),
    "prefetch_lanes": (lambda: matmul().schedule(), (Vectorize("k"), Prefetch("A", "k", 4))),
    "prefetch_what_is_local": (rowwise, (Local("rest", ("i",)), Prefetch("rest", "rest.j", 4))),
    "prefetch_a_gather": (lambda: gather().schedule(), (Prefetch("table", "i", 2),)),
    "fold_a_result": (pair, (Fold("b", 0, 3),)),
    "fold_a_missing_dimension": (pair, (Fold("a", 1, 3),)),
    "fold_to_nothing": (pair, (Fold("a", 0, 0),)),
    "fold_parts": (pair, (FuseShifted(("i", "b.i")), IndexSetSplit("i", 4), Fold("a", 0, 3))),
    "fold_a_layout": (pair, (SetLayout("a", Layout.parse("d0 -> 19 - d0 in 20")), Fold("a", 0, 3))),
    "contract_a_missing_dimension": (pair, (Contract("a", (1,)),)),
    "expand_a_result": (lambda: weighted().schedule(), (Expand("y", ("i",)),)),
    "expand_elsewhere": (
        lambda: weighted(twice=True).schedule(),
        (Split("j2", 2), Expand("t", ("i", "j2.o"))),
    ),
    "expand_a_reduction_over_its_axis": (lambda: normalised().schedule(), (Expand("total", ("total.j",)),)),
    "copy_in_no_order": (lambda: matmul().schedule(), (CopyInOut("A", "C", (1, 1)),)),
    "copy_what_is_not_used": (
        lambda: product().schedule(),
        (Distribute("j"), Distribute("i"), Rebase("S2"), CopyInOut("x", "S1", (1, 0))),
    ),
    "copy_nothing": (lambda: matmul().schedule(), (CopyInOut("A", "C", (1, 0), loaded=False),)),
    "copy_for_nobody": (lambda: matmul().schedule(), (CopyInOut("A", "Z", (1, 0)),)),
    "split_by_nothing": (lambda: matmul().schedule(), (Split("i", 0),)),
    "tile_across_bands": (lambda: heat().schedule(), (Tile(("t", "step.i"), (2, 2)),)),
    "tile_without_sizes": (lambda: matmul().schedule(), (Tile(("i", "j"), (4,)),)),
    "reorder_across_bands": (lambda: heat().schedule(), (Reorder(("t", "step.t")),)),
    "reorder_twice_the_same": (lambda: heat().schedule(), (Reorder(("t", "t")),)),
    "fuse_one_loop": (lambda: heat().schedule(), (Fuse(("t",)),)),
    "fuse_inner_loops": (lambda: heat().schedule(), (Fuse(("i", "step.i")),)),
    "fuse_in_the_wrong_order": (lambda: heat().schedule(), (Fuse(("step.t", "t")),)),
    "distribute_nothing": (lambda: heat().schedule(), (Distribute("t"),)),
    "collapse_distant_loops": (lambda: matmul().schedule(), (Collapse("C.i", "k"),)),
    "collapse_symbolic": (lambda: matmul(symbolic=True).schedule(), (Collapse("C.i", "C.j"),)),
    "skew_by_itself": (lambda: heat().schedule(), (Skew("t", "t", 1),)),
    "shift_a_stranger": (pair, (Shift("b", "i", 1),)),
    "vectorize_symbolic": (lambda: matmul(symbolic=True).schedule(), (Vectorize("C.j"),)),
    "unroll_symbolic": (lambda: matmul(symbolic=True).schedule(), (Unroll("C.j"),)),
    "vectorize_around_vectors": (lambda: matmul().schedule(), (Vectorize("C.j"), Vectorize("C.i"))),
    "parallel_inside_vectors": (lambda: matmul().schedule(), (Vectorize("C.i"), Parallel("C.j"))),
    "separate_no_tiles": (lambda: matmul().schedule(), (Separate("C.i"),)),
    "separate_full_tiles": (lambda: matmul().schedule(), (Split("C.i", 4), Separate("C.i.o"))),
    "index_set_split_outside": (pair, (IndexSetSplit("i", 40),)),
    "run_first_all": (pair, (RunFirst("i", ("a",), ("",)),)),
    "run_first_nothing": (pair, (RunFirst("i", (), ()),)),
    "run_first_elsewhere": (pair, (RunFirst("i", ("b",), ("i < 4",)),)),
    "local_input": (lambda: matmul().schedule(), (Local("A", ("i",)),)),
    "local_twice": (
        lambda: normalised().schedule(),
        (
            Fuse(("i", "top.i", "rest.i", "total_init.i", "total.i", "y.i")),
            Local("rest", ("i",)),
            Local("rest", ("i",)),
        ),
    ),
    "registers_addressed_by_a_loop": (
        lambda: rowwise().apply(Local("rest", ("i",)), Vectorize("rest.j")),
        (SetMemory("rest", Memory.REGISTER),),
    ),
    "memory_of_what_is_not_local": (rowwise, (SetMemory("rest", Memory.REGISTER),)),
    "layout_of_another_rank": (lambda: matmul().schedule(), (SetLayout("A", Layout.row_major((8,))),)),
    "layout_that_overlaps": (
        lambda: matmul().schedule(),
        (SetLayout("A", Layout.parse("d0, d1 -> d0, d1 // 2 in 8, 5")),),
    ),
    "pack_what_is_not_read": (lambda: matmul().schedule(), (Pack("C", "C.i", "C"),)),
    "pack_data_dependent": (lambda: gather().schedule(), (Pack("table", "i", "rows"),)),
    "pack_symbolic": (lambda: matmul(symbolic=True).schedule(), (Pack("B", "C.j", "C"),)),
    "pack_what_the_reader_stores": (lambda: overwritten().apply(Split("t", 8)), (Pack("a", "t.o", "step"),)),
    "inline_a_result": (lambda: matmul().schedule(), (Inline("C"),)),
    "inline_a_reduction": (lambda: normalised().schedule(), (Inline("top"),)),
    "inline_what_is_redefined": (updated, (Inline("a"),)),
    "tile_one_loop_twice": (lambda: matmul().schedule(), (Tile(("C.i", "C.i"), (4, 4)),)),
    "accumulate_no_reduction": (pair, (Accumulate("a"),)),
    "accumulate_after_loops": (lambda: matmul().schedule(), (Split("C.i", 4), Accumulate("C"))),
    "privatize_no_axis": (lambda: matmul().schedule(), (Privatize("C", "i", 4),)),
    "privatize_in_order": (
        lambda: Schedule.of(matmul().function, reassociate=False),
        (Privatize("C", "k", 4),),
    ),
    "compute_at_no_reader": (pair, (ComputeAt("b", "i", "a"),)),
    "compute_at_outside": (lambda: chain().schedule(), (ComputeAt("a", "j", "b1"),)),
    "recompute_what_is_redefined": (updated, (ComputeAt("a", "c.i", "c", True),)),
    "recompute_a_recurrence": (prefix_temporary, (ComputeAt("sums", "z.i", "z", True),)),
}


@pytest.mark.parametrize("name", NOT_APPLICABLE)
def test_not_applicable(name: str, golden: Golden) -> None:
    start, steps = NOT_APPLICABLE[name]
    with pytest.raises(NotApplicable) as refusal:
        start().apply(*steps)
    golden(f"errors/{name}.txt", str(refusal.value))


@pytest.mark.parametrize(
    ("name", "step", "error"),
    [
        ("no_such_loop", Split("x", 4), UsageError),
        ("no_such_loop_to_tile", Tile(("q", "r"), (4, 4)), UsageError),
        ("no_such_instruction", Tensorise(("k",), "vfma"), UsageError),
        ("no_such_tensor", Local("T", ("i",)), InvalidProgram),
        ("no_such_computation", Inline("T"), InvalidProgram),
    ],
)
def test_unknown_names(name: str, step: Transform, error: type[PolydlError], golden: Golden) -> None:
    with pytest.raises(error) as refusal:
        matmul().schedule().apply(step)
    golden(f"errors/{name}.txt", str(refusal.value))


def test_the_schedule_is_as_it_was_after_a_refusal() -> None:
    schedule = heat().schedule()
    before = schedule.tree, schedule.trace
    with pytest.raises(IllegalSchedule):
        schedule.apply(Split("t", 2), Parallel("step.t"))
    assert (schedule.tree, schedule.trace) == before


def test_sum_over_is_needed_for_nothing_else() -> None:
    """A reduction with a wrong bound is refused before any schedule is made."""
    f = FunctionBuilder("outside")
    x = f.input("x", (4, 4))
    y = f.compute("y", {"i": 4}, lambda i: sum_over({"k": 5}, lambda k: x[i, k]))
    with pytest.raises(InvalidProgram, match="reaches outside a tensor"):
        Schedule.of(f.build([y]))
