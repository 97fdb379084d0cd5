"""y := alpha A x + beta B x."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def gesummv(
    alpha: "f64",
    beta: "f64",
    A: "f64[N, N]",
    B: "f64[N, N]",
    tmp: "f64[N]",
    x: "f64[N]",
    y: "f64[N]",
) -> None:
    for i in range(N):
        tmp[i] = 0.0
        y[i] = 0.0
        for j in range(N):
            tmp[i] = A[i, j] * x[j] + tmp[i]
            y[i] = B[i, j] * x[j] + y[i]
        y[i] = alpha * tmp[i] + beta * y[i]


def initialise(N: int) -> Data:
    i = np.arange(N)
    return {
        "alpha": 1.5,
        "beta": 1.2,
        "A": (i[:, None] * i + 1) % N / N,
        "B": (i[:, None] * i + 2) % N / N,
        "tmp": np.zeros(N),
        "x": i % N / N,
        "y": np.zeros(N),
    }


def flops(N: int) -> float:
    return 4 * N * N + 3 * N


KERNEL = Kernel(
    "gesummv",
    gesummv,
    data_sets("N", MINI=(30,), SMALL=(90,), MEDIUM=(250,), LARGE=(1300,), EXTRALARGE=(2800,)),
    initialise,
    outputs=("y",),
    reorders=True,
    flops=flops,
)
