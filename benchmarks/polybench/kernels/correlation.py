"""Pearson correlation of the M columns of N observations."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from math import sqrt

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def correlation(
    float_n: "f64", data: "f64[N, M]", corr: "f64[M, M]", mean: "f64[M]", stddev: "f64[M]"
) -> None:
    assert M >= 1
    # mean_j = sum_i data_ij / n
    for j in range(M):
        mean[j] = 0.0
        for i in range(N):
            mean[j] += data[i, j]
        mean[j] = mean[j] / float_n
    # stddev_j = sqrt(sum_i (data_ij - mean_j)^2 / n), or 1 where a column is as good as constant
    for j in range(M):
        stddev[j] = 0.0
        for i in range(N):
            stddev[j] += (data[i, j] - mean[j]) * (data[i, j] - mean[j])
        stddev[j] = stddev[j] / float_n
        stddev[j] = sqrt(stddev[j])
        stddev[j] = 1.0 if stddev[j] <= 0.1 else stddev[j]
    # centre and normalise: data_ij := (data_ij - mean_j) / (sqrt(n) stddev_j)
    for i in range(N):
        for j in range(M):
            data[i, j] = data[i, j] - mean[j]
            data[i, j] = data[i, j] / (sqrt(float_n) * stddev[j])
    # corr = data^T data, of which the upper triangle is computed and mirrored
    for i in range(M - 1):
        corr[i, i] = 1.0
        for j in range(i + 1, M):
            corr[i, j] = 0.0
            for k in range(N):
                corr[i, j] += data[k, i] * data[k, j]
            corr[j, i] = corr[i, j]
    corr[M - 1, M - 1] = 1.0


def initialise(M: int, N: int) -> Data:
    i, j = np.ogrid[:N, :M]
    return {
        "float_n": float(N),
        "data": i * j / M + i,
        "corr": np.zeros((M, M)),
        "mean": np.zeros(M),
        "stddev": np.zeros(M),
    }


def flops(M: int, N: int) -> float:
    return N * M * (M - 1) + 6 * N * M  # the triangle; then the mean 1, the deviation 3, centring 2


KERNEL = Kernel(
    "correlation",
    correlation,
    data_sets(
        "M N", MINI=(28, 32), SMALL=(80, 100), MEDIUM=(240, 260), LARGE=(1200, 1400), EXTRALARGE=(2600, 3000)
    ),
    initialise,
    outputs=("corr",),
    reorders=True,
    flops=flops,
)
