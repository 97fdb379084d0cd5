"""C := alpha A B + beta C."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def gemm(alpha: "f64", beta: "f64", C: "f64[NI, NJ]", A: "f64[NI, NK]", B: "f64[NK, NJ]") -> None:
    for i in range(NI):
        for j in range(NJ):
            C[i, j] *= beta
        for k in range(NK):
            for j in range(NJ):
                C[i, j] += alpha * A[i, k] * B[k, j]


def initialise(NI: int, NJ: int, NK: int) -> Data:
    i, j, k = np.arange(NI), np.arange(NJ), np.arange(NK)
    return {
        "alpha": 1.5,
        "beta": 1.2,
        "C": (i[:, None] * j + 1) % NI / NI,
        "A": i[:, None] * (k + 1) % NK / NK,
        "B": k[:, None] * (j + 2) % NJ / NJ,
    }


def flops(NI: int, NJ: int, NK: int) -> float:
    return 2 * NI * NJ * NK + NI * NJ + NI * NK


KERNEL = Kernel(
    "gemm",
    gemm,
    data_sets(
        "NI NJ NK",
        MINI=(20, 25, 30),
        SMALL=(60, 70, 80),
        MEDIUM=(200, 220, 240),
        LARGE=(1000, 1100, 1200),
        EXTRALARGE=(2000, 2300, 2600),
    ),
    initialise,
    outputs=("C",),
    reorders=True,
    flops=flops,
)
