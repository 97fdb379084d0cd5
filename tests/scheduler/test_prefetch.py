"""Prefetches arrive in the code, once for what is asked for several times."""

from __future__ import annotations

from polydl.codegen.assemble import program_of
from polydl.codegen.c import emit_c
from polydl.codegen.llvm import emit_asm
from polydl.scheduler import Prefetch, Reorder, Schedule, Split, UnrollAndJam, Vectorize
from polydl.targets import parse
from tests.scheduler.programs import matmul

TARGET = parse("x86-64-avx512")


def scheduled() -> Schedule:
    """Two rows at a time, a vector of columns; the next rows of B are asked for."""
    return (
        matmul(8, 64, 32)
        .schedule()
        .apply(
            Split("C.j", 16),
            Reorder(("C.i", "C.j.o", "k", "C.j.i")),
            Vectorize("C.j.i"),
            UnrollAndJam("C.i", 2),
            Prefetch("B", "k", 8),
        )
    )


def test_one_prefetch_for_each_vector() -> None:
    source = emit_c(program_of(scheduled()), TARGET)
    assert source.count("__builtin_prefetch(") == 1


def test_it_is_an_instruction() -> None:
    assert "prefetcht0" in emit_asm(program_of(scheduled()), TARGET)


def test_what_is_stored_is_asked_for_from_end_to_end() -> None:
    """A vector that starts inside of a line ends in the next one."""
    schedule = (
        matmul(8, 64, 32)
        .schedule()
        .apply(
            Split("C.j", 16),
            Reorder(("C.i", "C.j.o", "k", "C.j.i")),
            Vectorize("C.j.i"),
            Prefetch("C", "C.i", 1),
        )
    )
    source = emit_c(program_of(schedule), TARGET)
    asked = [line for line in source.splitlines() if "__builtin_prefetch(" in line]
    assert len(asked) == 2
    assert "15" in asked[1]
    assert "15" not in asked[0]
