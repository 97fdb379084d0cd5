"""Programs written as plain Python loops: each is captured, compiled, interpreted, and run by Python itself.

`PROGRAMS` says for each how its arguments are made from sizes. Extents in brackets are free names in the bodies;
`bound` gives them values, after which a function is ordinary Python.
"""

# ruff: noqa: F722, F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import math
import types
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

Make = Callable[..., dict[str, Any]]

SCALE = 0.5  # a number that programs take from around them
COUNTING = True


@dataclass(frozen=True)
class Program:
    """`sizes` are drawn from `least` to `most`; `make(rng, **sizes)` gives the arguments."""

    function: Callable[..., None]
    make: Make
    sizes: str
    least: int = 0
    most: int = 6


def bound(function: Callable[..., None], sizes: dict[str, int]) -> Callable[..., None]:
    """`function` as Python runs it, with the free extents of its body."""
    assert isinstance(function, types.FunctionType)
    return types.FunctionType(function.__code__, {**function.__globals__, **sizes}, function.__name__)


def gemm(alpha: "f64", beta: "f64", C: "f64[N, M]", A: "f64[N, K]", B: "f64[K, M]") -> None:
    for i in range(N):
        for j in range(M):
            C[i, j] *= beta
        for k in range(K):
            for j in range(M):
                C[i, j] += alpha * A[i, k] * B[k, j]


def syrk(C: "f64[N, N]", A: "f64[N, M]") -> None:
    """Lower triangle of C -= A A^T, written with nested subscripts and sizes asked of the arrays."""
    n, m = A.shape
    for i in range(n):
        for k in range(m):
            for j in range(i + 1):
                C[i][j] -= A[i][k] * A[j][k]


def jacobi_1d(T: "size", A: "f64[N]", B: "f64[N]") -> None:
    for _t in range(T):
        for i in range(1, N - 1):
            B[i] = 0.33333 * (A[i - 1] + A[i] + A[i + 1])
        for i in range(1, N - 1):
            A[i] = 0.33333 * (B[i - 1] + B[i] + B[i + 1])


def jacobi_2d(T: "size", A: "f64[N, M]", B: "f64[N, M]") -> None:
    for _t in range(T):
        for i in range(1, N - 1):
            for j in range(1, M - 1):
                B[i, j] = 0.2 * (A[i, j] + A[i, j - 1] + A[i, 1 + j] + A[1 + i, j] + A[i - 1, j])
        for i in range(1, N - 1):
            for j in range(1, M - 1):
                A[i, j] = 0.2 * (B[i, j] + B[i, j - 1] + B[i, 1 + j] + B[1 + i, j] + B[i - 1, j])


def seidel(T: "size", A: "f64[N, N]") -> None:
    for _t in range(T):
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                A[i, j] = (A[i - 1, j] + A[i, j - 1] + A[i, j] + A[i, j + 1] + A[i + 1, j]) / 5.0


def lu(A: "f64[N, N]") -> None:
    for i in range(N):
        for j in range(i):
            for k in range(j):
                A[i, j] -= A[i, k] * A[k, j]
            A[i, j] /= A[j, j]
        for j in range(i, N):
            for k in range(i):
                A[i, j] -= A[i, k] * A[k, j]


def cholesky(A: "f64[N, N]") -> None:
    for i in range(N):
        for j in range(i):
            for k in range(j):
                A[i, j] -= A[i, k] * A[j, k]
            A[i, j] /= A[j, j]
        for k in range(i):
            A[i, i] -= A[i, k] * A[i, k]
        A[i, i] = math.sqrt(A[i, i])


def trisolv(L: "f64[N, N]", x: "f64[N]", b: "f64[N]") -> None:
    for i in range(len(x)):
        x[i] = b[i]
        for j in range(i):
            x[i] -= L[i, j] * x[j]
        x[i] = x[i] / L[i, i]


