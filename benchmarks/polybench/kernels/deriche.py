"""Deriche's recursive smoothing of an image: a causal and an anticausal filter along rows, then along columns."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from math import exp

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def deriche(alpha: "f64", imgIn: "f64[W, H]", imgOut: "f64[W, H]", y1: "f64[W, H]", y2: "f64[W, H]") -> None:
    # the filter's gain and its coefficients; rows and columns use the same
    k = (1.0 - exp(-alpha)) * (1.0 - exp(-alpha)) / (1.0 + 2.0 * alpha * exp(-alpha) - exp(2.0 * alpha))
    a1 = k
    a2 = k * exp(-alpha) * (alpha - 1.0)
    a3 = k * exp(-alpha) * (alpha + 1.0)
    a4 = -k * exp(-2.0 * alpha)
    b1 = 2.0 ** (-alpha)
    b2 = -exp(-2.0 * alpha)
    # along rows, left to right
    for i in range(W):
        ym1 = 0.0
        ym2 = 0.0
        xm1 = 0.0
        for j in range(H):
            y1[i, j] = a1 * imgIn[i, j] + a2 * xm1 + b1 * ym1 + b2 * ym2
            xm1 = imgIn[i, j]
            ym2 = ym1
            ym1 = y1[i, j]
    # along rows, right to left
    for i in range(W):
        yp1 = 0.0
        yp2 = 0.0
        xp1 = 0.0
        xp2 = 0.0
        for j in range(H - 1, -1, -1):
            y2[i, j] = a3 * xp1 + a4 * xp2 + b1 * yp1 + b2 * yp2
            xp2 = xp1
            xp1 = imgIn[i, j]
            yp2 = yp1
            yp1 = y2[i, j]
    for i in range(W):
        for j in range(H):
            imgOut[i, j] = y1[i, j] + y2[i, j]
    # along columns, downwards
    for j in range(H):
        tm1 = 0.0
        ym1 = 0.0
        ym2 = 0.0
        for i in range(W):
            y1[i, j] = a1 * imgOut[i, j] + a2 * tm1 + b1 * ym1 + b2 * ym2
            tm1 = imgOut[i, j]
            ym2 = ym1
            ym1 = y1[i, j]
    # along columns, upwards
    for j in range(H):
        tp1 = 0.0
        tp2 = 0.0
        yp1 = 0.0
        yp2 = 0.0
        for i in range(W - 1, -1, -1):
            y2[i, j] = a3 * tp1 + a4 * tp2 + b1 * yp1 + b2 * yp2
            tp2 = tp1
            tp1 = imgOut[i, j]
            yp2 = yp1
            yp1 = y2[i, j]
    for i in range(W):
        for j in range(H):
            imgOut[i, j] = y1[i, j] + y2[i, j]


def initialise(W: int, H: int) -> Data:
    i, j = np.ogrid[:W, :H]
    return {
        "alpha": 0.25,
        "imgIn": (313 * i + 991 * j) % 65536 / 65535.0,
        "imgOut": np.zeros((W, H)),
        "y1": np.zeros((W, H)),
        "y2": np.zeros((W, H)),
    }


def flops(W: int, H: int) -> float:
    return 30 * W * H  # two directions, each 7 + 7 for the filters and 1 for their sum


KERNEL = Kernel(
    "deriche",
    deriche,
    data_sets(
        "W H", MINI=(64, 64), SMALL=(192, 128), MEDIUM=(720, 480), LARGE=(4096, 2160), EXTRALARGE=(7680, 4320)
    ),
    initialise,
    outputs=("imgOut",),
    reorders=False,
    flops=flops,
)
