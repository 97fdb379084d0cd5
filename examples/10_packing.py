"""Data layout: the same loops over packed copies, and constants that are stored as the loops read them.

python examples/10_packing.py
"""

from __future__ import annotations

from timeit import repeat

import numpy as np

from polydl import poly
from polydl.compiler import compile_function
from polydl.dsl import FunctionBuilder, Layout, sum_over
from polydl.errors import PolydlError
from polydl.scheduler import Pack, Reorder, Schedule, SetLayout, Tile, Unroll, Vectorize

M, N, K = 256, 512, 1024

f = FunctionBuilder("matmul")
A, B = f.input("A", (M, K)), f.input("B", (N, K))  # B is transposed: neighbours along j are a whole row apart
C = f.compute("C", "i j", lambda i, j: sum_over("k", lambda k: A[i, k] * B[j, k]))
plain = Schedule.of(f.build([C]))

# Tiles of 8 x 32 results: lanes along j. Every vector of B is gathered from 32 rows.
tiles = plain.apply(
    Tile(("C.i", "C.j", "k"), (8, 32, 256)),
    Reorder(("C.j.o", "k.o", "C.i.o", "k.i", "C.i.i", "C.j.i")),
    Unroll("C.i.i"),
    Vectorize("C.j.i"),
)
print(poly.render(tiles.tree))

# The panel of B that a tile of j and k needs is copied once, j last, and used for all rows of A. The copy is a
# computation like any other: it has an order, dependences, and loops of its own.
order = Layout.parse(f"j, k -> j // 32, k, j % 32 in {N // 32}, {K}, 32")
packed = tiles.apply(Pack("B", "k.o", "C", layout=order))
print(poly.render(packed.tree))

# Two elements in one place, or a panel that is overwritten while in use: refused.
for step in (SetLayout("B", Layout.parse(f"j, k -> j // 2, k in {N // 2}, {K}")), Pack("C", "k.o", "C")):
    try:
        tiles.apply(step)
        raise SystemExit("the judge let it pass")
    except PolydlError as refusal:
        print(refusal.what)

# Or the caller stores B like that once and for all: weights of a network are packed when it is built.
stored = tiles.apply(SetLayout("B", order))
layout = stored.function.tensor("B")
print(f"\nB[j, k] is stored at {layout.storage}\n")

generator = np.random.default_rng(0)
a, b = generator.standard_normal((M, K), np.float32), generator.standard_normal((N, K), np.float32)


def milliseconds(name: str, schedule: Schedule, *arrays: np.ndarray) -> float:
    module = compile_function(schedule, threads=1)
    if np.abs(module(*arrays) - a @ b.T).max() > 1e-2:
        raise SystemExit(f"wrong result: {name}")
    best = min(repeat(lambda: module(*arrays), number=1, repeat=3)) * 1e3
    print(f"{name:<28} {best:7.1f} ms")
    return best


slow = milliseconds("as written", plain, a, b)
milliseconds("tiles", tiles, a, b)
milliseconds("tiles of packed panels", packed, a, b)
print(
    f"{slow / milliseconds('tiles of stored panels', stored, a, layout.pack(b)):.0f} times as fast as written"
)
