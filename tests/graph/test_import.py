"""What the importer understands: operator sets, shape arithmetic, branches, functions, old spellings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polydl.errors import UsageError
from polydl.graph import Graph, load_model
from polydl.graph.evaluate import evaluate_graph
from tests.graph.build import FLOAT, INT64, graph_of, info, model, node, randoms

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def run(graph: Graph, **inputs: Any) -> list[np.ndarray[Any, Any]]:
    return list(evaluate_graph(graph, inputs).values())


def test_shape_arithmetic_becomes_constant() -> None:
    """Shape -> Gather -> Unsqueeze -> Concat -> Reshape, as exporters write a flatten."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        node("Concat", ["n1", "minus"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0]), "minus": np.array([-1])}
    g = graph_of(model(nodes, {"x": ["N", 3, 4]}, constants=constants), dims={"N": 2})
    assert [n.op_type for n in g.nodes] == ["Reshape"]
    assert g.values["y"].shape == (2, 12)
    np.testing.assert_array_equal(g.constants["t"], [2, -1])
    assert set(g.constants) == {"t"}, "what only folded nodes read is dropped"


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(None, None, [2, 3, 4]), (1, None, [3, 4]), (-2, -1, [3]), (2, 1, [])]
)
def test_shape_with_bounds(start: int | None, end: int | None, expected: list[int]) -> None:
    bounds = {k: v for k, v in (("start", start), ("end", end)) if v is not None}
    nodes = [node("Shape", ["x"], ["s"], **bounds), node("Add", ["s", "zero"], ["y"])]
    g = graph_of(model(nodes, {"x": [2, 3, 4]}, constants={"zero": np.array([0])}, output_dtype=INT64))
    np.testing.assert_array_equal(g.constants["y"], expected)


def test_output_that_depends_on_shapes_alone() -> None:
    g = graph_of(model([node("Size", ["x"], ["y"])], {"x": [2, 3]}, output_dtype=INT64))
    assert not g.nodes
    assert g.constants["y"] == 6


def test_large_fills_cost_no_memory() -> None:
    nodes = [node("ConstantOfShape", ["n"], ["c"]), node("Add", ["x", "c"], ["y"])]
    g = graph_of(model(nodes, {"x": [1]}, constants={"n": np.array([1 << 14, 1 << 14])}))
    assert g.constants["c"].base is not None
    assert g.constants["c"].strides == (0, 0)


def test_initialisers_listed_as_inputs() -> None:
    m = model(
        [node("Add", ["x", "w"], ["y"])],
        {"x": [2], "w": [2]},
        constants={"w": np.ones(2, np.float32)},
        opset=8,
        ir_version=3,
    )
    g = graph_of(m)
    assert g.inputs == ("x",)
    assert set(g.constants) == {"w"}


@pytest.mark.parametrize("condition", [True, False])
def test_known_branches_are_taken(condition: bool) -> None:
    def branch(op: str) -> onnx.GraphProto:
        inner = [node(op, ["x"], ["t"]), node("Add", ["t", "w"], ["out"])]
        return helper.make_graph(
            inner, op, [], [info("out", [2])], [numpy_helper.from_array(np.ones(2, np.float32), "w")]
        )

    nodes = [
        node("If", ["c"], ["m"], name="choose", then_branch=branch("Neg"), else_branch=branch("Abs")),
        node("Add", ["m", "t"], ["y"]),
        node("Relu", ["x"], ["t"]),  # the same name as inside the branches
    ]
    g = graph_of(model(nodes, {"x": [2]}, constants={"c": np.array(condition)}))
    x = np.array([-2, 3], np.float32)
    (y,) = run(g, x=x)
    np.testing.assert_array_equal(y, (-x if condition else np.abs(x)) + 1 + np.maximum(x, 0))


def test_nested_branches_that_read_outer_values() -> None:
    inner = helper.make_graph([node("Mul", ["t", "x"], ["deep"])], "inner", [], [info("deep", [2])])
    other = helper.make_graph([node("Neg", ["x"], ["deep"])], "other", [], [info("deep", [2])])
    outer = [node("Abs", ["x"], ["t"]), node("If", ["yes"], ["out"], then_branch=inner, else_branch=other)]
    branch = helper.make_graph(outer, "outer", [], [info("out", [2])])
    nodes = [node("If", ["yes"], ["y"], then_branch=branch, else_branch=other)]
    g = graph_of(model(nodes, {"x": [2]}, constants={"yes": np.array(True)}))
    (y,) = run(g, x=np.array([-2, 3], np.float32))
    np.testing.assert_array_equal(y, [-4, 9])


def test_operators_defined_as_functions_are_expanded() -> None:
    def compiled(op: str) -> bool:
        return op != "MeanVarianceNormalization"

    m = model([node("MeanVarianceNormalization", ["x"], ["y"], axes=[0, 2])], {"x": [3, 4, 5]})
    g = graph_of(m, supported=compiled)
    assert "MeanVarianceNormalization" not in g.histogram()
    x = randoms(g)["x"]
    expected = (x - x.mean((0, 2), keepdims=True)) / x.std((0, 2), keepdims=True)
    np.testing.assert_allclose(run(g, x=x)[0], expected, rtol=1e-4, atol=1e-5)


