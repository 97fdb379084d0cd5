"""SqueezeNet: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016; release 1.1."""

from __future__ import annotations

import onnx

from models.build import DEFAULT_OPSET, Builder, Value, scaled

__all__ = ["squeezenet1_1"]

_FIRES = ((16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256))


def _fire(g: Builder, x: Value, squeeze: int, expand: int) -> Value:
    x = g.relu(g.conv(x, squeeze, 1, bias=True))
    return g.concat([g.relu(g.conv(x, expand, 1, bias=True)), g.relu(g.conv(x, expand, 3, bias=True))])


def squeezenet1_1(
    *,
    image: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """Fire modules, no fully connected layer; image (batch, 3, image, image) -> logits (batch, classes)."""
    g = Builder("squeezenet1_1", opset=opset)
    x = g.input("image", (batch, 3, image, image))
    x = g.relu(g.conv(x, scaled(64, width), 3, 2, pad=0, bias=True))
    x = g.max_pool(x, 3, 2, ceil=True)
    for fire in _FIRES:
        if fire is None:
            x = g.max_pool(x, 3, 2, ceil=True)
        else:
            x = _fire(g, x, scaled(fire[0], width), scaled(fire[1], width))
    x = g.relu(g.conv(x, classes, 1, bias=True))
    return g.finish({"logits": g.flatten(g.global_pool(x))}, seed=seed)
