"""Loops that compilers have stumbled over."""

# ruff: noqa: B007, F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations


def triangle(x: "f64[N, N]", y: "f64[N, N]") -> None:
    for i in range(N):
        for j in range(i + 1):
            y[i, j] = x[i, j] * 2.0 + 1.0


def upper_triangle(x: "f64[N, N]", y: "f64[N, N]") -> None:
    for i in range(N):
        for j in range(i, N):
            y[i, j] = x[j, i] - y[i, j]


def triangular_sums(x: "f64[N, N]", y: "f64[N]") -> None:
    for i in range(N):
        for j in range(i):
            y[i] += x[i, j]


def from_three(x: "f64[N]", y: "f64[N]") -> None:
    for i in range(3, N):
        y[i] = x[i - 3] + x[i]


def from_three_to_twenty(x: "f64[24]", y: "f64[24]") -> None:
    for i in range(3, 20):
        y[i] = x[i - 3] + x[i]


def below_zero(x: "f64[40]", y: "f64[40]") -> None:
    for i in range(-7, 18):
        y[i + 10] = x[i + 7] * 2.0


def three_bounds(x: "f64[N, M]", y: "f64[N, M]") -> None:
    """A band along the diagonal, cut off by a third bound at both ends."""
    for i in range(N):
        for j in range(max(0, i - 2, 3 - i), min(M, i + 4, N)):
            y[i, j] = x[i, j] + 1.0


def inside_only(T: "size", a: "f64[N]") -> None:
    """No point at all where N is less than 3."""
    for t in range(T):
        for i in range(1, N - 1):
            a[i] = a[i - 1] + a[i + 1] - a[i]


def upside_down(x: "f64[9]", y: "f64[9]") -> None:
    """The first loop has no iterations, whatever the sizes."""
    for i in range(5, 3):
        y[i] = x[i]
    for i in range(9):
        y[i] = y[i] + x[i]


def around_zero(S: "size", x: "f64[N]", y: "f64[N]") -> None:
    """Coordinates from below zero, by a size."""
    assert 2 * S + 3 <= N
    for i in range(-S, S + 3):
        y[i + S] = x[i + S] * 2.0 + 1.0


def floors(x: "f64[30]", y: "f64[30]") -> None:
    """Divisions of negative numbers."""
    for i in range(-14, 14):
        y[i + 14] = x[(i - 1) // 3 + 5] + x[i % 4 + 2]


def seidel(T: "size", a: "f64[N, M]") -> None:
    for t in range(T):
        for i in range(1, N - 1):
            for j in range(1, M - 1):
                a[i, j] = a[i - 1, j] + a[i, j - 1] - a[i, j + 1] + a[i + 1, j] - a[i, j]


def upper_right(a: "f64[N, M]") -> None:
    for i in range(1, N):
        for j in range(M - 1):
            a[i, j] = a[i - 1, j + 1] - a[i, j]


def every_fourth(a: "f64[N]") -> None:
    for i in range(4, N):
        a[i] = a[i - 4] + a[i]


def one_of_several(x: "f64[N, 8]", y: "f64[N, 8]", s: "f64[N]") -> None:
    for i in range(N):
        s[i] = 0.0
        for j in range(8):
            y[i, j] = x[i, j] * 2.0
        for k in range(8):
            s[i] += y[i, k]


def counting_down(a: "f64[N]", b: "f64[N]") -> None:
    for i in range(N - 1, -1, -1):
        a[i] = a[i] + b[i]
        b[i] = a[i] - 1.0


def by_threes(a: "f64[N]") -> None:
    for i in range(1, N, 3):
        a[i] = a[i] * 2.0


def named_like_code(for_: "f64[4]", int_: "f64[4]", c0: "f64[4]") -> None:
    for restrict in range(4):
        for double in range(4):
            c0[restrict] += for_[double] * int_[restrict]


def alone(x: "f64[1]", y: "f64[1]") -> None:
    y[0] = x[0] * 3.0


def diagonal_band(x: "f64[N, N]", y: "f64[N, N]") -> None:
    """Two loops of which the inner is a single point for most of the outer."""
    for i in range(N):
        for j in range(max(0, i - 1), min(i + 1, 3)):
            y[i, j] = x[i, j] + y[i, j]
