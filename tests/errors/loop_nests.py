"""Plain loops of many shapes, whose schedules are easily wrong: triangular, strided, in place, interleaved, reduced."""

# ruff: noqa: B007, F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from polydl.dsl import TensorRole, capture
from polydl.scheduler import Schedule

__all__ = ["loops"]


def loops(python: Callable[..., None], *, ordered: bool = False, private: str = "") -> Schedule:
    """The schedule of captured loops as written; the array `private` is a temporary that nobody sees afterwards."""
    function = capture(python).function
    tensors = tuple(
        replace(t, role=TensorRole.TEMPORARY) if t.name == private else t for t in function.tensors
    )
    return Schedule.of(replace(function, tensors=tensors), reassociate=not ordered)


# ---- triangular ---------------------------------------------------------------------


def substitution(L: "f64[N, N]", x: "f64[N]") -> None:
    for i in range(N):
        for j in range(i):
            x[i] -= L[i, j] * x[j]
        x[i] /= L[i, i]


def cholesky(A: "f64[N, N]") -> None:
    for i in range(N):
        for j in range(i):
            for k in range(j):
                A[i, j] -= A[i, k] * A[j, k]
            A[i, j] /= A[j, j]
        for k in range(i):
            A[i, i] -= A[i, k] * A[i, k]


def elimination(A: "f64[N, N]") -> None:
    for k in range(N):
        for i in range(k + 1, N):
            A[i, k] /= A[k, k]
            for j in range(k + 1, N):
                A[i, j] -= A[i, k] * A[k, j]


def suffixes(x: "f64[N]", y: "f64[N]") -> None:
    """From the end to the beginning, over a triangle."""
    for i in range(N - 1, -1, -1):
        for j in range(i + 1, N):
            y[i] = y[i] * x[j] + y[j]


# ---- strided ------------------------------------------------------------------------


def every_fourth(a: "f64[N]") -> None:
    for i in range(4, N):
        a[i] = a[i - 4] * 2.0


def every_sixth_of_two(a: "f64[N, M]") -> None:
    for i in range(6, N):
        for j in range(M):
            a[i, j] = a[i - 6, j] + 1.0


def doubled(a: "f64[40]") -> None:
    for i in range(20):
        a[2 * i] = a[i] + 1.0


def halved(a: "f64[40]") -> None:
    for i in range(20):
        a[i] = a[2 * i] + 1.0


def steps_of_three(a: "f64[N]") -> None:
    for i in range(0, N - 3, 3):
        a[i + 3] = a[i] * 0.5


def mirrored(a: "f64[N]") -> None:
    for i in range(N):
        a[i] = a[N - 1 - i] + 1.0


# ---- in place -----------------------------------------------------------------------


def smoothing(T: "size", a: "f64[N]") -> None:
    for t in range(T):
        for i in range(1, N - 1):
            a[i] = (a[i - 1] + a[i] + a[i + 1]) / 3.0


def seidel(T: "size", a: "f64[N, N]") -> None:
    for t in range(T):
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                a[i, j] = (a[i - 1, j] + a[i, j - 1] + a[i, j] + a[i, j + 1] + a[i + 1, j]) / 5.0


def two_arrays(T: "size", a: "f64[N]", b: "f64[N]") -> None:
    """Jacobi: there and back."""
    for t in range(T):
        for i in range(1, N - 1):
            b[i] = a[i - 1] + a[i] + a[i + 1]
        for i in range(1, N - 1):
            a[i] = b[i] / 3.0


def upper_right(a: "f64[N, M]") -> None:
    for i in range(1, N):
        for j in range(M - 1):
            a[i, j] = a[i - 1, j + 1] * 2.0


def knights(a: "f64[N, M]") -> None:
    """Each point needs one two rows up and three columns to the right."""
    for i in range(2, N):
        for j in range(M - 3):
            a[i, j] = a[i - 2, j + 3] + 1.0


def transposing(a: "f64[N, N]") -> None:
    for i in range(N):
        for j in range(N):
            a[i, j] = a[j, i] + 1.0