def test_unused_outputs_are_blank_and_names_unique() -> None:
    nodes = [node("Dropout", ["x"], ["a", "mask"], name="d"), node("Relu", ["a"], ["y"], name="d")]
    g = graph_of(model(nodes, {"x": [2]}, opset=9))
    assert g.nodes[0].outputs == ("a",)
    assert len({n.name for n in g.nodes}) == 2


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_windows_that_begin_behind_the_input_are_left_out(op: str) -> None:
    """Rounded up, 17 positions in steps of 3 would be 7 windows of one position; the last one begins behind them."""
    attributes = {"kernel_shape": [1, 2], "strides": [3, 3], "ceil_mode": 1, "pads": [0, 1, 0, 0]}
    g = graph_of(model([node(op, ["x"], ["y"], **attributes)], {"x": [1, 2, 17, 5]}, opset=18))
    assert g.values["y"].shape == (1, 2, 6, 2)


def test_defaults_are_filled_in() -> None:
    (softmax,) = graph_of(model([node("Softmax", ["x"], ["y"])], {"x": [2, 3]}, opset=11)).nodes
    assert softmax.attributes["axis"] == 1
    (softmax,) = graph_of(model([node("Softmax", ["x"], ["y"])], {"x": [2, 3]}, opset=13)).nodes
    assert softmax.attributes["axis"] == -1


def test_operator_set_6_broadcasting() -> None:
    nodes = [node("Add", ["x", "b"], ["y"], broadcast=1, axis=1)]
    b = np.array([10, 20, 30], np.float32)
    g = graph_of(model(nodes, {"x": [2, 3, 4]}, constants={"b": b}, opset=6))
    x = randoms(g)["x"]
    np.testing.assert_allclose(run(g, x=x)[0], x + b[:, None])
    g = graph_of(model(nodes, {"x": [2, 3, 4], "b": [3]}, opset=6))
    np.testing.assert_allclose(run(g, x=x, b=b)[0], x + b[:, None])
    assert {n.opset for n in g.nodes} == {7}


@pytest.mark.parametrize("opset", range(7, onnx.defs.onnx_opset_version() + 1))
def test_every_operator_set(opset: int) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "s", "s", "s", "s"], ["b"]),
        node("Relu", ["b"], ["c"]),
        node("GlobalAveragePool", ["c"], ["d"]),
        node("Flatten", ["d"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "s": rng.random(4).astype(np.float32),
    }
    g = graph_of(model(nodes, {"x": [1, 3, 8, 8]}, constants=constants, opset=opset))
    assert g.values["y"].shape == (1, 4)
    assert np.all(np.isfinite(run(g, **randoms(g))[0]))


@pytest.mark.parametrize(
    "value", [{"value_int": 3}, {"value_ints": [1, 2]}, {"value_float": 1.5}, {"value_floats": [1.0, 2.0]}]
)
def test_constant_spellings(value: dict[str, Any]) -> None:
    kind = FLOAT if "float" in next(iter(value)) else INT64
    nodes = [
        node("Constant", [], ["c"], **value),
        node("Cast", ["c"], ["d"], to=FLOAT),
        node("Add", ["x", "d"], ["y"]),
    ]
    g = graph_of(model(nodes, {"x": [2]}))
    np.testing.assert_array_equal(g.constants["d"], np.float32(next(iter(value.values()))))
    assert kind in (FLOAT, INT64)


@pytest.mark.parametrize(
    "dtype",
    [
        np.float16,
        np.float64,
        np.int8,
        np.uint8,
        np.int16,
        np.uint16,
        np.int32,
        np.uint32,
        np.int64,
        np.uint64,
        np.bool_,
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_tensor_contents(dtype: Any, raw: bool) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    content = array.tobytes() if raw else array.flatten().tolist()
    m = model([node("Identity", ["w"], ["y"])], {}, output_dtype=kind)
    m.graph.initializer.append(helper.make_tensor("w", kind, array.shape, content, raw=raw))
    loaded = graph_of(m).constants["y"]
    assert loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)


def test_printing() -> None:
    g = graph_of(model([node("Add", ["x", "one"], ["y"])], {"x": [2, 3]}, constants={"one": np.float32([1])}))
    text = str(g)
    assert "input  x: f32[2,3]" in text
    assert "y: f32[2,3] = Add(x, f32 [1.])" in text
    assert g.histogram() == {"Add": 1}


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda p: p.stem)
def test_light_networks(path: Path) -> None:
    g = load_model(path)
    g.verify()
    assert "ConstantOfShape" not in g.histogram()
    (output,) = g.outputs
    expected = onnx.load_tensor(str(path.with_name(f"{path.stem}_output_0.pb")))
    assert g.values[output].shape == tuple(expected.dims)


def test_downloaded_networks(shared_models: Path) -> None:
    g = load_model(shared_models / "ultraface" / "version-RFB-320.onnx")
    assert [g.values[o].shape for o in g.outputs] == [(1, 4420, 2), (1, 4420, 4)]
    assert g.inputs == ("input",)
    digits = load_model(shared_models / "mnist" / "opt-mnist.onnx")
    assert [digits.values[o].shape for o in digits.outputs] == [(1, 10)]


def test_bool_input_kind() -> None:
    m = model([node("Not", ["x"], ["y"])], {"x": [2]}, dtype=TensorProto.BOOL)
    (y,) = run(graph_of(m), x=np.array([True, False]))
    np.testing.assert_array_equal(y, [False, True])


def test_a_message_instead_of_a_path_is_an_error() -> None:
    message = model([node("Relu", ["x"], ["y"])], {"x": (2,)})
    with pytest.raises(UsageError, match="ModelProto"):
        load_model(message)  # type: ignore[arg-type]
