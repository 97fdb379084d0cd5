"""The trained network and its held-out samples, as committed."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from models.digits.data import HOLDOUT, MODEL, holdout


def test_held_out_accuracy() -> None:
    samples = holdout()
    evaluator = ReferenceEvaluator(onnx.load(MODEL))
    rows = [evaluator.run(None, {"image": image[None]})[0][0] for image in samples.images]
    np.testing.assert_allclose(np.sum(rows, axis=1), 1, rtol=1e-5)
    right = int((np.argmax(rows, axis=1) == samples.labels).sum())
    assert right == 448
    assert len(samples.labels) == 450


def test_files_are_small_valid_and_plain() -> None:
    assert MODEL.stat().st_size < 200_000
    assert HOLDOUT.stat().st_size < 200_000
    onnx.checker.check_model(onnx.load(MODEL), full_check=True)
    samples = holdout()
    assert samples.images.shape == (450, 1, 8, 8)
    assert samples.images.dtype == np.float32
    assert samples.labels.dtype == np.int64
    assert samples.images.min() == 0
    assert samples.images.max() == 1
    assert np.bincount(samples.labels).min() > 40


def test_held_out_samples_are_distinct() -> None:
    images = holdout().images.reshape(450, -1)
    assert len(np.unique(images, axis=0)) == 450