# ---- several statements -------------------------------------------------------------


def in_turns(a: "f64[N]", b: "f64[N]") -> None:
    """Two recurrences that need each other."""
    for i in range(1, N):
        a[i] = b[i - 1] + 1.0
        b[i] = a[i] * 2.0


def next_one(x: "f64[N]", a: "f64[N]", b: "f64[N]") -> None:
    """The second statement needs what the first has made one iteration before."""
    for i in range(1, N):
        a[i] = x[i] * 2.0
        b[i] = a[i - 1] + 1.0


def relay(x: "f64[N]", a: "f64[N]", b: "f64[N]", c: "f64[N]") -> None:
    """Three loops, each reading one to the right of what the one before has made."""
    for i in range(N):
        a[i] = x[i] + 1.0
    for i in range(N - 1):
        b[i] = a[i + 1] * 2.0
    for i in range(N - 2):
        c[i] = b[i + 1] - 3.0


def reversed_reader(x: "f64[24]", a: "f64[24]", b: "f64[24]") -> None:
    for i in range(24):
        a[i] = x[i] + 1.0
    for i in range(24):
        b[i] = a[23 - i]


def far_ahead(x: "f64[N]", a: "f64[N]", b: "f64[N]") -> None:
    """What is read lies N / 2 ahead: no delay by a number."""
    for i in range(N):
        a[i] = x[i] + 1.0
    for i in range(N // 2):
        b[i] = a[2 * i]


def columns(x: "f64[N, M]", a: "f64[N, M]", s: "f64[N]") -> None:
    assert M >= 1
    for i in range(N):
        for j in range(M):
            a[i, j] = x[i, j] * 2.0
        s[i] = a[i, M - 1]


def overwriting(a: "f64[N]", b: "f64[N]") -> None:
    """What is read here is overwritten there."""
    for i in range(1, N):
        b[i] = a[i - 1]
    for i in range(N):
        a[i] = 0.0


def window(x: "f64[N]", a: "f64[N]", b: "f64[N]") -> None:
    """Three neighbours are in use at a time."""
    for i in range(N):
        a[i] = x[i] + 1.0
    for i in range(N - 2):
        b[i] = a[i] + a[i + 2]


# ---- reductions ---------------------------------------------------------------------


def histogram(x: "f64[N, M]", h: "f64[M]") -> None:
    for i in range(N):
        for j in range(M):
            h[j] += x[i, j]


def diagonals(x: "f64[N, N]", d: "f64[D]") -> None:
    assert D >= 2 * N
    for i in range(N):
        for j in range(N):
            d[i + j] += x[i, j]


def total(x: "f64[N]", s: "f64[1]") -> None:
    for i in range(N):
        s[0] += x[i]


def running(x: "f64[N]", s: "f64[1]", y: "f64[N]") -> None:
    """A sum whose every stage is seen."""
    for i in range(N):
        s[0] += x[i]
        y[i] = s[0]


def greatest(x: "f64[N, M]", m: "f64[N]") -> None:
    for i in range(N):
        for j in range(M):
            m[i] = max(m[i], x[i, j])


def scaled(x: "f64[N, M]", s: "f64[N]", y: "f64[N, M]") -> None:
    """Row sums, and the rows divided by them."""
    for i in range(N):
        for j in range(M):
            s[i] += x[i, j]
        for j in range(M):
            y[i, j] = x[i, j] / s[i]


# ---- shared temporaries -------------------------------------------------------------


def buffered(x: "f64[N, M]", y: "f64[N, M]", row: "f64[M]") -> None:
    """One row of storage for all rows."""
    for i in range(N):
        for j in range(M):
            row[j] = x[i, j] * 2.0
        for j in range(M):
            y[i, j] = row[j] + row[M - 1 - j]


def scalar(x: "f64[N]", y: "f64[N]", t: "f64[1]") -> None:
    for i in range(N):
        t[0] = x[i] * 2.0
        y[i] = t[0] + 1.0
