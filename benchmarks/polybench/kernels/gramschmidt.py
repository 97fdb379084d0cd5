"""QR factorisation A = Q R by the modified Gram-Schmidt process."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from math import sqrt

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def gramschmidt(A: "f64[M, N]", R: "f64[N, N]", Q: "f64[M, N]") -> None:
    for k in range(N):
        # q_k = a_k / |a_k|
        nrm = 0.0
        for i in range(M):
            nrm += A[i, k] * A[i, k]
        R[k, k] = sqrt(nrm)
        for i in range(M):
            Q[i, k] = A[i, k] / R[k, k]
        # take the part along q_k out of every later column
        for j in range(k + 1, N):
            R[k, j] = 0.0
            for i in range(M):
                R[k, j] += Q[i, k] * A[i, j]
            for i in range(M):
                A[i, j] = A[i, j] - Q[i, k] * R[k, j]


def initialise(M: int, N: int) -> Data:
    i, j = np.ogrid[:M, :N]
    return {"A": i * j % M / M * 100.0 + 10.0, "R": np.zeros((N, N)), "Q": np.zeros((M, N))}


def flops(M: int, N: int) -> float:
    return 2 * M * N * (N - 1) + 3 * M * N + N


def defined(before: Data, after: Data) -> tuple[Data, float]:
    """The part of Q and R that the mathematics decides, and the residual of the factorisation.

    The published matrix has rank below N. From its first dependent column on, |a_k| is rounding noise (or exactly 0,
    which gives NaN), and so are q_k and all that follows from it. The columns of Q and the rows of R before it must
    agree; the residual |A - Q R| / |A| is that of the columns of A before it.
    """
    a, q, r = (np.asarray(x) for x in (before["A"], after["Q"], after["R"]))
    scale = np.linalg.norm(a)
    dependent = ~(np.abs(np.diag(r)) >= 1e-8 * scale)
    known = int(dependent.argmax()) if dependent.any() else r.shape[0]
    residual = float(np.linalg.norm(a[:, :known] - q[:, :known] @ np.triu(r[:known, :known])) / scale)
    return {"Q": q[:, :known], "R": np.triu(r)[:known]}, residual


KERNEL = Kernel(
    "gramschmidt",
    gramschmidt,
    data_sets(
        "M N", MINI=(20, 30), SMALL=(60, 80), MEDIUM=(200, 240), LARGE=(1000, 1200), EXTRALARGE=(2000, 2600)
    ),
    initialise,
    outputs=("Q", "R"),
    reorders=True,
    flops=flops,
    defined=defined,
)
