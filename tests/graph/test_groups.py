"""Fusion groups, and the functions they become."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

from polydl.dsl import TensorRole
from polydl.errors import UnsupportedOperator
from polydl.graph import Graph, GroupKind, load_model, lower_group, make_groups, optimize
from polydl.graph.groups import ELEMENTWISE
from polydl.ops import supported
from tests.graph.build import Node, graph_of, model, node
from tests.graph.machine import functions_of
from tests.graph.random_nets import networks


def grouped(
    nodes: list[Node], inputs: dict[str, Any], constants: dict[str, Any] | None = None, **options: Any
) -> list[str]:
    """The groups' operators, in running order."""
    graph = graph_of(model(nodes, inputs, constants=constants, **options))
    groups = make_groups(graph)
    check(graph, groups)
    return [f"{g.kind.value}: {' '.join(n.op_type for n in g.nodes)}" for g in groups]


def check(graph: Graph, groups: Any) -> None:
    """A partition, in an order in which every input is there, with one value leaving each group of several nodes."""
    assert sorted(n.name for g in groups for n in g.nodes) == sorted(n.name for n in graph.nodes)
    present = {*graph.inputs, *graph.constants}
    for g in groups:
        assert present.issuperset(g.inputs), f"{g} runs too early"
        made = set()
        for n in g.nodes:
            assert present.union(made).issuperset(i for i in n.inputs if i)
            made |= set(n.outputs)
        assert len(g.nodes) == 1 or len(g.outputs) == 1
        present |= set(g.outputs)
    assert present.issuperset(graph.outputs)


W = {"w": np.ones((4, 4, 1, 1), np.float32), "b": np.ones((4, 1, 1), np.float32)}
X = {"x": [1, 4, 6, 6]}


def conv(x: str, y: str) -> Node:
    return node("Conv", [x, "w"], [y])


def test_epilogue() -> None:
    nodes = [
        conv("x", "a"),
        node("Add", ["a", "b"], ["c"]),
        node("Relu", ["c"], ["d"]),
        node("Add", ["d", "x"], ["y"]),
    ]
    assert grouped(nodes, X, W) == ["contraction: Conv Add Relu Add"]


def test_residual_goes_to_the_later_convolution() -> None:
    nodes = [conv("x", "a"), conv("a", "c"), node("Add", ["a", "c"], ["d"]), node("Relu", ["d"], ["y"])]
    assert grouped(nodes, X, W) == ["contraction: Conv", "contraction: Conv Add Relu"]


def test_values_read_twice_are_passed_where_the_paths_meet() -> None:
    nodes = [
        conv("x", "a"),
        node("Sigmoid", ["a"], ["s"]),
        node("Mul", ["a", "s"], ["m"]),
        node("Abs", ["m"], ["y"]),
    ]
    assert grouped(nodes, X, W) == ["contraction: Conv Sigmoid Mul Abs"]


def test_values_read_twice_are_not_passed_where_the_paths_do_not_meet() -> None:
    nodes = [conv("x", "a"), node("Sigmoid", ["a"], ["s"]), node("Mul", ["a", "s"], ["y"])]
    groups = grouped(nodes, X, W, outputs=("y", "s"))
    assert groups == ["contraction: Conv", "elementwise: Sigmoid", "elementwise: Mul"]


def test_outputs_of_the_graph_end_a_group() -> None:
    nodes = [conv("x", "a"), node("Relu", ["a"], ["y"])]
    assert grouped(nodes, X, W, outputs=("a", "y")) == ["contraction: Conv", "elementwise: Relu"]


