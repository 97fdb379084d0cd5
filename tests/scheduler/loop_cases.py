"""Small programs with an original order of their own: plain loops with temporaries that iterations share."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from dataclasses import replace

from polydl.dsl import TensorRole, capture
from polydl.scheduler import Schedule
from tests.scheduler.programs import Case

__all__ = ["carried", "product", "weighted"]


def weighted(*, symbolic: bool = False, twice: bool = False) -> Case:
    """Rows divided among one scalar temporary, as plain loops; perhaps columns after them."""
    python = _weighted_twice if twice else _weighted_symbolic if symbolic else _weighted
    function = capture(python).function
    results = tuple(
        replace(t, role=TensorRole.OUTPUT) if t.role is TensorRole.INOUT else t for t in function.tensors
    )
    return Case(replace(function, tensors=results), {"N": 4, "M": 5} if symbolic else {})


def product(*, triangle: bool = False, terms: bool = False) -> Case:
    """A matrix product (or the lower triangle of one with itself, or the difference of two) as plain loops of symbolic
    extents."""
    function = capture(_triangle if triangle else _terms if terms else _product).function
    results = tuple(
        replace(t, role=TensorRole.OUTPUT) if t.role is TensorRole.INOUT else t for t in function.tensors
    )
    return Case(
        replace(function, tensors=results), {"N": 5, "K": 6} if triangle else {"N": 5, "M": 7, "K": 6}
    )


def carried() -> Schedule:
    """A scalar that the next row needs, and one that is written once for all."""
    return Schedule.of(capture(_carried).function)


def _carried(x: "f32[4, 5]", y: "f32[4, 5]") -> None:
    u = x[0, 0]
    t = x[0, 1]
    for i in range(4):
        for j in range(5):
            y[i, j] = t + u
        t = x[i, 4]


def _product(a: "f32", x: "f32[N, K]", w: "f32[K, M]", y: "f32[N, M]") -> None:
    for i in range(N):
        for j in range(M):
            y[i, j] = 0.0
            for k in range(K):
                y[i, j] += a * x[i, k] * w[k, j]


def _triangle(a: "f32", x: "f32[N, K]", y: "f32[N, N]") -> None:
    for i in range(N):
        for j in range(N):
            y[i, j] = 0.0
        for j in range(i + 1):
            for k in range(K):
                y[i, j] += a * x[i, k] * x[j, k]


def _terms(x: "f32[N, K]", w: "f32[K, M]", y: "f32[N, M]") -> None:
    for i in range(N):
        for j in range(M):
            y[i, j] = 0.0
            for k in range(K):
                y[i, j] += x[i, k] - w[k, j] + x[i, 0] * w[k, j]


def _weighted(x: "f32[4, 5]", y: "f32[4, 5]") -> None:
    for i in range(4):
        t = x[i, 0]
        for j in range(1, 5):
            t += x[i, j] * x[i, j]
        for j in range(5):
            y[i, j] = t - x[i, j]


def _weighted_symbolic(x: "f32[N, M]", y: "f32[N, M]") -> None:
    for i in range(N):
        t = 1.0
        for j in range(M):
            t += x[i, j] * x[i, j]
        for j in range(M):
            y[i, j] = t - x[i, j]


def _weighted_twice(x: "f32[4, 5]", y: "f32[4, 5]", z: "f32[5]") -> None:
    for i in range(4):
        t = x[i, 0]
        for j in range(5):
            y[i, j] = t - x[i, j]
    for j in range(5):
        t = x[0, j]
        z[j] = t * t
