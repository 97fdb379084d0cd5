"""Really trained networks find what they were trained to find: faces, digits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import polydl
from models.digits.data import MODEL, holdout
from tests.networks.peer import reference
from tests.networks.photographs import (
    PHOTOGRAPHS,
    RFB,
    SLIM,
    Array,
    corners,
    digit,
    faces,
    photograph,
    trained,
)

ROOT = Path(__file__).resolve().parents[2]


def assert_same_faces(
    actual: dict[str, Array], expected: dict[str, Array], detector: str, photo: str
) -> None:
    """Scores and boxes within 1e-4, and the same faces kept."""
    assert actual.keys() == expected.keys() == {"scores", "boxes"}
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=1e-4)
    corner = corners if detector == SLIM else np.asarray
    found = faces(actual["scores"], corner(actual["boxes"]))
    assert found == faces(expected["scores"], corner(expected["boxes"]))
    assert PHOTOGRAPHS[photo] <= len(found) <= 1.5 * PHOTOGRAPHS[photo]


@pytest.mark.parametrize("detector", [RFB, SLIM])
def test_faces(detector: str) -> None:
    path = trained("ultraface", detector)
    module = polydl.build(path)
    for photo in PHOTOGRAPHS:
        image = photograph(trained("ultraface", photo))
        inputs = {module.inputs[0].name: image}
        assert_same_faces(module.run(inputs), reference(onnx.load(path), inputs), detector, photo)


def test_faces_from_the_command_line(tmp_path: Path) -> None:
    path = trained("ultraface", RFB)
    image = photograph(trained("ultraface", "face16.jpg"))
    np.savez(tmp_path / "photo.npz", input=image)
    for arguments in (
        ["build", str(path), "-o", "out"],
        ["run", "out", "-i", "photo.npz", "-o", "boxes.npz"],
    ):
        command = [sys.executable, "-m", "polydl", *arguments]
        subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=300
        )
    with np.load(tmp_path / "boxes.npz", allow_pickle=False) as saved:
        actual = dict(saved)
    assert_same_faces(actual, reference(onnx.load(path), {"input": image}), RFB, "face16.jpg")


def test_digits_are_named() -> None:
    module = polydl.build(trained("mnist", "opt-mnist.onnx"))
    for label in (0, 3, 5, 7):
        image = digit(trained("mnist", f"digit{label}.jpg"))
        assert int(np.argmax(module(image))) == int(np.argmax(module(255 * image))) == label


def test_accuracy_of_the_trained_network() -> None:
    """On the held-out samples: each answer the reference evaluator's, so the accuracy too."""
    samples = holdout()
    evaluator = ReferenceEvaluator(onnx.load(MODEL))
    module = polydl.build(MODEL)
    rows = [module(image[None])[0] for image in samples.images]
    expected = [evaluator.run(None, {"image": image[None]})[0][0] for image in samples.images]
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)
    named, reference_named = np.argmax(rows, axis=1), np.argmax(expected, axis=1)
    np.testing.assert_array_equal(named, reference_named)
    assert np.mean(named == samples.labels) == np.mean(reference_named == samples.labels) > 0.99
