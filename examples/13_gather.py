"""Embeddings: rows of a table picked by data, summed, and checked: a bad index is an error with a name, not a crash.

python examples/13_gather.py
"""

from __future__ import annotations

from timeit import repeat

import numpy as np

from polydl import poly
from polydl.compiler import compile_function
from polydl.dsl import FunctionBuilder, argmax_over, sum_over
from polydl.dtypes import I32
from polydl.errors import RunError
from polydl.scheduler import Parallel, Reorder, Schedule, Split, Vectorize

WORDS, WIDTH, TEXTS, LENGTH = 20_000, 256, 512, 24

f = FunctionBuilder("embeddings")
table, text = f.input("table", (WORDS, WIDTH)), f.input("text", (TEXTS, LENGTH), I32)
# Bags of words: the ranges of b, d and w come from the shapes; the row of the table comes from the data.
bags = f.compute("bags", "b d", lambda b, d: sum_over("w", lambda w: table[text[b, w], d]))
peak = f.compute("peak", "b", lambda b: argmax_over("d", lambda d: bags[b, d]))
plain = Schedule.of(f.build([bags, peak]))
print(poly.render(plain.tree))

# Which rows are read is unknown, but they are only read: dependences come from `bags` alone. Texts are independent of
# each other, words of one text are not.
print(plain.ask(Parallel("bags.b")))
no = plain.ask(Parallel("w"))
print(no)
print("instead:", *no.repair or ("nothing that is known",), end="\n\n")

# One row of the table is contiguous: lanes along d, words outside of it, texts on threads.
better = plain.apply(
    Split("bags.d", 64), Reorder(("bags.b", "bags.d.o", "w", "bags.d.i")), Vectorize("bags.d.i")
)
better = better.apply(Parallel("bags.b"), Split("d", 64), Vectorize("d.i"))
print(poly.render(better.tree))

rng = np.random.default_rng(0)
rows = rng.standard_normal((WORDS, WIDTH)).astype(np.float32)
words = rng.integers(0, WORDS, (TEXTS, LENGTH)).astype(np.int32)
wanted = rows[words].sum(1)


def milliseconds(name: str, schedule: Schedule) -> float:
    module = compile_function(schedule)
    got, places = module(rows, words)
    if np.abs(got - wanted).max() > 1e-4 or (places != got.argmax(1)).any():
        raise SystemExit(f"wrong result: {name}")
    best = min(repeat(lambda: module(rows, words), number=1, repeat=5)) * 1e3
    print(f"{name:<24} {best:6.2f} ms")
    return best


numpys = min(repeat(lambda: rows[words].sum(1).argmax(1), number=1, repeat=5)) * 1e3
print(f"{'numpy':<24} {numpys:6.2f} ms")
slow = milliseconds("as written", plain)
print(f"{slow / milliseconds('rows as vectors', better):.1f} times as fast as written\n")

# Affine subscripts are proved; this one is checked as it is read, on every thread and in every lane.
words[100, 3] = WORDS
try:
    compile_function(better)(rows, words)
except RunError as error:
    print(error)
else:
    raise SystemExit("an index out of range was not noticed")
