"""A chain of convolutions in one pass: computing a little twice costs less than going to memory in between.

python examples/09_fused_convolutions.py
"""

from __future__ import annotations

from timeit import repeat

import numpy as np

from polydl import poly
from polydl.compiler import compile_function
from polydl.dsl import FunctionBuilder
from polydl.scheduler import ComputeAt, Parallel, Schedule, Split, Tile, Transform, Vectorize

H, W = 2050, 2050

f = FunctionBuilder("blur")
x = f.input("x", (H, W))
# Ranges are read off what is accessed: j stays two short of W, i two short of H.
across = f.compute("across", "i j", lambda i, j: (x[i, j] + x[i, j + 1] + x[i, j + 2]) * (1 / 3))
down = f.compute("down", "i j", lambda i, j: (across[i, j] + across[i + 1, j] + across[i + 2, j]) * (1 / 3))
plain = Schedule.of(f.build([down]))
print(poly.render(plain.tree))

# Tiles of the result; each first computes the 34 rows of `across` that its 32 rows need, in a buffer of its own.
tiled = plain.apply(Tile(("down.i", "down.j"), (32, 256)))
fused = tiled.apply(ComputeAt("across", "down.j.o", "down", recompute=True))
print(poly.render(fused.tree))

# Without recomputation the rows that two tiles share would belong to the first of them: threads could not share out
# the tiles. The judge says which rows.
shared = tiled.apply(ComputeAt("across", "down.i.o", "down"))
print(shared.ask(Parallel("down.i.o")))
print(fused.ask(Parallel("down.i.o")), end="\n\n")


def vectors(*loops: str) -> list[Transform]:
    return [step for loop in loops for step in (Split(loop, 64), Vectorize(f"{loop}.i"))]


fused = fused.apply(Parallel("down.i.o"), *vectors("across_tile.j", "down.j.i"))
wide = plain.apply(*vectors("j", "down.j"), Parallel("i"), Parallel("down.i"))

image = np.random.default_rng(0).standard_normal((H, W)).astype(np.float32)
rows = (image[:, :-2] + image[:, 1:-1] + image[:, 2:]) / 3
wanted = (rows[:-2] + rows[1:-1] + rows[2:]) / 3


def milliseconds(name: str, schedule: Schedule) -> float:
    module = compile_function(schedule)
    if np.abs(module(image) - wanted).max() > 1e-5:
        raise SystemExit(f"wrong result: {name}")
    out = np.empty_like(wanted)
    best = min(repeat(lambda: module(image, out=out), number=1, repeat=7)) * 1e3
    print(f"{name:<36} {best:6.2f} ms")
    return best


slow = milliseconds("as written", plain)
milliseconds("two passes of vectors, threads", wide)
print(f"{slow / milliseconds('one pass of tiles, vectors, threads', fused):.1f} times as fast as written")
