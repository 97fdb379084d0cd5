"""What the cost model counts: trips and steps of the loops of a schedule, and orders of predicted times."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest

from benchmarks.polybench.kernels import KERNELS
from polydl import loops, poly
from polydl.poly.tree import members
from polydl.scheduler.automatic.choose import optimize
from polydl.scheduler.automatic.extents import axis_extents, loops_on, typical_sizes
from polydl.scheduler.automatic.predict import predicted_time
from polydl.scheduler.loops import Split, Tile
from polydl.scheduler.packing import Pack
from polydl.scheduler.schedule import Schedule, Transform
from polydl.targets import Target, parse
from polydl.vocabulary import Binding

_KB = 1024

# Whatever runs the tests: a desktop's caches, and a server's.
MACHINES = [
    pytest.param(
        replace(parse("x86-64-avx512"), l1d_bytes=48 * _KB, l2_bytes=l2 * _KB, l3_bytes=l3 * _KB), id=name
    )
    for name, l2, l3 in (("desktop", 1024, 16 * 1024), ("server", 2048, 126 * 1024))
]


def _trips(*steps: Transform) -> dict[str, tuple[float, float]]:
    """Trips and step of every loop around the first statement of gemm's product."""
    schedule = Schedule.of(loops(KERNELS["gemm"].function).function).apply(*steps)
    path = next(p for p in poly.paths(schedule.scop, schedule.tree) if p.statement == "S2")
    sizes = typical_sizes(schedule.scop)
    extents = axis_extents(schedule.statement("S2"), sizes)
    found = {x.member.name: (x.trips, x.step) for x in loops_on(path, extents) if x is not None}
    assert prod(trips for trips, _ in found.values()) == pytest.approx(prod(extents.values()))
    return found


def test_a_tile_of_tiles_moves_by_whole_tiles() -> None:
    found = _trips(Split("k", 32), Split("k.o", 4))
    extent = found["k.o.o"][0] * 128
    assert found["k.o.o"] == (extent / 128, 128)
    assert found["k.o.i"] == (4, 32)
    assert found["k.i"] == (32, 1)


def test_tiles_inside_of_a_tile() -> None:
    found = _trips(Split("k", 32), Split("k.i", 4))
    assert found["k.i.o"] == (8, 4)
    assert found["k.i.i"] == (4, 1)


@pytest.mark.parametrize(
    ("name", "loop"),
    [("jacobi-2d", "t.o.i"), ("heat-3d", "i.o"), ("fdtd-2d", "t.o.i"), ("seidel-2d", "t.o.i")],
)
@pytest.mark.parametrize("machine", MACHINES)
def test_a_second_core_helps_tiles_of_time(name: str, loop: str, machine: Target) -> None:
    """A wavefront of isl's order was taken for fdtd-2d, and ran three times as long as the tiles on one core.

    In heat-3d space has few tiles, so that threads one behind the other wait at its ends; diamonds start at once.
    """
    program = loops(KERNELS[name].function)
    one, two = (replace(machine, cores=n) for n in (1, 2))
    alone, shared = optimize(program.function, one), optimize(program.function, two)
    assert [m.name for m in members(shared.tree) if m.binding is Binding.PARALLEL] == [loop]
    assert any(isinstance(t, Tile) for t in alone.trace)
    assert 1.4 < predicted_time(alone, one) / predicted_time(shared, two) <= 2


def test_packed_panels_are_read_in_order() -> None:
    """Blocks of gemm read in place were predicted to be as fast, and ran half again as long on one core."""
    program = loops(KERNELS["gemm"].function)
    chosen = optimize(program.function, replace(program.target, cores=1))
    assert any(isinstance(t, Pack) and t.layout is not None for t in chosen.trace)
