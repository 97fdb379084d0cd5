"""3mm: G := (A B) (C D), three matrix products."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def k3mm(
    E: "f64[NI, NJ]",
    A: "f64[NI, NK]",
    B: "f64[NK, NJ]",
    F: "f64[NJ, NL]",
    C: "f64[NJ, NM]",
    D: "f64[NM, NL]",
    G: "f64[NI, NL]",
) -> None:
    # E = A B
    for i in range(NI):
        for j in range(NJ):
            E[i, j] = 0.0
            for k in range(NK):
                E[i, j] += A[i, k] * B[k, j]
    # F = C D
    for i in range(NJ):
        for j in range(NL):
            F[i, j] = 0.0
            for k in range(NM):
                F[i, j] += C[i, k] * D[k, j]
    # G = E F
    for i in range(NI):
        for j in range(NL):
            G[i, j] = 0.0
            for k in range(NJ):
                G[i, j] += E[i, k] * F[k, j]


def initialise(NI: int, NJ: int, NK: int, NL: int, NM: int) -> Data:
    i, j, k, l, m = (np.arange(n) for n in (NI, NJ, NK, NL, NM))  # noqa: E741
    return {
        "E": np.zeros((NI, NJ)),
        "A": (i[:, None] * k + 1) % NI / (5 * NI),
        "B": (k[:, None] * (j + 1) + 2) % NJ / (5 * NJ),
        "F": np.zeros((NJ, NL)),
        "C": j[:, None] * (m + 3) % NL / (5 * NL),
        "D": (m[:, None] * (l + 2) + 2) % NK / (5 * NK),
        "G": np.zeros((NI, NL)),
    }


def flops(NI: int, NJ: int, NK: int, NL: int, NM: int) -> float:
    return 2 * NI * NJ * NK + 2 * NJ * NL * NM + 2 * NI * NL * NJ


KERNEL = Kernel(
    "3mm",
    k3mm,
    data_sets(
        "NI NJ NK NL NM",
        MINI=(16, 18, 20, 22, 24),
        SMALL=(40, 50, 60, 70, 80),
        MEDIUM=(180, 190, 200, 210, 220),
        LARGE=(800, 900, 1000, 1100, 1200),
        EXTRALARGE=(1600, 1800, 2000, 2200, 2400),
    ),
    initialise,
    outputs=("G",),
    reorders=True,
    flops=flops,
)
