"""Softmax over rows: five loop nests become one pass over rows whose intermediate results never leave the core.

python examples/04_fused_softmax.py
"""

from __future__ import annotations

import time

import numpy as np

from polydl import poly
from polydl.compiler import compile_function
from polydl.dsl import FunctionBuilder, max_over, sum_over
from polydl.ir import call
from polydl.scheduler import Fuse, Local, Parallel, Privatize, Schedule, Split, Vectorize

ROWS, COLUMNS = 2048, 1024

f = FunctionBuilder("softmax")
x = f.input("x", (ROWS, COLUMNS))
top = f.compute("top", {"i": ROWS}, lambda i: max_over({"j": COLUMNS}, lambda j: x[i, j]))
e = f.compute("e", {"i": ROWS, "j": COLUMNS}, lambda i, j: call("exp", x[i, j] - top[i]))
total = f.compute("total", {"i": ROWS}, lambda i: sum_over({"j": COLUMNS}, lambda j: e[i, j]))
y = f.compute("y", {"i": ROWS, "j": COLUMNS}, lambda i, j: e[i, j] / total[i])
function = f.build(outputs=[y])

plain = Schedule.of(function)
print("statements as written:", ", ".join(s.name for s in function.statements()))

# Reductions along a row get 16 partial results first, one per lane (this changes the statements, so it comes first).
# Then all nests share their loop over rows, what one row needs is local to its iteration, and loops over columns
# become vectors.
lanes = plain.apply(Privatize("top", "j", 16), Privatize("total", "j", 16))
statements = [s.name for s in lanes.function.statements()]
rows = [next(m.name for m in poly.members(lanes.tree) if s in dict(m.exprs)) for s in statements]
fused = lanes.apply(
    Fuse(tuple(rows)), *(Local(t, (rows[0],)) for t in ("top_part", "top", "e", "total_part", "total"))
)
for loop in ("j", "e.j", "total_part.j", "y.j"):
    fused = fused.apply(Split(loop, 16), Vectorize(f"{loop}.i"))
fused = fused.apply(Parallel(rows[0]))
print(poly.render(fused.tree))

array = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float32)


def reference(a: np.ndarray) -> np.ndarray:
    exponentials = np.exp(a - a.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def milliseconds(run: object) -> float:
    assert callable(run)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run(array)
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


wanted = reference(array)
print(f"{'numpy':<24} {milliseconds(reference):7.2f} ms")
for name, what in (("as written", plain), ("fused by hand", fused), ("fused by the recipe", function)):
    module = compile_function(what)
    error = np.abs(module(array) - wanted).max()
    print(f"{name:<24} {milliseconds(module):7.2f} ms, largest difference from numpy {error:.1e}")
    if error > 1e-6:
        raise SystemExit("wrong result")
