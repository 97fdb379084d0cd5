"""Arithmetic counted from shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.table import build
from polydl.graph import load_model, make_groups, optimize
from polydl.graph.cost import group_cost, network_cost, node_flops
from tests.graph.build import Node, graph_of, model, node


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("operator", "shape", "constants", "flops"),
    [
        (
            node("Conv", ["x", "w"], ["y"], pads=[1] * 4),
            [1, 3, 8, 8],
            {"w": ones(5, 3, 3, 3)},
            8 * 8 * 5 * 27 * 2,
        ),
        (
            node("Conv", ["x", "w", "b"], ["y"], group=4),
            [1, 4, 8],
            {"w": ones(4, 1, 3), "b": ones(4)},
            4 * 6 * 7,
        ),
        (node("ConvTranspose", ["x", "w"], ["y"]), [1, 3, 4, 4], {"w": ones(3, 2, 2, 2)}, 2 * 48 * 8),
        (node("Gemm", ["x", "w", "b"], ["y"], transA=1), [6, 2], {"w": ones(6, 5), "b": ones(5)}, 10 * 13),
        (node("MatMul", ["x", "w"], ["y"]), [7, 2, 6], {"w": ones(6, 5)}, 7 * 2 * 5 * 6 * 2),
        (node("Einsum", ["x", "w"], ["y"], equation="ij,jk->ik"), [2, 3], {"w": ones(3, 4)}, 2 * 24),
        (node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2]), [1, 1, 3, 3], {}, 4 * 4),
        (node("ReduceSum", ["x"], ["y"]), [4, 5], {}, 20),
        (node("Relu", ["x"], ["y"]), [4, 5], {}, 20),
        (node("Sum", ["x", "x", "x"], ["y"]), [4], {}, 8),
        (node("Transpose", ["x"], ["y"]), [4, 5], {}, 0),
    ],
)
def test_operations(operator: Node, shape: list[int], constants: dict[str, Any], flops: int) -> None:
    graph = graph_of(model([operator], {"x": shape}, constants=constants))
    assert node_flops(graph, graph.nodes[0]) == flops


def test_traffic_of_a_group() -> None:
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    graph = graph_of(model(nodes, {"x": [1, 2, 4, 4]}, constants={"w": ones(3, 2, 1, 1)}))
    (group,) = make_groups(graph)
    cost = group_cost(graph, group)
    assert cost.bytes == 4 * (2 * 16 + 6 + 3 * 16), "the value between the two nodes does not leave the group"
    assert cost.flops == 3 * 16 * 2 * 2 + 3 * 16
    assert cost.intensity == cost.flops / cost.bytes


def test_published_networks() -> None:
    """Multiply-adds within a few per cent of what the papers say (2 operations each)."""
    for name, published in (("mobilenet_v2", 0.30e9), ("squeezenet1_1", 0.35e9)):
        flops = network_cost(optimize(graph_of(build(name)))).flops
        assert 2 * published * 0.97 < flops < 2 * published * 1.06, name


def test_downloaded_network(shared_models: Any) -> None:
    graph = optimize(load_model(shared_models / "mnist" / "opt-mnist.onnx"))
    assert network_cost(graph).flops > 1e6
