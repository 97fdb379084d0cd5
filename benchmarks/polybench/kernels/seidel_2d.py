"""Nine-point relaxation of a grid in place: every point reads neighbours of this step and of the one before."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def seidel_2d(TSTEPS: "size", A: "f64[N, N]") -> None:
    for t in range(TSTEPS):
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                A[i, j] = (
                    A[i - 1, j - 1]
                    + A[i - 1, j]
                    + A[i - 1, j + 1]
                    + A[i, j - 1]
                    + A[i, j]
                    + A[i, j + 1]
                    + A[i + 1, j - 1]
                    + A[i + 1, j]
                    + A[i + 1, j + 1]
                ) / 9.0


def initialise(TSTEPS: int, N: int) -> Data:
    i, j = np.ogrid[:N, :N]
    return {"A": (i * (j + 2.0) + 2.0) / N}


def flops(TSTEPS: int, N: int) -> float:
    return TSTEPS * 9 * (N - 2) ** 2


KERNEL = Kernel(
    "seidel-2d",
    seidel_2d,
    data_sets(
        "TSTEPS N",
        MINI=(20, 40),
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
