"""Reductions: what may be combined in any order, what may not, and partial results that make a sum fast.

python examples/06_reductions.py
"""

from __future__ import annotations

from timeit import repeat

import numpy as np

from polydl import poly
from polydl.compiler import compile_function
from polydl.dsl import FunctionBuilder, Operator, reduce_over, select_first, sum_over
from polydl.ir import and_, eq, or_
from polydl.scheduler import Parallel, Privatize, Reverse, Schedule, Vectorize

N = 1_000_000
numbers = np.random.default_rng(0).standard_normal(N).astype(np.float32)

# A sum adds one number after the other: each addition waits for the one before.
f = FunctionBuilder("total")
x = f.input("x", (N,))
plain = Schedule.of(f.build([f.compute("s", "", lambda: sum_over("k", lambda k: x[k]))]))
print(poly.render(plain.tree))
print(plain.ask(Parallel("k")), end="\n\n")

# 64 partial sums do not wait for each other, and are lanes of vectors. The judge takes it: sums may be reassociated.
lanes = plain.apply(Privatize("s", "k", 64))
print(poly.render(lanes.tree))
print("with reassociate=False:", Schedule.of(plain.function, reassociate=False).ask(Privatize("s", "k", 64)))


def microseconds(schedule: Schedule) -> float:
    module = compile_function(schedule, threads=1)
    if abs(module(numbers) - numbers.astype(np.float64).sum()) > 1:
        raise SystemExit("wrong result")
    return min(repeat(lambda: module(numbers), number=3, repeat=5)) / 3 * 1e6


wide = compile_function(lanes.function, threads=1)  # the recipe makes the partial sums vectors by itself
slow = microseconds(plain)
fast = min(repeat(lambda: wide(numbers), number=3, repeat=5)) / 3 * 1e6
print(f"\none sum {slow:.0f} µs, partial sums by the recipe {fast:.0f} µs: {slow / fast:.1f} times as fast\n")

# Operators of your own combine values, or tuples of values: here the largest value with its place. A claim to commute
# is tried on small numbers: without the rule for ties it would be refused.
try:
    naive = Operator(
        "naive", lambda a, b: select_first(b[0] > a[0], b, a), (float("-inf"), 0), commutative=True
    )
    f.compute_several("v i", "", lambda: reduce_over(naive, "k", lambda k: (x[k], k)))
except Exception as refusal:
    print(refusal, end="\n\n")
largest = Operator(
    "largest",
    lambda a, b: select_first(or_(b[0] > a[0], and_(eq(b[0], a[0]), b[1] < a[1])), b, a),
    identity=(float("-inf"), N),
    commutative=True,
)
# One that does not commute keeps its order: y = a*x + c, one after the other, as pairs (a, c).
affine = Operator("affine", lambda p, q: (p[0] * q[0], p[1] * q[0] + q[1]), identity=(1.0, 0.0))
g = FunctionBuilder("pairs")
z = g.input("z", (N,))
best, place = g.compute_several("best place", "", lambda: reduce_over(largest, "k", lambda k: (z[k], k)))
a, c = g.compute_several("a c", "", lambda: reduce_over(affine, "m", lambda m: (0.5 + 0.0 * z[m], z[m])))
pairs = Schedule.of(g.build([best, place, a, c]))
print("largest:", pairs.ask(Reverse("k")))
print("affine: ", pairs.ask(Reverse("m")))
print("affine: ", pairs.ask(Vectorize("m")))
got = compile_function(pairs.apply(Reverse("k")), threads=1)(numbers)
if (got[0], got[1]) != (numbers.max(), numbers.argmax()):
    raise SystemExit("wrong result")
print(f"\nlargest is {got[0]:.3f} at {got[1]}; numpy says so too")
