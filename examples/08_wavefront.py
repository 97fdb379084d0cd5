"""Time skewing: several steps of a stencil while a tile is in the cache, tiles of a diagonal on different threads.

python examples/08_wavefront.py
"""

# ruff: noqa: B007, F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import time

import numpy as np

import polydl
from polydl import poly
from polydl.scheduler import Parallel, Reorder, Schedule, Skew, Tile

STEPS, N = 60, 1200


@polydl.loops
def seidel(T: "size", A: "f64[N, M]") -> None:
    for t in range(T):
        for i in range(1, N - 1):
            for j in range(1, M - 1):
                A[i, j] = (A[i - 1, j] + A[i, j - 1] + A[i, j] + A[i, j + 1] + A[i + 1, j]) / 5.0


plain = seidel.schedule()
print(poly.render(plain.tree))

# Every loop carries a dependence: none may run in parallel, and tiles would cut through what they need.
for loop in ("t", "i", "j"):
    print(plain.ask(Parallel(loop)))
print(plain.ask(Tile(("t", "i", "j"), (8, 32, 32))), end="\n\n")

# The judge knows what would repair it; or let it be applied at once.
skewed = plain.repaired(Tile(("t", "i", "j"), (8, 32, 64)))
print("repaired by", *skewed.trace, sep="\n  ")

# Tiles of one diagonal t.o + i.o are independent of each other.
wavefront = skewed.apply(Skew("t.o", "i.o", 1), Reorder(("i.o", "t.o")), Parallel("t.o"))
print(poly.render(wavefront.tree))
print(wavefront.proof(), end="\n\n")

start = np.random.default_rng(0).standard_normal((N, N))


def seconds(schedule: Schedule) -> tuple[float, np.ndarray]:
    program = seidel.scheduled(schedule)
    program(1, start.copy())  # compiles
    array = start.copy()
    begin = time.perf_counter()
    program(STEPS, array)
    return time.perf_counter() - begin, array


slow, wanted = seconds(plain)
fast, got = seconds(wavefront)
if not np.array_equal(got, wanted):  # the same operations on the same values: not a bit may differ
    raise SystemExit("wrong result")
print(f"as written {slow:.3f} s, wavefront {fast:.3f} s: {slow / fast:.1f} times as fast, every bit the same")
