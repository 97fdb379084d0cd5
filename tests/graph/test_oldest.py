"""Operator sets 1 to 5: what is read as operator set 6, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from polydl import onnx_backend as backend
from polydl.errors import InvalidModel, UnsupportedOperator
from tests.graph.build import FLOAT, Node, graph_of, model, node

INT32 = onnx.TensorProto.INT32
X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


def run(nodes: list[Node], opset: int = 1, output_dtype: int = FLOAT) -> Any:
    (result,) = backend.run_model(model(nodes, {"x": X.shape}, opset=opset, output_dtype=output_dtype), [X])
    return result


def test_reshape_by_an_attribute() -> None:
    np.testing.assert_array_equal(run([node("Reshape", ["x"], ["y"], shape=[0, -1])]), X.reshape(2, 12))


def test_reshape_by_an_attribute_beside_a_name_that_is_taken() -> None:
    nodes = [node("Relu", ["x"], ["y_shape"]), node("Reshape", ["y_shape"], ["y"], shape=[24])]
    np.testing.assert_array_equal(run(nodes), np.maximum(X, 0).reshape(24))


def test_paddings() -> None:
    padded = run([node("Pad", ["x"], ["y"], paddings=[0, 0, 1, 0, 0, 2], value=1.5)])
    np.testing.assert_array_equal(padded, np.pad(X, [(0, 0), (0, 0), (1, 2)], constant_values=1.5))


def test_cast_to_a_name() -> None:
    np.testing.assert_array_equal(
        run([node("Cast", ["x"], ["y"], to="INT32")], output_dtype=INT32), X.astype(np.int32)
    )


def test_concat_along_the_old_default() -> None:
    np.testing.assert_array_equal(run([node("Concat", ["x", "x"], ["y"])]), np.concatenate([X, X], axis=1))


def test_hints_for_memory_mean_nothing() -> None:
    nodes = [node("Relu", ["x"], ["a"], consumed_inputs=[1]), node("Neg", ["a"], ["y"])]
    np.testing.assert_array_equal(run(nodes, 3), -np.maximum(X, 0))


def test_selu_with_the_old_constants() -> None:
    expected = np.where(X > 0, 1.0507 * X, 1.0507 * (1.6732 * np.exp(X) - 1.6732))
    np.testing.assert_allclose(run([node("Selu", ["x"], ["y"])], 5), expected, rtol=1e-5, atol=1e-6)


def test_split_by_an_attribute() -> None:
    nodes = [node("Split", ["x"], ["a", "b"], split=[1, 3], axis=2), node("Neg", ["b"], ["y"])]
    np.testing.assert_array_equal(run(nodes), -X[:, :, 1:])


def test_what_became_another_operator_is_refused() -> None:
    tiles = {"tiles": np.array(2.0, np.float32), "axis": np.array(0.0, np.float32)}
    with pytest.raises(UnsupportedOperator, match="Tile of operator set 5"):
        graph_of(
            model([node("Tile", ["x", "tiles", "axis"], ["y"])], {"x": X.shape}, constants=tiles, opset=5)
        )


def test_a_cast_to_no_type() -> None:
    with pytest.raises(InvalidModel, match="casts to 'QUATERNION'"):
        graph_of(model([node("Cast", ["x"], ["y"], to="quaternion")], {"x": X.shape}, opset=1))


@pytest.mark.parametrize("opset", [0, -3])
def test_no_operator_set(opset: int) -> None:
    with pytest.raises(UnsupportedOperator, match="operator set"):
        graph_of(model([node("Relu", ["x"], ["y"])], {"x": X.shape}, opset=opset))
