"""Prefix sums: a scan is a recurrence, which no loop of it may run in parallel; in blocks it can.

python examples/07_scan.py
"""

from __future__ import annotations

from timeit import repeat

import numpy as np

from polydl import poly
from polydl.compiler import compile_function
from polydl.dsl import Function, FunctionBuilder, Layout, scan_over
from polydl.scheduler import Parallel, Reorder, Schedule, Split, Vectorize

BLOCKS, LENGTH = 256, 1024
numbers = np.random.default_rng(0).standard_normal((BLOCKS, LENGTH)).astype(np.float32)


def whole() -> Function:
    """y[k] = x[0] + … + x[k]."""
    f = FunctionBuilder("scan")
    x = f.input("x", (BLOCKS * LENGTH,))
    return f.build([f.compute("y", "k", lambda k: scan_over("add", "k", x[k]))])


plain = Schedule.of(whole())
print(poly.render(plain.tree))
print(plain.ask(Parallel("y_next.k")), end="\n\n")


def blocked() -> Function:
    """Each block by itself, the totals of the blocks before each, and both together; blocks beside each other."""
    f = FunctionBuilder("blocked")
    beside = Layout.parse(f"b, k -> k, b in {LENGTH}, {BLOCKS}")
    x = f.input("x", (BLOCKS, LENGTH), layout=beside)
    inside = f.compute("inside", "b k", lambda b, k: scan_over("add", "k", x[b, k]), layout=beside)
    before = f.compute("before", "b", lambda b: scan_over("add", "b", inside[b, LENGTH - 1], exclusive=True))
    return f.build([f.compute("y", "b k", lambda b, k: inside[b, k] + before[b], layout=beside)])


schedule = Schedule.of(blocked())
print(poly.render(schedule.tree))
print("loops that carry nothing:", ", ".join(schedule.parallel_loops()))

# The scans of different blocks have nothing to do with each other: the layout puts their k-th elements side by side,
# so that 64 blocks are lanes of four vectors, whose additions do not wait for each other.
first = "inside_next.b"
lanes = schedule.apply(Split(first, 64), Reorder((f"{first}.o", "inside_next.k", f"{first}.i")))
lanes = lanes.apply(Vectorize(f"{first}.i"), Split("b", 64), Vectorize("b.i"))
lanes = lanes.apply(Reorder(("y.k", "y.b")), Split("y.b", 64), Vectorize("y.b.i"))
print(poly.render(lanes.tree))


def milliseconds(what: Schedule, array: np.ndarray, blocks: bool) -> float:
    module = compile_function(what, threads=1)
    got = module(array).T.ravel() if blocks else module(array)
    if np.abs(got - np.cumsum(numbers.ravel(), dtype=np.float64)).max() > 0.2:
        raise SystemExit("wrong result")
    out = np.empty_like(array)
    return min(repeat(lambda: module(array, out=out), number=1, repeat=9)) * 1e3


slow = milliseconds(plain, numbers.ravel(), blocks=False)
fast = milliseconds(lanes, schedule.function.tensor("x").pack(numbers), blocks=True)
print(f"one scan {slow:.2f} ms, scans of blocks {fast:.2f} ms: {slow / fast:.1f} times as fast")
