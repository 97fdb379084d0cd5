"""The thirty kernels once more, from their mathematics and in whole-array numpy: data in, the outputs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.polybench.kernel import Data, Kernel

Array = npt.NDArray[np.floating[Any]]
Outputs = dict[str, Any]

__all__ = ["REFERENCES", "reference"]


def _2mm(alpha: float, beta: float, A: Array, B: Array, C: Array, D: Array, **_: Any) -> Outputs:
    return {"D": alpha * (A @ B) @ C + beta * D}


def _3mm(A: Array, B: Array, C: Array, D: Array, **_: Any) -> Outputs:
    return {"G": (A @ B) @ (C @ D)}


def _thomas(previous: Array, edge: Array, half: float, other: float) -> Array:
    """One implicit half step along axis 1, every row a tridiagonal system; `previous` explicit along axis 0."""
    n = previous.shape[0]
    inner = slice(1, n - 1)
    p, q = np.zeros((n - 2, n)), np.zeros((n - 2, n))
    q[:, 0] = 1.0
    right = -other * previous[:-2] + (1 + 2 * other) * previous[inner] - other * previous[2:]
    for j in range(1, n - 1):
        pivot = half * p[:, j - 1] + 1 - 2 * half
        p[:, j] = -half / pivot
        q[:, j] = (right[:, j] - half * q[:, j - 1]) / pivot
    solved = edge.copy()
    solved[inner, 0] = solved[inner, n - 1] = 1.0
    for j in range(n - 2, 0, -1):
        solved[inner, j] = p[:, j] * solved[inner, j + 1] + q[:, j]
    return solved


def _adi(TSTEPS: int, u: Array, v: Array, **_: Any) -> Outputs:
    n = u.shape[0]
    a = -(2.0 / TSTEPS * n * n) / 2
    d = -(1.0 / TSTEPS * n * n) / 2
    for _step in range(TSTEPS):
        v = _thomas(u.T, v.T, a, d).T
        u = _thomas(v, u, d, a)
    return {"u": u}


def _atax(A: Array, x: Array, **_: Any) -> Outputs:
    return {"y": A.T @ (A @ x)}


def _bicg(A: Array, p: Array, r: Array, **_: Any) -> Outputs:
    return {"s": A.T @ r, "q": A @ p}


def _cholesky(A: Array, **_: Any) -> Outputs:
    return {"A": np.linalg.cholesky(A) + np.triu(A, 1)}


def _correlation(data: Array, **_: Any) -> Outputs:
    deviation = data.std(axis=0)
    deviation[deviation <= 0.1] = 1.0
    scores = (data - data.mean(axis=0)) / deviation
    corr = scores.T @ scores / data.shape[0]
    np.fill_diagonal(corr, 1.0)
    return {"corr": corr}


def _covariance(data: Array, **_: Any) -> Outputs:
    return {"cov": np.cov(data, rowvar=False)}


def _recursive(image: Array, x0: float, x1: float, x2: float, alpha: float) -> Array:
    """y_i = x0 a_i + x1 a_(i-1) + x2 a_(i-2) + b1 y_(i-1) + b2 y_(i-2) along axis 0."""
    y = np.zeros((image.shape[0] + 2, image.shape[1]))
    a = np.vstack([np.zeros((2, image.shape[1])), image])
    for i in range(2, len(y)):
        y[i] = x0 * a[i] + x1 * a[i - 1] + x2 * a[i - 2]
        y[i] += 2.0**-alpha * y[i - 1] - np.exp(-2 * alpha) * y[i - 2]
    return y[2:]


def _deriche(alpha: float, imgIn: Array, **_: Any) -> Outputs:
    decay = np.exp(-alpha)
    gain = (1 - decay) ** 2 / (1 + 2 * alpha * decay - np.exp(2 * alpha))

    def smooth(image: Array) -> Array:
        causal = _recursive(image, gain, gain * decay * (alpha - 1), 0.0, alpha)
        anticausal = _recursive(image[::-1], 0.0, gain * decay * (alpha + 1), -gain * decay**2, alpha)
        return causal + anticausal[::-1]

    return {"imgOut": smooth(smooth(imgIn.T).T)}


def _doitgen(A: Array, C4: Array, **_: Any) -> Outputs:
    return {"A": np.einsum("rqs,sp->rqp", A, C4)}


def _durbin(r: Array, **_: Any) -> Outputs:
    n = len(r)
    row = np.concatenate([[1.0], r[:-1]])
    toeplitz = row[np.abs(np.arange(n)[:, None] - np.arange(n))]
    return {"y": np.linalg.solve(toeplitz, -r)}


def _fdtd_2d(ex: Array, ey: Array, hz: Array, fict: Array, **_: Any) -> Outputs:
    ex, ey, hz = ex.copy(), ey.copy(), hz.copy()
    for source in fict:
        ey[0] = source
        ey[1:] -= 0.5 * np.diff(hz, axis=0)
        ex[:, 1:] -= 0.5 * np.diff(hz, axis=1)
        hz[:-1, :-1] -= 0.7 * (np.diff(ex, axis=1)[:-1] + np.diff(ey, axis=0)[:, :-1])
    return {"ex": ex, "ey": ey, "hz": hz}


def _floyd_warshall(path: Array, **_: Any) -> Outputs:
    for k in range(len(path)):
        path = np.minimum(path, path[:, k, None] + path[k])
    return {"path": path}


def _gemm(alpha: float, beta: float, C: Array, A: Array, B: Array, **_: Any) -> Outputs:
    return {"C": alpha * A @ B + beta * C}


def _gemver(alpha: float, beta: float, A: Array, x: Array, y: Array, z: Array, **other: Any) -> Outputs:
    A = A + np.outer(other["u1"], other["v1"]) + np.outer(other["u2"], other["v2"])
    return {"w": other["w"] + alpha * A @ (x + beta * A.T @ y + z)}


def _gesummv(alpha: float, beta: float, A: Array, B: Array, x: Array, **_: Any) -> Outputs:
    return {"y": (alpha * A + beta * B) @ x}


def _gramschmidt(A: Array, **_: Any) -> Outputs:
    A = A.copy()
    n = A.shape[1]
    Q, R = np.zeros_like(A), np.zeros((n, n))
    for k in range(n):
        R[k, k] = np.linalg.norm(A[:, k])
        if R[k, k] < 1e-8:  # a dependent column: what follows is not defined
            break
        Q[:, k] = A[:, k] / R[k, k]
        R[k, k + 1 :] = Q[:, k] @ A[:, k + 1 :]
        A[:, k + 1 :] -= np.outer(Q[:, k], R[k, k + 1 :])
    return {"Q": Q, "R": R}


def _heat_3d(TSTEPS: int, A: Array, **_: Any) -> Outputs:
    A = A.copy()
    inner = (slice(1, -1),) * 3
    for _step in range(2 * TSTEPS):
        change = np.zeros_like(A[inner])
        for axis in range(3):
            window = tuple(slice(None) if dim == axis else slice(1, -1) for dim in range(3))
            change += np.diff(A[window], n=2, axis=axis)
        A[inner] += change / 8
    return {"A": A}


def _jacobi_1d(TSTEPS: int, A: Array, B: Array, **_: Any) -> Outputs:
    A, B = A.copy(), B.copy()
    for _step in range(TSTEPS):
        B[1:-1] = 0.33333 * (A[:-2] + A[1:-1] + A[2:])
        A[1:-1] = 0.33333 * (B[:-2] + B[1:-1] + B[2:])
    return {"A": A}


def _jacobi_2d(TSTEPS: int, A: Array, B: Array, **_: Any) -> Outputs:
    A, B = A.copy(), B.copy()
    for _step in range(TSTEPS):
        for old, new in ((A, B), (B, A)):
            new[1:-1, 1:-1] = (
                old[1:-1, 1:-1] + old[1:-1, :-2] + old[1:-1, 2:] + old[2:, 1:-1] + old[:-2, 1:-1]
            ) / 5
    return {"A": A}


def _lu(A: Array, **_: Any) -> Outputs:
    A = A.copy()
    for k in range(len(A)):
        A[k + 1 :, k] /= A[k, k]
        A[k + 1 :, k + 1 :] -= np.outer(A[k + 1 :, k], A[k, k + 1 :])
    return {"A": A}


def _ludcmp(A: Array, b: Array, **_: Any) -> Outputs:
    return {"x": np.linalg.solve(A, b)}


def _mvt(x1: Array, x2: Array, y_1: Array, y_2: Array, A: Array, **_: Any) -> Outputs:
    return {"x1": x1 + A @ y_1, "x2": x2 + A.T @ y_2}


def _nussinov(seq: Array, **_: Any) -> Outputs:
    n = len(seq)
    table = np.zeros((n + 1, n))  # a row below, for intervals that end before they begin
    for width in range(1, n):
        for i in range(n - width):
            j = i + width
            best = (
                table[i, i:j] + table[i + 1 : j + 1, j]
            ).max()  # cuts; the first and last leave a base alone
            pair = 1.0 if width > 1 and seq[i] + seq[j] == 3 else 0.0
            table[i, j] = max(best, table[i + 1, j - 1] + pair)
    return {"table": np.triu(table[:n])}


def _seidel_2d(TSTEPS: int, A: Array, **_: Any) -> Outputs:
    A = A.copy()
    n = len(A) - 2
    # a row is the recurrence 9 x_j = x_(j-1) + known_j: one bidiagonal system, the same for all rows
    solve = np.linalg.inv(9 * np.eye(n) - np.eye(n, k=-1))
    for _step in range(TSTEPS):
        for i in range(1, n + 1):
            known = A[i, 1:-1] + A[i, 2:]
            for row in (A[i - 1], A[i + 1]):
                known = known + row[:-2] + row[1:-1] + row[2:]
            known[0] += A[i, 0]
            A[i, 1:-1] = solve @ known
    return {"A": A}


def _symm(alpha: float, beta: float, C: Array, A: Array, B: Array, **_: Any) -> Outputs:
    return {"C": alpha * (np.tril(A) + np.tril(A, -1).T) @ B + beta * C}


def _lower(updated: Array, C: Array) -> Outputs:
    return {"C": np.tril(updated) + np.triu(C, 1)}


def _syr2k(alpha: float, beta: float, C: Array, A: Array, B: Array, **_: Any) -> Outputs:
    return _lower(alpha * (A @ B.T + B @ A.T) + beta * C, C)


def _syrk(alpha: float, beta: float, C: Array, A: Array, **_: Any) -> Outputs:
    return _lower(alpha * A @ A.T + beta * C, C)


def _trisolv(L: Array, b: Array, **_: Any) -> Outputs:
    return {"x": np.linalg.solve(L, b)}


def _trmm(alpha: float, A: Array, B: Array, **_: Any) -> Outputs:
    return {"B": alpha * (np.tril(A, -1).T + np.eye(len(A))) @ B}


REFERENCES: Final[dict[str, Callable[..., Outputs]]] = {
    "2mm": _2mm,
    "3mm": _3mm,
    "adi": _adi,
    "atax": _atax,
    "bicg": _bicg,
    "cholesky": _cholesky,
    "correlation": _correlation,
    "covariance": _covariance,
    "deriche": _deriche,
    "doitgen": _doitgen,
    "durbin": _durbin,
    "fdtd-2d": _fdtd_2d,
    "floyd-warshall": _floyd_warshall,
    "gemm": _gemm,
    "gemver": _gemver,
    "gesummv": _gesummv,
    "gramschmidt": _gramschmidt,
    "heat-3d": _heat_3d,
    "jacobi-1d": _jacobi_1d,
    "jacobi-2d": _jacobi_2d,
    "lu": _lu,
    "ludcmp": _ludcmp,
    "mvt": _mvt,
    "nussinov": _nussinov,
    "seidel-2d": _seidel_2d,
    "symm": _symm,
    "syr2k": _syr2k,
    "syrk": _syrk,
    "trisolv": _trisolv,
    "trmm": _trmm,
}


def reference(kernel: Kernel, size: str) -> Data:
    """The kernel's parameters at `size` as the reference leaves them."""
    given = kernel.data(size)
    return {**given, **REFERENCES[kernel.name](**{**kernel.at(size), **given})}
