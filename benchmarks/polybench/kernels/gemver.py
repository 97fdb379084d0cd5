"""Two rank-one updates of a matrix, then two products with it."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def gemver(
    alpha: "f64",
    beta: "f64",
    A: "f64[N, N]",
    u1: "f64[N]",
    v1: "f64[N]",
    u2: "f64[N]",
    v2: "f64[N]",
    w: "f64[N]",
    x: "f64[N]",
    y: "f64[N]",
    z: "f64[N]",
) -> None:
    # A := A + u1 v1^T + u2 v2^T
    for i in range(N):
        for j in range(N):
            A[i, j] = A[i, j] + u1[i] * v1[j] + u2[i] * v2[j]
    # x := x + beta A^T y + z
    for i in range(N):
        for j in range(N):
            x[i] = x[i] + beta * A[j, i] * y[j]
    for i in range(N):
        x[i] = x[i] + z[i]
    # w := w + alpha A x
    for i in range(N):
        for j in range(N):
            w[i] = w[i] + alpha * A[i, j] * x[j]


def initialise(N: int) -> Data:
    i = np.arange(N)
    return {
        "alpha": 1.5,
        "beta": 1.2,
        "A": i[:, None] * i % N / N,
        "u1": i.astype(np.float64),
        "v1": (i + 1) / N / 4.0,
        "u2": (i + 1) / N / 2.0,
        "v2": (i + 1) / N / 6.0,
        "w": np.zeros(N),
        "x": np.zeros(N),
        "y": (i + 1) / N / 8.0,
        "z": (i + 1) / N / 9.0,
    }


def flops(N: int) -> float:
    return 8 * N * N + 3 * N  # updates 4, products 2 each; scaling y by beta, adding z, scaling x by alpha


KERNEL = Kernel(
    "gemver",
    gemver,
    data_sets("N", MINI=(40,), SMALL=(120,), MEDIUM=(400,), LARGE=(2000,), EXTRALARGE=(4000,)),
    initialise,
    outputs=("w",),
    reorders=True,
    flops=flops,
)
