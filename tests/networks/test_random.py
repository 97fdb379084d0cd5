"""Random small networks down the whole road, against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import models
from tests.graph.random_nets import networks
from tests.networks.peer import ATOL, LEVELS, RTOL, outputs, reference, runnable


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(networks(), st.sampled_from([level for level in LEVELS if runnable(level)]), st.sampled_from([1, 2]))
def test_random_network(model: onnx.ModelProto, target: str, threads: int) -> None:
    inputs = models.example_inputs(model, 1)
    expected = reference(model, inputs)
    actual = outputs(model, inputs, target=target, threads=threads)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=RTOL, atol=ATOL, err_msg=name)
