"""Dropout in training: what the seed draws, and the forms that are refused because nothing is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from polydl import onnx_backend as backend
from polydl.errors import InvalidModel, UnsupportedOperator
from tests.graph.build import model, node

X = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)


def dropout(ratio: float | None, training: bool, **attributes: Any) -> Any:
    constants: dict[str, Any] = {"t": np.array(training)}
    if ratio is not None:
        constants["r"] = np.array(ratio, np.float32)
    names = ["x", "r" if ratio is not None else "", "t"]
    proto = model([node("Dropout", names, ["y", "m"], **attributes)], {"x": [3, 4, 5]}, ["y", "m"], constants)
    proto.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.BOOL
    return proto


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("ratio", [None, 0.0, 0.25, 0.9])
@pytest.mark.parametrize("training", [True, False])
def test_as_the_reference_draws(seed: int, ratio: float | None, training: bool) -> None:
    proto = dropout(ratio, training, seed=seed)
    expected = ReferenceEvaluator(dropout(0.5 if ratio is None else ratio, training, seed=seed)).run(
        None, {"x": X}
    )
    for actual, value in zip(backend.run_model(proto, [X]), expected, strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-6)


def test_the_mask_alone() -> None:
    expected = ReferenceEvaluator(dropout(0.5, True, seed=3)).run(["m"], {"x": X})
    proto = dropout(0.5, True, seed=3)
    del proto.graph.output[0]
    (mask,) = backend.run_model(proto, [X])
    np.testing.assert_array_equal(mask, expected[0])


@pytest.mark.parametrize("attributes", [{}, {"seed": -1}, {"seed": 1 << 32}])
def test_random_is_refused(attributes: dict[str, int]) -> None:
    with pytest.raises(UnsupportedOperator, match="its result is random"):
        backend.run_model(dropout(0.5, True, **attributes), [X])


@pytest.mark.parametrize("ratio", [1.0, -0.5, 2.0])
def test_ratio_out_of_range(ratio: float) -> None:
    with pytest.raises(InvalidModel, match="ratio"):
        backend.run_model(dropout(ratio, True, seed=1), [X])
