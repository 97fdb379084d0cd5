"""Schedules are values; every transformation is proved legal, or refused with a reason.

A smoothing repeated over time: iteration (t, i) reads what (t-1, i-1), (t-1, i) and (t-1, i+1) wrote. Tiling t and i
as they are would read values before they are written; skewing i by t first makes the same tiling legal.

python examples/02_schedule.py
"""

from __future__ import annotations

import numpy as np

from polydl import poly
from polydl.compiler import compile_function
from polydl.dsl import FunctionBuilder
from polydl.errors import IllegalSchedule
from polydl.scheduler import Schedule, Skew, Tile

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
tile = Tile(("step.t", "step.i"), (16, 64))

try:
    schedule.apply(tile)
    raise SystemExit("the judge let an illegal tiling pass")
except IllegalSchedule as refusal:
    print(refusal, end="\n\n")

legal = schedule.apply(Skew("step.t", "step.i", 1), tile)
print("legal after skewing:")
print(poly.render(legal.tree))

start = np.random.default_rng(0).standard_normal(N).astype(np.float32)
got = compile_function(legal)(start)[-1]
wanted = start.copy()
for _ in range(T):
    wanted[1:-1] = (wanted[:-2] + wanted[1:-1] + wanted[2:]) * np.float32(1 / 3)
error = np.abs(got - wanted).max()
print(f"{T} steps over {N} points: largest difference from numpy {error:.1e}")
if error > 1e-5:
    raise SystemExit("wrong result")