def gramschmidt(A: "f64[M, N]", R: "f64[N, N]", Q: "f64[M, N]") -> None:
    assert M >= 1
    for k in range(N):
        nrm = 0.0
        for i in range(M):
            nrm += A[i, k] * A[i, k]
        R[k, k] = sqrt(nrm) + 1.0
        for i in range(M):
            Q[i, k] = A[i, k] / R[k, k]
        for j in range(k + 1, N):
            R[k, j] = 0.0
            for i in range(M):
                R[k, j] += Q[i, k] * A[i, j]
            for i in range(M):
                A[i, j] = A[i, j] - Q[i, k] * R[k, j]


def floyd_warshall(D: "f64[N, N]") -> None:
    for k in range(N):
        for i in range(N):
            for j in range(N):
                D[i, j] = min(D[i, j], D[i, k] + D[k, j])


def durbin(r: "f64[N]", y: "f64[N]", z: "f64[N]") -> None:
    assert N >= 1
    y[0] = -r[0]
    beta = 1.0
    alpha = -r[0]
    for k in range(1, N):
        beta = (1.0 - alpha * alpha) * beta
        total = 0.0
        for i in range(k - 1, -1, -1):
            total += r[k - i - 1] * y[i]
        alpha = -(r[k] + total) / (beta + 3.0)
        for i in range(k):
            z[i] = y[i] + alpha * y[k - i - 1]
        for i in range(k):
            y[i] = z[i]
        y[k] = alpha


def fdtd(T: "size", ex: "f64[N, M]", ey: "f64[N, M]", hz: "f64[N, M]", fict: "f64[T]") -> None:
    assert N >= 1
    for t in range(T):
        for j in range(M):
            ey[0, j] = fict[t]
        for i in range(1, N):
            for j in range(M):
                ey[i, j] = ey[i, j] - 0.5 * (hz[i, j] - hz[i - 1, j])
        for i in range(N):
            for j in range(1, M):
                ex[i, j] = ex[i, j] - 0.5 * (hz[i, j] - hz[i, j - 1])
        for i in range(N - 1):
            for j in range(M - 1):
                hz[i, j] = hz[i, j] - 0.7 * (ex[i, j + 1] - ex[i, j] + ey[i + 1, j] - ey[i, j])


def strides(A: "f64[N]", B: "f64[N]") -> None:
    """Steps of all kinds, each in the order in which Python runs them."""
    for i in range(1, N, 3):
        A[i] = A[i - 1] + 1.0
    for i in range(N - 1, 0, -2):
        A[i] = A[i - 1] * 2.0 + A[i]
    for i in range(N - 2, -1, -1):
        B[i] = B[i + 1] + A[i]
    for i in range(0, N, 2):
        for j in range(i, -1, -3):
            B[i] += A[j] * SCALE


def conditions(A: "f64[N, M]", count: "i64[N]") -> None:
    """Chained, negated and combined conditions, else and elif, and a choice that depends on data."""
    for i in range(N):
        for j in range(M):
            if 1 <= i < N - 1 and not (j == 0 or j == M - 1):
                A[i, j] = A[i - 1, j] + A[i, j - 1]
            elif (i + j) % 2 == 0:
                A[i, j] = -A[i, j]
            else:
                A[i, j] = 1.0 if A[i, j] < 0.5 and i != j else A[i, j] * 2.0
            if i >= j:
                count[i] += j


def ranges(A: "f64[N, M]") -> None:
    """Bounds that are the greatest and least of several expressions, both ways."""
    for i in range(N):
        for j in range(max(0, i - 2), min(M, i + 2)):
            A[i, j] += 1.0
        for j in range(min(M - 1, i + 1), max(-1, i - 3), -1):
            A[i, j] = A[i, j] * 2.0 + j


