"""VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, table 1, D."""

from __future__ import annotations

import onnx

from models.build import DEFAULT_OPSET, Builder, scaled

__all__ = ["vgg16"]

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions


def vgg16(
    *,
    image: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """13 convolutions and 3 fully connected layers; image (batch, 3, image, image) -> logits (batch, classes)."""
    g = Builder("vgg16", opset=opset)
    x = g.input("image", (batch, 3, image, image))
    for channels, depth in _STAGES:
        for _ in range(depth):
            x = g.relu(g.conv(x, scaled(channels, width), 3, bias=True))
        x = g.max_pool(x, 2, 2)
    x = g.flatten(x)
    for _ in range(2):
        x = g.relu(g.dense(x, scaled(4096, width)))
    return g.finish({"logits": g.dense(x, classes)}, seed=seed)
