"""B := alpha A^T B with A lower triangular of unit diagonal, in place."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def trmm(alpha: "f64", A: "f64[M, M]", B: "f64[M, N]") -> None:
    for i in range(M):
        for j in range(N):
            # row i needs only the rows below it, which are still untouched
            for k in range(i + 1, M):
                B[i, j] += A[k, i] * B[k, j]
            B[i, j] = alpha * B[i, j]


def initialise(M: int, N: int) -> Data:
    i, k = np.arange(M)[:, None], np.arange(M)
    return {
        "alpha": 1.5,
        "A": np.tril((i + k) % M / M, -1) + np.eye(M),
        "B": (N + (i - np.arange(N))) % N / N,
    }


def flops(M: int, N: int) -> float:
    return M * (M - 1) * N + M * N


KERNEL = Kernel(
    "trmm",
    trmm,
    data_sets(
        "M N", MINI=(20, 30), SMALL=(60, 80), MEDIUM=(200, 240), LARGE=(1000, 1200), EXTRALARGE=(2000, 2600)
    ),
    initialise,
    outputs=("B",),
    reorders=True,
    flops=flops,
)
