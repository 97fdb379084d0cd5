"""MobileNets.

v1: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017, table 1.
v2: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, table 2.
v3: Howard et al., "Searching for MobileNetV3", 2019, table 2 (small).
"""

from __future__ import annotations

from typing import Literal

import onnx

from models.build import DEFAULT_OPSET, Builder, Value, scaled

__all__ = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small"]

# v1: output channels and stride of each depthwise separable convolution
_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
# v2: expansion, output channels, repeats, stride of the first
_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# v3 small: kernel, expanded channels, output channels, squeeze-and-excite, activation, stride
_V3_SMALL: tuple[tuple[int, int, int, bool, Literal["relu", "hard_swish"], int], ...] = (
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hard_swish", 2),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 120, 48, True, "hard_swish", 1),
    (5, 144, 48, True, "hard_swish", 1),
    (5, 288, 96, True, "hard_swish", 2),
    (5, 576, 96, True, "hard_swish", 1),
    (5, 576, 96, True, "hard_swish", 1),
)
_V3_EPSILON = 1e-3


def mobilenet_v1(
    *,
    image: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """Depthwise separable convolutions; image (batch, 3, image, image) -> logits (batch, classes)."""
    g = Builder("mobilenet_v1", opset=opset)
    x = g.input("image", (batch, 3, image, image))
    x = g.relu(g.bn(g.conv(x, scaled(32, width), 3, 2)))
    for channels, stride in _V1:
        x = g.relu(g.bn(g.conv(x, x.shape[1], 3, stride, groups=x.shape[1])))
        x = g.relu(g.bn(g.conv(x, scaled(channels, width), 1)))
    x = g.dense(g.flatten(g.global_pool(x)), classes)
    return g.finish({"logits": x}, seed=seed)


def _inverted_residual(g: Builder, x: Value, expansion: int, channels: int, stride: int) -> Value:
    hidden = x.shape[1] * expansion
    y = x if expansion == 1 else g.relu6(g.bn(g.conv(x, hidden, 1)))
    y = g.relu6(g.bn(g.conv(y, hidden, 3, stride, groups=hidden)))
    y = g.bn(g.conv(y, channels, 1))
    return g.add(x, y) if y.shape == x.shape else y


def mobilenet_v2(
    *,
    image: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """Inverted residuals with linear bottlenecks; image (batch, 3, image, image) -> logits (batch, classes)."""
    g = Builder("mobilenet_v2", opset=opset)
    x = g.input("image", (batch, 3, image, image))
    x = g.relu6(g.bn(g.conv(x, scaled(32, width), 3, 2)))
    for expansion, channels, repeats, first_stride in _V2:
        for position in range(repeats):
            x = _inverted_residual(
                g, x, expansion, scaled(channels, width), first_stride if position == 0 else 1
            )
    x = g.relu6(g.bn(g.conv(x, scaled(1280, max(width, 1.0)), 1)))
    x = g.dense(g.flatten(g.global_pool(x)), classes)
    return g.finish({"logits": x}, seed=seed)


def _squeeze_excite(g: Builder, x: Value) -> Value:
    squeezed = g.relu(g.conv(g.global_pool(x), scaled(x.shape[1], 0.25), 1, bias=True))
    return g.mul(g.hard_sigmoid(g.conv(squeezed, x.shape[1], 1, bias=True)), x)


def mobilenet_v3_small(
    *,
    image: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """Searched blocks with squeeze-and-excite and hard swish; image (batch, 3, image, image) -> logits."""
    g = Builder("mobilenet_v3_small", opset=opset)
    x = g.input("image", (batch, 3, image, image))
    x = g.hard_swish(g.bn(g.conv(x, scaled(16, width), 3, 2), _V3_EPSILON))
    for kernel, expanded, channels, excite, activation, stride in _V3_SMALL:
        act = g.relu if activation == "relu" else g.hard_swish
        hidden, y = scaled(expanded, width), x
        if hidden != x.shape[1]:
            y = act(g.bn(g.conv(y, hidden, 1), _V3_EPSILON))
        y = act(g.bn(g.conv(y, hidden, kernel, stride, groups=hidden), _V3_EPSILON))
        if excite:
            y = _squeeze_excite(g, y)
        y = g.bn(g.conv(y, scaled(channels, width), 1), _V3_EPSILON)
        x = g.add(x, y) if y.shape == x.shape else y
    x = g.hard_swish(g.bn(g.conv(x, 6 * x.shape[1], 1), _V3_EPSILON))
    x = g.hard_swish(g.dense(g.flatten(g.global_pool(x)), scaled(1024, width)))
    return g.finish({"logits": g.dense(x, classes)}, seed=seed)
