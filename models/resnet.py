"""ResNet: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, tables 1 and 4.

The stride of a bottleneck sits in its 3x3 convolution, as in most published weights ("v1.5").
"""

from __future__ import annotations

import onnx

from models.build import DEFAULT_OPSET, Builder, Value, scaled

__all__ = ["resnet18", "resnet50"]


def _shortcut(g: Builder, x: Value, channels: int, stride: int) -> Value:
    if x.shape[1] == channels and stride == 1:
        return x
    return g.bn(g.conv(x, channels, 1, stride))


def _basic(g: Builder, x: Value, channels: int, stride: int) -> Value:
    y = g.relu(g.bn(g.conv(x, channels, 3, stride)))
    y = g.bn(g.conv(y, channels, 3))
    return g.relu(g.add(y, _shortcut(g, x, channels, stride)))


def _bottleneck(g: Builder, x: Value, channels: int, stride: int) -> Value:
    y = g.relu(g.bn(g.conv(x, channels, 1)))
    y = g.relu(g.bn(g.conv(y, channels, 3, stride)))
    y = g.bn(g.conv(y, 4 * channels, 1))
    return g.relu(g.add(y, _shortcut(g, x, 4 * channels, stride)))


def _resnet(
    name: str,
    bottleneck: bool,
    depths: tuple[int, ...],
    *,
    image: int,
    width: float,
    classes: int,
    batch: int,
    seed: int,
    opset: int,
) -> onnx.ModelProto:
    g = Builder(name, opset=opset)
    block = _bottleneck if bottleneck else _basic
    x = g.input("image", (batch, 3, image, image))
    x = g.relu(g.bn(g.conv(x, scaled(64, width), 7, 2)))
    x = g.max_pool(x, 3, 2, 1)
    for stage, depth in enumerate(depths):
        for position in range(depth):
            x = block(g, x, scaled(64 << stage, width), 2 if stage > 0 and position == 0 else 1)
    x = g.dense(g.flatten(g.global_pool(x)), classes)
    return g.finish({"logits": x}, seed=seed)


def resnet18(
    *,
    image: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """18 layers of basic blocks; image (batch, 3, image, image) -> logits (batch, classes)."""
    return _resnet(
        "resnet18",
        False,
        (2, 2, 2, 2),
        image=image,
        width=width,
        classes=classes,
        batch=batch,
        seed=seed,
        opset=opset,
    )


def resnet50(
    *,
    image: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """50 layers of bottleneck blocks; image (batch, 3, image, image) -> logits (batch, classes)."""
    return _resnet(
        "resnet50",
        True,
        (3, 4, 6, 3),
        image=image,
        width=width,
        classes=classes,
        batch=batch,
        seed=seed,
        opset=opset,
    )
