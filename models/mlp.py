"""A multilayer perceptron for 28x28 images: 784-1200-1200-10, as in Hinton, Vinyals, Dean, "Distilling the Knowledge
in a Neural Network", 2015, section 3."""

from __future__ import annotations

import onnx

from models.build import DEFAULT_OPSET, Builder, scaled

__all__ = ["mlp"]


def mlp(
    *,
    image: int = 28,
    width: float = 1.0,
    classes: int = 10,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """Two hidden layers of 1200 rectified units; image (batch, image * image) -> logits (batch, classes)."""
    g = Builder("mlp", opset=opset)
    x = g.input("image", (batch, image * image))
    for _ in range(2):
        x = g.relu(g.dense(x, scaled(1200, width)))
    return g.finish({"logits": g.dense(x, classes)}, seed=seed)
