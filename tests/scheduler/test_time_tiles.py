"""Tiles of time and space: found where dependences allow them, right at every size, with any number of threads."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.polybench.kernels import KERNELS
from polydl import LoopProgram, loops, poly
from polydl.poly.tree import Member, members
from polydl.scheduler.automatic.stencils import stencils
from polydl.scheduler.automatic.strategy import parts
from polydl.scheduler.automatic.time_tiles import Skewed, skewed
from polydl.scheduler.bindings import Parallel
from polydl.scheduler.diamonds import Diamond
from polydl.scheduler.schedule import Schedule
from polydl.vocabulary import Binding

_SWEEPS = {
    "jacobi-1d": (2,), "jacobi-2d": (2, 2), "heat-3d": (2, 2, 2), "fdtd-2d": (1, 1), "seidel-2d": (1, 2),
}  # fmt: skip


def _written(name: str) -> Schedule:
    return loops(KERNELS[name].function).schedule()


def _skewed(name: str) -> Skewed | None:
    schedule = _written(name)
    return next((found for p in parts(schedule.tree) if (found := skewed(schedule, p)) is not None), None)


@pytest.mark.parametrize("name", sorted(_SWEEPS))
def test_the_least_skews_of_time_are_found(name: str) -> None:
    found = _skewed(name)
    assert found is not None
    assert found.skews == _SWEEPS[name]


@pytest.mark.parametrize("name", ["jacobi-2d", "heat-3d", "fdtd-2d"])
def test_rows_of_an_array_need_no_skew(name: str) -> None:
    found = _skewed(name)
    assert found is not None
    assert found.rows is not None
    for path in poly.paths(found.rows.scop, found.rows.tree):
        *outer, row = (c for c in path.coordinates if isinstance(c, Member))
        assert found.loops[0] not in row.expr(path.statement).names()
        assert [m.name for m in outer] == list(found.loops[:-1])


@pytest.mark.parametrize("name", ["gemm", "lu", "adi", "floyd-warshall", "durbin", "nussinov"])
def test_other_programs_are_left_alone(name: str) -> None:
    assert _skewed(name) is None


@cache
def _tiled(name: str, threads: int, across: bool = False) -> LoopProgram:
    """In tiles of time, or `across` in diamonds."""
    program = loops(threads=threads)(KERNELS[name].function)
    schedule = program.schedule()
    target = replace(program.target, cores=threads)
    proposals = list(stencils(schedule, parts(schedule.tree)[0], target))
    (proposal,) = [p for p in proposals if across == any(isinstance(t, Diamond) for t in p.trace)]
    assert Schedule.replay(schedule.function, proposal.trace).tree == proposal.tree
    return program.scheduled(proposal)


@pytest.mark.parametrize(
    ("name", "threads", "across"),
    [
        *((name, n, False) for name in ("jacobi-2d", "fdtd-2d", "seidel-2d") for n in (1, 2)),
        ("heat-3d", 1, False),
        *((name, 2, True) for name in ("jacobi-2d", "heat-3d", "fdtd-2d")),
    ],
)
@settings(max_examples=8, deadline=None)
@given(steps=st.integers(0, 70), extent=st.integers(1, 45))
def test_tiles_compute_the_same_at_every_size(
    name: str, threads: int, across: bool, steps: int, extent: int
) -> None:
    kernel = KERNELS[name]
    sizes = dict.fromkeys(kernel.at("MINI"), extent) | {"TMAX" if name == "fdtd-2d" else "TSTEPS": steps}
    if name == "fdtd-2d":
        sizes["NY"] = extent + 3
    fresh = kernel.initialise(**sizes)
    taken = {n: v for n, v in sizes.items() if n in kernel.parameters()}
    wanted = {n: np.array(v) for n, v in fresh.items()}
    loops(kernel.function)(**taken, **wanted)
    found = {n: np.array(v) for n, v in fresh.items()}
    _tiled(name, threads, across)(**taken, **found)
    for n in kernel.outputs:
        np.testing.assert_array_equal(found[n], wanted[n])


def test_diamonds_are_proposed_for_several_cores_only() -> None:
    schedule = _written("jacobi-2d")
    target = loops(KERNELS["jacobi-2d"].function).target
    for cores, proposals in ((1, 1), (2, 2)):
        assert (
            len(list(stencils(schedule, parts(schedule.tree)[0], replace(target, cores=cores)))) == proposals
        )


def test_planes_are_shared_in_diamonds_alone() -> None:
    schedule = _written("heat-3d")
    target = replace(loops(KERNELS["heat-3d"].function).target, cores=2)
    (proposal,) = stencils(schedule, parts(schedule.tree)[0], target)
    assert any(isinstance(t, Diamond) for t in proposal.trace)


def test_threads_take_tiles_of_time_one_behind_the_other() -> None:
    (member,) = [
        m for m in members(_tiled("jacobi-2d", 2).compiled_schedule().tree) if m.binding is Binding.PARALLEL
    ]
    assert member.name == "t.o.i"
    assert not [
        m for m in members(_tiled("jacobi-2d", 1).compiled_schedule().tree) if m.binding is Binding.PARALLEL
    ]


@pytest.mark.parametrize("name", ["jacobi-1d", "jacobi-2d", "fdtd-2d"])
def test_diamonds_of_a_front_start_together(name: str) -> None:
    found = _skewed(name)
    assert found is not None
    time, space = found.loops[:2]
    front = found.schedule.apply(Diamond(time, space, 8), Parallel(f"{space}.o"))
    kernel = KERNELS[name]
    data, wanted = kernel.data("MINI"), kernel.data("MINI")
    taken = {n: v for n, v in kernel.at("MINI").items() if n in kernel.parameters()}
    program = loops(threads=2)(kernel.function)
    program.scheduled(front)(**taken, **data)
    program(**taken, **wanted)
    for n in kernel.outputs:
        np.testing.assert_array_equal(data[n], wanted[n])
    assert poly.carried_by(front.scop, front.tree, front.dependences, f"{space}.o") == ()
