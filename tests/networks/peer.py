"""A compiled network beside onnxruntime on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

import models
from polydl.compiler import compile_graph
from polydl.graph.importer import import_model
from polydl.onnx_backend import prepare
from polydl.targets import native, parse

Array = np.ndarray[Any, Any]

RTOL, ATOL = 1e-3, 1e-4
LEVELS = ("x86-64", "x86-64-avx2", "x86-64-avx512", "native")
"""Instruction sets that a network is compiled for, where this processor has them."""


def runnable(level: str) -> bool:
    """Has this processor everything that `level` uses?"""
    return set(parse(level).features) <= set(native().features)


def reference(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by onnxruntime, one thread."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(inputs)), strict=True))


def outputs(
    model: onnx.ModelProto, inputs: Mapping[str, Array], *, target: str = "native", threads: int = 1
) -> dict[str, Array]:
    """The outputs by polydl."""
    rep = prepare(model, target=target, threads=threads)
    return dict(zip([o.name for o in model.graph.output], rep.run(inputs), strict=True))


def assert_equal_outputs(actual: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Same names, types and shapes; values within the tolerance, and not all alike (which would show nothing)."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype
        assert np.std(value, dtype=np.float64) > 0, name
        np.testing.assert_allclose(actual[name], value, rtol=RTOL, atol=ATOL, err_msg=name)


def check(model: onnx.ModelProto, seed: int = 1, *, target: str = "native", threads: int = 1) -> None:
    """Both on the same random inputs."""
    inputs = models.example_inputs(model, seed)
    assert_equal_outputs(outputs(model, inputs, target=target, threads=threads), reference(model, inputs))


def compiled(model: onnx.ModelProto, *, target: str = "native") -> Any:
    """The model as a `Compiled`; the message is left alone."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return compile_graph(import_model(copy, "the model", Path("/dev/null")), "network", target=target)
