"""Models that must be refused: each with its exit code, a sentence that says why, and no traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.cli.conftest import Command
from tests.cli.fake import linear_model


def _model(
    nodes: list[onnx.NodeProto], *, shape: list[int] | None = None, constants: tuple[TensorProto, ...] = ()
) -> onnx.ModelProto:
    shape = shape or [1, 3]
    graph = helper.make_graph(
        nodes,
        "bad",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _write(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def _external(location: str) -> onnx.ModelProto:
    tensor = TensorProto(
        name="c", data_type=TensorProto.FLOAT, dims=[1, 3], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value=location)
    return _model([helper.make_node("Add", ["x", "c"], ["y"])], constants=(tensor,))


def _text(folder: Path) -> Path:
    path = folder / "bad.onnx"
    path.write_text("this is no model at all")
    return path


def _empty(folder: Path) -> Path:
    path = folder / "bad.onnx"
    path.touch()
    return path


def _truncated(folder: Path) -> Path:
    path = linear_model(folder / "bad.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    return path


def _cyclic(folder: Path) -> Path:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "second"),
    ]
    return _write(_model([*nodes, helper.make_node("Relu", ["b"], ["y"], "third")]), folder / "bad.onnx")


def _dangling(folder: Path) -> Path:
    return _write(_model([helper.make_node("Add", ["x", "nowhere"], ["y"])]), folder / "bad.onnx")


def _overflow(folder: Path) -> Path:
    huge = [1 << 31, 1 << 31, 1 << 31]
    return _write(_model([helper.make_node("Relu", ["x"], ["y"])], shape=huge), folder / "bad.onnx")


def _huge_constant(folder: Path) -> Path:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1 << 40])
    return _write(
        _model([helper.make_node("Add", ["x", "c"], ["y"])], constants=(tensor,)), folder / "bad.onnx"
    )


def _huge_fill(folder: Path) -> Path:
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20], dtype=np.int64), "s")
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])]
    return _write(_model(nodes, shape=[1, 1], constants=(shape,)), folder / "bad.onnx")


def _outside_dots(folder: Path) -> Path:
    (folder / "data.bin").write_bytes(bytes(12))
    (folder / "sub").mkdir()
    return _write(_external("../data.bin"), folder / "sub" / "bad.onnx")


def _outside_absolute(folder: Path) -> Path:
    (folder / "data.bin").write_bytes(bytes(12))
    (folder / "sub").mkdir()
    return _write(_external(str(folder / "data.bin")), folder / "sub" / "bad.onnx")


def _outside_link(folder: Path) -> Path:
    (folder / "data.bin").write_bytes(bytes(12))
    (folder / "sub").mkdir()
    os.symlink(folder / "data.bin", folder / "sub" / "link.bin")
    return _write(_external("link.bin"), folder / "sub" / "bad.onnx")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (_text, "not an ONNX model"),
        (_empty, "empty"),
        (_truncated, "truncated"),
        (_cyclic, "cycl"),
        (_dangling, "nowhere"),
        (_overflow, "bytes"),
        (_huge_constant, "limit"),
        (_huge_fill, "limit"),
        (_outside_dots, "outside its folder"),
        (_outside_absolute, "outside its folder"),
        (_outside_link, "symbolic link"),
    ],
)
@pytest.mark.parametrize("verb", ["inspect", "build"])
def test_refused_with_a_reason(
    polydl: Command, tmp_path: Path, make: Callable[[Path], Path], complaint: str, verb: str
) -> None:
    path = make(tmp_path)
    before = {entry.name for entry in path.parent.iterdir()}
    result = polydl(verb, path)
    assert result.code == 1
    assert complaint in result.err
    assert "Traceback" not in result.err
    assert "defect" not in result.err
    assert result.out == ""
    assert {entry.name for entry in path.parent.iterdir()} == before


def test_unsupported_operators_are_listed_at_once(polydl: Command, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"], "determinant"),
        helper.make_node("RandomNormalLike", ["x"], ["b"], "coin"),
        helper.make_node("RandomNormalLike", ["b"], ["c"], "second coin"),
        helper.make_node("Add", ["a", "c"], ["y"], "sum"),
    ]
    path = _write(_model(nodes, shape=[2, 2]), tmp_path / "bad.onnx")
    result = polydl("build", path)
    assert result.code == 3, result.err
    for word in ("Det", "determinant", "RandomNormalLike", "coin", "second coin"):
        assert word in result.err
