"""y := A^T (A x)."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def atax(A: "f64[M, N]", x: "f64[N]", y: "f64[N]", tmp: "f64[M]") -> None:
    for i in range(N):
        y[i] = 0.0
    for i in range(M):
        # tmp_i = A_i . x, and at once its share of y, while row i is at hand
        tmp[i] = 0.0
        for j in range(N):
            tmp[i] = tmp[i] + A[i, j] * x[j]
        for j in range(N):
            y[j] = y[j] + A[i, j] * tmp[i]


def initialise(M: int, N: int) -> Data:
    i, j = np.ogrid[:M, :N]
    return {
        "A": (i + j) % N / (5 * M),
        "x": 1.0 + np.arange(N) / N,
        "y": np.zeros(N),
        "tmp": np.zeros(M),
    }


def flops(M: int, N: int) -> float:
    return 4 * M * N


KERNEL = Kernel(
    "atax",
    atax,
    data_sets(
        "M N", MINI=(38, 42), SMALL=(116, 124), MEDIUM=(390, 410), LARGE=(1900, 2100), EXTRALARGE=(1800, 2200)
    ),
    initialise,
    outputs=("y",),
    reorders=True,
    flops=flops,
)
