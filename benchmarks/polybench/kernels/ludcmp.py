"""A linear system solved: LU factorisation without pivoting, then L y = b and U x = y."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets
from benchmarks.polybench.kernels.matrices import positive_definite


def ludcmp(A: "f64[N, N]", b: "f64[N]", x: "f64[N]", y: "f64[N]") -> None:
    # A = L U in place, every element summed in a scalar
    for i in range(N):
        for j in range(i):
            w = A[i, j]
            for k in range(j):
                w -= A[i, k] * A[k, j]
            A[i, j] = w / A[j, j]
        for j in range(i, N):
            w = A[i, j]
            for k in range(i):
                w -= A[i, k] * A[k, j]
            A[i, j] = w
    # L y = b, downwards
    for i in range(N):
        w = b[i]
        for j in range(i):
            w -= A[i, j] * y[j]
        y[i] = w
    # U x = y, upwards
    for i in range(N - 1, -1, -1):
        w = y[i]
        for j in range(i + 1, N):
            w -= A[i, j] * x[j]
        x[i] = w / A[i, i]


def initialise(N: int) -> Data:
    return {
        "A": positive_definite(N),
        "b": (np.arange(N) + 1) / N / 2.0 + 4.0,
        "x": np.zeros(N),
        "y": np.zeros(N),
    }


def flops(N: int) -> float:
    return N * (N - 1) * (2 * N - 1) / 3 + N * (N - 1) / 2 + 2 * N * (N - 1) + N


KERNEL = Kernel(
    "ludcmp",
    ludcmp,
    data_sets("N", MINI=(40,), SMALL=(120,), MEDIUM=(400,), LARGE=(2000,), EXTRALARGE=(4000,)),
    initialise,
    outputs=("x",),
    reorders=True,
    flops=flops,
)
