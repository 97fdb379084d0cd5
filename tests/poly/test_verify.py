from __future__ import annotations

import pytest

from polydl.errors import InvalidProgram
from polydl.poly import Allocate, Band, Filter, Leaf, Selection, Sequence, Tree, initial_tree, verify
from polydl.vocabulary import Memory
from tests.poly.programs import (
    WRITE,
    access,
    box,
    convolution,
    loop,
    nest,
    scop,
    sequence,
    stages,
    statement,
    tiled_convolution,
)

PLAIN = scop(
    {"A": box(8, 8)}, statement("S[i, j] : 0 <= i < 8 and 0 <= j <= i", access(WRITE, "A", "i", "j"))
)


def halves(first: str, second: str) -> Tree:
    parts = [
        Filter((Selection("S", c),), nest(loop(f"{k}.i", S="i"), loop(f"{k}.j", S="j")))
        for k, c in enumerate((first, second))
    ]
    return Sequence(tuple(parts))


@pytest.mark.parametrize(
    "tree",
    [
        nest(loop("j", S="j"), loop("i", S="i")),
        nest(loop("i.o", S="floor((i)/3)"), loop("j", S="j"), loop("i.i", S="((i) mod 3)")),
        nest(loop("i", S="i + j"), loop("j", S="j")),
        nest(loop("o", S="floor((i + j)/4)"), loop("j", S="-j"), loop("i", S="((i + j) mod 4)")),
        nest(loop("flat", S="8*i + j")),  # only isl sees that j < 8
        halves("i <= 3", "i > 3"),
        halves("j = i", "j < i"),
    ],
)
def test_trees_that_schedule_everything_once(tree: Tree) -> None:
    verify(PLAIN, tree)


def test_initial_trees_keep_the_contract() -> None:
    for program in (PLAIN, stages(), convolution()):
        verify(program, initial_tree(program))
    verify(convolution(), tiled_convolution())
    assert isinstance(initial_tree(PLAIN), Band)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (nest(loop("i", S="i")), "several instances of 'S' run at the same time (i)"),
        (nest(loop("i", S="i + j"), loop("j", S="i + j")), "at the same time"),
        (nest(loop("o", S="floor((i)/4)"), loop("j", S="j"), loop("i", S="((i) mod 3)")), "at the same time"),
        (Leaf(), "at the same time"),
        (nest(loop("i", S="i"), loop("i", S="j")), "two loops are called 'i'"),
        (nest(loop("i", S="i"), loop("j")), "loop 'j' schedules [] but ['S'] reach it"),
        (nest(loop("i", S="i"), loop("j", S="j", T="j")), "loop 'j' schedules ['S', 'T'] but ['S'] reach it"),
        (nest(loop("i", S="i"), loop("j", S="j + k")), "uses unknown names ['k']"),
        (halves("i <= 3", "i > 4"), "lose some instances of 'S'"),
        (halves("i <= 3", "i > 2"), "select twice some instances of 'S'"),
        (halves("", ""), "select twice some instances of 'S'"),
        (Sequence(()), "lose all instances of 'S'"),
        (Sequence((Filter((Selection("T"),), Leaf()),)), "a filter selects ['T']"),
        (Filter((Selection("S", "i < 4"),), nest(loop("i", S="i"), loop("j", S="j"))), "lose some instances"),
        (Allocate("Z", Memory.LOCAL, nest(loop("i", S="i"), loop("j", S="j"))), "allocates 'Z'"),
        (halves("i < q", "i >= q"), "isl cannot read"),
    ],
)
def test_broken_trees_are_refused(tree: Tree, message: str) -> None:
    with pytest.raises(InvalidProgram) as error:
        verify(PLAIN, tree)
    assert message in str(error.value)


def test_every_statement_must_be_selected() -> None:
    with pytest.raises(InvalidProgram, match="lose all instances of 'C'"):
        verify(stages(), sequence(P=nest(loop("i", P="i"))))
