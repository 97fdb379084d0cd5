"""Small ONNX models for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from polydl.graph import Graph, load_model
from polydl.graph.importer import import_model

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Node = onnx.NodeProto
node = helper.make_node


def info(name: str, shape: Sequence[int | str] | None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str] | None],
    outputs: Sequence[str] = ("y",),
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    dtype: int = FLOAT,
    output_dtype: int | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Mapping[str, int] | None = None,
    ir_version: int = 8,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [info(n, s, dtype) for n, s in inputs.items()],
        [info(o, None, dtype if output_dtype is None else output_dtype) for o in outputs],
        [numpy_helper.from_array(np.asarray(a), name=n) for n, a in (constants or {}).items()],
    )
    imports = [
        helper.make_opsetid("", opset),
        *(helper.make_opsetid(d, v) for d, v in (domains or {}).items()),
    ]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=ir_version)


def graph_of(proto: onnx.ModelProto, **options: Any) -> Graph:
    """The imported graph of a message; the message is left alone."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return import_model(copy, "test", Path("/nonexistent"), **options)


def load(tmp_path: Path, content: bytes | onnx.ModelProto, **options: Any) -> Graph:
    path = tmp_path / "model.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return load_model(path, **options)


def randoms(graph: Graph, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Random arrays for the graph's inputs."""
    rng = np.random.default_rng(seed)
    result = {}
    for i in graph.inputs:
        v = graph.values[i]
        if v.dtype.is_float:
            result[i] = rng.standard_normal(v.shape).astype(v.dtype.numpy)
        else:
            result[i] = rng.integers(0, 2, v.shape).astype(v.dtype.numpy)
    return result
