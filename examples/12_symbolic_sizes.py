"""Symbolic sizes and triangles: compiled once for all sizes, proved for all of them, and drawn.

python examples/12_symbolic_sizes.py
"""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

import polydl
from polydl import poly
from polydl.scheduler import Distribute, Parallel, Reorder, Reverse, Split, Vectorize, picture


@polydl.loops
def solve(L: "f64[N, N]", X: "f64[N, M]") -> None:
    """L X = B for a lower triangle L and many right-hand sides, in place of B."""
    for j in range(M):
        for i in range(N):
            for k in range(i):
                X[i, j] -= L[i, k] * X[k, j]
            X[i, j] /= L[i, i]


schedule = solve.schedule()
print(poly.render(schedule.tree))
print("sizes are parameters:", ", ".join(solve.function.sizes), "- what is legal is legal for all of them\n")

# Right-hand sides are independent; rows are not, and the answer says which two and for which sizes.
print(schedule.ask(Parallel("j")))
no = schedule.ask(Reverse("i"))
print(no)
print(f"at {no.sizes}: {no.source} must come before {no.sink}, both touch X{list(no.cell or ())}\n")

# Sixteen neighbouring right-hand sides become the lanes of vectors, inside of both statements; blocks go to threads.
better = schedule.apply(
    Split("j", 16), Reorder(("j.o", "i", "j.i")), Distribute("j.i"), Reorder(("k", "j.i")),
    Vectorize("j.i"), Vectorize("S2.j.i"), Parallel("j.o"),
)  # fmt: skip
print(poly.render(better.tree))

folder = Path(tempfile.mkdtemp())
for what in ("tree", "dependences"):
    (folder / f"{what}.svg").write_text(picture(schedule, what))
(folder / "domain.svg").write_text(
    picture(schedule, "domain", statement="S1", axes=("i", "k"), sizes={"N": 7, "M": 1})
)
print("pictures of the tree, the dependences and the triangle of instances:")
for path in sorted(folder.iterdir()):
    print(f"  {path.name}: {len(path.read_text())} characters of SVG")

plain, fast = solve.scheduled(schedule), solve.scheduled(better)
rng = np.random.default_rng(0)
for n, m in ((5, 3), (64, 1), (500, 400)):
    lower = np.tril(rng.standard_normal((n, n))) * 0.1 + n * np.eye(n)
    right = rng.standard_normal((n, m))
    took = []
    for program in (plain, fast):
        x = right.copy()
        program(lower, x)
        x = right.copy()
        begin = time.perf_counter()
        program(lower, x)
        took.append(time.perf_counter() - begin)
        if np.abs(lower @ x - right).max() > 1e-8:
            raise SystemExit("wrong result")
    print(
        f"N = {n}, M = {m}: as written {took[0] * 1e6:.0f} µs, in vectors {took[1] * 1e6:.0f} µs, both right"
    )
