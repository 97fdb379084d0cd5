"""Questions to a schedule: the judge's answer, its example, and the schedule in words."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given, settings

from polydl.errors import UsageError
from polydl.scheduler import (
    Distribute,
    Fuse,
    Parallel,
    Reorder,
    Schedule,
    Skew,
    Split,
    Tile,
    Vectorize,
)
from tests.errors.programs import diagonal, pair, prefix, triangle_sums
from tests.scheduler.programs import Case, cases, heat, in_place, matmul, normalised

Golden = Callable[[str, str], None]


def test_an_answer_is_a_condition_with_reasons() -> None:
    schedule = heat().schedule()
    free, held = schedule.can_parallel("step.i"), schedule.can_parallel("step.t")
    assert free
    assert free.schedule == schedule.apply(Parallel("step.i"))
    assert str(free) == "yes: Parallel('step.i') is legal"
    assert not held
    assert held.dependence is not None
    assert held.dependence.tensor == "u"
    assert (held.source, held.sink, held.cell, held.sizes) == ((1, 1), (2, 2), (1, 1), {})
    assert str(held).startswith(
        "no: Parallel('step.t') is illegal: step(1, 1) must run before step(2, 2): flow"
    )
    assert schedule.apply(*held.repair)
    assert free.repair == ()


def test_an_answer_about_shape_has_no_example() -> None:
    answer = matmul(symbolic=True).schedule().can_vectorize("C.j")
    assert not answer
    assert (answer.dependence, answer.source, answer.repair) == (None, (), ())
    assert str(answer) == ("no: Vectorize('C.j') does not apply: the extent of loop C.j is not a constant")


def test_an_answer_for_symbolic_sizes_says_which() -> None:
    assert triangle_sums().can_parallel("sums.i").sizes == {"N": 2}


@pytest.mark.parametrize(
    ("schedule", "yes", "no"),
    [
        (lambda: matmul().schedule(), ("can_parallel", "C.i"), ("can_parallel", "k")),
        (lambda: matmul().schedule(), ("can_vectorize", "k"), ("can_parallel", "k")),
        (
            lambda: Schedule.of(matmul().function, reassociate=False),
            ("can_reverse", "C.j"),
            ("can_reverse", "k"),
        ),
        (lambda: heat().schedule(), ("can_unroll", "step.t"), ("can_reverse", "step.t")),
        (lambda: matmul().schedule(), ("can_permute", "C.i", "C.j", "k"), ("can_fuse", "j", "k")),
        (diagonal, ("can_reorder", "seidel.i", "seidel.j"), ("can_permute", "seidel.i", "seidel.j")),
        (pair, ("can_unroll", "i"), ("can_fuse", "i", "b.i")),
        (
            lambda: normalised().schedule().apply(Fuse(("i", "top.i"))),
            ("can_distribute", "i"),
            ("can_distribute", "j"),
        ),
    ],
)
def test_questions_by_name(
    schedule: Callable[[], Schedule], yes: tuple[str, ...], no: tuple[str, ...]
) -> None:
    s = schedule()
    assert getattr(s, yes[0])(*yes[1:])
    assert not getattr(s, no[0])(*no[1:])


def test_partners_of_a_loop() -> None:
    assert matmul().schedule().permutable_with("C.j") == ("C.i", "k")
    assert heat().schedule().permutable_with("step.i") == ()
    skewed = heat().schedule().apply(Skew("step.t", "step.i", 1))
    assert skewed.permutable_with("step.i") == ("step.t",)
    assert normalised().schedule().fusable_with("top.i") == ("i", "rest.i")
    assert pair().fusable_with("i") == ()


def test_what_a_loop_carries() -> None:
    schedule = in_place().schedule()
    assert {d.distance for d in schedule.carried("seidel.i")} == {(1, 0)}
    assert {d.distance for d in schedule.carried("seidel.j")} == {(0, 1)}
    assert schedule.parallel_loops() == ("i", "j")
    with pytest.raises(UsageError, match="there is no loop 'x'"):
        schedule.carried("x")
    with pytest.raises(UsageError, match="there is no loop 'x'"):
        schedule.can_parallel("x")


@settings(max_examples=25)
@given(cases())
def test_permutable_bands_may_be_tiled_and_ordered_in_any_way(case: Case) -> None:
    schedule = case.schedule()
    for name in list(schedule.parallel_loops())[:2]:
        assert schedule.carried(name) == ()
    bands = {tuple(m.name for m in schedule.band(b).members)[-3:] for b in _first_loops(schedule)}
    for loops in bands:
        if len(loops) < 2:
            continue
        every = all(schedule.ask(Reorder(order)) for order in permutations(loops))
        assert bool(schedule.can_permute(*loops)) == every
        if every:
            assert schedule.can_tile(loops, (2,) * len(loops))


def _first_loops(schedule: Schedule) -> list[str]:
    from polydl.poly import Band, walk

    return [node.members[0].name for node in walk(schedule.tree) if isinstance(node, Band)]


EXPLAINED: dict[str, Callable[[], Schedule]] = {
    "heat": lambda: heat().schedule(),
    "in_place": lambda: in_place().schedule().apply(Skew("seidel.i", "seidel.j", 1)),
    "matmul": lambda: (
        matmul(symbolic=True)
        .schedule()
        .apply(Fuse(("i", "C.i")), Parallel("i"), Split("C.j", 8), Vectorize("C.j.i"))
    ),
    "ordered": lambda: Schedule.of(matmul().function, reassociate=False).apply(Tile(("C.i", "C.j"), (4, 4))),
    "distributed": pair,
    "prefix": prefix,
    "triangle": triangle_sums,
    "normalised": lambda: normalised().schedule().apply(Fuse(("i", "top.i")), Distribute("i")),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_explanation(name: str, golden: Golden) -> None:
    text = EXPLAINED[name]().explain()
    golden(f"scheduler/explain_{name}.txt", text)
    assert all(len(line) < 200 for line in text.splitlines())
