"""What a search may try: candidates name loops that exist, and are applied or refused, nothing else."""

from __future__ import annotations

import pytest

from polydl.errors import IllegalSchedule, NotApplicable
from polydl.scheduler import (
    TRANSFORMS,
    ComputeAt,
    Fuse,
    Inline,
    Local,
    Parallel,
    Privatize,
    Reorder,
    Schedule,
    Separate,
    Skew,
    Split,
    Tile,
    Transform,
    Unroll,
    Vectorize,
)
from polydl.targets import parse
from tests.scheduler.programs import Case, blur, heat, matmul, normalised
from tests.scheduler.running import check_lowered

TARGET = parse("x86-64-avx2")
CASES = {
    "matmul": matmul(9, 20, 6, bias=True),
    "heat": heat(3, 9),
    "rows": normalised(3, 18),
    "blur": blur(9),
}


def candidates(schedule: Schedule) -> list[Transform]:
    return [t for cls in TRANSFORMS.values() for t in cls.candidates(schedule, TARGET)]


@pytest.mark.parametrize("name", CASES)
def test_candidates_apply_or_are_refused(name: str) -> None:
    case: Case = CASES[name]
    start = case.schedule()
    accepted = []
    for t in candidates(start):
        try:
            accepted.append(start.apply(t, explain=False))
        except (NotApplicable, IllegalSchedule):
            continue
    assert accepted
    for schedule in accepted[::5]:
        check_lowered(schedule, case)


def test_the_obvious_ones_are_among_them() -> None:
    found = candidates(CASES["matmul"].schedule())
    wanted = (
        Split("C.j", 8), Tile(("C.i", "C.j"), (8, 32)), Reorder(("k", "C.j")), Fuse(("C.i", "D.i")), Parallel("D.i"),
        Vectorize("D.j"), Unroll("C.i"), Privatize("C", "k", 8), ComputeAt("C", "D.j", "D"),
    )  # fmt: skip
    assert [t for t in wanted if t not in found] == []
    assert Skew("step.t", "step.i", 1) in candidates(CASES["heat"].schedule())
    assert Inline("rest") in candidates(CASES["rows"].schedule())
    split = matmul(9, 20, 6).schedule().apply(Split("C.i", 4))
    assert Separate("C.i.o") in candidates(split)
    fused = CASES["blur"].schedule().apply(ComputeAt("a", "b.i", "b"))
    assert Local("a", ("b.i",)) in candidates(fused)


def test_candidates_of_tiled_trees_have_no_duplicates() -> None:
    start = matmul(9, 20, 6, bias=True).schedule()
    schedule = start.apply(Tile(("C.i", "C.j"), (4, 8)), Tile(("i", "j"), (4, 8)), Fuse(("i.o", "C.i.o")))
    found = candidates(schedule)
    assert len(found) == len(set(found))
