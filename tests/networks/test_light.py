"""The nine networks that the onnx package ships, with random weights: theirs are constants that hide mistakes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import models
from tests.networks.peer import check

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
QUICK = {"light_squeezenet"}
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))


def test_all_are_there() -> None:
    assert len(NAMES) == 9
    assert set(NAMES) >= QUICK


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_light_network(name: str) -> None:
    check(models.randomize(onnx.load(FOLDER / f"{name}.onnx"), 3))
