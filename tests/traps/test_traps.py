"""Known traps of loop compilers, each on every road against Python, and with the judge's verdict."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from polydl.dsl import Function, FunctionBuilder
from polydl.errors import IllegalSchedule, InvalidProgram
from polydl.scheduler import (
    AffineOrder,
    Collapse,
    Distribute,
    Fuse,
    FuseShifted,
    IndexSetSplit,
    Parallel,
    Reorder,
    Reverse,
    Schedule,
    Separate,
    SeparateTiles,
    Skew,
    Split,
    Tile,
    Transform,
    Unroll,
    UnrollAndJam,
    Vectorize,
)
from tests.scheduler.programs import blur, heat, matmul, normalised
from tests.traps import nests
from tests.traps.running import check, loops

Steps = tuple[Transform, ...]

# name -> loops, transformations, sizes to run with
TRAPS: dict[str, tuple[Callable[..., None], Steps, tuple[dict[str, int], ...]]] = {
    # Lanes, tiles and bounds of a triangle are not those of the box around it.
    "vectorised triangle": (
        nests.triangle,
        (Split("j", 8), Vectorize("j.i")),
        ({"N": 1}, {"N": 7}, {"N": 8}, {"N": 19}),
    ),
    "vectorised triangle with full tiles": (
        nests.triangle,
        (Split("j", 4), SeparateTiles(("j.o",)), Vectorize("j.i")),
        ({"N": 1}, {"N": 4}, {"N": 13}),
    ),
    "parallel rows of a triangle": (
        nests.upper_triangle,
        (Parallel("i"), Split("j", 4), Vectorize("j.i")),
        ({"N": 0}, {"N": 1}, {"N": 11}),
    ),
    "triangle by columns": (
        nests.upper_triangle,
        (Reorder(("j", "i")), Split("i", 4), Vectorize("i.i"), Parallel("j")),
        ({"N": 1}, {"N": 10}),
    ),
    "triangle in tiles": (
        nests.triangle,
        (Tile(("i", "j"), (4, 4)), Unroll("i.i"), Vectorize("j.i")),
        ({"N": 1}, {"N": 4}, {"N": 5}, {"N": 13}),
    ),
    "sums over a triangle as lanes": (
        nests.triangular_sums,
        (Split("j", 4), Vectorize("j.i")),
        ({"N": 1}, {"N": 2}, {"N": 9}),
    ),
    "sums over a triangle, rows as lanes": (
        nests.triangular_sums,
        (Reorder(("j", "i")), Split("i", 4), Vectorize("i.i")),
        ({"N": 2}, {"N": 9}),
    ),
    # A first iteration that is not 0.
    "separated from three on": (
        nests.from_three,
        (Split("i", 4), Separate("i.o"), Vectorize("i.i")),
        ({"N": 0}, {"N": 3}, {"N": 4}, {"N": 7}, {"N": 8}, {"N": 21}),
    ),
    "separated from three to twenty": (
        nests.from_three_to_twenty,
        (Split("i", 4), Separate("i.o"), Unroll("i.i")),
        ({},),
    ),
    "separated below zero": (
        nests.below_zero,
        (Split("i", 8), Separate("i.o"), Vectorize("i.i"), Parallel("i.o")),
        ({},),
    ),
    "split in two, then in tiles": (
        nests.from_three_to_twenty,
        (IndexSetSplit("i", 9), Split("i.tail", 4), Separate("i.tail.o"), Vectorize("i.tail.i")),
        ({},),
    ),
    # Bounds of several terms.
    "three bounds at each end": (
        nests.three_bounds,
        (Parallel("i"), Split("j", 4), Vectorize("j.i")),
        ({"N": 1, "M": 1}, {"N": 2, "M": 9}, {"N": 9, "M": 6}, {"N": 6, "M": 3}),
    ),
    "three bounds in tiles": (
        nests.three_bounds,
        (Tile(("i", "j"), (2, 4)), Unroll("j.i")),
        ({"N": 1, "M": 1}, {"N": 7, "M": 8}, {"N": 8, "M": 5}),
    ),
    "a band of single points": (
        nests.diagonal_band,
        (Split("j", 2), Vectorize("j.i"), Split("i", 3), Parallel("i.o")),
        ({"N": 0}, {"N": 1}, {"N": 9}),
    ),
    # Loops without iterations.
    "no steps, or no points": (
        nests.inside_only,
        (Skew("t", "i", 1), Tile(("t", "i"), (4, 4))),
        ({"T": 0, "N": 9}, {"T": 3, "N": 0}, {"T": 3, "N": 1}, {"T": 3, "N": 2}, {"T": 5, "N": 11}),
    ),
    "upside down": (nests.upside_down, (), ({},)),
    "upside down in tiles": (
        nests.upside_down,
        (Split("i2", 4), Separate("i2.o"), Vectorize("i2.i")),
        ({},),
    ),
    # Coordinates below zero.
    "from below zero": (
        nests.around_zero,
        (Split("i", 4), Unroll("i.i")),
        ({"S": 0, "N": 3}, {"S": 1, "N": 9}, {"S": 9, "N": 21}),
    ),
    "lanes from below zero": (
        nests.around_zero,
        (Split("i", 4), Separate("i.o"), Vectorize("i.i"), Parallel("i.o")),
        ({"S": 0, "N": 3}, {"S": 5, "N": 13}, {"S": 8, "N": 19}),
    ),
    "from below zero, backwards in tiles": (
        nests.around_zero,
        (Reverse("i"), Split("i", 3), Unroll("i.i")),
        ({"S": 0, "N": 3}, {"S": 7, "N": 17}),
    ),
    "divisions below zero": (nests.floors, (Split("i", 4), Vectorize("i.i")), ({},)),
    "divisions below zero, backwards": (nests.floors, (Reverse("i"), Split("i", 5), Unroll("i.i")), ({},)),
    # In place.
    "seidel, skewed and tiled": (
        nests.seidel,
        (Skew("t", "i", 1), Skew("t", "j", 1), Tile(("t", "i", "j"), (2, 4, 4))),
        ({"T": 3, "N": 9, "M": 8}, {"T": 1, "N": 3, "M": 3}, {"T": 2, "N": 2, "M": 5}),
    ),
    "seidel by wavefronts": (
        nests.seidel,
        (Skew("i", "j", 1), Reorder(("j", "i")), Parallel("i")),
        ({"T": 3, "N": 9, "M": 8}, {"T": 2, "N": 3, "M": 9}),
    ),
    "upper right in tiles": (
        nests.upper_right,
        (Skew("i", "j", 1), Tile(("i", "j"), (4, 4)), Unroll("i.i")),
        ({"N": 9, "M": 10}, {"N": 2, "M": 2}, {"N": 6, "M": 1}),
    ),
    "upper right, a row as lanes": (
        nests.upper_right,
        (Split("j", 4), Vectorize("j.i")),
        ({"N": 5, "M": 11}, {"N": 1, "M": 4}),
    ),
    "rows jammed": (
        nests.upper_right,
        (Skew("i", "j", 1), UnrollAndJam("i", 2)),
        ({"N": 8, "M": 6}, {"N": 5, "M": 5}),
    ),
    "no more lanes than the distance": (
        nests.every_fourth,
        (Split("i", 4), Vectorize("i.i")),
        ({"N": 0}, {"N": 5}, {"N": 8}, {"N": 23}),
    ),
    # One statement of several.
    "one of several unrolled": (nests.one_of_several, (Unroll("j"),), ({"N": 0}, {"N": 5})),
    "one of several as lanes, another unrolled": (
        nests.one_of_several,
        (Unroll("k"), Vectorize("j"), Parallel("i")),
        ({"N": 1}, {"N": 6}),
    ),
    "one of several distributed and tiled": (
        nests.one_of_several,
        (Distribute("i"), Tile(("S2.i", "j"), (4, 4)), Unroll("S2.i.i"), Vectorize("j.i")),
        ({"N": 1}, {"N": 7}),
    ),
    # Steps that are not 1.
    "counting down": (nests.counting_down, (Split("i", 4), Vectorize("i.i")), ({"N": 0}, {"N": 9})),
    "counting down, forwards": (nests.counting_down, (Reverse("i"), Parallel("i")), ({"N": 1}, {"N": 9})),
    "by threes as lanes": (nests.by_threes, (Split("i", 4), Vectorize("i.i")), ({"N": 1}, {"N": 2}, {"N": 31})),
    "by threes, separated": (
        nests.by_threes,
        (Split("i", 2), Separate("i.o"), Unroll("i.i")),
        ({"N": 1}, {"N": 5}, {"N": 14}),
    ),
    # Names that mean something in C, in isl or in generated code.
    "names of the target language": (
        nests.named_like_code,
        (Tile(("restrict", "double"), (2, 2)), Unroll("double.i"), Parallel("restrict.o")),
        ({},),
    ),
    "a statement without loops": (nests.alone, (), ({},)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAPS)
def test_trap(name: str) -> None:
    python, steps, every = TRAPS[name]
    schedule = loops(python)
    for step in steps:
        assert schedule.ask(step), schedule.ask(step)
        schedule = schedule.apply(step)
    for sizes in every:
        check(schedule, sizes, python=python)


# ---- extents of one, and everything together -------------------------------------------------------------------------

ONES: dict[str, tuple[Callable[[], Schedule], Steps]] = {
    "split": (lambda: matmul(1, 1, 1).schedule(), (Split("C.i", 4), Split("C.j", 4), Vectorize("C.j.i"))),
    "tile": (lambda: matmul(1, 1, 1).schedule(), (Tile(("C.i", "C.j", "k"), (4, 8, 2)), Unroll("k.i"))),
    "bind": (lambda: matmul(1, 1, 1).schedule(), (Parallel("C.i"), Vectorize("C.j"), Unroll("k"))),
    "row": (
        lambda: matmul(1, 17, 5, bias=True).schedule(),
        (Split("C.j", 8), Separate("C.j.o"), Vectorize("C.j.i")),
    ),
    "column": (
        lambda: matmul(9, 1, 3).schedule(),
        (Collapse("C.i", "C.j"), Split("C.i", 4), Vectorize("C.i.i")),
    ),
    "skew": (
        lambda: heat(1, 3).schedule(),
        (Skew("step.t", "step.i", 1), Tile(("step.t", "step.i"), (2, 2))),
    ),
    "fused": (lambda: normalised(1, 1).schedule(), (Fuse(("i", "top.i", "rest.i")), Parallel("i"))),
    "symbolic": (
        lambda: matmul(1, 1, 1, symbolic=True).schedule(),
        (Tile(("C.i", "C.j"), (4, 8)), Separate("C.j.o"), Vectorize("C.j.i"), Unroll("C.i.i")),
    ),
}


@pytest.mark.parametrize("name", ONES)
def test_extents_of_one(name: str) -> None:
    start, steps = ONES[name]
    schedule = start()
    sizes = dict.fromkeys(schedule.function.sizes, 1)
    check(schedule.apply(*steps), sizes, original=schedule.function)


TOGETHER: tuple[Steps, ...] = (
    (Tile(("C.i", "C.j", "k"), (4, 16, 4)), Unroll("C.i.i"), Vectorize("C.j.i")),
    (
        Tile(("C.i", "C.j", "k"), (4, 16, 4)), Separate("C.j.o"), Unroll("C.i.i"), Unroll("k.i"), Vectorize("C.j.i"),
        Parallel("C.i.o"),
    ),
    (
        Tile(("C.i", "C.j"), (3, 8)), Reorder(("k", "C.i.i", "C.j.i")), Separate("C.i.o"), Separate("C.j.o"),
        Unroll("C.i.i"), Vectorize("C.j.i"), Unroll("C.i.i.tail"),
    ),
    (Fuse(("i", "C.i")), Split("i", 4), Unroll("i.i"), Split("C.j", 8), Vectorize("C.j.i"), Vectorize("j")),
    (UnrollAndJam("C.i", 4), Split("C.j", 8), Vectorize("C.j.i")),
    (Split("k", 4), Vectorize("k.i"), Tile(("C.i", "C.j"), (2, 2)), Unroll("C.j.i")),
)  # fmt: skip


@pytest.mark.parametrize("steps", TOGETHER, ids=lambda steps: f"{len(steps)} steps")
@pytest.mark.parametrize("extents", [(13, 37, 11), (4, 16, 8), (3, 5, 2)], ids=str)
def test_unrolled_tiled_and_vectorised_together(steps: Steps, extents: tuple[int, int, int]) -> None:
    schedule = made = matmul(*extents).schedule()
    for step in steps:
        answer = made.ask(step)
        if answer.schedule is None:
            # Nothing is to be separated where tiles divide, and then nothing is left over.
            assert "all tiles" in answer.why or "C.i.i.tail" in str(step), answer
        else:
            made = answer.schedule
    check(made, original=schedule.function)


# ---- statements in one leaf, and empty domains -----------------------------------------------------------------------


def pointwise(twisted: bool = False) -> Function:
    """Three statements over one range; `twisted`: the second reads the first one place ahead."""
    f = FunctionBuilder("pointwise")
    x = f.input("x", (12,))
    a = f.compute("a", {"i": 12}, lambda i: x[i] * 2)
    b = f.compute("b", {"i": 11}, lambda i: a[i + 1] if twisted else a[i] + 1)
    c = f.compute("c", {"i": 11}, lambda i: a[i] - b[i])
    return f.build([b, c])


ONE_LEAF = "band a, b, c\n  for t = i\n  leaf\n"
LATER = "band a, b, c\n  for t = a: i; b: i + 1; c: i + 1\n  leaf\n"


def test_statements_without_an_order_of_their_own_run_in_textual_order() -> None:
    function = pointwise()
    schedule = Schedule.of(function).apply(AffineOrder(ONE_LEAF))
    check(schedule, original=function)
    check(schedule.apply(Split("t", 4), Vectorize("t.i")), original=function)
    check(schedule.apply(Parallel("t")), original=function)


def test_statements_without_an_order_are_judged_too() -> None:
    function = pointwise(twisted=True)
    with pytest.raises(IllegalSchedule, match=r"a\(1\) must run before b\(0\)"):
        Schedule.of(function).apply(AffineOrder(ONE_LEAF))
    later = Schedule.of(function).apply(AffineOrder(LATER))
    check(later, original=function)
    with pytest.raises(IllegalSchedule, match="vector"):
        later.apply(Split("t", 4), Vectorize("t.i"))


@pytest.mark.parametrize("extents", [(0, 5, 3), (5, 0, 3), (5, 3, 0), (0, 0, 0)], ids=str)
def test_empty_domains(extents: tuple[int, int, int]) -> None:
    schedule = matmul(*extents, bias=True).schedule()
    check(schedule, original=schedule.function)
    tiled = schedule.apply(Fuse(("i", "C.i", "D.i")), Split("i", 4), Unroll("i.i"))
    check(tiled, original=schedule.function)
    # Without points there is nothing that could be illegal.
    assert bool(schedule.ask(Parallel("k"))) == (0 in extents)


def test_sizes_are_not_negative() -> None:
    f = FunctionBuilder("shifted")
    (s,) = f.sizes("S")
    f.assume(s >= -9)
    x = f.input("x", (8,))
    y = f.temporary("y", (8,))
    f.compute("moved", {"i": (s, s + 8)}, lambda i: x[i - s], into=y, at=lambda i: [i - s])
    with pytest.raises(InvalidProgram, match="size S of function shifted may be negative"):
        Schedule.of(f.build([y]))


def test_an_empty_window_fused() -> None:
    """A consumer without points beside a producer that has some."""
    f = FunctionBuilder("window")
    x = f.input("x", (3,))
    a = f.compute("a", {"i": 3}, lambda i: x[i] * 2)
    b = f.compute("b", {"i": (2, 2)}, lambda i: a[i - 1] + a[i + 1] if False else a[i])
    c = f.compute("c", {"i": 3}, lambda i: a[i] + 1)
    function = f.build([b, c])
    schedule = Schedule.of(function).apply(Fuse(("i", "b.i", "c.i")))
    check(schedule, original=function)
    check(schedule.apply(Vectorize("i")), original=function)


def test_a_sliding_window() -> None:
    case = blur(14)
    schedule = case.schedule().apply(FuseShifted(("i", "b.i")), Split("i", 4), Separate("i.o"), Unroll("i.i"))
    check(schedule, original=case.function)
