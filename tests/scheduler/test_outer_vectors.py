"""Vectors along loops that have others inside, and short loops spelled out."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from polydl import LoopProgram, loops
from polydl.codegen.assemble import program_of
from polydl.codegen.llvm import emit_asm
from polydl.poly.tree import Band, members, walk
from polydl.scheduler.automatic import predicted_time
from polydl.scheduler.automatic.outer_vectors import outer_vectors
from polydl.scheduler.automatic.predict import _sizes
from polydl.scheduler.automatic.strategy import parts
from polydl.scheduler.automatic.streams import jammed
from polydl.scheduler.schedule import Schedule
from polydl.vocabulary import Binding


def _taps(X: "f64[N + 2, M + 2]", W: "f64[3, 3]", Y: "f64[N, M]") -> None:
    for i in range(N):
        for j in range(M):
            Y[i, j] = 0.0
            for r in range(3):
                for s in range(3):
                    Y[i, j] += X[i + r, j + s] * W[r, s]


def _channels(X: "f32[C, N + 2]", W: "f32[K, C, 3]", Y: "f32[K, N]") -> None:
    for k in range(K):
        for j in range(N):
            Y[k, j] = 0.0
            for c in range(C):
                for s in range(3):
                    Y[k, j] += X[c, j + s] * W[k, c, s]


def _small(A: "f32[Z, 3, 3]", x: "f32[Z, 3]", y: "f32[Z, 3]") -> None:
    for z in range(Z):
        for i in range(3):
            for k in range(3):
                y[z, i] += A[z, i, k] * x[z, k]


def _triangle(L: "f64[N, N]", x: "f64[N]", y: "f64[N]") -> None:
    """Lanes of j would run different numbers of iterations."""
    for j in range(N):
        for k in range(j):
            y[j] += L[k, j] * x[k]


def _table(E: "i32[N, M]", L: "i32[N + 1, M + 1]") -> None:
    for i in range(1, N + 1):
        for j in range(1, M + 1):
            L[i, j] = max(L[i - 1, j - 1] + E[i - 1, j - 1], L[i - 1, j], L[i, j - 1])


def _proposed(python: Callable[..., None]) -> list[LoopProgram]:
    program = loops(target="x86-64-avx512", threads=1)(python)
    target = replace(program.target, cores=1)
    plain = Schedule.of(program.function)
    (part,) = parts(plain.tree)
    return [program.scheduled(s) for s in outer_vectors(plain, part, target)]


def _bindings(program: LoopProgram) -> dict[str, Binding]:
    return {m.name: m.binding for m in members(program.compiled_schedule().tree)}


def test_taps_are_spelled_out_inside_of_vectors() -> None:
    for program in _proposed(_taps)[1:]:
        bindings = _bindings(program)
        assert {bindings[n] for n in ("r", "s")} == {Binding.UNROLL}
        assert bindings["j.i"] is Binding.VECTOR
        inner = [b for b in walk(program.compiled_schedule().tree) if isinstance(b, Band)]
        assert ("r", "s", "S2.j.i") in [tuple(m.name for m in b.members) for b in inner]


def test_rows_go_together_only_where_sums_stay_in_registers_over_a_loop() -> None:
    assert not any("i.i" in _bindings(p) for p in _proposed(_taps))
    assert any("k.i" in _bindings(p) for p in _proposed(_channels))


def test_small_matrices_are_spelled_out_alone() -> None:
    (program,) = _proposed(_small)
    assert _bindings(program) == {"z": Binding.SEQUENTIAL, "i": Binding.UNROLL, "k": Binding.UNROLL}


def test_rows_of_few_elements_share_their_lines() -> None:
    """Where each counted as a line, memory would hide what spelling loops out saves."""
    program = loops(target="x86-64-avx512", threads=1)(_small)
    (spelled,) = _proposed(_small)
    target = replace(program.target, cores=1)
    plain = predicted_time(program.schedule(), target)
    assert predicted_time(spelled.compiled_schedule(), target) < plain / 2


def test_loops_whose_lanes_would_run_apart_are_left_alone() -> None:
    assert not _proposed(_triangle)


def test_sizes_are_typical_together() -> None:
    schedule = loops(_table).schedule()
    sizes = _sizes(schedule)
    assert (sizes["L_0"], sizes["L_1"]) == (sizes["N"] + 1, sizes["M"] + 1)


def test_rows_that_wait_for_those_before_are_counted_from_the_first() -> None:
    schedule = jammed(loops(_table).schedule(), "i", 8)
    assert schedule is not None
    names = [m.name for m in members(schedule.tree)]
    assert "i.o.tail" in names
    assert str(schedule.member("i.o").expr("S1")) == "floor((i - 1)/8)"


def test_maxima_are_selected_without_branches() -> None:
    program = loops(target="x86-64-avx512", threads=1)(_table)
    schedule = jammed(program.schedule(), "i", 8)
    assert schedule is not None
    text = emit_asm(program_of(schedule), program.target)
    assert text.count("cmov") >= 16


@pytest.mark.parametrize("sizes", [(1, 1), (5, 17), (9, 40)])
def test_all_proposals_compute_what_python_does(sizes: tuple[int, int]) -> None:
    n, m = sizes
    draw = np.random.default_rng(n)
    taps = {"X": draw.random((n + 2, m + 2)), "W": draw.random((3, 3)), "Y": draw.random((n, m))}
    x, w = draw.random((n, m + 2)).astype(np.float32), draw.random((5, n, 3)).astype(np.float32)
    channels = {"X": x, "W": w, "Y": np.zeros((5, m), np.float32)}
    small = {
        "A": draw.random((n, 3, 3)).astype(np.float32),
        "x": draw.random((n, 3)).astype(np.float32),
        "y": draw.random((n, 3)).astype(np.float32),
    }
    for python, arrays in ((_taps, taps), (_channels, channels), (_small, small)):
        reference = loops(python).interpret(**arrays)
        for program in _native(python):
            found = {name: value.copy() for name, value in arrays.items()}
            program(**found)
            for name, value in reference.items():
                np.testing.assert_allclose(found[name], value, 1e-5)


def _native(python: Callable[..., None]) -> list[LoopProgram]:
    program = loops(threads=1)(python)
    plain = Schedule.of(program.function)
    (part,) = parts(plain.tree)
    target = replace(program.target, cores=1)
    return [program.scheduled(s) for s in outer_vectors(plain, part, target)]
