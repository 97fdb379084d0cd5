"""C := alpha A B^T + alpha B A^T + beta C on the lower triangle."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def syr2k(alpha: "f64", beta: "f64", C: "f64[N, N]", A: "f64[N, M]", B: "f64[N, M]") -> None:
    for i in range(N):
        for j in range(i + 1):
            C[i, j] *= beta
        for k in range(M):
            for j in range(i + 1):
                C[i, j] += A[j, k] * alpha * B[i, k] + B[j, k] * alpha * A[i, k]


def initialise(M: int, N: int) -> Data:
    i, k = np.arange(N), np.arange(M)
    return {
        "alpha": 1.5,
        "beta": 1.2,
        "C": (i[:, None] * i + 3) % N / M,
        "A": (i[:, None] * k + 1) % N / N,
        "B": (i[:, None] * k + 2) % M / M,
    }


def flops(M: int, N: int) -> float:
    return 2 * N * (N + 1) * M + N * (N + 1) / 2 + 2 * N * M


KERNEL = Kernel(
    "syr2k",
    syr2k,
    data_sets(
        "M N", MINI=(20, 30), SMALL=(60, 80), MEDIUM=(200, 240), LARGE=(1000, 1200), EXTRALARGE=(2000, 2600)
    ),
    initialise,
    outputs=("C",),
    reorders=True,
    flops=flops,
)
