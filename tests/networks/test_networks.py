"""Every network of `models/` that polydl compiles, against onnxruntime.

The default run takes small variants; `pytest -m slow tests/networks` the published sizes (about three minutes on
two cores, 4 GiB of memory).
"""

from __future__ import annotations

import numpy as np
import pytest

import models
from polydl.errors import UnsupportedOperator
from polydl.onnx_backend import prepare
from tests.networks.peer import LEVELS, assert_equal_outputs, check, compiled, reference, runnable

COMPILED = [name for name in models.NETWORKS if name != "lstm"]


def small(name: str) -> dict[str, int | float]:
    return models.NETWORKS[name].small


@pytest.mark.parametrize("name", COMPILED)
def test_small_network(name: str) -> None:
    """One and two threads give the same bytes, within the tolerance of onnxruntime."""
    model = models.build(name, **small(name))
    inputs = models.example_inputs(model, 1)
    network = compiled(model)
    one = network.module(1).run(inputs)
    two = network.module(2).run(inputs)
    assert_equal_outputs(one, reference(model, inputs))
    for output, value in one.items():
        np.testing.assert_array_equal(two[output], value)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "unet", "mlp"])
def test_every_instruction_set(name: str, level: str) -> None:
    if not runnable(level):
        pytest.skip(f"this processor is no {level}")
    check(models.build(name, **small(name)), target=level)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "bert-base"])
def test_batch(name: str) -> None:
    check(models.build(name, **small(name), batch=3))


def test_networks_without_their_operators_say_which() -> None:
    with pytest.raises(UnsupportedOperator, match=r"1 operator of the model cannot be compiled: LSTM"):
        prepare(models.build("lstm", **small("lstm")))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_published_network(name: str) -> None:
    check(models.build(name))