def functions(x: "f64[N]", y: "f64[N]") -> None:
    """Mathematical functions, powers, integers among floating-point values, and division of integers."""
    for i in range(N):
        t = abs(x[i]) + 1.0
        y[i] = math.exp(-t) + math.log(t) + t**2 + t**1.5 + math.pow(t, 0.5) + math.floor(x[i])
        y[i] = max(y[i], 0.25, x[i]) + min(t, 2) + np.sin(t) * np.cos(t) + i / N + (i * 3) % 2 + i // 2
        y[i] = y[i] + float(i) * x[-1] + np.fmod(t, 2.0)


def single(a: "f32", x: "f32[N]", y: "f32[N]", total: "f32[1]") -> None:
    """Numbers take the type of what they meet; a scalar has the type of its values."""
    s = 0.0
    for i in range(N):
        y[i] = a * x[i] + 0.25
        s += y[i]
    total[0] = s


def gather(table: "f64[M]", where: "i64[N]", out: "f64[N]") -> None:
    for i in range(N):
        out[i] = table[where[i]]


def flags(a: "bool[N]", b: "bool[N]", x: "f64[N]", count: "i64[N]") -> None:
    """Conditions as values, values as conditions, and conditions among numbers."""
    for i in range(N):
        a[i] = (a[i] and not b[i]) or x[i] > 1.0
        b[i] |= x[i] < 0.0 or math.isnan(x[i])
        count[i] += (x[i] > 0.0) + 2 * a[i]
        x[i] = x[i] if a[i] else np.where(b[i] != a[i], -x[i], x[i] * (i % 2 == 0))


def bits(a: "i64[N]", b: "i64[N]", fold: "i64[3]") -> None:
    """Bits of integers, also folded over an array."""
    for i in range(N):
        a[i] = (a[i] & 7) | (i << 3) ^ (b[i] >> 1)
        b[i] = ~b[i] + (1 << 4 | 3)
    for i in range(N):
        fold[0] &= a[i]
        fold[1] |= a[i]
        fold[2] ^= b[i]


