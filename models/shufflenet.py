"""ShuffleNet V2: Ma, Zhang, Zheng, Sun, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture", 2018."""

from __future__ import annotations

import onnx

from models.build import DEFAULT_OPSET, Builder, Value, scaled

__all__ = ["shufflenet_v2"]

_STAGES = ((116, 4), (232, 8), (464, 4))  # channels and units at width 1


def _shuffle(g: Builder, x: Value) -> Value:
    """Interleave the two halves of the channels."""
    n, c, h, w = x.shape
    x = g.transpose(g.reshape(x, n, 2, c // 2, h, w), 0, 2, 1, 3, 4)
    return g.reshape(x, n, c, h, w)


def _branch(g: Builder, x: Value, channels: int, stride: int) -> Value:
    x = g.relu(g.bn(g.conv(x, channels, 1)))
    x = g.bn(g.conv(x, channels, 3, stride, groups=channels))
    return g.relu(g.bn(g.conv(x, channels, 1)))


def _unit(g: Builder, x: Value, channels: int, stride: int) -> Value:
    half = channels // 2
    if stride == 1:
        kept, rest = g.split(x, 2)
        return _shuffle(g, g.concat([kept, _branch(g, rest, half, 1)]))
    side = g.bn(g.conv(x, x.shape[1], 3, stride, groups=x.shape[1]))
    side = g.relu(g.bn(g.conv(side, half, 1)))
    return _shuffle(g, g.concat([side, _branch(g, x, half, stride)]))


def shufflenet_v2(
    *,
    image: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """Channel split and shuffle, 1.0x; image (batch, 3, image, image) -> logits (batch, classes)."""
    g = Builder("shufflenet_v2", opset=opset)
    x = g.input("image", (batch, 3, image, image))
    x = g.relu(g.bn(g.conv(x, scaled(24, width), 3, 2)))
    x = g.max_pool(x, 3, 2, 1)
    for channels, units in _STAGES:
        for position in range(units):
            x = _unit(g, x, scaled(channels, width), 2 if position == 0 else 1)
    x = g.relu(g.bn(g.conv(x, scaled(1024, width), 1)))
    x = g.dense(g.flatten(g.global_pool(x)), classes)
    return g.finish({"logits": x}, seed=seed)
