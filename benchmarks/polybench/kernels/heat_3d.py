"""The heat equation in three dimensions, explicit in time, between two copies of the grid."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def heat_3d(TSTEPS: "size", A: "f64[N, N, N]", B: "f64[N, N, N]") -> None:
    for t in range(1, TSTEPS + 1):
        # a step from A to B: the second difference in every direction
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                for k in range(1, N - 1):
                    B[i, j, k] = (
                        0.125 * (A[i + 1, j, k] - 2.0 * A[i, j, k] + A[i - 1, j, k])
                        + 0.125 * (A[i, j + 1, k] - 2.0 * A[i, j, k] + A[i, j - 1, k])
                        + 0.125 * (A[i, j, k + 1] - 2.0 * A[i, j, k] + A[i, j, k - 1])
                        + A[i, j, k]
                    )
        # and one back
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                for k in range(1, N - 1):
                    A[i, j, k] = (
                        0.125 * (B[i + 1, j, k] - 2.0 * B[i, j, k] + B[i - 1, j, k])
                        + 0.125 * (B[i, j + 1, k] - 2.0 * B[i, j, k] + B[i, j - 1, k])
                        + 0.125 * (B[i, j, k + 1] - 2.0 * B[i, j, k] + B[i, j, k - 1])
                        + B[i, j, k]
                    )


def initialise(TSTEPS: int, N: int) -> Data:
    i, j, k = np.ogrid[:N, :N, :N]
    start = (i + j + (N - k)) * 10.0 / N
    return {"A": start, "B": start.copy()}


def flops(TSTEPS: int, N: int) -> float:
    return TSTEPS * 2 * 13 * (N - 2) ** 3  # 3 x (2 + 1) and 3 sums, and 2 A once


KERNEL = Kernel(
    "heat-3d",
    heat_3d,
    data_sets(
        "TSTEPS N", MINI=(20, 10), SMALL=(40, 20), MEDIUM=(100, 40), LARGE=(500, 120), EXTRALARGE=(1000, 200)
    ),
    initialise,
    outputs=("A",),
    reorders=False,
    flops=flops,
)
