"""The two products of a biconjugate gradient step: s := A^T r, q := A p."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def bicg(A: "f64[N, M]", s: "f64[M]", q: "f64[N]", p: "f64[M]", r: "f64[N]") -> None:
    for i in range(M):
        s[i] = 0.0
    for i in range(N):
        q[i] = 0.0
        for j in range(M):
            s[j] = s[j] + r[i] * A[i, j]
            q[i] = q[i] + A[i, j] * p[j]


def initialise(M: int, N: int) -> Data:
    i, j = np.arange(N), np.arange(M)
    return {
        "A": i[:, None] * (j + 1) % N / N,
        "s": np.zeros(M),
        "q": np.zeros(N),
        "p": j % M / M,
        "r": i % N / N,
    }


def flops(M: int, N: int) -> float:
    return 4 * M * N


KERNEL = Kernel(
    "bicg",
    bicg,
    data_sets(
        "M N", MINI=(38, 42), SMALL=(116, 124), MEDIUM=(390, 410), LARGE=(1900, 2100), EXTRALARGE=(1800, 2200)
    ),
    initialise,
    outputs=("s", "q"),
    reorders=True,
    flops=flops,
)
