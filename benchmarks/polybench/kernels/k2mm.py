"""2mm: D := alpha A B C + beta D, two matrix products through a temporary."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def k2mm(
    alpha: "f64",
    beta: "f64",
    tmp: "f64[NI, NJ]",
    A: "f64[NI, NK]",
    B: "f64[NK, NJ]",
    C: "f64[NJ, NL]",
    D: "f64[NI, NL]",
) -> None:
    # tmp = alpha A B
    for i in range(NI):
        for j in range(NJ):
            tmp[i, j] = 0.0
            for k in range(NK):
                tmp[i, j] += alpha * A[i, k] * B[k, j]
    # D := tmp C + beta D
    for i in range(NI):
        for j in range(NL):
            D[i, j] *= beta
            for k in range(NJ):
                D[i, j] += tmp[i, k] * C[k, j]


def initialise(NI: int, NJ: int, NK: int, NL: int) -> Data:
    i, j, k, l = np.arange(NI), np.arange(NJ), np.arange(NK), np.arange(NL)  # noqa: E741
    return {
        "alpha": 1.5,
        "beta": 1.2,
        "tmp": np.zeros((NI, NJ)),
        "A": (i[:, None] * k + 1) % NI / NI,
        "B": k[:, None] * (j + 1) % NJ / NJ,
        "C": (j[:, None] * (l + 3) + 1) % NL / NL,
        "D": i[:, None] * (l + 2) % NK / NK,
    }


def flops(NI: int, NJ: int, NK: int, NL: int) -> float:
    return 2 * NI * NJ * NK + 2 * NI * NJ * NL + NI * NK + NI * NL


KERNEL = Kernel(
    "2mm",
    k2mm,
    data_sets(
        "NI NJ NK NL",
        MINI=(16, 18, 22, 24),
        SMALL=(40, 50, 70, 80),
        MEDIUM=(180, 190, 210, 220),
        LARGE=(800, 900, 1100, 1200),
        EXTRALARGE=(1600, 1800, 2200, 2400),
    ),
    initialise,
    outputs=("D",),
    reorders=True,
    flops=flops,
)
