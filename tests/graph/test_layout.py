"""Layouts: whole networks computed on their own arena by the interpreter, equal to the reference; what is chosen
where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.table import NETWORKS, build
from polydl.graph import (
    Graph,
    Placement,
    arrange,
    load_model,
    optimize,
)
from polydl.graph.evaluate import evaluate_graph
from polydl.graph.layout import storage_shape
from tests.graph.build import Node, graph_of, model, node, randoms
from tests.graph.machine import run_lowered
from tests.graph.random_nets import networks


def agrees(graph: Graph, block: int | None) -> None:
    inputs = randoms(graph)
    expected = evaluate_graph(graph, inputs)
    found = run_lowered(graph, inputs, block)
    for o in graph.outputs:
        scale = max(1.0, float(np.abs(expected[o]).max(initial=0)))
        np.testing.assert_allclose(found[o], expected[o], rtol=1e-3, atol=1e-4 * scale)


@given(proto=networks(12), block=st.sampled_from((None, 2, 4, 16)), optimise=st.booleans())
@settings(max_examples=150)
def test_random_networks(proto: onnx.ModelProto, block: int | None, optimise: bool) -> None:
    graph = graph_of(proto)
    agrees(optimize(graph) if optimise else graph, block)


COMPILED = [n for n in NETWORKS if n != "lstm"]


@pytest.mark.parametrize("name", COMPILED)
def test_architectures(name: str) -> None:
    import onnxruntime

    proto = build(name, **NETWORKS[name].small)
    graph = optimize(graph_of(proto))
    inputs = randoms(graph)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = run_lowered(graph, inputs, 16)
    for o, expected in zip(graph.outputs, session.run(list(graph.outputs), inputs)):
        np.testing.assert_allclose(found[o], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["version-RFB-320", "version-slim-320_simplified"])
def test_downloaded_networks(shared_models: Path, name: str) -> None:
    agrees(optimize(load_model(shared_models / "ultraface" / f"{name}.onnx")), 16)


def chosen(
    nodes: list[Node], inputs: dict[str, Any], constants: dict[str, Any], block: int = 4, **options: Any
) -> Any:
    return arrange(graph_of(model(nodes, inputs, constants=constants, **options)), block)


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def test_regions_between_convolutions_are_blocked() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2]),
        node("Conv", ["p", "v"], ["c"], pads=[1, 2, 3, 4]),
        node("GlobalAveragePool", ["c"], ["g"]),
        node("Flatten", ["g"], ["y"]),
    ]
    graph, _, layouts = chosen(nodes, {"x": [1, 3, 9, 9]}, {"w": ones(6, 3, 2, 2), "v": ones(8, 6, 3, 3)})
    assert layouts.of("x") == Placement()
    assert layouts.of("a") == Placement(4)
    assert layouts.of("p") == Placement(4, ((0, 0), (2, 4))), (
        "the pool writes the zeros that the convolution reads: those of columns"
    )
    assert storage_shape(graph.values["p"], layouts.of("p")) == (1, 2, 7, 7 + 6, 4)
    assert layouts.of("c") == layouts.of("g") == Placement(4)
    assert layouts.of("y") == layouts.of("y_inner") == Placement()


def test_a_convolution_makes_the_row_major_copy_of_its_result_itself() -> None:
    conv = node("Conv", ["x", "w"], ["y"])
    _, groups, layouts = chosen([conv], {"x": [1, 3, 5, 5]}, {"w": ones(8, 3, 1, 1)})
    assert [[n.op_type for n in g.nodes] for g in groups] == [["Conv", "Identity"]]
    assert layouts.of("y") == Placement()
    assert layouts.of("y_inner") == Placement(4)


def test_a_blocked_result_that_others_read_is_copied_apart() -> None:
    """Another convolution reads it as it is; a reader with padding has zeros around it."""
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Conv", ["a", "v"], ["y"], pads=[1, 1, 1, 1])]
    constants = {"w": ones(8, 3, 1, 1), "v": ones(8, 8, 3, 3)}
    _, groups, _ = chosen(nodes, {"x": [1, 3, 5, 5]}, constants, outputs=["a", "y"])
    assert sorted([n.op_type for n in g.nodes] for g in groups) == [
        ["Conv"],
        ["Conv", "Identity"],
        ["Identity"],
    ]


def test_narrow_convolutions_are_not_blocked() -> None:
    """Of plain values: there neighbouring pixels are neighbours."""
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Abs", ["a"], ["y"])]
    _, _, layouts = chosen(nodes, {"x": [1, 3, 4, 4]}, {"w": ones(1, 3, 1, 1)})
    assert layouts.of("y_inner") == Placement()


def test_narrow_convolutions_of_blocked_values_are_blocked() -> None:
    """Vectors of pixels would be gathered from places a block apart."""
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Conv", ["a", "v"], ["y"])]
    constants = {"w": ones(8, 3, 1, 1), "v": ones(1, 8, 3, 3)}
    _, groups, layouts = chosen(nodes, {"x": [1, 3, 6, 6]}, constants)
    assert layouts.of("a") == layouts.of("y_inner") == Placement(4)
    assert layouts.of("y") == Placement()
    assert [n.op_type for n in groups[-1].nodes] == ["Conv", "Identity"]


def test_surplus_lanes_need_operands_that_have_them() -> None:
    """6 channels in blocks of 4: a residual that is the graph's own input has no lanes 6 and 7."""
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Add", ["a", "x"], ["c"]), node("Conv", ["c", "w"], ["y"])]
    _, _, layouts = chosen(nodes, {"x": [1, 6, 4, 4]}, {"w": ones(6, 6, 1, 1)})
    assert layouts.of("c") == Placement()


