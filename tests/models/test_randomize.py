"""`models.randomize`: on the light networks of the onnx package, and on the forms a weight can take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import models
from tests.models.test_networks import assert_near_one, run_all

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("light_*.onnx"))


def test_there_are_nine_light_networks() -> None:
    assert len(LIGHT) == 9


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_networks_become_alive(path: Path) -> None:
    shipped = onnx.load(path)
    model = models.randomize(shipped, seed=3)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == [
        node.op_type for node in shipped.graph.node if node.op_type != "ConstantOfShape"
    ]
    assert_near_one(model)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).ravel()[:1000]
        if values.dtype == np.float32 and values.size > 1:
            assert len(np.unique(values)) > 0.9 * values.size, f"{tensor.name} is still a constant fill"


def test_the_given_model_is_left_alone_and_the_seed_decides() -> None:
    shipped = onnx.load(LIGHT[0])
    before = shipped.SerializeToString()
    first, again, other = (models.randomize(shipped, seed) for seed in (1, 1, 2))
    assert shipped.SerializeToString() == before
    assert first.SerializeToString() == again.SerializeToString() != other.SerializeToString()


def _model(
    nodes: list[onnx.NodeProto], initializers: dict[str, np.ndarray], shape: list[int]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_weights_behind_transpose_and_in_constant_nodes() -> None:
    weight, bias = np.full((300, 200), 0.02, np.float32), np.full(300, 0.02, np.float32)
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["z"]),
        helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(bias, "b")),
        helper.make_node("Add", ["z", "b"], ["y"]),
    ]
    model = models.randomize(_model(nodes, {"w": weight}, [64, 200]), 0)
    assert [node.op_type for node in model.graph.node] == ["Transpose", "MatMul", "Add"]
    values = run_all(model)
    assert 0.9 < values["z"].std() < 1.1
    assert values["y"].mean(axis=0).std() > 0.05


def test_structural_constants_stay() -> None:
    """Scalars, integers and masks mean something; only weights are noise."""
    mask = np.where(np.tri(8, dtype=bool), 0.0, -1e4).astype(np.float32)
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["a"]),
        helper.make_node("Add", ["a", "mask"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["y"]),
    ]
    constants: dict[str, np.ndarray] = {
        "half": np.array(0.5, np.float32),
        "mask": mask,
        "shape": np.array([64], np.int64),
    }
    model = models.randomize(_model(nodes, constants, [8, 8]), 0)
    for tensor in model.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), constants[tensor.name])


def test_padding_is_counted() -> None:
    """On a 2x2 map a padded 3x3 kernel sees 4 of its 9 taps; the scale makes up for the others."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])]
    weight = np.zeros((512, 64, 3, 3), np.float32)
    model = models.randomize(_model(nodes, {"w": weight}, [1, 64, 2, 2]), 0)
    assert 0.85 < run_all(model)["y"].std() < 1.15
    deviation = numpy_helper.to_array(model.graph.initializer[0]).std()
    np.testing.assert_allclose(deviation, 1 / np.sqrt(64 * 4), rtol=0.02)


def test_example_inputs_are_valid_rows_of_their_tables() -> None:
    model = models.build("bert-base", **models.NETWORKS["bert-base"].small)
    arrays = models.example_inputs(model, 0)
    assert arrays["input_ids"].max() < 100
    assert arrays["input_ids"].max() > 50
    assert set(np.unique(arrays["token_type_ids"])) == {0, 1}
