"""Contractions in blocks: any size, any edge; packed copies and partial sums under an original order."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.polybench.kernel import difference
from benchmarks.polybench.kernels import KERNELS
from polydl import LoopProgram, loops, optimize, poly
from polydl.dsl import capture
from polydl.errors import NotApplicable
from polydl.poly.tree import Allocate, members, walk
from polydl.scheduler import (
    Distribute,
    Pack,
    PartialSums,
    Rebase,
    Reorder,
    Schedule,
    SeparateTiles,
    Split,
    SplitSum,
    Tile,
)
from polydl.scheduler.automatic.contractions import contractions
from polydl.scheduler.automatic.strategy import parts
from polydl.targets import Target, native, parse
from polydl.vocabulary import Binding, Memory
from tests.polybench.references import reference
from tests.scheduler.loop_cases import product

MATRICES = ("gemm", "2mm", "3mm", "symm", "syrk", "syr2k", "trmm", "covariance", "correlation", "doitgen")


def tiny_caches(threads: int) -> Target:
    """The machine with caches so small that small sizes have several blocks."""
    return replace(native(), l1d_bytes=2048, l2_bytes=16384, l3_bytes=32768, cores=threads)


def blocked(schedule: Schedule, target: Target) -> Schedule:
    for part in parts(schedule.tree):
        schedule = next(contractions(schedule, part, target), schedule)
    return schedule


@cache
def programs(name: str, threads: int) -> tuple[LoopProgram, LoopProgram]:
    """The kernel in blocks, and as written."""
    written = loops(threads=1)(KERNELS[name].function)
    program = loops(threads=threads)(KERNELS[name].function)
    schedule = blocked(program.schedule(), tiny_caches(threads))
    assert any(isinstance(node, Allocate) for node in walk(schedule.tree)) or name == "doitgen"
    assert poly.check(schedule.scop, schedule.tree, schedule.dependences) is None
    assert Schedule.replay(program.function, schedule.trace) == schedule
    return program.scheduled(schedule), written


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("threads", [1, 2])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_size_gives_what_the_loops_as_written_give(name: str, threads: int, data: st.DataObject) -> None:
    kernel = KERNELS[name]
    program, written = programs(name, threads)
    sizes = {n: data.draw(st.integers(1, 70), label=n) for n in kernel.at("MINI")}
    taken = {n: v for n, v in sizes.items() if n in kernel.parameters()}
    rng = np.random.default_rng(0)
    mine, wanted = ({**kernel.initialise(**sizes)} for _ in range(2))
    for key, value in mine.items():
        if isinstance(value, np.ndarray):
            mine[key] = rng.standard_normal(value.shape)
            wanted[key] = np.array(mine[key])
    program(**taken, **mine)
    written(**taken, **wanted)
    for key, value in wanted.items():
        np.testing.assert_allclose(mine[key], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MATRICES[:-1])
def test_sums_are_in_registers(name: str) -> None:
    schedule = blocked(Schedule.of(capture(KERNELS[name].function).function), native())
    memories = {node.memory for node in walk(schedule.tree) if isinstance(node, Allocate)}
    assert memories == {Memory.REGISTER, Memory.LOCAL}
    assert {Binding.UNROLL, Binding.VECTOR, Binding.PARALLEL} <= {m.binding for m in members(schedule.tree)}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", MATRICES)
def test_the_automatic_schedule_computes_what_numpy_does(name: str, threads: int) -> None:
    kernel = KERNELS[name]
    program = loops(threads=threads, optimize=True)(kernel.function)
    for size in ("MINI", "SMALL"):
        data = kernel.data(size)
        program(**{k: v for k, v in kernel.at(size).items() if k in kernel.parameters()}, **data)
        assert difference(kernel, kernel.data(size), data, reference(kernel, size)) < kernel.tolerance


def _sliding(y: "f64[P, V]", a: "f64[P, K]", b: "f64[K + V]") -> None:
    for p in range(P):
        for v in range(V):
            for k in range(K):
                y[p, v] += a[p, k] * b[k + v]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_operand_of_one_dimension(threads: int) -> None:
    program = loops(threads=threads)(_sliding)
    schedule = blocked(program.schedule(), tiny_caches(threads))
    assert any(isinstance(node, Allocate) for node in walk(schedule.tree))
    compiled = program.scheduled(schedule)
    rng = np.random.default_rng(2)
    for rows, columns, terms in ((1, 1, 1), (9, 25, 17), (40, 70, 33)):
        y, a, b = (rng.standard_normal(n) for n in ((rows, columns), (rows, terms), terms + columns))
        wanted = y + np.stack([a @ b[v : v + terms] for v in range(columns)], axis=1)
        compiled(y, a, b)
        np.testing.assert_allclose(y, wanted, rtol=1e-9, atol=1e-9)


def test_nothing_is_blocked_where_sums_keep_their_order() -> None:
    schedule = Schedule.of(capture(KERNELS["gemm"].function).function, reassociate=False)
    assert blocked(schedule, native()) == schedule


# ---- refused ------------------------------------------------------------------------------------------------------


def _forward(y: "f64[N, M]", w: "f64[N, N]") -> None:
    for i in range(N):
        for k in range(i):
            for j in range(M):
                y[i, j] += w[i, k] * y[k, j]


def _backward(y: "f64[N, M]", w: "f64[N, N]") -> None:
    for i in range(N):
        for k in range(i + 1, N):
            for j in range(M):
                y[i, j] += w[i, k] * y[k, j]


def _tiled(python: object) -> Schedule:
    return Schedule.of(capture(python).function).apply(  # type: ignore[arg-type]
        Split("k", 4),
        Split("j", 4),
        Reorder(("k.o", "i", "k.i", "j.o", "j.i")),
        Reorder(("j.o", "k.o", "i", "k.i")),
    )


def test_what_the_nest_has_stored_is_not_copied_before_it() -> None:
    schedule = Schedule.of(capture(_forward).function).apply(Split("k", 4), Split("j", 4))
    with pytest.raises(NotApplicable, match="has stored in the same nest"):
        schedule.apply(Reorder(("i", "j.o", "k.o", "k.i", "j.i")), Pack("y", "k.o", "S1"))


def test_what_the_nest_stores_later_is_copied_before_it() -> None:
    schedule = _tiled(_backward).apply(Pack("y", "k.o", "S1"))
    assert poly.check(schedule.scop, schedule.tree, schedule.dependences) is None
    program = loops(_backward).scheduled(schedule)
    rng = np.random.default_rng(1)
    for n, m in ((1, 1), (9, 6), (13, 5)):
        y, w = rng.standard_normal((n, m)), rng.standard_normal((n, n))
        wanted = y + np.triu(w, 1) @ y
        program(y, w)
        np.testing.assert_allclose(y, wanted, rtol=1e-12)


def _alone() -> Schedule:
    return product().schedule().apply(Distribute("j"), Distribute("i"))


def test_partial_sums_of_rows_without_end() -> None:
    schedule = _alone().apply(Split("k", 4), Reorder(("k.o", "S2.i", "S2.j", "k.i")))
    with pytest.raises(NotApplicable, match="no constant extent"):
        schedule.apply(PartialSums("S2", "S2.i"))


def test_partial_sums_without_a_term_have_storage() -> None:
    """The last row of a triangle has no term; its partial sum is set to zero nevertheless."""
    schedule = optimize(capture(KERNELS["trmm"].function).function, parse("x86-64-avx512"))
    assert any(isinstance(t, PartialSums) for t in schedule.trace)
    assert poly.bounds_violation(schedule.scop) is None


def test_partial_sums_keep_no_order() -> None:
    schedule = Schedule.of(product().function, reassociate=False)
    with pytest.raises(NotApplicable, match="reassociated"):
        schedule.apply(PartialSums("S2", "j"))


def test_whole_tiles_only_of_what_has_room_for_them() -> None:
    schedule = _alone().apply(
        Tile(("S2.i", "S2.j"), (2, 4)), Reorder(("S2.i.o", "S2.j.o", "k", "S2.i.i", "S2.j.i"))
    )
    with pytest.raises(NotApplicable, match="reads outside of"):
        schedule.apply(PartialSums("S2", "S2.j.o", ("S2.i.o", "S2.j.o")))


def test_whole_tiles_only_where_all_points_have_the_same_terms() -> None:
    schedule = Schedule.of(capture(_backward).function).apply(Tile(("i", "j"), (2, 4)))
    with pytest.raises(NotApplicable):
        schedule.apply(PartialSums("S1", "j.o", ("i.o",)))


def test_one_term_is_no_sum() -> None:
    with pytest.raises(NotApplicable, match="only one term"):
        product().schedule().apply(SplitSum("S2"))


def test_tiles_are_no_original_order() -> None:
    schedule = _alone().apply(Tile(("S2.i", "S2.j"), (2, 4)), SeparateTiles(("S2.i.o", "S2.j.o")))
    with pytest.raises(NotApplicable, match="split into parts"):
        schedule.apply(Rebase("S2"))


def test_tiles_are_separated_by_loops_around_them() -> None:
    with pytest.raises(NotApplicable, match="loop i is not around S2"):
        _alone().apply(SeparateTiles(("i",), at="S2.i"))


def test_a_read_that_is_not_there() -> None:
    with pytest.raises(NotApplicable, match="different reads"):
        product().schedule().apply(Pack("x", "i", "S2", read=1))
