"""Requests that must be refused, over loops of many shapes; each repair that is offered is applied."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from polydl.errors import NotApplicable
from polydl.scheduler import (
    TRANSFORMS,
    AffineOrder,
    Distribute,
    Expand,
    Fold,
    Fuse,
    FuseShifted,
    Local,
    Parallel,
    PartialSums,
    Rebase,
    Reorder,
    Reverse,
    Schedule,
    Separate,
    Shift,
    Skew,
    Split,
    SplitSum,
    Tile,
    Transform,
    Unimodular,
    UnrollAndJam,
    Vectorize,
)
from tests.errors import loop_nests as nests
from tests.errors import test_refusals as others
from tests.errors.checking import check_illegal
from tests.errors.loop_nests import loops
from tests.errors.programs import pair, rowwise
from tests.scheduler.programs import chain, convolution, heat, matmul, normalised, triangular

Golden = Callable[[str, str], None]
Start = Callable[[], Schedule]

BACKWARDS = """\
band S1
  for i = -i
  leaf
"""

PROGRAMS: dict[str, tuple[Start, tuple[Transform, ...]]] = {
    # ---- triangular
    "substitution_rows_in_parallel": (lambda: loops(nests.substitution), (Parallel("i"),)),
    "substitution_terms_in_parallel": (lambda: loops(nests.substitution), (Parallel("j"),)),
    "substitution_backwards": (lambda: loops(nests.substitution), (Reverse("i"),)),
    "substitution_distributed": (lambda: loops(nests.substitution), (Distribute("i"),)),
    "cholesky_rows_in_parallel": (lambda: loops(nests.cholesky), (Parallel("i"),)),
    "cholesky_columns_in_parallel": (lambda: loops(nests.cholesky), (Parallel("j"),)),
    "cholesky_columns_backwards": (lambda: loops(nests.cholesky), (Reverse("j"),)),
    "elimination_steps_in_parallel": (lambda: loops(nests.elimination), (Parallel("k"),)),
    "elimination_distributed_over_steps": (
        lambda: loops(nests.elimination),
        (Distribute("i"), Distribute("k")),
    ),
    "elimination_jammed": (lambda: loops(nests.elimination), (UnrollAndJam("k", 2),)),
    "suffixes_in_parallel": (lambda: loops(nests.suffixes), (Parallel("i"),)),
    "suffixes_forwards": (lambda: loops(nests.suffixes), (Reverse("i"),)),
    "suffixes_by_columns": (lambda: loops(nests.suffixes), (Reorder(("j", "i")),)),
    "vectorised_triangle_in_order": (
        lambda: Schedule.of(triangular().function, reassociate=False),
        (Vectorize("k"),),
    ),
    # ---- strided
    "every_fourth_in_parallel": (lambda: loops(nests.every_fourth), (Parallel("i"),)),
    "every_fourth_in_eight_lanes": (
        lambda: loops(nests.every_fourth),
        (Split("i", 8), Vectorize("i.i")),
    ),
    "every_sixth_row_in_parallel": (
        lambda: loops(nests.every_sixth_of_two),
        (Split("i", 8), Parallel("i.i")),
    ),
    "every_sixth_row_reordered_in_tiles": (
        lambda: loops(nests.every_sixth_of_two),
        (Split("i", 8), Vectorize("i.i")),
    ),
    "doubled_in_parallel": (lambda: loops(nests.doubled), (Parallel("i"),)),
    "doubled_as_lanes": (lambda: loops(nests.doubled), (Vectorize("i"),)),
    "halved_backwards": (lambda: loops(nests.halved), (Reverse("i"),)),
    "steps_of_three_in_parallel": (lambda: loops(nests.steps_of_three), (Parallel("i"),)),
    "mirrored_in_parallel": (lambda: loops(nests.mirrored), (Parallel("i"),)),
    "mirrored_backwards": (lambda: loops(nests.mirrored), (Reverse("i"),)),
    "convolution_channels_in_parallel": (lambda: convolution(stride=2).schedule(), (Parallel("c"),)),
    # ---- in place
    "smoothing_time_in_parallel": (lambda: loops(nests.smoothing), (Parallel("t"),)),
    "smoothing_points_in_parallel": (lambda: loops(nests.smoothing), (Parallel("i"),)),
    "smoothing_points_first": (lambda: loops(nests.smoothing), (Reorder(("i", "t")),)),
    "smoothing_tiled": (lambda: loops(nests.smoothing), (Tile(("t", "i"), (4, 8)),)),
    "smoothing_skewed_too_little": (
        lambda: loops(nests.smoothing),
        (Skew("t", "i", 1), Reorder(("i", "t")), Skew("t", "i", -1)),
    ),
    "smoothing_jammed": (lambda: loops(nests.smoothing), (UnrollAndJam("t", 4),)),
    "seidel_tiled_in_time": (lambda: loops(nests.seidel), (Tile(("t", "i", "j"), (2, 4, 4)),)),
    "seidel_tiled_in_space": (lambda: loops(nests.seidel), (Tile(("i", "j"), (4, 4)), Reverse("i.o"))),
    "seidel_columns_first": (lambda: loops(nests.seidel), (Reorder(("j", "t")),)),
    "seidel_rows_in_parallel": (lambda: loops(nests.seidel), (Parallel("i"),)),
    "seidel_columns_as_lanes": (lambda: loops(nests.seidel), (Split("j", 4), Vectorize("j.i"))),
    "seidel_turned": (lambda: loops(nests.seidel), (Unimodular(("i", "j"), ((1, 0), (1, -1))),)),
    "there_and_back_in_parallel": (lambda: loops(nests.two_arrays), (Parallel("t"),)),
    "there_and_back_fused": (lambda: loops(nests.two_arrays), (Fuse(("i", "i2")),)),
    "there_and_back_distributed": (lambda: loops(nests.two_arrays), (Distribute("t"),)),
    "upper_right_columns_first": (lambda: loops(nests.upper_right), (Reorder(("j", "i")),)),
    "upper_right_tiled": (lambda: loops(nests.upper_right), (Tile(("i", "j"), (4, 4)),)),
    "knights_tiled": (lambda: loops(nests.knights), (Tile(("i", "j"), (4, 4)),)),
    "knights_columns_first": (lambda: loops(nests.knights), (Reorder(("j", "i")),)),
    "transposing_in_parallel": (lambda: loops(nests.transposing), (Parallel("i"),)),
    "transposing_by_columns": (lambda: loops(nests.transposing), (Reorder(("j", "i")),)),
    # ---- several statements
    "in_turns_distributed": (lambda: loops(nests.in_turns), (Distribute("i"),)),
    "in_turns_in_parallel": (lambda: loops(nests.in_turns), (Parallel("i"),)),
    "next_one_in_parallel": (lambda: loops(nests.next_one), (Parallel("i"),)),
    "next_one_backwards": (lambda: loops(nests.next_one), (Reverse("i"),)),
    "next_one_drawn_forward": (lambda: loops(nests.next_one), (Shift("S2", "i", -2),)),
    "relay_fused": (lambda: loops(nests.relay), (Fuse(("i", "i2", "i3")),)),
    "window_fused_then_parallel": (
        lambda: loops(nests.window),
        (FuseShifted(("i", "i2")), Parallel("i")),
    ),
    "reversed_reader_fused": (lambda: loops(nests.reversed_reader), (Fuse(("i", "i2")),)),
    "far_ahead_fused": (lambda: loops(nests.far_ahead), (Fuse(("i", "i2")),)),
    "columns_drawn_forward": (
        lambda: loops(nests.columns),
        (Distribute("i"), Fuse(("i", "S2.i")), Shift("S2", "i", -1)),
    ),
    "overwriting_fused": (lambda: loops(nests.overwriting), (Fuse(("i", "i2")),)),
    "chain_transposed_fused": (lambda: chain().schedule(), (Fuse(("i", "b0.i", "b1.i")),)),
    "order_turned_around": (lambda: loops(nests.every_fourth), (AffineOrder(BACKWARDS),)),
    # ---- reductions
    "histogram_rows_in_parallel": (lambda: loops(nests.histogram), (Parallel("i"),)),
    "histogram_rows_in_order_as_lanes": (
        lambda: loops(nests.histogram, ordered=True),
        (Reorder(("j", "i")), Split("i", 4), Vectorize("i.i")),
    ),
    "histogram_tiles_in_order": (
        lambda: loops(nests.histogram, ordered=True),
        (Split("i", 4), Reorder(("i.i", "i.o"))),
    ),
    "diagonals_in_parallel": (lambda: loops(nests.diagonals), (Parallel("j"), Parallel("i"))),
    "diagonals_in_order_by_columns": (
        lambda: loops(nests.diagonals, ordered=True),
        (Reorder(("j", "i")),),
    ),
    "total_in_parallel": (lambda: loops(nests.total), (Parallel("i"),)),
    "total_in_order_backwards": (lambda: loops(nests.total, ordered=True), (Reverse("i"),)),
    "running_as_lanes": (lambda: loops(nests.running), (Split("i", 4), Vectorize("i.i"))),
    "running_distributed": (lambda: loops(nests.running), (Distribute("i"),)),
    "greatest_in_parallel": (lambda: loops(nests.greatest), (Parallel("j"),)),
    "greatest_in_order_backwards": (lambda: loops(nests.greatest, ordered=True), (Reverse("j"),)),
    "scaled_before_the_sum": (lambda: loops(nests.scaled), (Fuse(("j", "j2")),)),
    "maximum_of_rows_in_parallel": (lambda: normalised().schedule(), (Parallel("j"),)),
    "product_terms_in_parallel_symbolic": (
        lambda: matmul(symbolic=True).schedule(),
        (Tile(("C.i", "k"), (4, 4)), Parallel("k.o")),
    ),
    # ---- storage
    "buffered_rows_in_parallel": (lambda: loops(nests.buffered, private="row"), (Parallel("i"),)),
    "buffered_rows_distributed": (lambda: loops(nests.buffered, private="row"), (Distribute("i"),)),
    "buffered_row_for_each_element": (lambda: loops(nests.buffered, private="row"), (Local("row", ("j",)),)),
    "scalar_in_parallel": (lambda: loops(nests.scalar, private="t"), (Parallel("i"),)),
    "scalar_distributed": (lambda: loops(nests.scalar, private="t"), (Distribute("i"),)),
    "scalar_seen_afterwards": (lambda: loops(nests.scalar), (Parallel("i"),)),
    "row_expanded_by_columns": (lambda: loops(nests.buffered, private="row"), (Expand("row", ("i", "j")),)),
    "window_too_small_symbolic": (
        lambda: loops(nests.window, private="a"),
        (FuseShifted(("i", "i2")), Fold("a", 0, 2)),
    ),
    "local_in_the_wrong_row": (lambda: rowwise().apply(Split("i", 2)), (Local("total", ("total.j",)),)),
    "shared_window_in_parallel": (
        lambda: pair().apply(FuseShifted(("i", "b.i")), Fold("a", 0, 3)),
        (Split("i", 4), Parallel("i.o")),
    ),
    "partial_tiles_before_full_ones": (
        lambda: heat(5, 9).schedule().apply(Skew("step.t", "step.i", 1)),
        (Tile(("step.t", "step.i"), (2, 4)), Separate("step.t.o")),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_illegal(name: str, golden: Golden) -> None:
    start, steps = PROGRAMS[name]
    check_illegal(name, start(), steps, golden)


SHAPES: dict[str, tuple[Start, tuple[Transform, ...]]] = {
    "partial_sums_of_no_sum": (pair, (PartialSums("b", "b.i"),)),
    "partial_sums_of_a_maximum_in_order": (
        lambda: loops(nests.histogram, ordered=True),
        (PartialSums("S1", "i"),),
    ),
    "terms_of_one": (lambda: loops(nests.histogram), (SplitSum("S1"),)),
    "terms_in_order": (lambda: loops(nests.diagonals, ordered=True), (SplitSum("S1"),)),
    "rebased_parallel_loop": (
        lambda: loops(nests.next_one).apply(Distribute("i")),
        (Parallel("i"), Rebase("S1")),
    ),
    "rebased_stranger": (lambda: loops(nests.next_one), (Rebase("S9"),)),
    "distributed_from_the_outside": (lambda: loops(nests.elimination), (Distribute("k"),)),
    "lanes_of_a_symbolic_triangle": (lambda: loops(nests.substitution), (Vectorize("j"),)),
    "lanes_around_lanes": (
        lambda: loops(nests.every_sixth_of_two),
        (Split("j", 4), Split("i", 4), Vectorize("j.i"), Vectorize("i.i")),
    ),
    "fused_across_a_third": (lambda: loops(nests.relay), (Fuse(("i", "i3")),)),
    "shifted_without_bound": (lambda: loops(nests.far_ahead), (FuseShifted(("i", "i2")),)),
    "tiles_of_symbolic_bounds": (lambda: loops(nests.substitution), (Separate("j"),)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_not_applicable(name: str, golden: Golden) -> None:
    start, steps = SHAPES[name]
    before = start().apply(*steps[:-1])
    with pytest.raises(NotApplicable) as refusal:
        before.apply(steps[-1])
    golden(f"errors/{name}.txt", str(refusal.value))
    assert refusal.value.what.startswith(f"{steps[-1]} does not apply: ")
    assert not before.ask(steps[-1])


def test_there_are_enough_and_every_transformation_is_refused_somewhere() -> None:
    tables = (PROGRAMS, SHAPES, others.ILLEGAL, others.NOT_APPLICABLE)
    refused = {type(steps[-1]).__name__ for table in tables for _, steps in table.values()}
    assert sum(map(len, tables)) >= 180
    # A binding taken back is always legal.
    assert set(TRANSFORMS) - refused <= {"Sequential"}


def test_most_requests_have_a_repair() -> None:
    repaired = 0
    for start, steps in PROGRAMS.values():
        answer = start().apply(*steps[:-1]).ask(steps[-1])
        repaired += bool(answer.repair)
        assert not answer
    assert repaired >= len(PROGRAMS) // 2
