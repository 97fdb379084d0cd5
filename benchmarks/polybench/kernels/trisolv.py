"""L x = b solved downwards, L lower triangular."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def trisolv(L: "f64[N, N]", x: "f64[N]", b: "f64[N]") -> None:
    for i in range(N):
        x[i] = b[i]
        for j in range(i):
            x[i] -= L[i, j] * x[j]
        x[i] = x[i] / L[i, i]


def initialise(N: int) -> Data:
    i, j = np.ogrid[:N, :N]
    return {
        "L": np.tril((i + N - j + 1) * 2.0 / N),
        "x": np.full(N, -999.0),
        "b": np.arange(N, dtype=np.float64),
    }


def flops(N: int) -> float:
    return N * (N - 1) + N


KERNEL = Kernel(
    "trisolv",
    trisolv,
    data_sets("N", MINI=(40,), SMALL=(120,), MEDIUM=(400,), LARGE=(2000,), EXTRALARGE=(4000,)),
    initialise,
    outputs=("x",),
    reorders=True,
    flops=flops,
)
