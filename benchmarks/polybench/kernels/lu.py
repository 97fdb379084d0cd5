"""LU factorisation without pivoting, row by row; L (unit diagonal) and U replace A."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from benchmarks.polybench.kernel import Data, Kernel, data_sets
from benchmarks.polybench.kernels.matrices import positive_definite


def lu(A: "f64[N, N]") -> None:
    for i in range(N):
        # L_ij = (A_ij - sum_{k<j} L_ik U_kj) / U_jj
        for j in range(i):
            for k in range(j):
                A[i, j] -= A[i, k] * A[k, j]
            A[i, j] = A[i, j] / A[j, j]
        # U_ij = A_ij - sum_{k<i} L_ik U_kj
        for j in range(i, N):
            for k in range(i):
                A[i, j] -= A[i, k] * A[k, j]


def initialise(N: int) -> Data:
    return {"A": positive_definite(N)}


def flops(N: int) -> float:
    return N * (N - 1) * (2 * N - 1) / 3 + N * (N - 1) / 2


KERNEL = Kernel(
    "lu",
    lu,
    data_sets("N", MINI=(40,), SMALL=(120,), MEDIUM=(400,), LARGE=(2000,), EXTRALARGE=(4000,)),
    initialise,
    outputs=("A",),
    reorders=True,
    flops=flops,
)
