"""Three-point relaxation of a line, between two copies of it."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def jacobi_1d(TSTEPS: "size", A: "f64[N]", B: "f64[N]") -> None:
    for t in range(TSTEPS):
        for i in range(1, N - 1):
            B[i] = 0.33333 * (A[i - 1] + A[i] + A[i + 1])
        for i in range(1, N - 1):
            A[i] = 0.33333 * (B[i - 1] + B[i] + B[i + 1])


def initialise(TSTEPS: int, N: int) -> Data:
    i = np.arange(N)
    return {"A": (i + 2) / N, "B": (i + 3) / N}


def flops(TSTEPS: int, N: int) -> float:
    return TSTEPS * 2 * 3 * (N - 2)


KERNEL = Kernel(
    "jacobi-1d",
    jacobi_1d,
    data_sets(
        "TSTEPS N",
        MINI=(20, 30),
        SMALL=(40, 120),
        MEDIUM=(100, 400),
        LARGE=(500, 2000),
        EXTRALARGE=(1000, 4000),
    ),
    initialise,
    outputs=("A",),
    reorders=False,
    flops=flops,
)
