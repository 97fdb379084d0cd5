"""Files that are no models, models that lie, and models that ask for too much: refused, before anything is
allocated."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from polydl.errors import InvalidModel, ResourceLimit, UnsupportedOperator, UsageError
from polydl.graph import Limits, load_model
from tests.graph.build import FLOAT, INT64, graph_of, info, load, model, node

RELU = [node("Relu", ["x"], ["y"])]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"this is a text file, not a model\n" * 10, "not an ONNX model"),
        (model(RELU, {"x": [2, 3]}).SerializeToString()[:-7], "not an ONNX model"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "no ONNX graph"),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(InvalidModel, match=said):
        load(tmp_path, content)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="cannot be read"):
        load_model(tmp_path / "absent.onnx")
    with pytest.raises(InvalidModel, match="not a regular file"):
        load_model(tmp_path)


def test_file_over_the_limit(tmp_path: Path) -> None:
    with pytest.raises(ResourceLimit, match="bytes"):
        load(tmp_path, model(RELU, {"x": [2]}), limits=Limits(file_bytes=10))


def test_cycle_is_named() -> None:
    nodes = [
        node("Add", ["x", "b"], ["a"], name="first"),
        node("Relu", ["a"], ["b"], name="second"),
        node("Relu", ["b"], ["y"]),
    ]
    with pytest.raises(InvalidModel, match=r"cycle of 2 nodes") as e:
        graph_of(model(nodes, {"x": [2]}))
    assert "first" in str(e.value)
    assert "second" in str(e.value)


def test_unsorted_nodes_are_sorted() -> None:
    nodes = [node("Relu", ["a"], ["y"]), node("Neg", ["x"], ["a"])]
    assert [n.op_type for n in graph_of(model(nodes, {"x": [2]})).nodes] == ["Neg", "Relu"]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("Add", ["x", "ghost"], ["y"])], "'ghost' is read but defined nowhere"),
        ([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])], "'y' is defined twice"),
        ([node("Relu", ["x"], ["x"]), node("Neg", ["x"], ["y"])], "'x' is defined twice"),
        ([node("Relu", ["x"], ["z"])], "output 'y' is defined nowhere|breaks ONNX's rules"),
        ([node("Relu", ["x", "x"], ["y"])], "breaks ONNX's rules"),
        ([node("Flatten", ["x"], ["y"], axis="one")], "breaks ONNX's rules"),
        ([node("Reshape", ["x", "shape"], ["y"])], "keeps the number of elements"),
        ([node("Add", ["x", "five"], ["y"])], "does not fit its inputs"),
    ],
)
def test_broken_graphs(nodes: list[onnx.NodeProto], said: str) -> None:
    constants = {"shape": np.array([7, 5]), "five": np.zeros(5, np.float32)}
    with pytest.raises(InvalidModel, match=said):
        graph_of(model(nodes, {"x": [2, 3]}, constants=constants))


def test_duplicate_inputs_and_initialisers() -> None:
    m = model(RELU, {"x": [2]})
    m.graph.input.append(info("x", [2]))
    with pytest.raises(InvalidModel, match="input 'x' is declared twice"):
        graph_of(m)
    m = model([node("Add", ["x", "w"], ["y"])], {"x": [2]}, constants={"w": np.zeros(2, np.float32)})
    m.graph.initializer.append(m.graph.initializer[0])
    with pytest.raises(InvalidModel, match="initialiser 'w' is defined twice"):
        graph_of(m)


def test_declared_output_type_must_be_true() -> None:
    with pytest.raises(InvalidModel, match="declared i64"):
        graph_of(model(RELU, {"x": [2]}, output_dtype=INT64))


def test_tensor_with_too_little_data() -> None:
    m = model([node("Add", ["x", "w"], ["y"])], {"x": [4]}, constants={"w": np.zeros(4, np.float32)})
    m.graph.initializer[0].raw_data = b"\0" * 12
    with pytest.raises(InvalidModel, match="holds 12 bytes of data, 16 are needed"):
        graph_of(m)


@pytest.mark.parametrize("dims", [[1 << 40], [1 << 20, 1 << 20], [1 << 62, 1 << 62], [2**31 - 1] * 3])
def test_huge_constant(dims: list[int]) -> None:
    m = model([node("Add", ["x", "w"], ["y"])], {"x": [1]})
    m.graph.initializer.append(TensorProto(name="w", data_type=FLOAT, dims=dims))
    with pytest.raises(ResourceLimit):
        graph_of(m)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("ConstantOfShape", ["size"], ["c"]), node("Add", ["x", "c"], ["y"])],
        [node("Expand", ["x", "size"], ["y"])],
        [node("Tile", ["x", "size"], ["y"])],
        [node("Range", ["zero", "end", "one"], ["r"]), node("Cast", ["r"], ["y"], to=FLOAT)],
    ],
)
def test_huge_results_are_refused_before_they_are_made(nodes: list[onnx.NodeProto]) -> None:
    constants = {
        "size": np.array([1 << 40]),
        "zero": np.array(0),
        "one": np.array(1),
        "end": np.array(1 << 40),
    }
    with pytest.raises(ResourceLimit):
        graph_of(model(nodes, {"x": [1]}, constants=constants))


def test_huge_input_and_many_constants() -> None:
    with pytest.raises(ResourceLimit):
        graph_of(model(RELU, {"x": [1 << 20, 1 << 20, 1 << 20]}))
    constants = {f"w{k}": np.zeros(100, np.float32) for k in range(10)}
    nodes = [node("Sum", ["x", *constants], ["y"])]
    with pytest.raises(ResourceLimit, match="constants need more than"):
        graph_of(model(nodes, {"x": [100]}, constants=constants), limits=Limits(constant_bytes=3000))


def test_too_many_nodes() -> None:
    nodes = [node("Relu", ["x" if k == 0 else f"v{k}"], [f"v{k + 1}" if k < 19 else "y"]) for k in range(20)]
    with pytest.raises(ResourceLimit, match="20 nodes"):
        graph_of(model(nodes, {"x": [2]}), limits=Limits(nodes=19))


def external(tmp_path: Path, location: str, offset: int = 0, length: int | None = None) -> onnx.ModelProto:
    m = model([node("Add", ["x", "w"], ["y"])], {"x": [4]})
    t = TensorProto(name="w", data_type=FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    t.external_data.add(key="location", value=location)
    t.external_data.add(key="offset", value=str(offset))
    if length is not None:
        t.external_data.add(key="length", value=str(length))
    m.graph.initializer.append(t)
    return m


def test_external_data(tmp_path: Path) -> None:
    data = np.arange(8, dtype=np.float32)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights.bin").write_bytes(data.tobytes())
    g = load(tmp_path, external(tmp_path, "sub/weights.bin", 16))
    np.testing.assert_array_equal(g.constants["w"], data[4:])


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../secret.bin",
        "sub/../../secret.bin",
        "C:\\secret.bin",
        "..\\secret.bin",
        "",
        "\\\\host\\share",
    ],
)
def test_external_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    with pytest.raises(InvalidModel, match="outside its folder"):
        load(folder, external(folder, location))


def test_external_data_through_links(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    os.symlink(tmp_path / "secret.bin", folder / "link.bin")
    os.symlink(tmp_path, folder / "up")
    for location in ("link.bin", "up/secret.bin"):
        with pytest.raises(InvalidModel, match="symbolic links"):
            load(folder, external(folder, location))
    with pytest.raises(InvalidModel, match="cannot be opened"):
        load(folder, external(folder, "absent.bin"))
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidModel, match="regular file"):
        load(folder, external(folder, "pipe"))


@pytest.mark.parametrize(("offset", "length"), [(52, None), (0, 12), (-4, None), (1 << 70, None)])
def test_external_data_sizes(tmp_path: Path, offset: int, length: int | None) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(64))
    with pytest.raises(InvalidModel):
        load(tmp_path, external(tmp_path, "w.bin", offset, length))


def test_all_unsupported_operators_at_once() -> None:
    nodes = [
        node("NonZero", ["x"], ["a"], name="where"),
        node("Cast", ["a"], ["b"], to=FLOAT, name="cast"),
        node("GridMagic", ["x"], ["c"], name="magic", domain="com.microsoft"),
        node("TreeEnsembleRegressor", ["c"], ["d"], name="trees", domain="ai.onnx.ml"),
        node("Det", ["sq"], ["e"], name="det"),
        node("ReduceSum", ["b"], ["f"], keepdims=0),
        node("Sum", ["d", "e", "f"], ["y"]),
    ]
    m = model(nodes, {"x": [2, 2], "sq": [3, 3]}, domains={"com.microsoft": 1, "ai.onnx.ml": 3})
    with pytest.raises(UnsupportedOperator) as e:
        graph_of(m, supported=lambda op: op != "Det")
    text = str(e.value)
    for word in (
        "NonZero",
        "where",
        "com.microsoft.GridMagic",
        "magic",
        "ai.onnx.ml.TreeEnsembleRegressor",
        "Det",
        "det",
    ):
        assert word in text
    assert e.value.exit_code == 3


def test_unknown_operator_of_the_default_domain() -> None:
    with pytest.raises(UnsupportedOperator, match=r"Frobnicate.*: ONNX has no such operator in operator set"):
        graph_of(model([node("Frobnicate", ["x"], ["y"])], {"x": [2]}))


def test_loops_and_unknown_conditions_are_unsupported() -> None:
    branch = helper.make_graph([node("Relu", ["x"], ["out"])], "b", [], [info("out", None)])
    nodes = [node("If", ["c"], ["y"], name="choice", then_branch=branch, else_branch=branch)]
    m = model(nodes, {"x": [2]})
    m.graph.input.append(info("c", [], TensorProto.BOOL))
    with pytest.raises(UnsupportedOperator, match="condition is not known"):
        graph_of(m)


def test_element_types_without_a_counterpart() -> None:
    with pytest.raises(UnsupportedOperator, match="string"):
        graph_of(model([node("Identity", ["x"], ["y"])], {"x": [2]}, dtype=TensorProto.STRING))
    with pytest.raises(UnsupportedOperator, match="bfloat16"):
        graph_of(
            model(
                [node("Cast", ["x"], ["z"], to=TensorProto.BFLOAT16), node("Cast", ["z"], ["y"], to=FLOAT)],
                {"x": [2]},
            )
        )


@pytest.mark.parametrize(("opset", "said"), [(0, "oldest"), (999, "installed onnx")])
def test_operator_sets_out_of_range(opset: int, said: str) -> None:
    with pytest.raises(UnsupportedOperator, match=said):
        graph_of(model(RELU, {"x": [2]}, opset=opset))


def test_recursive_and_exploding_functions() -> None:
    def function(name: str, *calls: str) -> onnx.FunctionProto:
        values = ["a", *(f"t{k}" for k in range(len(calls) - 1)), "b"]
        body = [
            node(c, [values[k]], [values[k + 1]], domain="" if c == "Relu" else "f")
            for k, c in enumerate(calls)
        ]
        return helper.make_function(
            "f", name, ["a"], ["b"], body, [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
        )

    call = [node("f0", ["x"], ["y"], domain="f")]
    recursive = model(
        call, {"x": [2]}, functions=[function("f0", "f1"), function("f1", "f0")], domains={"f": 1}
    )
    with pytest.raises(InvalidModel, match="calls itself"):
        graph_of(recursive)
    levels = [function(f"f{k}", *[f"f{k + 1}"] * 10) for k in range(12)] + [function("f12", "Relu")]
    with pytest.raises(ResourceLimit, match="nodes"):
        graph_of(model(call, {"x": [2]}, functions=levels, domains={"f": 1}))
    fine = model(
        call, {"x": [2]}, functions=[function("f0", "f1", "f1"), function("f1", "Relu")], domains={"f": 1}
    )
    assert [n.op_type for n in graph_of(fine).nodes] == ["Relu", "Relu"]


def test_open_dimensions_are_all_listed() -> None:
    m = model([node("Concat", ["x", "z"], ["y"], axis=0)], {"x": ["N", 3], "z": ["M", 3]})
    with pytest.raises(UsageError) as e:
        graph_of(m)
    assert "--dim N=…" in str(e.value)
    assert "--dim M=…" in str(e.value)
    assert graph_of(m, dims={"N": 2, "M": 5}).values["y"].shape == (7, 3)
    assert graph_of(m, dims={"M": 5}, shapes={"x": (4, 3)}).values["y"].shape == (9, 3)


@pytest.mark.parametrize(
    ("shapes", "dims", "said"),
    [
        ({"w": (1, 3)}, {}, "no such input"),
        ({}, {"K": 1}, "no such dimension"),
        ({}, {"N": 0}, "at least 1"),
        ({"x": (1, 4)}, {}, "does not fit"),
        ({"x": (1, 3, 1)}, {}, "does not fit"),
        ({"x": (1, 3)}, {"N": 2}, "does not fit"),
        ({}, {}, "without a size"),
    ],
)
def test_wrong_sizes(shapes: dict[str, tuple[int, ...]], dims: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        graph_of(model(RELU, {"x": ["N", 3]}), shapes=shapes, dims=dims)


def test_inputs_of_unknown_rank_and_unnamed_dimensions() -> None:
    with pytest.raises(UsageError, match="--shape x=…"):
        graph_of(model(RELU, {"x": None}))
    assert graph_of(model(RELU, {"x": None}), shapes={"x": (2, 5)}).values["y"].shape == (2, 5)
    m = model(RELU, {"x": [2, 3]})
    m.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    with pytest.raises(UsageError, match=r"--shape x=\?,3"):
        graph_of(m)
