"""Cholesky factorisation A = L L^T, row by row, L in the lower triangle of A."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from math import sqrt

from benchmarks.polybench.kernel import Data, Kernel, data_sets
from benchmarks.polybench.kernels.matrices import positive_definite


def cholesky(A: "f64[N, N]") -> None:
    for i in range(N):
        # L_ij = (A_ij - sum_{k<j} L_ik L_jk) / L_jj
        for j in range(i):
            for k in range(j):
                A[i, j] -= A[i, k] * A[j, k]
            A[i, j] = A[i, j] / A[j, j]
        # L_ii = sqrt(A_ii - sum_{k<i} L_ik^2)
        for k in range(i):
            A[i, i] -= A[i, k] * A[i, k]
        A[i, i] = sqrt(A[i, i])


def initialise(N: int) -> Data:
    return {"A": positive_definite(N)}


def flops(N: int) -> float:
    return N * (N - 1) * (N - 2) / 3 + N * (N - 1) * 3 / 2 + N  # products; divisions and squares; roots


KERNEL = Kernel(
    "cholesky",
    cholesky,
    data_sets("N", MINI=(40,), SMALL=(120,), MEDIUM=(400,), LARGE=(2000,), EXTRALARGE=(4000,)),
    initialise,
    outputs=("A",),
    reorders=True,
    flops=flops,
)
