"""The reference evaluator agrees with onnxruntime where ONNX's own evaluator does not."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from polydl.graph.reference import reference_evaluator
from tests.graph.build import model, node


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 17])
@pytest.mark.parametrize("attributes", [{}, {"momentum": 0.9, "epsilon": 1e-3}])
def test_batch_normalization_uses_the_statistics_given(opset: int, attributes: dict[str, float]) -> None:
    rng = np.random.default_rng(opset)
    statistics = {n: rng.random(3).astype(np.float32) + 0.5 for n in ("scale", "bias", "mean", "var")}
    normalization = node("BatchNormalization", ["x", *statistics], ["y"], **attributes)
    proto = model([normalization], {"x": [2, 3, 4, 5]}, constants=statistics, opset=opset)
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32) + 3
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (actual,) = reference_evaluator(proto).run(None, {"x": x})
    np.testing.assert_allclose(actual, session.run(None, {"x": x})[0], rtol=1e-5, atol=1e-5)


def test_training_is_left_to_the_evaluator() -> None:
    rng = np.random.default_rng(0)
    statistics = {n: rng.random(3).astype(np.float32) + 0.5 for n in ("scale", "bias", "mean", "var")}
    normalization = node("BatchNormalization", ["x", *statistics], ["y", "m", "v"], training_mode=1)
    proto = model([normalization], {"x": [2, 3, 4, 5]}, ["y", "m", "v"], constants=statistics)
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32) + 3
    y, mean, _ = reference_evaluator(proto).run(None, {"x": x})
    assert abs(float(y.mean(axis=(0, 2, 3))[0]) - statistics["bias"][0]) < 1e-3
    np.testing.assert_allclose(mean, 0.9 * statistics["mean"] + 0.1 * x.mean(axis=(0, 2, 3)), rtol=1e-5)
