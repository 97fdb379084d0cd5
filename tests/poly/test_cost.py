"""Compile cost as isl operations, which are the same on every machine. Times are printed, never asserted."""

from __future__ import annotations

import time
from collections.abc import Callable

from polydl.poly import budget, check, dependences, generate, operations_spent
from tests.poly.programs import convolution, tiled_convolution


def cost(label: str, work: Callable[[], object]) -> int:
    begin = time.perf_counter()
    with budget(10_000_000):
        work()
        spent = operations_spent()
    print(f"{label}: {spent} isl operations, {1e3 * (time.perf_counter() - begin):.1f} ms")
    return spent


def test_a_tiled_convolution_is_cheap() -> None:
    # Sizes that no other test uses, so that no cache answers.
    program, tree = convolution(84, 48), tiled_convolution(24, 12, 8)
    assert cost("dependences", lambda: dependences(program)) < 25_000
    kept = dependences(program)
    assert cost("judge", lambda: check(program, tree, kept)) < 5_000
    assert cost("judge again", lambda: check(program, tree, kept)) < 10
    assert cost("judge, other tiles", lambda: check(program, tiled_convolution(12, 14, 16), kept)) < 10
    assert cost("loops", lambda: generate(program, tree)) < 80_000
