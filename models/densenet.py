"""DenseNet: Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", 2016, table 1."""

from __future__ import annotations

import onnx

from models.build import DEFAULT_OPSET, Builder, Value, scaled

__all__ = ["densenet121"]

_DEPTHS = (6, 12, 24, 16)


def _dense_layer(g: Builder, x: Value, growth: int) -> Value:
    y = g.conv(g.relu(g.bn(x)), 4 * growth, 1)
    return g.conv(g.relu(g.bn(y)), growth, 3)


def densenet121(
    *,
    image: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """Growth 32 (times `width`); image (batch, 3, image, image) -> logits (batch, classes)."""
    g = Builder("densenet121", opset=opset)
    growth = scaled(32, width)
    x = g.input("image", (batch, 3, image, image))
    x = g.relu(g.bn(g.conv(x, 2 * growth, 7, 2)))
    x = g.max_pool(x, 3, 2, 1)
    for stage, depth in enumerate(_DEPTHS):
        if stage > 0:  # transition: halve the channels and the map
            x = g.avg_pool(g.conv(g.relu(g.bn(x)), x.shape[1] // 2, 1), 2, 2)
        for _ in range(depth):
            x = g.concat([x, _dense_layer(g, x, growth)])
    x = g.global_pool(g.relu(g.bn(x)))
    return g.finish({"logits": g.dense(g.flatten(x), classes)}, seed=seed)
