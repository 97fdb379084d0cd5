"""BatchNormalization in training at every operator set, against the formulas of ONNX's text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polydl import onnx_backend as backend
from polydl.errors import PolydlError
from tests.graph.build import model, node
from tests.ops.cases import Array

NAMES = ("y", "mean", "var", "saved_mean", "saved_var")


def expected(
    x: Array, scale: Array, bias: Array, mean: Array, var: Array, momentum: float
) -> dict[str, Array]:
    first = 1 if mean.ndim == 1 else x.ndim - mean.ndim
    axes = tuple(d for d in range(x.ndim) if not first <= d < first + mean.ndim)
    m, v = x.mean(axis=axes), x.var(axis=axes)
    s, b, centre, variance = (
        p.reshape(*p.shape, *[1] * (x.ndim - first - p.ndim)) for p in (scale, bias, m, v)
    )
    y = s * (x - centre) / np.sqrt(variance + 1e-3) + b
    running = [old * momentum + new * (1 - momentum) for old, new in ((mean, m), (var, v))]
    return dict(zip(NAMES, (y, *running, m, v), strict=True))


def inputs(shape: tuple[int, ...], statistics: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [
        rng.standard_normal(shape).astype(np.float32),
        *(np.abs(rng.standard_normal(statistics)).astype(np.float32) for _ in range(4)),
    ]


def compare(
    opset: int, shape: tuple[int, ...], statistics: tuple[int, ...], used: list[str], **more: Any
) -> None:
    attributes = {"epsilon": 1e-3, "momentum": 0.8, **more, **({"training_mode": 1} if opset >= 14 else {})}
    given = inputs(shape, statistics)
    names = ["x", "s", "b", "m", "v"]
    made = NAMES[: 3 if opset >= 14 else 5]
    nodes = [node("BatchNormalization", names, list(made), **attributes)]
    shapes = dict(zip(names, (a.shape for a in given), strict=True))
    results = backend.run_model(model(nodes, shapes, used, opset=opset), given)
    values = expected(*given, 0.8)
    for name, result in zip(used, results, strict=True):
        np.testing.assert_allclose(result, values[name], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("opset", [6, 7, 9, 14, 15])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 3), (2, 3, 7)])
def test_all_outputs(opset: int, shape: tuple[int, ...]) -> None:
    compare(opset, shape, (3,), list(NAMES[: 3 if opset >= 14 else 5]))


@pytest.mark.parametrize("opset", [6, 7, 9, 14, 15])
@pytest.mark.parametrize("used", [["y"], ["mean"], ["var", "y"]])
def test_outputs_that_nobody_reads_do_not_change_the_others(opset: int, used: list[str]) -> None:
    compare(opset, (2, 3, 4, 5), (3,), used)


@pytest.mark.parametrize("opset", [6, 7, 8])
def test_statistics_per_element(opset: int) -> None:
    compare(opset, (4, 3, 2, 5), (3, 2, 5), list(NAMES), spatial=0)


def test_in_test_mode_extra_outputs_are_refused() -> None:
    names = ["x", "s", "b", "m", "v"]
    nodes = [node("BatchNormalization", names, ["y", "mean", "var"])]
    given = inputs((2, 3, 4), (3,))
    shapes = dict(zip(names, (a.shape for a in given), strict=True))
    with pytest.raises(PolydlError):
        backend.run_model(model(nodes, shapes, ["y", "mean"], opset=15), given)
