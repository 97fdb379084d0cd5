"""Weights, biases and scales that are inputs of the network, on channels that fill whole vectors and on others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.graph.build import model, node
from tests.networks.peer import assert_equal_outputs, outputs, reference

CHANNELS = [20, 32]


def values(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def check(nodes: list[Any], constants: dict[str, Any], **inputs: np.ndarray[Any, Any]) -> None:
    given = {"x": values(1, 8, 9, 9), **inputs}
    proto = model(nodes, {n: a.shape for n, a in given.items()}, constants=constants)
    assert_equal_outputs(outputs(proto, given), reference(proto, given))


@pytest.mark.parametrize("c", CHANNELS)
def test_weights(c: int) -> None:
    check([node("Conv", ["x", "w"], ["v"]), node("Relu", ["v"], ["y"])], {}, w=values(c, 8, 3, 3))
    last = node("Conv", ["v", "w"], ["y"])
    check([node("ConvTranspose", ["x", "u"], ["v"]), last], {"w": values(4, c, 3, 3)}, u=values(8, c, 3, 3))


@pytest.mark.parametrize("shape", [(-1, 1, 1), (1, -1, 1, 1), (-1, 7, 7), (1, -1, 7, 7), (7,), (1, 1, 7, 7)])
@pytest.mark.parametrize("c", CHANNELS)
def test_element_wise_operands(c: int, shape: tuple[int, ...]) -> None:
    """Between two convolutions, alone and behind a depthwise one; -1 stands for the channels."""
    operand = values(*(c if n < 0 else n for n in shape))
    constants = {"w": values(c, 8, 3, 3), "last": values(4, c, 3, 3)}
    first, last = node("Conv", ["x", "w"], ["a"]), node("Conv", ["c", "last"], ["y"])
    check([first, node("Add", ["a", "b"], ["c"]), last], constants, b=operand)
    depthwise = node("Conv", ["a", "d"], ["e"], group=c)
    check(
        [first, depthwise, node("Mul", ["e", "b"], ["c"]), last], constants, b=operand, d=values(c, 1, 1, 1)
    )


@pytest.mark.parametrize("c", CHANNELS)
@pytest.mark.parametrize(
    ("op", "given"),
    [("PRelu", 1), ("BatchNormalization", 2), ("BatchNormalization", 4), ("InstanceNormalization", 2)],
)
def test_parameters_of_channels(op: str, given: int, c: int) -> None:
    """The first `given` parameters are inputs of the network."""
    count = {"PRelu": 1, "BatchNormalization": 4, "InstanceNormalization": 2}[op]
    shape = (c, 1, 1) if op == "PRelu" else (c,)
    parameters = {f"p{k}": abs(values(*shape)) + 0.1 for k in range(count)}
    constants = {"w": values(c, 8, 3, 3), "last": values(4, c, 3, 3)}
    constants |= {n: a for k, (n, a) in enumerate(parameters.items()) if k >= given}
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node(op, ["a", *parameters], ["c"]),
        node("Conv", ["c", "last"], ["y"]),
    ]
    check(nodes, constants, **{n: a for k, (n, a) in enumerate(parameters.items()) if k < given})
