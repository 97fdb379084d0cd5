"""Compile cost as isl operations, which are the same on every machine. Times are printed, never asserted."""

from __future__ import annotations

import time
from collections.abc import Callable

from polydl.poly import Leaf, Tree, budget, check, dependences, generate, operations_spent
from tests.poly.programs import (
    READ,
    WRITE,
    access,
    box,
    convolution,
    loop,
    nest,
    scop,
    sequence,
    statement,
    tiled_convolution,
)


def cost(label: str, work: Callable[[], object]) -> int:
    begin = time.perf_counter()
    with budget(10_000_000):
        work()
        spent = operations_spent()
    print(f"{label}: {spent} isl operations, {1e3 * (time.perf_counter() - begin):.1f} ms")
    return spent


def test_a_tiled_convolution_is_cheap() -> None:
    # Sizes that no other test uses, so that no cache answers.
    program, tree = convolution(84, 48), tiled_convolution(24, 12, 8)
    assert cost("dependences", lambda: dependences(program)) < 25_000
    kept = dependences(program)
    assert cost("judge", lambda: check(program, tree, kept)) < 5_000
    assert cost("judge again", lambda: check(program, tree, kept)) < 10
    assert cost("judge, other tiles", lambda: check(program, tiled_convolution(12, 14, 16), kept)) < 10
    assert cost("loops", lambda: generate(program, tree)) < 80_000


def test_what_a_scalar_hands_on_between_statements_is_judged_without_isl() -> None:
    domain = "0 <= i < 37 and 0 <= j < 41"
    program = scop(
        {"t": box(), "A": box(37, 41)},
        statement(f"S[i, j] : {domain}", access(READ, "A", "i", "j"), access(WRITE, "t")),
        statement(f"T[i, j] : {domain}", access(READ, "t"), access(WRITE, "A", "i", "j")),
    )

    def tiles(size: int) -> Tree:
        number, inside = f"floor((i)/{size})", f"((i) mod {size})"
        loops = loop("i.o", S=number, T=number), loop("i.i", S=inside, T=inside), loop("j", S="j", T="j")
        return nest(*loops, child=sequence(S=Leaf(), T=Leaf()))

    order = nest(loop("i", S="i", T="i"), loop("j", S="j", T="j"), child=sequence(S=Leaf(), T=Leaf()))
    kept = dependences(program, order)
    assert {(d.source, d.sink) for d in kept} >= {("S", "T"), ("T", "S"), ("S", "S")}
    assert check(program, tiles(8), kept) is None
    assert cost("judge, other tiles", lambda: check(program, tiles(16), kept)) < 10
