"""A schedule that is refused, why, and how to repair it: nothing illegal ever reaches the code generator.

A smoothing repeated over time: iteration (t, i) reads what (t-1, i-1), (t-1, i) and (t-1, i+1) wrote. Tiling t and i
as they are would read values before they are written; skewing i by t first makes the same tiling legal, and the tiles
of one diagonal may then run on different threads.

python examples/03_illegal_and_why.py
"""

from __future__ import annotations

import numpy as np

from polydl import poly
from polydl.compiler import compile_function
from polydl.dsl import FunctionBuilder
from polydl.errors import IllegalSchedule
from polydl.scheduler import Parallel, Reorder, Schedule, Skew, Tile, Transform, Vectorize

T, N = 64, 1000

f = FunctionBuilder("smooth")
x = f.input("x", (N,))
u = f.temporary("u", (T + 1, N))
f.compute("start", {"t": T + 1, "i": N}, lambda t, i: x[i], into=u)
f.compute(
    "step",
    {"t": (1, T + 1), "i": (1, N - 1)},
    lambda t, i: (u[t - 1, i - 1] + u[t - 1, i] + u[t - 1, i + 1]) * (1 / 3),
    into=u,
)
schedule = Schedule.of(f.build(outputs=[u]))


def refused(start: Schedule, *steps: Transform) -> None:
    """Shows the refusal of what must not pass."""
    try:
        start.apply(*steps)
    except IllegalSchedule as refusal:
        print(refusal, end="\n\n")
    else:
        raise SystemExit("the judge let an illegal schedule pass")


tile = Tile(("step.t", "step.i"), (16, 64))
print(
    "Tiling a stencil as it stands is illegal. The tree shows where, `why` two iterations that would run in the"
)
print("wrong order and the cell they share, `next` a repair that has been tried:\n")
refused(schedule, tile)

print(
    "So skew first. Each loop of tiles still carries dependences, and may not be run in parallel as it is:\n"
)
tiled = schedule.apply(Skew("step.t", "step.i", 1), tile)
refused(tiled, Parallel("step.i.o"))

print("But after one more skew all tiles of a diagonal are independent; within a tile, i is.\n")
wavefront = tiled.apply(
    Skew("step.t.o", "step.i.o", 1),
    Reorder(("step.i.o", "step.t.o")),
    Parallel("step.t.o"),
    Vectorize("step.i.i"),
)
print(poly.render(wavefront.tree))
print(wavefront.proof(), end="\n\n")

start = np.random.default_rng(0).standard_normal(N).astype(np.float32)
got = compile_function(wavefront)(start)[-1]
wanted = start.copy()
for _ in range(T):
    wanted[1:-1] = (wanted[:-2] + wanted[1:-1] + wanted[2:]) * np.float32(1 / 3)
error = np.abs(got - wanted).max()
print(f"{T} steps over {N} points: largest difference from numpy {error:.1e}")
if error > 1e-5:
    raise SystemExit("wrong result")
