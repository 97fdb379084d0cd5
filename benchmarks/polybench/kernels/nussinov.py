"""Secondary structure of RNA: the largest number of paired bases in every interval, by dynamic programming."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def nussinov(seq: "f64[N]", table: "f64[N, N]") -> None:
    for i in range(N - 1, -1, -1):
        for j in range(i + 1, N):
            # leave base j, or base i, unpaired
            if j - 1 >= 0:
                table[i, j] = max(table[i, j], table[i, j - 1])
            if i + 1 < N:
                table[i, j] = max(table[i, j], table[i + 1, j])
            # pair i with j where the bases match (their codes add up to 3), but never neighbours
            if j - 1 >= 0 and i + 1 < N:
                if i < j - 1:
                    table[i, j] = max(
                        table[i, j], table[i + 1, j - 1] + (1.0 if seq[i] + seq[j] == 3.0 else 0.0)
                    )
                else:
                    table[i, j] = max(table[i, j], table[i + 1, j - 1])
            # or cut the interval in two
            for k in range(i + 1, j):
                table[i, j] = max(table[i, j], table[i, k] + table[k + 1, j])


def initialise(N: int) -> Data:
    return {"seq": ((np.arange(N) + 1) % 4).astype(np.float64), "table": np.zeros((N, N))}


def flops(N: int) -> float:
    return N * (N - 1) * (N - 2) / 3 + 4 * N * (N - 1) / 2


KERNEL = Kernel(
    "nussinov",
    nussinov,
    data_sets("N", MINI=(60,), SMALL=(180,), MEDIUM=(500,), LARGE=(2500,), EXTRALARGE=(5500,)),
    initialise,
    outputs=("table",),
    reorders=False,
    flops=flops,
)
