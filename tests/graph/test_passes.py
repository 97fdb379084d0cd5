"""Graph passes keep what is computed, and do what they are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings

from polydl.graph import Graph, optimize
from polydl.graph.evaluate import evaluate_graph, to_onnx
from polydl.graph.passes.affine import absorb_affine, lower_batchnorm, matmul_bias, merge_affine
from polydl.graph.passes.cse import share_common
from polydl.graph.passes.fold import fold_constants
from polydl.graph.passes.pads import absorb_pads
from polydl.graph.passes.patterns import recognise_gelu, recognise_layer_norm, recognise_swish
from polydl.graph.passes.simplify import merge_movements, remove_no_ops
from tests.graph.build import FLOAT, Node, graph_of, model, node, randoms
from tests.graph.random_nets import networks

PASSES: list[Callable[[Graph], Graph]] = [
    absorb_affine, lower_batchnorm, matmul_bias, merge_affine, share_common, fold_constants, absorb_pads,
        recognise_gelu,
    recognise_layer_norm, recognise_swish, merge_movements, remove_no_ops,
]  # fmt: skip


def onnxruntime_outputs(proto: onnx.ModelProto, inputs: dict[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Its own rewriting merges a Pad of 2 into a pool of 2, which it then refuses.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    ).run(None, inputs)


def same(before: Graph, after: Graph, seed: int = 0, rtol: float = 2e-4, atol: float = 2e-5) -> None:
    after.verify()
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    inputs = randoms(before, seed)
    if any(n.op_type == "ConvTranspose" and n.integer("group") > 1 for n in before.nodes):
        # ONNX's reference evaluator does not know groups here.
        expected, found = (
            dict(zip(g.outputs, onnxruntime_outputs(to_onnx(g), inputs))) for g in (before, after)
        )
    else:
        expected, found = evaluate_graph(before, inputs), evaluate_graph(after, inputs)
    for o in before.outputs:
        assert found[o].dtype == expected[o].dtype
        np.testing.assert_allclose(
            found[o], expected[o], rtol=rtol, atol=atol * max(1, np.abs(expected[o]).max(initial=0))
        )


@pytest.mark.parametrize("rewrite", [*PASSES, optimize], ids=lambda f: f.__name__)
@given(proto=networks())
@settings(max_examples=60)
def test_random_networks_keep_their_meaning(
    rewrite: Callable[[Graph], Graph], proto: onnx.ModelProto
) -> None:
    graph = graph_of(proto)
    same(graph, rewrite(graph))


@given(proto=networks())
@settings(max_examples=60)
def test_optimised_networks_agree_with_onnxruntime(proto: onnx.ModelProto) -> None:
    graph = optimize(graph_of(proto))
    inputs = randoms(graph)
    found = evaluate_graph(graph, inputs)
    for o, expected in zip(graph.outputs, onnxruntime_outputs(proto, inputs)):
        np.testing.assert_allclose(
            found[o], expected, rtol=1e-3, atol=1e-4 * max(1, np.abs(expected).max(initial=0))
        )


@given(proto=networks())
@settings(max_examples=15)
def test_optimising_twice_changes_nothing(proto: onnx.ModelProto) -> None:
    graph = optimize(graph_of(proto))
    assert optimize(graph) is graph


def operators(graph: Graph) -> list[str]:
    return [n.op_type for n in graph.nodes]


def optimised(
    nodes: list[Node], inputs: dict[str, Any], constants: dict[str, Any] | None = None, **options: Any
) -> Graph:
    """The optimised graph, checked against the original."""
    before = graph_of(model(nodes, inputs, constants=constants, **options))
    after = optimize(before)
    same(before, after)
    return after


RNG = np.random.default_rng(1)


def weights(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("contraction", "shape", "constants"),
    [
        (node("Conv", ["x", "w"], ["a"]), [2, 3, 5, 5], {"w": weights(4, 3, 2, 2)}),
        (node("Conv", ["x", "w", "c"], ["a"], group=2), [2, 4, 5], {"w": weights(4, 2, 3), "c": weights(4)}),
        (node("ConvTranspose", ["x", "w"], ["a"]), [2, 3, 5, 5], {"w": weights(3, 4, 2, 2)}),
        (
            node("ConvTranspose", ["x", "w", "c"], ["a"], group=2),
            [2, 4, 5],
            {"w": weights(4, 2, 3), "c": weights(4)},
        ),
        (
            node("Gemm", ["x", "w", "c"], ["a"], alpha=0.5, beta=2.0),
            [2, 3],
            {"w": weights(3, 4), "c": weights(4)},
        ),
        (node("Gemm", ["x", "w"], ["a"], transB=1), [2, 3], {"w": weights(4, 3)}),
    ],
)
def test_batch_normalization_goes_into_the_weights(
    contraction: Node, shape: list[int], constants: dict[str, Any]
) -> None:
    statistics = {"g": weights(4), "b": weights(4), "m": weights(4), "v": np.abs(weights(4)) + 0.5}
    nodes = [contraction, node("BatchNormalization", ["a", "g", "b", "m", "v"], ["y"], epsilon=1e-3)]
    after = optimised(nodes, {"x": shape}, {**constants, **statistics})
    assert operators(after) == [contraction.op_type]


def test_scale_after_matmul_of_any_rank() -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Mul", ["a", "s"], ["y"])]
    assert operators(optimised(nodes, {"x": [2, 5, 3]}, {"w": weights(3, 4), "s": weights(4)})) == ["MatMul"]


def test_matrix_product_with_bias_is_one_gemm() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Add", ["b", "a"], ["c"]),
        node("Div", ["c", "two"], ["y"]),
    ]
    constants = {"w": weights(3, 4), "b": weights(4), "two": np.float32(2)}
    assert operators(optimised(nodes, {"x": [5, 3]}, constants)) == ["Gemm"]


def test_shared_results_are_not_rewritten() -> None:
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Mul", ["a", "s"], ["b"]), node("Add", ["a", "b"], ["y"])]
    after = optimised(nodes, {"x": [1, 3, 4, 4]}, {"w": weights(2, 3, 1, 1), "s": weights(2, 1, 1)})
    assert operators(after) == ["Conv", "Mul", "Add"]


def test_batch_normalization_alone_is_scale_and_shift() -> None:
    statistics = {"g": weights(3), "b": weights(3), "m": weights(3), "v": np.abs(weights(3))}
    after = optimised(
        [node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"])], {"x": [2, 3, 4]}, statistics
    )
    assert operators(after) == ["Mul", "Add"]


def test_affine_chains_merge() -> None:
    nodes = [
        node("Add", ["x", "a"], ["p"]),
        node("Mul", ["p", "b"], ["q"]),
        node("Mul", ["q", "c"], ["r"]),
        node("Add", ["d", "r"], ["y"]),
    ]
    constants = {"a": weights(3, 1), "b": weights(1), "c": weights(3, 1), "d": weights(4)}
    assert operators(optimised(nodes, {"x": [2, 3, 4]}, constants)) == ["Mul", "Add"]


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Identity", ["x"], ["a"])], {}),
        ([node("Dropout", ["x"], ["a"])], {}),
        ([node("Cast", ["x"], ["a"], to=FLOAT)], {}),
        ([node("Reshape", ["x", "s"], ["a"])], {"s": np.array([2, 3, 4, 4])}),
        ([node("Transpose", ["x"], ["a"], perm=[0, 1, 2, 3])], {}),
        ([node("Pad", ["x", "s"], ["a"])], {"s": np.zeros(8, np.int64)}),
        ([node("Concat", ["x"], ["a"], axis=1)], {}),
        ([node("Sum", ["x"], ["a"])], {}),
        ([node("Slice", ["x", "z", "s"], ["a"])], {"z": np.array([0]), "s": np.array([1 << 40])}),
        ([node("Expand", ["x", "s"], ["a"])], {"s": np.array([1, 3, 1, 1])}),
        ([node("Tile", ["x", "s"], ["a"])], {"s": np.array([1, 1, 1, 1])}),
        ([node("MaxPool", ["x"], ["a"], kernel_shape=[1, 1])], {}),
        ([node("Mul", ["x", "s"], ["b"]), node("Add", ["z", "b"], ["a"])], {"s": np.ones(4, np.float32),
            "z": np.zeros(1, np.float32)}),
        ([node("Transpose", ["x"], ["b"], perm=[0, 2, 3, 1]), node("Transpose", ["b"], ["a"], perm=[0, 3, 1, 2])], {}),
        ([node("Flatten", ["x"], ["b"]), node("Reshape", ["b", "s"], ["a"])], {"s": np.array([2, 3, 4, 4])}),
        ([node("Abs", ["x"], ["b"]), node("Abs", ["b"], ["c"]), node("Neg", ["c"], ["d"]), node("Neg", ["d"],
            ["a"])], None),
    ],
)  # fmt: skip
def test_nothing_is_done_for_nothing(nodes: list[Node], constants: dict[str, Any] | None) -> None:
    after = optimised([*nodes, node("Relu", ["a"], ["y"])], {"x": [2, 3, 4, 4]}, constants)
    kept = ["Relu"] if constants is not None else ["Abs", "Neg", "Neg", "Relu"]
    assert operators(after) == kept


def test_reversing_slices_are_kept() -> None:
    bounds = {"a": np.array([-1]), "b": np.array([-(1 << 40)]), "ax": np.array([0]), "st": np.array([-1])}
    assert operators(optimised([node("Slice", ["x", "a", "b", "ax", "st"], ["y"])], {"x": [3]}, bounds)) == [
        "Slice"
    ]


@pytest.mark.parametrize("pads", [[0, 1, 0, -1], [0, -2, 0, 2]])
@pytest.mark.parametrize("opset", [10, 17])
def test_pads_that_shift_are_kept(pads: list[int], opset: int) -> None:
    """As much is added at one end as is taken away at the other: the shape alone says nothing."""
    attributes, inputs = ({"pads": pads}, ["x"]) if opset < 11 else ({}, ["x", "p"])
    proto = model(
        [node("Pad", inputs, ["y"], **attributes)],
        {"x": [2, 3]},
        constants={"p": np.array(pads)} if opset >= 11 else None,
        opset=opset,
    )
    assert operators(optimize(graph_of(proto))) == ["Pad"]


def test_reshape_chains_become_one() -> None:
    nodes = [
        node("Flatten", ["x"], ["a"]),
        node("Unsqueeze", ["a", "ax"], ["b"]),
        node("Transpose", ["b"], ["c"], perm=[1, 0, 2]),
        node("Reshape", ["c", "s"], ["y"]),
    ]
    constants = {"ax": np.array([1]), "s": np.array([2, 4, 12])}
    assert operators(optimised(nodes, {"x": [2, 3, 4, 4]}, constants)) == ["Reshape"]


def test_outputs_that_are_inputs_or_equal_are_copied() -> None:
    nodes = [node("Identity", ["x"], ["y"]), node("Relu", ["x"], ["z"]), node("Relu", ["x"], ["w"])]
    after = optimised(nodes, {"x": [2]}, outputs=("y", "z", "w"))
    assert sorted(operators(after)) == ["Identity", "Identity", "Relu"]


def test_common_subexpressions() -> None:
    nodes = [
        node("Add", ["x", "a"], ["p"]),
        node("Add", ["b", "x"], ["q"]),
        node("Relu", ["p"], ["r"]),
        node("Relu", ["q"], ["s"]),
        node("Mul", ["r", "s"], ["y"]),
    ]
    after = optimised(nodes, {"x": [2, 3]}, {"a": np.float32([1, 2, 3]), "b": np.float32([1, 2, 3])})
    assert operators(after) == ["Add", "Relu", "Mul"]
    assert len(after.constants) == 1


def test_random_numbers_are_never_shared_or_folded() -> None:
    nodes = [node("RandomNormal", [], [o], shape=[3]) for o in "ab"] + [node("Sub", ["a", "b"], ["y"])]
    graph = graph_of(model(nodes, {}), supported=lambda op: True)
    assert operators(fold_constants(share_common(graph))) == ["RandomNormal", "RandomNormal", "Sub"]


def test_folding_does_not_blow_up_constants() -> None:
    nodes = [node("Tile", ["c", "n"], ["t"]), node("Add", ["x", "t"], ["y"])]
    big = {"c": weights(1 << 10), "n": np.array([1 << 15])}
    assert operators(optimize(graph_of(model(nodes, {"x": [1 << 25]}, constants=big)))) == ["Tile", "Add"]
    small = {"c": weights(4), "n": np.array([3])}
    assert operators(optimised(nodes, {"x": [12]}, small)) == ["Add"]


def test_weights_computed_from_weights_are_folded() -> None:
    nodes = [
        node("Transpose", ["w"], ["t"], perm=[1, 0]),
        node("Mul", ["t", "two"], ["u"]),
        node("MatMul", ["x", "u"], ["y"]),
    ]
    after = optimised(nodes, {"x": [2, 3]}, {"w": weights(4, 3), "two": np.float32(2)})
    assert operators(after) == ["MatMul"]


@pytest.mark.parametrize(
    ("nodes", "kept"),
    [
        ([node("Conv", ["p", "w"], ["y"], pads=[1, 0, 0, 1])], ["Conv"]),
        ([node("Conv", ["p", "w"], ["y"], auto_pad="SAME_UPPER")], ["Pad", "Conv"]),
        ([node("AveragePool", ["p"], ["y"], kernel_shape=[3, 3])], ["AveragePool"]),
        ([node("AveragePool", ["p"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])], ["Pad", "AveragePool"]),
        ([node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3])], ["Pad", "MaxPool"]),
    ],
)
def test_pads_go_into_what_follows(nodes: list[Node], kept: list[str]) -> None:
    constants = {"a": np.array([0, 0, 1, 2, 0, 0, 2, 1]), "w": weights(2, 3, 3, 3)}
    assert (
        operators(optimised([node("Pad", ["x", "a"], ["p"]), *nodes], {"x": [1, 3, 6, 7]}, constants)) == kept
    )


def test_pads_of_minus_infinity_go_into_max_pools() -> None:
    constants = {"a": np.array([0, 0, 1, 2, 0, 0, 2, 1]), "v": np.float32(-np.inf)}
    nodes = [node("Pad", ["x", "a", "v"], ["p"]), node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3])]
    assert operators(optimised(nodes, {"x": [1, 3, 6, 7]}, constants)) == ["MaxPool"]


def layer_norm(square: Node, last: list[Node], axes: dict[str, Any]) -> list[Node]:
    return [
        node("ReduceMean", ["x"], ["m"], **axes),
        node("Sub", ["x", "m"], ["d"]),
        square,
        node("ReduceMean", ["q"], ["v"], **axes),
        node("Add", ["v", "eps"], ["ve"]),
        node("Sqrt", ["ve"], ["s"]),
        *last,
    ]


@pytest.mark.parametrize("square", [node("Pow", ["d", "two"], ["q"]), node("Mul", ["d", "d"], ["q"])])
@pytest.mark.parametrize(
    "last",
    [
        [node("Div", ["d", "s"], ["y"])],
        [node("Div", ["d", "s"], ["n"]), node("Mul", ["n", "g"], ["y"])],
        [node("Div", ["d", "s"], ["n"]), node("Mul", ["g", "n"], ["k"]), node("Add", ["k", "b"], ["y"])],
        [node("Reciprocal", ["s"], ["r"]), node("Mul", ["r", "d"], ["y"])],
    ],
)
@pytest.mark.parametrize("axes", [[-1], [1, 2]])
def test_layer_normalization_is_recognised(square: Node, last: list[Node], axes: list[int]) -> None:
    constants = {"eps": np.float32(1e-5), "two": np.float32(2), "g": weights(4), "b": weights(4)}
    after = optimised(layer_norm(square, last, {"axes": axes}), {"x": [2, 3, 4]}, constants)
    assert operators(after) == ["LayerNormalization"]


def test_other_normalisations_are_left_alone() -> None:
    constants = {"eps": np.float32(1e-5), "two": np.float32(2)}
    square, last = node("Pow", ["d", "two"], ["q"]), [node("Div", ["d", "s"], ["y"])]
    assert "LayerNormalization" not in operators(
        optimised(layer_norm(square, last, {"axes": [1]}), {"x": [2, 3, 4]}, constants)
    )
    not_centred = node("Pow", ["x", "two"], ["q"])
    assert "LayerNormalization" not in operators(
        optimised(layer_norm(not_centred, last, {"axes": [-1]}), {"x": [2, 3, 4]}, constants)
    )


@pytest.mark.parametrize(
    ("nodes", "kept"),
    [
        ([node("Div", ["x", "root"], ["a"]), node("Erf", ["a"], ["b"]), node("Add", ["b", "one"], ["c"]),
          node("Mul", ["x", "c"], ["d"]), node("Mul", ["d", "half"], ["y"])], ["Gelu"]),
        ([node("Mul", ["x", "half"], ["h"]), node("Mul", ["x", "inverse"], ["a"]), node("Erf", ["a"], ["b"]),
          node("Add", ["one", "b"], ["c"]), node("Mul", ["h", "c"], ["y"])], ["Gelu"]),
        ([node("Div", ["x", "one"], ["a"]), node("Erf", ["a"], ["b"]), node("Add", ["b", "one"], ["c"]),
          node("Mul", ["x", "c"], ["d"]), node("Mul", ["d", "half"], ["y"])], ["Erf", "Add", "Mul", "Mul"]),
        ([node("Pow", ["x", "three"], ["p"]), node("Mul", ["p", "cubic"], ["q"]), node("Add", ["x", "q"], ["r"]),
          node("Mul", ["r", "scale"], ["s"]), node("Tanh", ["s"], ["t"]), node("Add", ["t", "one"], ["u"]),
          node("Mul", ["x", "half"], ["h"]), node("Mul", ["h", "u"], ["y"])], ["Gelu"]),
        ([node("Sigmoid", ["x"], ["s"]), node("Mul", ["s", "x"], ["y"])], ["Swish"]),
        ([node("Add", ["x", "three"], ["a"]), node("Clip", ["a", "zero", "six"], ["c"]), node("Mul", ["x", "c"], ["m"]),
          node("Div", ["m", "six"], ["y"])], ["HardSwish"]),
        ([node("HardSigmoid", ["x"], ["s"], alpha=1 / 6, beta=0.5), node("Mul", ["x", "s"], ["y"])], ["HardSwish"]),
        ([node("HardSigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])], ["HardSigmoid", "Mul"]),
    ],
)  # fmt: skip
def test_activations_are_recognised(nodes: list[Node], kept: list[str]) -> None:
    numbers = {"root": 2**0.5, "inverse": 2**-0.5, "one": 1, "half": 0.5, "three": 3, "cubic": 0.044715,
        "scale": (2 / np.pi) ** 0.5,
               "zero": 0, "six": 6}  # fmt: skip
    constants = {k: np.float32(v) for k, v in numbers.items()}
    assert operators(optimised(nodes, {"x": [3, 5]}, constants)) == kept


def test_infinite_weights_are_not_folded() -> None:
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Mul", ["a", "s"], ["y"])]
    constants = {"w": np.full((1, 1, 1), 1e30, np.float32), "s": np.full((1, 1), 1e30, np.float32)}
    graph = graph_of(model(nodes, {"x": [1, 1, 4]}, constants=constants))
    assert operators(optimize(graph)) == ["Conv", "Mul"]


@given(proto=networks())
@settings(max_examples=10)
def test_export_and_import_again(proto: onnx.ModelProto) -> None:
    graph = graph_of(proto)
    same(graph, graph_of(to_onnx(graph)))


def test_long_chains_are_absorbed_whole() -> None:
    nodes = [node("Conv", ["x", "w"], ["v0"])]
    nodes += [node("Add" if k % 2 else "Mul", [f"v{k}", "c"], [f"v{k + 1}"]) for k in range(60)]
    nodes += [node("Reshape", ["v60", "s"], ["r0"])]
    nodes += [node("Unsqueeze", [f"r{k}", "a"], [f"r{k + 1}"]) for k in range(5)]
    constants = {"w": weights(2, 1, 1), "c": np.float32([0.9]), "s": np.array([2, 5]), "a": np.array([0])}
    after = optimised([*nodes, node("Relu", ["r5"], ["y"])], {"x": [1, 1, 5]}, constants)
    assert operators(after) == ["Conv", "Reshape", "Relu"]
    graph = graph_of(
        model([*nodes[:61], node("Relu", ["v60"], ["y"])], {"x": [1, 1, 5]}, constants=constants)
    )
    assert operators(absorb_affine(graph)) == ["Conv", "Relu"], "in one pass"
