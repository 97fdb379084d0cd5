"""Automatic schedules of programs that they were not made for: what they compute is what Python computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from polydl import loops
from polydl.dsl import capture
from polydl.dsl.capture import ArrayParameter, SizeParameter
from polydl.ir.interpret import evaluate
from tests.unseen.programs import PROGRAMS

_SIZES: Final = (0, 1, 2, 5, 17, 40)
_LARGEST: Final = {
    "tensor4": 5,
    "conv2d": 5,
    "contract3": 17,
    "depthwise": 17,
}  # more would run for seconds in Python
_NEED_A_DIAGONAL: Final = {"backsolve", "upper_inv", "lu_unblocked_rect", "trsm_rhs"}


def _arguments(program: Callable[..., Any], size: int) -> dict[str, Any]:
    """Sizes near `size`, each another one, and arrays of that size; diagonals that are divided by are large."""
    generator = np.random.default_rng(size)
    captured = capture(program)
    sizes: dict[str, int] = {}
    for p in captured.parameters:
        if isinstance(p, SizeParameter):
            sizes[p.name] = size + (3 * len(sizes) if size > 2 else 0)
    env = {n: np.int64(v) for n, v in sizes.items()}
    extents = sizes | {name: int(evaluate(e, env, _no_element)) for name, e in captured.computed}
    arrays: dict[str, Any] = {}
    for p in captured.parameters:
        if isinstance(p, ArrayParameter):
            shape = [extents[e] if isinstance(e, str) else e for e in p.shape]
            values: Any = generator.random(shape) if p.dtype.is_float else generator.integers(-9, 9, shape)
            if program.__name__ in _NEED_A_DIAGONAL and len(shape) == 2:
                values = values + np.eye(*shape) * (max(shape) + 2)
            arrays[p.name] = values.astype(p.dtype.numpy)
    return {**sizes, **arrays}


def _no_element(buffer: str, index: tuple[Any, ...]) -> Any:
    raise AssertionError(f"an extent reads {buffer}")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_the_automatic_schedule_computes_what_python_does(program: Callable[..., Any], threads: int) -> None:
    compiled = loops(threads=threads, optimize=True)(program)
    for size in _SIZES:
        if size <= _LARGEST.get(program.__name__, size):
            expected, found = _arguments(program, size), _arguments(program, size)
            program(**expected)
            compiled(**found)
            for name, value in expected.items():
                if isinstance(value, np.ndarray):
                    tolerance = 1e-4 if value.dtype == np.float32 else 1e-9
                    np.testing.assert_allclose(
                        found[name], value, tolerance, tolerance, err_msg=f"{name} at {size}"
                    )
