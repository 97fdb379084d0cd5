"""The matrix that the triangular solvers share."""

from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Array

__all__ = ["positive_definite"]


def positive_definite(N: int) -> Array:
    """L L^T, where L is lower triangular with L_ij = 1 - j/N below a diagonal of ones."""
    lower = np.tril(np.broadcast_to(1.0 - np.arange(N) / N, (N, N)), -1) + np.eye(N)
    return np.asarray(lower @ lower.T)