def test_concatenation_of_whole_blocks_is_free() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Conv", ["x", "v"], ["b"]),
        node("Concat", ["a", "b"], ["c"], axis=1),
        node("Conv", ["c", "u"], ["d"], pads=[1, 1, 1, 1]),
        node("Relu", ["d"], ["y"]),
    ]
    constants = {"w": ones(8, 3, 1, 1), "v": ones(4, 3, 1, 1), "u": ones(4, 12, 3, 3)}
    graph, groups, layouts = chosen(nodes, {"x": [1, 3, 8, 8]}, constants)
    assert {layouts.slices[v].base for v in "ab"} == {"c"}
    assert layouts.of("a") == layouts.of("b") == layouts.of("c") == Placement(4, ((0, 0), (1, 1)))
    assert layouts.slices["b"].offset == 2 * 8 * 10 * 4 * 4
    assert any(g.anchor.op_type == "Concat" and g.name in layouts.free for g in groups)
    assert graph.values["c"].shape == (1, 12, 8, 8)


def test_halo_is_the_widest_that_any_reader_needs() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Conv", ["a", "v"], ["b"], pads=[1, 1, 1, 1]),
        node("Conv", ["a", "u"], ["c"], pads=[2, 2, 2, 2]),
        node("Add", ["b", "c"], ["y"]),
    ]
    constants = {"w": ones(4, 3, 1, 1), "v": ones(4, 4, 3, 3), "u": ones(4, 4, 5, 5)}
    _, _, layouts = chosen(nodes, {"x": [1, 3, 8, 8]}, constants)
    assert layouts.of("a") == Placement(4, ((0, 0), (2, 2)))


def test_outputs_that_are_inputs_or_constants() -> None:
    m = model([node("Identity", ["x"], ["y"]), node("Shape", ["x"], ["s"])], {"x": [2, 3]}, ("y",))
    m.graph.output.append(onnx.helper.make_tensor_value_info("s", onnx.TensorProto.INT64, [2]))
    m.graph.output.append(m.graph.input[0])
    graph = graph_of(m)
    inputs = randoms(graph)
    found = run_lowered(graph, inputs, 16)
    np.testing.assert_array_equal(found["y"], inputs["x"])
    np.testing.assert_array_equal(found["s"], [2, 3])
    np.testing.assert_array_equal(found["x_output"], inputs["x"])


def test_input_of_a_depthwise_convolution_is_blocked_with_its_halo() -> None:
    nodes = [node("Conv", ["x", "w"], ["y"], group=8, pads=[1, 1, 1, 1])]
    _, _, layouts = chosen(nodes, {"x": [1, 8, 6, 6]}, {"w": ones(8, 1, 3, 3)})
    assert layouts.of("x") == Placement()
    assert layouts.of("x_copy") == Placement(4, ((1, 1), (1, 1)))


@pytest.mark.parametrize("axes", [None, [2, 3], [3, 1, 2]])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_to_sizes_keeps_surplus_channels(mode: str, axes: list[int] | None) -> None:
    """Five channels in blocks of four: eight are stored, and `sizes` speaks of five."""
    sizes = np.array([(1, 5, 7, 9)[a] for a in (axes or range(4))])
    more = {} if axes is None else {"axes": axes}
    nodes = [node("Conv", ["x", "w"], ["v"]), node("Resize", ["v", "", "", "s"], ["y"], mode=mode, **more)]
    weights = np.random.default_rng(0).standard_normal((5, 3, 1, 1)).astype(np.float32)
    agrees(graph_of(model(nodes, {"x": (1, 3, 4, 6)}, constants={"w": weights, "s": sizes}, opset=18)), 4)
