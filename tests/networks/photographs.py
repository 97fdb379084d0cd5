"""Really trained models beside the repository, and how their inputs are made and their outputs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Array = np.ndarray[Any, Any]

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
RFB, SLIM = "version-RFB-320.onnx", "version-slim-320_simplified.onnx"
PHOTOGRAPHS = {"face1.jpg": 40, "face16.jpg": 8}
"""Photograph -> the faces in it that any detector finds, at least."""
WIDTH, HEIGHT = 320, 240
ANCHORS = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}
"""Pixels between anchors -> sides of the anchors there."""
SCORE, OVERLAP = 0.7, 0.5  # of a face, and of two boxes of the same face


def trained(*parts: str) -> Path:
    """A file of the trained models; the test skips where they are not."""
    path = MODELS.joinpath(*parts)
    if not path.is_file():
        pytest.skip(f"no {'/'.join(parts)} among trained models beside the repository (../shared/models)")
    return path


def photograph(path: Path) -> Array:
    """As the detectors take it: f32[1, 3, HEIGHT, WIDTH], RGB, about -1 to 1."""
    image = Image.open(path).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return ((np.asarray(image, np.float32) - 127) / 128).transpose(2, 0, 1)[None].copy()


def digit(path: Path) -> Array:
    """f32[1, 1, 28, 28], 0 to 1."""
    return (np.asarray(Image.open(path).convert("L"), np.float32) / 255)[None, None].copy()


def corners(boxes: Array) -> Array:
    """Left, top, right, bottom (relative to the image) from offsets to anchors, which one of the models gives."""
    anchors = [
        ((x + 0.5) * step / WIDTH, (y + 0.5) * step / HEIGHT, side / WIDTH, side / HEIGHT)
        for step, sides in ANCHORS.items()
        for y in range(-(-HEIGHT // step))
        for x in range(-(-WIDTH // step))
        for side in sides
    ]
    anchor = np.clip(np.array(anchors, np.float32), 0, 1)
    middle = boxes[..., :2] * 0.1 * anchor[:, 2:] + anchor[:, :2]
    half = np.exp(boxes[..., 2:] * 0.2) * anchor[:, 2:] / 2
    return np.concatenate([middle - half, middle + half], axis=-1)


def faces(scores: Array, boxes: Array) -> list[int]:
    """The boxes kept: sure enough, best first, none that overlaps a better one."""
    sure = scores[0, :, 1]
    kept: list[int] = []
    for i in sorted(np.flatnonzero(sure > SCORE), key=lambda i: -sure[i]):
        if all(_overlap(boxes[0, i], boxes[0, k]) < OVERLAP for k in kept):
            kept.append(int(i))
    return kept


def _overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    both = float(sides.prod())
    return both / float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - both)
