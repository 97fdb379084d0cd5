"""The adapter itself: nodes, inputs by position and name, open dimensions, shapes decided by values, errors."""

from __future__ import annotations

import numpy as np
import pytest

import polydl.onnx_backend as backend
from polydl.errors import InvalidInput, UsageError
from tests.graph.build import INT64, info, model, node

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_run_node() -> None:
    add = node("Add", ["a", "b"], ["c"])
    (result,) = backend.run_node(add, [X, X[:1]])
    np.testing.assert_array_equal(result, X + X[:1])


def test_run_node_at_an_older_operator_set() -> None:
    softmax = node("Softmax", ["x"], ["y"], axis=0)  # before 13: over everything from the axis on
    (old,) = backend.run_node(softmax, {"x": X}, opset_version=11)
    (new,) = backend.run_node(softmax, {"x": X})
    np.testing.assert_allclose(old.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(new.sum(axis=0), [1, 1, 1], rtol=1e-6)


def test_inputs_by_position_by_name_and_alone() -> None:
    rep = backend.prepare(model([node("Relu", ["x"], ["y"])], {"x": [2, 3]}))
    assert rep.inputs == ("x",)
    for inputs in ([X], {"x": X}, X):
        outputs = rep.run(inputs)
        np.testing.assert_array_equal(outputs[0], X)
        np.testing.assert_array_equal(outputs["y"], X)


def test_initialisers_listed_as_inputs_are_not_asked_for() -> None:
    proto = model(
        [node("Add", ["x", "w"], ["y"])], {"x": [2, 3], "w": [3]}, constants={"w": X[1]}, ir_version=3
    )
    (result,) = backend.run_model(proto, [X])
    np.testing.assert_array_equal(result, X + X[1])


def test_open_dimensions_take_the_sizes_of_the_arrays() -> None:
    rep = backend.prepare(model([node("ReduceSum", ["x"], ["y"], keepdims=0)], {"x": ["N", "M"]}))
    for rows in (2, 1, 2):
        (total,) = rep.run([X[:rows]])
        assert total == X[:rows].sum()
    assert len(rep._modules) == 2


def test_values_that_decide_shapes_are_compiled_in() -> None:
    proto = model([node("Reshape", ["x", "s"], ["y"])], {"x": [2, 3], "s": [2]})
    proto.graph.input[1].CopyFrom(info("s", [2], INT64))
    rep = backend.prepare(proto)
    assert rep.deciding == {"s"}
    for shape in ([3, 2], [6, 1], [1, 6]):
        (result,) = rep.run([X, np.array(shape)])
        assert result.shape == tuple(shape)
        np.testing.assert_array_equal(result.ravel(), X.ravel())


def test_only_what_decides_a_shape_is_compiled_in() -> None:
    proto = model(
        [node("Shape", ["v"], ["n"]), node("Expand", ["x", "n"], ["e"]), node("Add", ["e", "v"], ["y"])],
        {"x": [1], "v": [4]},
    )
    assert backend.prepare(proto).deciding == frozenset()


def test_the_message_is_left_alone() -> None:
    proto = model([node("Add", ["x", "w"], ["y"])], {"x": [2, 3]}, constants={"w": X[1]})
    before = proto.SerializeToString()
    backend.run_model(proto, [X])
    assert proto.SerializeToString() == before


def test_devices() -> None:
    assert backend.supports_device("CPU")
    assert backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA")
    assert not backend.supports_device("abacus")
    with pytest.raises(UsageError, match="there is no device 'CUDA'"):
        backend.prepare(model([node("Relu", ["x"], ["y"])], {"x": [2, 3]}), "CUDA")


@pytest.mark.parametrize("inputs", [[], [X, X], {"z": X}, {}])
def test_wrong_inputs_are_named(inputs: object) -> None:
    rep = backend.prepare(model([node("Relu", ["x"], ["y"])], {"x": [2, 3]}))
    with pytest.raises(InvalidInput, match="the inputs are x"):
        rep.run(inputs)


def test_what_is_no_array_is_refused() -> None:
    rep = backend.prepare(model([node("Relu", ["x"], ["y"])], {"x": [2, 3]}))
    with pytest.raises(InvalidInput, match="input 'x' is no array"):
        rep.run([[X, X]])


def test_unknown_options_are_refused() -> None:
    proto = model([node("Relu", ["x"], ["y"])], {"x": [2, 3]})
    with pytest.raises(UsageError, match="no option flavour"):
        backend.prepare(proto, flavour="mint")
    with pytest.raises(UsageError, match="no option flavour"):
        backend.prepare(proto).run([X], flavour="mint")
