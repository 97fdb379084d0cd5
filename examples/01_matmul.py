"""A matrix product, from three loops to the machine's speed: what is computed never changes, only the order does.

python examples/01_matmul.py
"""

from __future__ import annotations

from collections.abc import Callable
from timeit import repeat

import numpy as np

from polydl import poly
from polydl.compiler import compile_function
from polydl.dsl import Function, FunctionBuilder, sum_over
from polydl.scheduler import (
    Accumulate,
    ComputeAt,
    Local,
    Parallel,
    Reorder,
    Schedule,
    Tile,
    Unroll,
    Vectorize,
)
from polydl.vocabulary import Memory

M, N, K = 480, 480, 480

f = FunctionBuilder("matmul")
A, B = f.input("A", (M, K)), f.input("B", (K, N))
C = f.compute("C", {"i": M, "j": N}, lambda i, j: sum_over({"k": K}, lambda k: A[i, k] * B[k, j]))
function = f.build(outputs=[C])

generator = np.random.default_rng(0)
a, b = (generator.standard_normal(shape).astype(np.float32) for shape in ((M, K), (K, N)))
wanted = a @ b


def rate(product: Callable[..., object]) -> float:
    """GFLOP/s of the best of three runs."""
    return 2 * M * N * K / min(repeat(lambda: product(a, b), number=1, repeat=3)) * 1e-9


def measure(name: str, what: Schedule | Function) -> None:
    module = compile_function(what)
    error = np.abs(module(a, b) - wanted).max()
    speed = rate(module)
    print(
        f"{name:<28} {speed:6.1f} GFLOP/s, {speed / numpys:5.2f} of numpy's; largest difference {error:.0e}"
    )
    if error > 1e-3:
        raise SystemExit("wrong result")


numpys = rate(np.matmul)

plain = Schedule.of(function)
measure("as written", plain)  # set C to 0, then three loops

# Tiles of 12 x 32 results: 32 along j are lanes, 12 rows are spelled out, blocks of rows go to threads.
tiles = Tile(("C.i", "C.j"), (12, 32))
order = Reorder(("C.i.o", "C.j.o", "k", "C.i.i", "C.j.i"))
measure("tiles of vectors", plain.apply(tiles, order, Unroll("C.i.i"), Vectorize("C.j.i"), Parallel("C.i.o")))

# The same, with the sums of a tile in registers: reduce into a temporary, computed where its tile is stored.
tile = "C.j.o"
sums = plain.apply(
    Accumulate("C"), tiles, ComputeAt("C_acc", tile, "C"), Local("C_acc", (tile,), Memory.REGISTER)
)
sums = sums.apply(Reorder(("C_acc.k", "C_acc.i", "C_acc.j")), Parallel("C.i.o"))
sums = sums.apply(*(Unroll(loop) for loop in ("C.i.i", "C_acc_init.i", "C_acc.i")))
sums = sums.apply(*(Vectorize(loop) for loop in ("C.j.i", "C_acc_init.j", "C_acc.j")))
measure("sums in registers", sums)
print(poly.render(sums.tree))

# Or let the recipe choose.
measure("the recipe's schedule", function)
