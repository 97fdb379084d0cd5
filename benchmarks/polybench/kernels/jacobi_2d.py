"""Five-point relaxation of a grid, between two copies of it."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def jacobi_2d(TSTEPS: "size", A: "f64[N, N]", B: "f64[N, N]") -> None:
    for t in range(TSTEPS):
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                B[i, j] = 0.2 * (A[i, j] + A[i, j - 1] + A[i, 1 + j] + A[1 + i, j] + A[i - 1, j])
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                A[i, j] = 0.2 * (B[i, j] + B[i, j - 1] + B[i, 1 + j] + B[1 + i, j] + B[i - 1, j])


def initialise(TSTEPS: int, N: int) -> Data:
    i, j = np.ogrid[:N, :N]
    return {"A": (i * (j + 2.0) + 2.0) / N, "B": (i * (j + 3.0) + 3.0) / N}


def flops(TSTEPS: int, N: int) -> float:
    return TSTEPS * 2 * 5 * (N - 2) ** 2


KERNEL = Kernel(
    "jacobi-2d",
    jacobi_2d,
    data_sets(
        "TSTEPS N",
        MINI=(20, 30),
        SMALL=(40, 90),
        MEDIUM=(100, 250),
        LARGE=(500, 1300),
        EXTRALARGE=(1000, 2800),
    ),
    initialise,
    outputs=("A",),
    reorders=False,
    flops=flops,
)