def test_no_cycle_through_other_groups() -> None:
    """The Add reads a value that itself comes from the convolution by way of a pool: it cannot join."""
    nodes = [
        conv("x", "a"),
        node("MaxPool", ["a"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Add", ["a", "p"], ["y"]),
    ]
    assert grouped(nodes, X, W) == ["contraction: Conv", "pool: MaxPool Add"]


def test_broadcasting_results_do_not_join() -> None:
    nodes = [
        node("GlobalAveragePool", ["x"], ["p"]),
        node("Sigmoid", ["p"], ["s"]),
        node("Mul", ["x", "s"], ["y"]),
    ]
    assert grouped(nodes, X) == ["reduction: GlobalAveragePool Sigmoid", "elementwise: Mul"]


def test_softmax_takes_what_is_around_it() -> None:
    nodes = [
        node("Div", ["x", "n"], ["a"]),
        node("Add", ["a", "m"], ["c"]),
        node("Softmax", ["c"], ["s"]),
        node("Mul", ["s", "n"], ["y"]),
    ]
    constants = {"n": np.float32(8), "m": np.ones((6, 6), np.float32)}
    assert grouped(nodes, X, constants) == ["reduction: Div Add Softmax Mul"]


def test_elementwise_graphs_are_one_group() -> None:
    nodes = [
        node("Abs", ["x"], ["a"]),
        node("Sqrt", ["a"], ["b"]),
        node("Exp", ["a"], ["c"]),
        node("Mul", ["b", "c"], ["y"]),
    ]
    assert grouped(nodes, X) == ["elementwise: Abs Sqrt Exp Mul"]


def test_views_and_movements() -> None:
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("Relu", ["f"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[1, 0]),
        node("Neg", ["t"], ["y"]),
    ]
    assert grouped(nodes, X) == [
        "view: Flatten",
        "elementwise: Relu",
        "movement: Transpose",
        "elementwise: Neg",
    ]


def test_elementwise_table_agrees_with_the_operators() -> None:
    assert {op for _, op in supported()} >= ELEMENTWISE


@given(proto=networks(14))
@settings(max_examples=80)
def test_random_networks(proto: onnx.ModelProto) -> None:
    graph = graph_of(proto)
    check(graph, make_groups(graph))


def test_equal_groups_give_equal_functions() -> None:
    nodes = [conv("x", "a"), node("Relu", ["a"], ["c"]), node("Conv", ["c", "v"], ["d"], name="other"),
        node("Relu", ["d"], ["e"]),
             node("Conv", ["e", "u"], ["f"]), node("Relu", ["f"], ["y"])]  # fmt: skip
    constants = {**W, "v": np.zeros((4, 4, 1, 1), np.float32), "u": np.zeros((3, 4, 1, 1), np.float32)}
    first, second, third = functions_of(graph_of(model(nodes, X, constants=constants)), None)
    assert first == second
    assert hash(first) == hash(second)
    assert first != third
    assert [t.name for t in first.of_role(TensorRole.INPUT, TensorRole.CONSTANT)] == ["x0", "w0"]


def test_scalars_become_literals_and_unused_inputs_vanish() -> None:
    nodes = [node("Clip", ["x", "lo", "hi"], ["a"]), node("Reshape", ["a", "s"], ["y"])]
    constants = {"lo": np.float32(0), "hi": np.float32(6), "s": np.array([4, 36])}
    graph = graph_of(model(nodes, X, constants=constants))
    for group in make_groups(graph):
        lowered = lower_group(graph, group)
        assert not lowered.constants
        assert [b.tensor for b in lowered.inputs] == ["x0"]


def test_operators_without_a_lowering_are_refused() -> None:
    graph = graph_of(model([node("Det", ["x"], ["y"])], {"x": [3, 3]}), supported=lambda op: True)
    (group,) = make_groups(graph)
    assert group.kind is GroupKind.MOVEMENT
    with pytest.raises(UnsupportedOperator, match="Det"):
        lower_group(graph, group)


def test_groups_of_a_downloaded_network(shared_models: Any) -> None:
    graph = optimize(load_model(shared_models / "ultraface" / "version-RFB-320.onnx"))
    groups = make_groups(graph)
    check(graph, groups)
    alone = [g for g in groups if g.kind is GroupKind.ELEMENTWISE and g.nodes[0].op_type == "Relu"]
    assert not alone, "every Relu follows a convolution"
