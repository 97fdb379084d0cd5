"""Levinson-Durbin recursion: the Toeplitz system T y = -r solved one order at a time."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def durbin(r: "f64[N]", y: "f64[N]", z: "f64[N]") -> None:
    assert N >= 1
    y[0] = -r[0]
    beta = 1.0
    alpha = -r[0]
    for k in range(1, N):
        # beta_k = (1 - alpha^2) beta_{k-1} is the error left, alpha the next reflection coefficient
        beta = (1.0 - alpha * alpha) * beta
        total = 0.0
        for i in range(k):
            total += r[k - i - 1] * y[i]
        alpha = -(r[k] + total) / beta
        # y gains alpha times itself reversed, which needs a copy
        for i in range(k):
            z[i] = y[i] + alpha * y[k - i - 1]
        for i in range(k):
            y[i] = z[i]
        y[k] = alpha


def initialise(N: int) -> Data:
    return {"r": (N + 1 - np.arange(N)).astype(np.float64), "y": np.zeros(N), "z": np.zeros(N)}


def flops(N: int) -> float:
    return 2 * N * (N - 1) + 5 * (N - 1)


KERNEL = Kernel(
    "durbin",
    durbin,
    data_sets("N", MINI=(40,), SMALL=(120,), MEDIUM=(400,), LARGE=(2000,), EXTRALARGE=(4000,)),
    initialise,
    outputs=("y",),
    reorders=True,
    flops=flops,
)
