"""A network from an ONNX file: compile it, save it as a package, load the package, classify samples it never saw.

python examples/03_network.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import polydl

DIGITS = Path(__file__).resolve().parents[1] / "models" / "digits"

compiled = polydl.compile_model(DIGITS / "digits.onnx")
with tempfile.TemporaryDirectory() as folder:
    package = Path(folder) / "digits"
    compiled.save(package)
    with polydl.load(package) as module, np.load(DIGITS / "holdout.npz", allow_pickle=False) as data:
        images, labels = data["images"], data["labels"]
        right = sum(
            int(module(image[None]).argmax() == label) for image, label in zip(images, labels, strict=True)
        )

print(f"{right} of {len(labels)} digits named right ({100 * right / len(labels):.2f} %)")
if right < 0.97 * len(labels):
    raise SystemExit("the network has forgotten its digits")
