"""Covariance of the M columns of N observations."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def covariance(float_n: "f64", data: "f64[N, M]", cov: "f64[M, M]", mean: "f64[M]") -> None:
    # mean_j = sum_i data_ij / n
    for j in range(M):
        mean[j] = 0.0
        for i in range(N):
            mean[j] += data[i, j]
        mean[j] = mean[j] / float_n
    # centre the columns
    for i in range(N):
        for j in range(M):
            data[i, j] -= mean[j]
    # cov = data^T data / (n - 1), of which the upper triangle is computed and mirrored
    for i in range(M):
        for j in range(i, M):
            cov[i, j] = 0.0
            for k in range(N):
                cov[i, j] += data[k, i] * data[k, j]
            cov[i, j] = cov[i, j] / (float_n - 1.0)
            cov[j, i] = cov[i, j]


def initialise(M: int, N: int) -> Data:
    i, j = np.ogrid[:N, :M]
    return {"float_n": float(N), "data": i * j / M, "cov": np.zeros((M, M)), "mean": np.zeros(M)}


def flops(M: int, N: int) -> float:
    return N * M * (M + 1) + 2 * N * M + M * (M + 1) / 2  # the triangle; mean and centring; the divisions


KERNEL = Kernel(
    "covariance",
    covariance,
    data_sets(
        "M N", MINI=(28, 32), SMALL=(80, 100), MEDIUM=(240, 260), LARGE=(1200, 1400), EXTRALARGE=(2600, 3000)
    ),
    initialise,
    outputs=("cov",),
    reorders=True,
    flops=flops,
)
