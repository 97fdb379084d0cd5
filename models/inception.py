"""Inception v3: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, table 1.

Without the auxiliary classifier, which serves training alone.
"""

from __future__ import annotations

import onnx

from models.build import DEFAULT_OPSET, Builder, Value, scaled

__all__ = ["inception_v3"]


class _Inception:
    """The network's blocks, named as in the reference implementation; `width` scales every channel count."""

    def __init__(self, g: Builder, width: float) -> None:
        self.g, self.width = g, width

    def unit(
        self, x: Value, channels: int, kernel: int | tuple[int, int], stride: int = 1, *, valid: bool = False
    ) -> Value:
        g = self.g
        y = g.conv(x, scaled(channels, self.width), kernel, stride, pad=0 if valid else None)
        return g.relu(g.bn(y, 1e-3))

    def a(self, x: Value, pooled: int) -> Value:
        """5x5 and double 3x3 towers."""
        b5 = self.unit(self.unit(x, 48, 1), 64, 5)
        b3 = self.unit(self.unit(self.unit(x, 64, 1), 96, 3), 96, 3)
        return self.g.concat([self.unit(x, 64, 1), b5, b3, self.unit(self.g.avg_pool(x, 3, 1, 1), pooled, 1)])

    def b(self, x: Value) -> Value:
        """Grid reduction from 35 to 17."""
        b3 = self.unit(x, 384, 3, 2, valid=True)
        bd = self.unit(self.unit(self.unit(x, 64, 1), 96, 3), 96, 3, 2, valid=True)
        return self.g.concat([b3, bd, self.g.max_pool(x, 3, 2)])

    def c(self, x: Value, inner: int) -> Value:
        """7x7 convolutions factorised into 1x7 and 7x1."""
        b7 = self.unit(self.unit(self.unit(x, inner, 1), inner, (1, 7)), 192, (7, 1))
        bd = self.unit(x, inner, 1)
        for channels, kernel in ((inner, (7, 1)), (inner, (1, 7)), (inner, (7, 1)), (192, (1, 7))):
            bd = self.unit(bd, channels, kernel)
        return self.g.concat([self.unit(x, 192, 1), b7, bd, self.unit(self.g.avg_pool(x, 3, 1, 1), 192, 1)])

    def d(self, x: Value) -> Value:
        """Grid reduction from 17 to 8."""
        b3 = self.unit(self.unit(x, 192, 1), 320, 3, 2, valid=True)
        b7 = self.unit(self.unit(self.unit(x, 192, 1), 192, (1, 7)), 192, (7, 1))
        return self.g.concat([b3, self.unit(b7, 192, 3, 2, valid=True), self.g.max_pool(x, 3, 2)])

    def e(self, x: Value) -> Value:
        """Expanded filter banks: 1x3 and 3x1 side by side."""

        def fan(y: Value) -> Value:
            return self.g.concat([self.unit(y, 384, (1, 3)), self.unit(y, 384, (3, 1))])

        b3 = fan(self.unit(x, 384, 1))
        bd = fan(self.unit(self.unit(x, 448, 1), 384, 3))
        return self.g.concat([self.unit(x, 320, 1), b3, bd, self.unit(self.g.avg_pool(x, 3, 1, 1), 192, 1)])


def inception_v3(
    *,
    image: int = 299,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """image (batch, 3, image, image) with image >= 75 -> logits (batch, classes)."""
    g = Builder("inception_v3", opset=opset)
    net = _Inception(g, width)
    x = g.input("image", (batch, 3, image, image))
    x = net.unit(x, 32, 3, 2, valid=True)
    x = net.unit(x, 32, 3, valid=True)
    x = g.max_pool(net.unit(x, 64, 3), 3, 2)
    x = net.unit(x, 80, 1)
    x = g.max_pool(net.unit(x, 192, 3, valid=True), 3, 2)
    for pooled in (32, 64, 64):
        x = net.a(x, pooled)
    x = net.b(x)
    for inner in (128, 160, 160, 192):
        x = net.c(x, inner)
    x = net.e(net.e(net.d(x)))
    x = g.dense(g.flatten(g.global_pool(x)), classes)
    return g.finish({"logits": x}, seed=seed)
