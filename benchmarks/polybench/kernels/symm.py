"""C := alpha A B + beta C with A symmetric, of which only the lower triangle is stored."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def symm(alpha: "f64", beta: "f64", C: "f64[M, N]", A: "f64[M, M]", B: "f64[M, N]") -> None:
    for i in range(M):
        for j in range(N):
            temp2 = 0.0
            for k in range(i):
                # row i of A serves as column i too: above the diagonal …
                C[k, j] += alpha * B[i, j] * A[i, k]
                # … and below it
                temp2 += B[k, j] * A[i, k]
            C[i, j] = beta * C[i, j] + alpha * B[i, j] * A[i, i] + alpha * temp2


def initialise(M: int, N: int) -> Data:
    i, j, k = np.arange(M)[:, None], np.arange(N), np.arange(M)
    return {
        "alpha": 1.5,
        "beta": 1.2,
        "C": (i + j) % 100 / M,
        "A": np.where(k <= i, (i + k) % 100 / M, -999.0),  # the part above the diagonal must not be used
        "B": (N + i - j) % 100 / M,
    }


def flops(M: int, N: int) -> float:
    return 2 * M * (M - 1) * N + 6 * M * N


KERNEL = Kernel(
    "symm",
    symm,
    data_sets(
        "M N", MINI=(20, 30), SMALL=(60, 80), MEDIUM=(200, 240), LARGE=(1000, 1200), EXTRALARGE=(2000, 2600)
    ),
    initialise,
    outputs=("C",),
    reorders=True,
    flops=flops,
)
