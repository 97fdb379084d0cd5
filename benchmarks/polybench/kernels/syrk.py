"""C := alpha A A^T + beta C on the lower triangle."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def syrk(alpha: "f64", beta: "f64", C: "f64[N, N]", A: "f64[N, M]") -> None:
    for i in range(N):
        for j in range(i + 1):
            C[i, j] *= beta
        for k in range(M):
            for j in range(i + 1):
                C[i, j] += alpha * A[i, k] * A[j, k]


def initialise(M: int, N: int) -> Data:
    i, k = np.arange(N), np.arange(M)
    return {
        "alpha": 1.5,
        "beta": 1.2,
        "C": (i[:, None] * i + 2) % M / M,
        "A": (i[:, None] * k + 1) % N / N,
    }


def flops(M: int, N: int) -> float:
    return N * (N + 1) * M + N * (N + 1) / 2 + N * M


KERNEL = Kernel(
    "syrk",
    syrk,
    data_sets(
        "M N", MINI=(20, 30), SMALL=(60, 80), MEDIUM=(200, 240), LARGE=(1000, 1200), EXTRALARGE=(2000, 2600)
    ),
    initialise,
    outputs=("C",),
    reorders=True,
    flops=flops,
)
