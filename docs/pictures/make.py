"""Draws the pictures of this folder: `python docs/pictures/make.py` (the same bytes every time)."""

from __future__ import annotations

from pathlib import Path

from polydl.dsl import FunctionBuilder, sum_over
from polydl.ir import maximum
from polydl.scheduler import (
    Diamond,
    Fuse,
    Parallel,
    Reorder,
    Schedule,
    Skew,
    Tile,
    Unroll,
    Vectorize,
    picture,
)

HERE = Path(__file__).parent


def smoothing() -> Schedule:
    """Smoothing repeated over time, as written."""
    f = FunctionBuilder("smooth")
    x = f.input("x", (16,))
    u = f.temporary("u", (7, 16))
    f.compute("start", {"t": 7, "i": 16}, lambda t, i: x[i], into=u)
    f.compute(
        "step",
        {"t": (1, 7), "i": (1, 15)},
        lambda t, i: (u[t - 1, i - 1] + u[t - 1, i] + u[t - 1, i + 1]) * (1 / 3),
        into=u,
    )
    return Schedule.of(f.build(outputs=[u]))


def stencil() -> Schedule:
    """Smoothing skewed and tiled."""
    return smoothing().apply(Skew("step.t", "step.i", 1), Tile(("step.t", "step.i"), (3, 4)))


def diamonds() -> Schedule:
    """Smoothing in diamonds, all of one front in parallel."""
    return smoothing().apply(Diamond("step.t", "step.i", 4), Parallel("step.i.o"))


def product() -> Schedule:
    """A matrix product of symbolic sizes in tiles of vectors, blocks of rows on threads."""
    f = FunctionBuilder("matmul")
    m, n, k = f.sizes("M N K")
    a, b = f.input("A", (m, k)), f.input("B", (k, n))
    c = f.compute("C", {"i": m, "j": n}, lambda i, j: sum_over({"k": k}, lambda k: a[i, k] * b[k, j]))
    return Schedule.of(f.build(outputs=[c])).apply(
        Tile(("C.i", "C.j"), (3, 4)),
        Reorder(("C.i.o", "C.j.o", "k", "C.i.i", "C.j.i")),
        Unroll("C.i.i"),
        Vectorize("C.j.i"),
        Parallel("C.i.o"),
    )


def chain() -> Schedule:
    """Three steps over one array, fused into one pass."""
    f = FunctionBuilder("chain")
    x = f.input("x", (64, 32))
    axes = {"i": 64, "j": 32}
    scaled = f.compute("scaled", axes, lambda i, j: x[i, j] * 2.0)
    clipped = f.compute("clipped", axes, lambda i, j: maximum(scaled[i, j], 0.0))
    y = f.compute("y", axes, lambda i, j: clipped[i, j] + scaled[i, j])
    return Schedule.of(f.build(outputs=[y])).apply(Fuse(("i", "clipped.i", "y.i")), Parallel("i"))


def pictures() -> dict[str, str]:
    """The name of each file with its text."""
    smooth, matmul, fused = stencil(), product(), chain()
    sizes = {"M": 7, "N": 10, "K": 4}
    return {
        "stencil-tree.svg": picture(smooth),
        "stencil-dependences.svg": picture(smooth, "dependences"),
        "stencil-domain.svg": picture(smooth, "domain", statement="step"),
        "diamond-domain.svg": picture(diamonds(), "domain", statement="step"),
        "diamond-tree.svg": picture(diamonds()),
        "matmul-tree.svg": picture(matmul),
        "matmul-dependences.svg": picture(matmul, "dependences"),
        "matmul-domain.svg": picture(matmul, "domain", statement="C", sizes=sizes),
        "matmul-reduction.svg": picture(matmul, "domain", statement="C", axes=("j", "k"), sizes=sizes),
        "chain-tree.svg": picture(fused),
        "chain-dependences.svg": picture(fused, "dependences"),
    }


if __name__ == "__main__":
    for name, text in pictures().items():
        (HERE / name).write_text(text, encoding="utf-8")
