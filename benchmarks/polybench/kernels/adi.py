"""Heat conduction in two dimensions by alternating directions: a tridiagonal solve per column, then per row."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def adi(TSTEPS: "size", u: "f64[N, N]", v: "f64[N, N]", p: "f64[N, N]", q: "f64[N, N]") -> None:
    DX = 1.0 / N
    DY = 1.0 / N
    DT = 1.0 / TSTEPS
    B1 = 2.0
    B2 = 1.0
    mul1 = B1 * DT / (DX * DX)
    mul2 = B2 * DT / (DY * DY)
    a = -mul1 / 2.0
    b = 1.0 + mul1
    c = a
    d = -mul2 / 2.0
    e = 1.0 + mul2
    f = d
    for t in range(1, TSTEPS + 1):
        # columns, implicit in the first dimension: u -> v
        for i in range(1, N - 1):
            v[0, i] = 1.0
            p[i, 0] = 0.0
            q[i, 0] = v[0, i]
            for j in range(1, N - 1):
                p[i, j] = -c / (a * p[i, j - 1] + b)
                q[i, j] = (
                    -d * u[j, i - 1] + (1.0 + 2.0 * d) * u[j, i] - f * u[j, i + 1] - a * q[i, j - 1]
                ) / (a * p[i, j - 1] + b)
            v[N - 1, i] = 1.0
            for j in range(N - 2, 0, -1):
                v[j, i] = p[i, j] * v[j + 1, i] + q[i, j]
        # rows, implicit in the second dimension: v -> u
        for i in range(1, N - 1):
            u[i, 0] = 1.0
            p[i, 0] = 0.0
            q[i, 0] = u[i, 0]
            for j in range(1, N - 1):
                p[i, j] = -f / (d * p[i, j - 1] + e)
                q[i, j] = (
                    -a * v[i - 1, j] + (1.0 + 2.0 * a) * v[i, j] - c * v[i + 1, j] - d * q[i, j - 1]
                ) / (d * p[i, j - 1] + e)
            u[i, N - 1] = 1.0
            for j in range(N - 2, 0, -1):
                u[i, j] = p[i, j] * u[i, j + 1] + q[i, j]


def initialise(TSTEPS: int, N: int) -> Data:
    i, j = np.ogrid[:N, :N]
    return {"u": (i + N - j) / N, "v": np.zeros((N, N)), "p": np.zeros((N, N)), "q": np.zeros((N, N))}


def flops(TSTEPS: int, N: int) -> float:
    return TSTEPS * 2 * 13 * (N - 2) ** 2  # a sweep: p 1, q 8, their denominator 2, the way back 2


KERNEL = Kernel(
    "adi",
    adi,
    data_sets(
        "TSTEPS N",
        MINI=(20, 20),
        SMALL=(40, 60),
        MEDIUM=(100, 200),
        LARGE=(500, 1000),
        EXTRALARGE=(1000, 2000),
    ),
    initialise,
    outputs=("u",),
    reorders=False,
    flops=flops,
)
