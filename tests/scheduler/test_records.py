"""Transformations and schedules are values: as text, as JSON, compared, hashed and replayed."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydl.dsl import Function, Layout
from polydl.errors import IllegalSchedule, InvalidProgram, PolydlError
from polydl.poly.tree import Tree
from polydl.scheduler import (
    TRANSFORMS,
    Parallel,
    Schedule,
    SetLayout,
    Split,
    Tile,
    Transform,
    default_schedule,
    from_json,
    from_text,
)
from polydl.targets import parse
from polydl.vocabulary import Memory
from tests.scheduler.programs import Case, cases, chain, convolution, heat, matmul, normalised
from tests.scheduler.test_trees import CASES

_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z_0-9.]{0,6}", fullmatch=True)
_LAYOUTS = st.builds(
    lambda shape, axis, block, low: Layout.blocked(shape, axis % len(shape), block, [low] * len(shape)),
    st.lists(st.integers(1, 20), min_size=1, max_size=4),
    st.integers(0, 3),
    st.integers(1, 16),
    st.integers(-2, 2),
)
_FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    str: _NAMES,
    int: st.integers(-100, 100),
    bool: st.booleans(),
    tuple[str, ...]: st.lists(_NAMES, max_size=3).map(tuple),
    tuple[int, ...]: st.lists(st.integers(1, 64), max_size=3).map(tuple),
    tuple[tuple[int, ...], ...]: st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), max_size=2).map(
        tuple
    ),
    Layout: _LAYOUTS,
    Layout | None: st.none() | _LAYOUTS,
    Memory: st.sampled_from(Memory),
}


@st.composite
def transforms(draw: st.DrawFn) -> Transform:
    """Any transformation with any values in its fields."""
    cls = TRANSFORMS[draw(st.sampled_from(sorted(TRANSFORMS)))]
    hints = get_type_hints(cls)
    return cls(**{f.name: draw(_FIELDS[hints[f.name]]) for f in fields(cls)})


@given(transforms())
def test_text_and_json_say_it_all(t: Transform) -> None:
    assert from_text(repr(t)) == t
    assert from_json(json.loads(json.dumps(t.to_json()))) == t
    assert hash(from_text(repr(t))) == hash(t)
    assert pickle.loads(pickle.dumps(t)) == t  # noqa: S301


def test_text_is_short() -> None:
    assert repr(Tile(("i", "j"), (8, 16))) == "Tile(('i', 'j'), (8, 16))"
    layout = Layout.blocked((1, 20, 7, 7), 1, 16, (0, 0, -1, -1))
    text = "d0, d1, d2, d3 -> d0, d1 // 16, d2 + 1, d3 + 1, d1 % 16 in 1, 2, 7, 7, 16"
    assert str(layout) == text
    assert repr(layout) == f"Layout.parse('{text}')"
    schedule = default_schedule(convolution(1, 16, 32, 9, 9).function, parse("x86-64-avx2"))
    assert schedule.trace
    for step in schedule.trace:
        assert len(repr(step)) < 200


@given(_LAYOUTS)
def test_layouts_as_text(layout: Layout) -> None:
    assert Layout.parse(str(layout)) == layout


def test_layouts_of_rank_zero_and_of_symbolic_shapes() -> None:
    for layout in (Layout.row_major(()), matmul(symbolic=True).function.tensors[0].storage):
        assert Layout.parse(str(layout)) == layout


@pytest.mark.parametrize(
    "text",
    [
        "",
        "d0",
        "d0 -> d0",
        "d0 -> d0, d1 in 4, 4",
        "d0 -> d0 in 4, 4",
        "d0, d0 -> d0 in 4",
        "1 -> 1 in 4",
        "d0 -> d0 + in 4",
    ],
)
def test_what_is_no_layout(text: str) -> None:
    with pytest.raises(InvalidProgram):
        Layout.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "Split", "Split('i', 4", "Split('i')", "Split('i', 4, 5)", "Split('i', '4')", "Split('i', True)",
        "Split('i', loop='j', factor=2)", "Split('i', **x)", "Split(i, 4)", "Explode('i')", "__import__('os')",
        "Split('i', 2 + 2)", "Local('t', ('i',), Memory.NOWHERE)", "Local('t', ('i',), Memory.__class__)",
        "SetLayout('t', Layout.parse('nonsense'))", "SetLayout('t', Layout.row_major((1,)))", "a.Split('i', 4)",
        "Tile(('i', 3), (4, 4))", "(" * 5000, "Split('\0', 4", "Unroll('i').loop",
    ],
)  # fmt: skip
def test_what_is_no_transformation(text: str) -> None:
    with pytest.raises(InvalidProgram):
        from_text(text)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"transform": 3},
        {"transform": "Explode"},
        {"transform": "Split", "loop": "i"},
        {"transform": "Split", "loop": "i", "factor": 4.0},
        {"transform": "Split", "loop": "i", "factor": True},
        {"transform": "Split", "loop": "i", "factor": 4, "extra": 1},
        {"transform": "Split", "loop": None, "factor": 4},
        {"transform": "Tile", "loops": "ij", "sizes": [1, 2]},
        {"transform": "Local", "tensor": "t", "loops": ["i"], "memory": "moon"},
        {"transform": "Pack", "tensor": "t", "loop": "i", "statement": "s", "layout": 3},
    ],
)
def test_what_is_no_record(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidProgram):
        from_json(data)


@pytest.mark.parametrize("name", CASES)
def test_traces_as_records_are_replayed(name: str) -> None:
    case, steps = CASES[name]
    schedule = case.schedule().apply(*steps)
    texts = [repr(t) for t in schedule.trace]
    records = json.loads(json.dumps([t.to_json() for t in schedule.trace]))
    assert Schedule.replay(case.function, map(from_text, texts)) == schedule
    assert Schedule.replay(case.function, map(from_json, records)) == schedule


@given(cases(), st.sampled_from(["x86-64", "x86-64-avx512"]))
def test_recipes_are_replayed(case: Case, target: str) -> None:
    schedule = default_schedule(case.function, parse(target))
    assert Schedule.replay(case.function, [from_text(repr(t)) for t in schedule.trace]) == schedule


def test_a_replayed_trace_passes_the_judge_again() -> None:
    """A record of one function cannot smuggle an illegal order into another."""
    trace = (Split("step.i", 4), Parallel("step.i.o"))
    assert Schedule.replay(heat(3, 9).function, trace).trace == trace
    with pytest.raises(PolydlError):
        Schedule.replay(chain().function, trace)
    with pytest.raises(IllegalSchedule):
        Schedule.replay(heat(3, 9).function, (Parallel("step.t"),))


@pytest.mark.parametrize(
    "case", [matmul(), matmul(symbolic=True), heat(), chain(), normalised()], ids=lambda c: c.function.name
)
def test_functions_trees_and_schedules_are_values(case: Case) -> None:
    schedule = case.schedule().apply(Split("i", 2))
    again = Schedule.of(pickle.loads(pickle.dumps(case.function))).apply(Split("i", 2))  # noqa: S301
    assert again == schedule
    assert hash(again) == hash(schedule)
    copy: Schedule = pickle.loads(pickle.dumps(schedule))  # noqa: S301
    assert copy == schedule
    assert copy.apply(Split("i.o", 2)) == schedule.apply(Split("i.o", 2))
    assert schedule != case.schedule()
    function: Function = copy.function
    tree: Tree = copy.tree
    assert (function, tree) == (schedule.function, schedule.tree)
    assert len({schedule, again, copy}) == 1


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (Split("C.i", None), r"Split.factor cannot be None\n  why: it is a int"),  # type: ignore[arg-type]
        (Split("C.i", True), r"Split.factor cannot be True"),
        (Split(3, 4), r"Split.loop cannot be 3\n  why: it is a str"),  # type: ignore[arg-type]
        (Tile(["C.i"], (4,)), r"it is a tuple of strs"),  # type: ignore[arg-type]
        (Tile(("C.i",), (4.0,)), r"it is a tuple of ints"),  # type: ignore[arg-type]
        (SetLayout("C", "row"), r"it is a Layout"),  # type: ignore[arg-type]
        (Split, "is no transformation"),
        (None, "None is no transformation"),
    ],
)
def test_parameters_of_another_type_are_refused(transform: Any, message: str) -> None:
    with pytest.raises(InvalidProgram, match=message):
        Schedule.of(matmul().function).apply(transform)
