"""Lengths of the shortest paths between all pairs of nodes."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def floyd_warshall(path: "f64[N, N]") -> None:
    # after step k, path_ij is the shortest way from i to j through nodes 0 … k
    for k in range(N):
        for i in range(N):
            for j in range(N):
                path[i, j] = min(path[i, j], path[i, k] + path[k, j])


def initialise(N: int) -> Data:
    i, j = np.ogrid[:N, :N]
    far = ((i + j) % 13 == 0) | ((i + j) % 7 == 0) | ((i + j) % 11 == 0)
    return {"path": np.where(far, 999.0, i * j % 7 + 1.0)}


def flops(N: int) -> float:
    return 2 * N**3


KERNEL = Kernel(
    "floyd-warshall",
    floyd_warshall,
    data_sets("N", MINI=(60,), SMALL=(180,), MEDIUM=(500,), LARGE=(2800,), EXTRALARGE=(5600,)),
    initialise,
    outputs=("path",),
    reorders=False,
    flops=flops,
)
