"""The arena plan: nothing alive is overwritten, and little is wasted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydl.graph import Where
from polydl.graph.memory import Buffer, Location, lower_bound, place_buffers
from tests.graph.build import graph_of, model, node
from tests.graph.machine import plan_of
from tests.graph.test_layout import agrees

buffers = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 30), st.integers(0, 10)), min_size=1, max_size=40
).map(
    lambda rows: [
        Buffer(f"b{k}", size, first, first + length) for k, (size, first, length) in enumerate(rows)
    ]
)


@given(buffers)
@settings(max_examples=300)
def test_buffers_alive_together_do_not_overlap(given_buffers: list[Buffer]) -> None:
    offsets = place_buffers(given_buffers)
    for a in given_buffers:
        assert offsets[a.name] % 64 == 0
        for b in given_buffers:
            if a is not b and a.bytes and b.bytes and a.first <= b.last and b.first <= a.last:
                low, high = sorted((a, b), key=lambda x: offsets[x.name])
                assert offsets[low.name] + low.bytes <= offsets[high.name]


@given(buffers)
@settings(max_examples=300)
def test_arena_is_near_the_lower_bound(given_buffers: list[Buffer]) -> None:
    offsets = place_buffers(given_buffers)
    size = max(offsets[b.name] + -(-b.bytes // 64) * 64 for b in given_buffers)
    bound = lower_bound(given_buffers)
    assert bound <= size <= 2 * bound


def test_chain_needs_two_buffers() -> None:
    nodes = [
        node("Softmax", ["x" if k == 0 else f"v{k}"], [f"v{k + 1}" if k < 9 else "y"]) for k in range(10)
    ]
    plan = plan_of(graph_of(model(nodes, {"x": [64, 64]})), None)
    assert plan.bytes == plan.lower_bound == 2 * 64 * 64 * 4


def test_reshapes_and_concatenations_share_storage() -> None:
    nodes = [
        node("Softmax", ["x"], ["a"]),
        node("Softmax", ["a"], ["b"]),
        node("Concat", ["a", "b"], ["c"], axis=0),
        node("Flatten", ["c"], ["d"], axis=0),
        node("Softmax", ["d"], ["y"]),
    ]
    plan = plan_of(graph_of(model(nodes, {"x": [4, 16]})), None)
    places = {v: plan.locations[v] for v in "abcd"}
    assert places["a"] == places["c"] == places["d"]
    assert places["b"].offset == places["a"].offset + 4 * 16 * 4
    assert plan.bytes == 2 * 4 * 16 * 4


def test_last_views_write_into_the_output() -> None:
    nodes = [node("Softmax", ["x"], ["a"]), node("Flatten", ["a"], ["y"])]
    plan = plan_of(graph_of(model(nodes, {"x": [4, 2, 2]})), None)
    assert plan.locations["a"].where is Where.OUTPUT
    assert plan.bytes == 0


@pytest.mark.parametrize("base", ["x", "v"])
def test_parts_of_an_input_or_output_are_copied(base: str) -> None:
    """A view of an input lies in the input, and the base of an output's view in the output: parts of them do not."""
    nodes = [
        node("Softmax", ["x"], ["v"]),
        node("Reshape", [base, "s"], ["w"]),
        node("Split", ["w" if base == "x" else "v"], ["a", "b"], axis=1 if base == "x" else 0),
        node("Softmax", ["a"], ["y"]),
    ]
    proto = model(nodes, {"x": [6, 32]}, ["y", "b", "w"][: 2 if base == "x" else 3],
                  {"s": np.array([1, 6, 32])})  # fmt: skip
    plan = plan_of(graph_of(proto), None)
    assert plan.locations["a"] == Location(Where.ARENA, 0, plan.locations["a"].offset)
    agrees(graph_of(proto), None)
