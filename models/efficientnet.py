"""EfficientNet: Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019, table 1."""

from __future__ import annotations

import onnx

from models.build import DEFAULT_OPSET, Builder, Value, scaled

__all__ = ["efficientnet_b0"]

# expansion, kernel, stride of the first, output channels, repeats
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def _mbconv(g: Builder, x: Value, expansion: int, kernel: int, stride: int, channels: int) -> Value:
    """Inverted residual with squeeze-and-excite; the squeeze is a quarter of the block's own input."""
    hidden = x.shape[1] * expansion
    y = x if expansion == 1 else g.silu(g.bn(g.conv(x, hidden, 1)))
    y = g.silu(g.bn(g.conv(y, hidden, kernel, stride, groups=hidden)))
    squeezed = g.silu(g.conv(g.global_pool(y), x.shape[1] // 4, 1, bias=True))
    y = g.mul(g.sigmoid(g.conv(squeezed, hidden, 1, bias=True)), y)
    y = g.bn(g.conv(y, channels, 1))
    return g.add(y, x) if y.shape == x.shape else y


def efficientnet_b0(
    *,
    image: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """The B0 baseline; image (batch, 3, image, image) -> logits (batch, classes)."""
    g = Builder("efficientnet_b0", opset=opset)
    x = g.input("image", (batch, 3, image, image))
    x = g.silu(g.bn(g.conv(x, scaled(32, width), 3, 2)))
    for expansion, kernel, first_stride, channels, repeats in _STAGES:
        for position in range(repeats):
            x = _mbconv(
                g, x, expansion, kernel, first_stride if position == 0 else 1, scaled(channels, width)
            )
    x = g.silu(g.bn(g.conv(x, scaled(1280, width), 1)))
    x = g.dense(g.flatten(g.global_pool(x)), classes)
    return g.finish({"logits": x}, seed=seed)