def exchanges(A: "f64[N]", B: "f64[N]", F: "f64[N]") -> None:
    """Several places assigned at once, each value computed before any is stored."""
    for i in range(N // 2):
        A[i], A[N - 1 - i] = A[N - 1 - i], A[i]
    for i in range(N):
        A[i], B[i] = B[i], A[i] + i
    for i in range(1, N):
        B[i] = F[i] = F[i] * 0.5 + B[i - 1]
    x, y = 0.0, 1.0
    for i in range(N):
        x, y = y, x + y
        F[i] = x


def towards_zero(A: "f64[N, N]", total: "f64[1]") -> None:
    """Triangles walked from their ends, scalars carried through two loops, a scalar that is set on the way."""
    s = 0.0
    for i in range(N - 1, -1, -1):
        t = A[i, i]
        for j in range(N - 1, i, -2):
            A[i, j] = A[j, i] + t
            if not (i < j <= N - 2 or i == 0) and j % 3 != 1:
                s += t * A[i, j]
                t = t * 0.5
        s = s * 0.9
    for _ in range(1):
        total[0] = s


def rounding(x: "f64[N]", y: "f64[N]") -> None:
    for i in range(N):
        y[i] = round(x[i]) + np.rint(x[i] * 2.0) + math.trunc(x[i]) + np.sign(x[i]) + math.hypot(x[i], 2.0)
        y[i] += np.square(x[i]) + math.log2(abs(x[i]) + 1.0) + math.log10(abs(x[i]) + 2.0) + math.exp2(x[i])


def truths(x: "f64[N]", b: "bool[N]", k: "i64[N]") -> None:
    """Scalars that are True or False, added to numbers, chosen and combined; a condition from around."""
    seen = False
    for i in range(N):
        t = x[i] > 0.0
        u = not t or b[i]
        seen = seen or t
        if COUNTING:
            b[i] = t if i % 2 == 0 else u
        x[i] = (x[i] if t else -x[i]) + (i < 5) * (i > 2)
        k[i] = t + 1 - (i > 3) + abs(i > 5) + (+(i > 2)) + (i > 4) ** 2
        k[i] += seen


def choices(f: "f32[N]", k: "i32[N]", h: "f16[N]", b: "bool[N]", x: "f64[N]") -> None:
    """A choice between numbers has no type of its own either."""
    for i in range(N):
        f[i] = f[i] * (1.0 if i % 2 == 0 else -1.0) + (2 if i > 3 else 1.5)
        k[i] = (k[i] & 255) * (1 if f[i] > 0.0 else (2 if i < 7 else 3)) + (0 if b[i] else 1)
        half = 0.5
        f[i] = f[i] - half
        h[i] = (half if b[i] else 0.25 if i > 2 else 0.125) * h[i]
        b[i] = True if k[i] > 100 else False  # noqa: SIM210
        x[i] = (1.5 if i % 2 == 1 else 2.5) * k[i] + (1 if i > 3 else 2) / 2


def small_integers(u: "u8[N]", a: "i8[N]", s: "i8[1]", w: "u16[N]", most: "u16[2]") -> None:
    """Integers wrap, also where less is added than nothing."""
    for i in range(N):
        u[i] = u[i] - 1
        u[i] -= a[i] > 0
        s[0] += a[i] * a[i]
        w[i] = w[i] * 7 + (u[i] > 5)
        most[0] = max(most[0], w[i])
        most[1] = min(most[1], w[i])


def negative_divisors(Q: "i64[N, 5]", B: "f64[N]") -> None:
    for i in range(N):
        Q[i, 0] = (i - 7) // -3
        Q[i, 1] = (i - 7) % -3
        Q[i, 2] = (7 - 2 * i) // -5
        Q[i, 3] = Q[i, 4] % -4
        Q[i, 4] = N // -2 + (7 - 2 * i) % -5
        if i % -2 == 0 and i // -3 < -1:
            B[i] = B[-(i // -3) - 1] + 1.0


def without_axes(A: "f64[]", k: "i64[()]", x: "f64[(N + 1) * 2, 3]", y: "f32[N]") -> None:
    """Arrays of rank 0, extents with brackets, the last extent, and a scalar that is declared."""
    t: "f32"
    for i in range(x.shape[0]):
        for j in range(x.shape[-1]):
            A[()] += x[i, j]
            x[i, j] = A * 0.5
        k[()] = k[()] + 1
    for i in range(N):
        t = y[i]
        y[i] = t * 2.0


def _gemm(rng: np.random.Generator, N: int, M: int, K: int) -> dict[str, Any]:
    r = rng.standard_normal
    return {"alpha": 1.5, "beta": 0.5, "C": r((N, M)), "A": r((N, K)), "B": r((K, M))}


def _square(rng: np.random.Generator, N: int) -> Any:
    a = rng.standard_normal((N, N))
    return a @ a.T + N * np.eye(N)


PROGRAMS: dict[str, Program] = {
    p.function.__name__: p
    for p in (
        Program(gemm, _gemm, "N M K"),
        Program(
            syrk, lambda g, N, M: {"C": g.standard_normal((N, N)), "A": g.standard_normal((N, M))}, "N M"
        ),
        Program(
            jacobi_1d, lambda g, T, N: {"T": T, "A": g.standard_normal(N), "B": g.standard_normal(N)}, "T N"
        ),
        Program(
            jacobi_2d,
            lambda g, T, N, M: {"T": T, "A": g.standard_normal((N, M)), "B": g.standard_normal((N, M))},
            "T N M",
        ),
        Program(seidel, lambda g, T, N: {"T": T, "A": g.standard_normal((N, N))}, "T N"),
        Program(lu, lambda g, N: {"A": _square(g, N)}, "N"),
        Program(cholesky, lambda g, N: {"A": _square(g, N)}, "N"),
        Program(
            trisolv,
            lambda g, N: {"L": _square(g, N), "x": np.zeros(N), "b": g.standard_normal(N)},
            "N",
        ),
        Program(
            gramschmidt,
            lambda g, M, N: {"A": g.standard_normal((M, N)), "R": np.ones((N, N)), "Q": np.ones((M, N))},
            "M N",
            1,
        ),
        Program(floyd_warshall, lambda g, N: {"D": g.uniform(1, 9, (N, N))}, "N"),
        Program(
            durbin, lambda g, N: {"r": g.standard_normal(N), "y": np.zeros(N), "z": np.zeros(N)}, "N", 1, 9
        ),
        Program(
            fdtd,
            lambda g, T, N, M: {
                "T": T,
                **{n: g.standard_normal((N, M)) for n in ("ex", "ey", "hz")},
                "fict": g.standard_normal(T),
            },
            "T N M",
            1,
            4,
        ),
        Program(strides, lambda g, N: {"A": g.standard_normal(N), "B": g.standard_normal(N)}, "N", 0, 12),
        Program(
            conditions,
            lambda g, N, M: {"A": g.standard_normal((N, M)), "count": g.integers(0, 9, N)},
            "N M",
        ),
        Program(ranges, lambda g, N, M: {"A": g.standard_normal((N, M))}, "N M", 0, 8),
        Program(functions, lambda g, N: {"x": g.standard_normal(N), "y": np.zeros(N)}, "N"),
        Program(
            single,
            lambda g, N: {
                "a": np.float32(0.75),
                **{n: g.standard_normal(N).astype(np.float32) for n in "xy"},
                "total": np.zeros(1, np.float32),
            },
            "N",
        ),
        Program(
            flags,
            lambda g, N: {
                **{n: g.integers(0, 2, N).astype(bool) for n in "ab"},
                "x": g.standard_normal(N),
                "count": g.integers(0, 3, N),
            },
            "N",
        ),
        Program(
            bits,
            lambda g, N: {**{n: g.integers(-99, 99, N) for n in "ab"}, "fold": g.integers(-99, 99, 3)},
            "N",
        ),
        Program(exchanges, lambda g, N: {n: g.standard_normal(N) for n in "ABF"}, "N", 0, 9),
        Program(
            truths,
            lambda g, N: {
                "x": g.standard_normal(N),
                "b": g.integers(0, 2, N).astype(bool),
                "k": np.zeros(N, np.int64),
            },
            "N",
            0,
            9,
        ),
        Program(
            choices,
            lambda g, N: {
                "f": g.standard_normal(N).astype(np.float32),
                "k": g.integers(-999, 999, N).astype(np.int32),
                "h": np.ones(N, np.float16),
                "b": g.integers(0, 2, N).astype(bool),
                "x": np.zeros(N),
            },
            "N",
            0,
            9,
        ),
        Program(
            small_integers,
            lambda g, N: {
                "u": g.integers(0, 3, N).astype(np.uint8),
                "a": g.integers(-128, 127, N).astype(np.int8),
                "s": np.zeros(1, np.int8),
                "w": g.integers(0, 65535, N).astype(np.uint16),
                "most": np.full(2, 999, np.uint16),
            },
            "N",
        ),
        Program(
            negative_divisors,
            lambda g, N: {"Q": g.integers(-9, 9, (N, 5)), "B": g.standard_normal(N)},
            "N",
            0,
            12,
        ),
        Program(
            without_axes,
            lambda g, N: {
                "A": np.zeros(()),
                "k": np.zeros((), np.int64),
                "x": g.standard_normal((2 * N + 2, 3)),
                "y": g.standard_normal(N).astype(np.float32),
            },
            "N",
        ),
        Program(towards_zero, lambda g, N: {"A": g.standard_normal((N, N)), "total": np.zeros(1)}, "N"),
        Program(rounding, lambda g, N: {n: g.standard_normal(N) for n in "xy"}, "N"),
        Program(
            gather,
            lambda g, M, N: {"table": g.standard_normal(M), "where": g.integers(0, M, N), "out": np.zeros(N)},
            "M N",
            1,
        ),
    )
}
