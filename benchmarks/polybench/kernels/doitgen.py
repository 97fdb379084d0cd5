"""Multiresolution analysis: A_rq := A_rq C4 for every pair (r, q), through one row of scratch."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def doitgen(A: "f64[NR, NQ, NP]", C4: "f64[NP, NP]", total: "f64[NP]") -> None:
    for r in range(NR):
        for q in range(NQ):
            for p in range(NP):
                total[p] = 0.0
                for s in range(NP):
                    total[p] += A[r, q, s] * C4[s, p]
            for p in range(NP):
                A[r, q, p] = total[p]


def initialise(NQ: int, NR: int, NP: int) -> Data:
    i, j, k = np.ogrid[:NR, :NQ, :NP]
    p = np.arange(NP)
    return {"A": (i * j + k) % NP / NP, "C4": p[:, None] * p % NP / NP, "total": np.zeros(NP)}


def flops(NQ: int, NR: int, NP: int) -> float:
    return 2 * NQ * NR * NP * NP


KERNEL = Kernel(
    "doitgen",
    doitgen,
    data_sets(
        "NQ NR NP",
        MINI=(8, 10, 12),
        SMALL=(20, 25, 30),
        MEDIUM=(40, 50, 60),
        LARGE=(140, 150, 160),
        EXTRALARGE=(220, 250, 270),
    ),
    initialise,
    outputs=("A",),
    reorders=True,
    flops=flops,
)
