"""Tiny YOLOv2 for the 20 VOC classes: Redmon, Farhadi, "YOLO9000: Better, Faster, Stronger", 2016."""

from __future__ import annotations

import onnx

from models.build import DEFAULT_OPSET, Builder, scaled

__all__ = ["yolo_tiny"]

_ANCHORS = 5
# Channels of each 3x3 convolution and the stride of the 2x2 pooling that follows it (none: no pooling).
_LAYERS = ((16, 2), (32, 2), (64, 2), (128, 2), (256, 2), (512, 1), (1024, None), (1024, None))


def yolo_tiny(
    *,
    image: int = 416,
    width: float = 1.0,
    classes: int = 20,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """image (batch, 3, image, image) -> grid (batch, 5 * (5 + classes), image / 32, image / 32)."""
    g = Builder("yolo-tiny", opset=opset)
    x = g.input("image", (batch, 3, image, image))
    for channels, stride in _LAYERS:
        x = g.leaky_relu(g.bn(g.conv(x, scaled(channels, width), 3)), 0.1)
        if stride is not None:
            shape = (*x.shape[:2], *(size // stride for size in x.shape[2:]))
            x = g.node(
                "MaxPool", [x], shape, kernel_shape=[2, 2], strides=[stride, stride], auto_pad="SAME_UPPER"
            )
    return g.finish({"grid": g.conv(x, _ANCHORS * (5 + classes), 1, bias=True)}, seed=seed)
