"""Grouped and transposed convolutions: their results lie at computed places, their sums stay in registers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from polydl.compiler import stages
from tests.graph.build import model, node
from tests.networks.peer import assert_equal_outputs, outputs, reference

# Operator, filters, shape of the weights, attributes; the input has 32 channels.
CASES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "two groups": ("Conv", (32, 16, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "four groups": ("Conv", (64, 8, 3, 3), {"group": 4, "strides": [2, 2]}),
    "doubled": ("ConvTranspose", (32, 16, 2, 2), {"strides": [2, 2]}),
    "overlapping": ("ConvTranspose", (32, 32, 4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "with gaps": ("ConvTranspose", (32, 16, 1, 1), {"strides": [2, 2]}),
    "in groups": ("ConvTranspose", (32, 16, 3, 3), {"strides": [2, 2], "group": 2}),
}


def values(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def network(name: str) -> onnx.ModelProto:
    """The convolution with a bias, rectified."""
    op, weights, attributes = CASES[name]
    filters = weights[0] if op == "Conv" else weights[1] * attributes.get("group", 1)
    nodes = [node(op, ["x", "w", "b"], ["v"], **attributes), node("Relu", ["v"], ["y"])]
    return model(nodes, {"x": (1, 32, 9, 9)}, constants={"w": values(*weights), "b": values(filters)})


@pytest.mark.parametrize("name", CASES)
def test_results(name: str) -> None:
    inputs = {"x": values(1, 32, 9, 9)}
    assert_equal_outputs(outputs(network(name), inputs), reference(network(name), inputs))


@pytest.mark.parametrize("name", CASES)
def test_sums_stay_in_registers(name: str, tmp_path: Path) -> None:
    onnx.save(network(name), tmp_path / "model.onnx")
    loops = stages(tmp_path / "model.onnx", "loops", target="x86-64-avx512").splitlines()
    sums = [line for line in loops if "alloc " in line and ("_sum" in line or "_phase" in line)]
    assert sums
    assert all(": register " in line for line in sums)
