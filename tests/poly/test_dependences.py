from __future__ import annotations

import pytest

from polydl.errors import InvalidProgram
from polydl.poly import DependenceKind, bounds_violation, check, dependences
from tests.poly.programs import (
    READ,
    UPDATE,
    WRITE,
    access,
    box,
    convolution,
    loop,
    nest,
    scop,
    seidel,
    stages,
    statement,
)

FLOW, ANTI, OUTPUT = DependenceKind.FLOW, DependenceKind.ANTI, DependenceKind.OUTPUT


def test_distances_of_an_in_place_stencil() -> None:
    found = {(d.kind, d.distance) for d in dependences(seidel())}
    assert found == {(FLOW, (1, 0)), (FLOW, (0, 1)), (FLOW, (1, -1))}


def test_dependences_between_statements() -> None:
    found = [(d.kind, d.source, d.sink, d.tensor) for d in dependences(stages())]
    assert found == [(FLOW, "P", "C", "A")] * 2


def test_a_convolution() -> None:
    found = {(d.kind, d.source, d.sink, d.reduction) for d in dependences(convolution())}
    assert found == {
        (FLOW, "init", "conv", False),
        (FLOW, "init", "epilogue", False),
        (FLOW, "conv", "conv", True),
        (FLOW, "conv", "epilogue", False),
    }


def test_updates_of_different_statements_keep_their_order() -> None:
    program = scop(
        {"A": box(4)},
        statement("S[i, j] : 0 <= i < 4 and 0 <= j < 4", access(UPDATE, "A", "i"), reduction="add"),
        statement("T[i] : 0 <= i < 4", access(UPDATE, "A", "i"), reduction="max"),
    )
    found = {(d.source, d.sink, d.reduction) for d in dependences(program)}
    assert found == {("S", "S", True), ("S", "T", False)}


def test_a_reduction_that_reads_its_own_target_is_ordered() -> None:
    program = scop(
        {"A": box(8)},
        statement("S[i] : 0 <= i < 7", access(UPDATE, "A", "i"), access(READ, "A", "i + 1"), reduction="add"),
    )
    assert {(d.kind, d.reduction, d.distance) for d in dependences(program)} == {(ANTI, False, (1,))}


def test_data_dependent_reads_meet_every_cell() -> None:
    program = scop(
        {"A": box(8), "B": box(8)},
        statement("S[i] : 0 <= i < 8", access(WRITE, "A", "i")),
        statement("T[i] : 0 <= i < 8", access(READ, "A", None), access(WRITE, "B", "i")),
    )
    (found,) = dependences(program)
    assert (found.source, found.sink, found.distance) == ("S", "T", None)
    assert check(program, nest(loop("i", S="i", T="i")), (found,)) is not None


def test_another_original_order() -> None:
    backwards = nest(loop("i", S="-i"))
    program = scop(
        {"A": box(9)}, statement("S[i] : 0 <= i < 8", access(WRITE, "A", "i"), access(READ, "A", "i + 1"))
    )
    assert [(d.kind, d.distance) for d in dependences(program)] == [(ANTI, (1,))]
    assert [(d.kind, d.distance) for d in dependences(program, backwards)] == [(FLOW, (-1,))]


def test_symbolic_sizes() -> None:
    program = scop(
        {"A": box("N")},
        statement("[N] -> S[i] : 1 <= i < N", access(WRITE, "A", "i"), access(READ, "A", "i - 1")),
        parameters=("N",),
    )
    assert [(d.kind, d.distance) for d in dependences(program)] == [(FLOW, (1,))]
    assert bounds_violation(program) is None


def test_accesses_out_of_bounds_have_an_example() -> None:
    program = scop(
        {"A": box("N")},
        statement("[N] -> S[i] : 0 <= i < N", access(WRITE, "A", "i"), access(READ, "A", "i + 2")),
        parameters=("N",),
    )
    found = bounds_violation(program)
    assert found is not None
    name, tensor, (n,), (i,), (cell,) = found
    assert (name, tensor) == ("S", "A")
    assert 0 <= i < n <= cell == i + 2
    assert bounds_violation(convolution()) is None


def test_a_wrong_rank_is_refused() -> None:
    program = scop({"A": box(4)}, statement("S[i] : 0 <= i < 4", access(WRITE, "A", "i", "i")))
    with pytest.raises(InvalidProgram, match="another rank"):
        bounds_violation(program)
