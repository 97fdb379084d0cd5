"""Programs that leave their tensors: refused before anything runs, with the smallest example."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from polydl.dsl import Function, FunctionBuilder, reduce_over, sum_over
from polydl.errors import OutOfBounds
from polydl.ir import and_
from polydl.scheduler import Schedule

Golden = Callable[[str, str], None]


def too_many_terms() -> Function:
    f = FunctionBuilder("too_many_terms")
    x = f.input("x", (4, 4))
    return f.build([f.compute("y", {"i": 4}, lambda i: sum_over({"k": 5}, lambda k: x[i, k]))])


def right_neighbour() -> Function:
    f = FunctionBuilder("right_neighbour")
    (n,) = f.sizes("N")
    x = f.input("x", (n,))
    return f.build([f.compute("y", {"i": n}, lambda i: x[i + 1])])


def left_neighbour() -> Function:
    f = FunctionBuilder("left_neighbour")
    n, m = f.sizes("N M")
    x = f.input("x", (n, m))
    return f.build([f.compute("y", {"i": n, "j": m}, lambda i, j: x[i, j - 1])])


def transposed() -> Function:
    """Right for squares only."""
    f = FunctionBuilder("transposed")
    n, m = f.sizes("N M")
    x = f.input("x", (n, m))
    return f.build([f.compute("y", {"i": n, "j": m}, lambda i, j: x[j, i])])


def strided() -> Function:
    f = FunctionBuilder("strided")
    (n,) = f.sizes("N")
    x = f.input("x", (n * 2,))
    return f.build([f.compute("y", {"i": n}, lambda i: x[i * 2] + x[i * 2 + 2])])


def stored() -> Function:
    f = FunctionBuilder("stored")
    x = f.input("x", (6,))
    y = f.temporary("y", (6,))
    f.compute("shifted", {"i": 6}, lambda i: x[i], into=y, at=lambda i: [i + 3])
    return f.build([y])


def padded() -> Function:
    """A halo of one is too little for a window of five."""
    f = FunctionBuilder("padded")
    x = f.input("x", (8,), lower=(-1,))
    return f.build([f.compute("y", {"i": 6}, lambda i: sum_over({"r": 5}, lambda r: x[i + r - 2]))])


def triangle() -> Function:
    f = FunctionBuilder("triangle")
    (n,) = f.sizes("N")
    x = f.input("x", (n, n))
    return f.build(
        [
            f.compute(
                "y",
                {"i": n, "j": n},
                lambda i, j: reduce_over(
                    "add", {"k": n + 1}, lambda k: x[i, k], where=lambda k: and_(k >= j, k <= i + 1)
                ),
            )
        ]
    )


def blocked() -> Function:
    """The last block is not whole."""
    f = FunctionBuilder("blocked")
    (n,) = f.sizes("N")
    x = f.input("x", (n,))
    return f.build([f.compute("y", {"i": n}, lambda i: x[i // 4 * 4 + 3])])


PROGRAMS = [
    too_many_terms, right_neighbour, left_neighbour, transposed, strided, stored, padded, triangle, blocked,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_out_of_bounds(program: Callable[[], Function], golden: Golden) -> None:
    with pytest.raises(OutOfBounds) as refusal:
        Schedule.of(program())
    golden(f"errors/bounds_{program.__name__}.txt", str(refusal.value))
    assert "subscript" in refusal.value.why
