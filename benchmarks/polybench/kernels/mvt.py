"""x1 := x1 + A y1 and x2 := x2 + A^T y2."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def mvt(x1: "f64[N]", x2: "f64[N]", y_1: "f64[N]", y_2: "f64[N]", A: "f64[N, N]") -> None:
    for i in range(N):
        for j in range(N):
            x1[i] = x1[i] + A[i, j] * y_1[j]
    for i in range(N):
        for j in range(N):
            x2[i] = x2[i] + A[j, i] * y_2[j]


def initialise(N: int) -> Data:
    i = np.arange(N)
    return {
        "x1": i % N / N,
        "x2": (i + 1) % N / N,
        "y_1": (i + 3) % N / N,
        "y_2": (i + 4) % N / N,
        "A": i[:, None] * i % N / N,
    }


def flops(N: int) -> float:
    return 4 * N * N


KERNEL = Kernel(
    "mvt",
    mvt,
    data_sets("N", MINI=(40,), SMALL=(120,), MEDIUM=(400,), LARGE=(2000,), EXTRALARGE=(4000,)),
    initialise,
    outputs=("x1", "x2"),
    reorders=True,
    flops=flops,
)
