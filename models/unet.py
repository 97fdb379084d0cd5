"""U-Net: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015.

The 3x3 convolutions are padded, as in most later uses, so that the mask has the image's size and skips need no crop.
"""

from __future__ import annotations

import onnx

from models.build import DEFAULT_OPSET, Builder, Value, scaled

__all__ = ["unet"]

_DEPTH = 4


def _double(g: Builder, x: Value, channels: int) -> Value:
    for _ in range(2):
        x = g.relu(g.conv(x, channels, 3, bias=True))
    return x


def unet(
    *,
    image: int = 256,
    width: float = 1.0,
    classes: int = 2,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """image (batch, 1, image, image), image a multiple of 16 -> logits (batch, classes, image, image)."""
    g = Builder("unet", opset=opset)
    x = g.input("image", (batch, 1, image, image))
    skips: list[Value] = []
    for level in range(_DEPTH):
        x = _double(g, x, scaled(64 << level, width))
        skips.append(x)
        x = g.max_pool(x, 2, 2)
    x = _double(g, x, scaled(64 << _DEPTH, width))
    for level in reversed(range(_DEPTH)):
        x = g.deconv(x, scaled(64 << level, width), 2, 2)
        x = _double(g, g.concat([skips[level], x]), scaled(64 << level, width))
    return g.finish({"logits": g.conv(x, classes, 1, bias=True)}, seed=seed)
