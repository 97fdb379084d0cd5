"""isl's scheduler: its orders are judged legal, its facts are right, its work is bounded."""

# mypy: disable-error-code="name-defined, valid-type"
# ruff: noqa: F821

from __future__ import annotations

import pytest

from benchmarks.polybench.kernels import KERNELS
from polydl import poly
from polydl.dsl import capture
from polydl.errors import NotApplicable, PolyhedralBlowup
from polydl.poly.affine import dim
from polydl.poly.affine_schedule import SchedulerOptions, affine_schedule
from polydl.poly.full_tiles import TileSide, full_tiles
from polydl.scheduler.expansion import Expand
from polydl.scheduler.schedule import Schedule


def _plain(name: str) -> Schedule:
    return Schedule.of(capture(KERNELS[name].function).function)


@pytest.mark.parametrize("fuse", ["min", "moderate", "max"])
@pytest.mark.parametrize("name", ["gemm", "lu", "jacobi-2d", "floyd-warshall", "trisolv"])
def test_every_order_is_legal(name: str, fuse: str) -> None:
    s = _plain(name)
    found = affine_schedule(s.scop, s.dependences, SchedulerOptions(fuse))
    assert poly.check(s.scop, found.tree, s.dependences) is None
    assert {n for b in found.bands for n in b.loops} == {m.name for m in poly.members(found.tree)}


def test_a_product_has_two_loops_that_carry_nothing_and_a_permutable_band() -> None:
    s = _plain("gemm")
    (band,) = affine_schedule(s.scop, s.dependences).bands
    assert (band.loops, band.coincident, band.permutable) == (("i", "j", "k"), (True, True, False), True)


def test_min_fusion_makes_nests_of_their_own() -> None:
    s = _plain("gemm")
    assert isinstance(
        affine_schedule(s.scop, s.dependences, SchedulerOptions("min")).tree, poly.tree.Sequence
    )


def test_a_stencil_is_skewed_until_it_is_permutable() -> None:
    s = _plain("seidel-2d")
    (band,) = affine_schedule(s.scop, s.dependences).bands
    assert band.permutable
    assert not any(band.coincident)
    assert len(band.loops) == 3


def test_the_budget_holds_and_leaves_isl_usable() -> None:
    s = _plain("correlation")
    with pytest.raises(PolyhedralBlowup, match="used up"):
        affine_schedule(s.scop, s.dependences, operations=100_000)
    s = _plain("gemm")
    assert affine_schedule(s.scop, s.dependences).bands


def _contraction(N: size, A: f64[N, N, N, N], B: f64[N, N, N, N], C: f64[N, N, N, N]) -> None:
    for a in range(N):
        for b in range(N):
            for c in range(N):
                for d in range(N):
                    s = 0.0
                    for e in range(N):
                        for f in range(N):
                            s += A[a, e, b, f] * B[f, d, e, c]
                    C[a, b, c, d] = s


def test_dependences_with_many_free_dimensions_are_refused_before_isl_starts() -> None:
    """isl takes half a minute of some of them, and counts 500,000 operations."""
    s = Schedule.of(capture(_contraction).function)
    with pytest.raises(PolyhedralBlowup, match="too many dimensions"):
        affine_schedule(s.scop, s.dependences)
    places = s.apply(Expand("s", ("a", "b", "c", "d")))
    assert affine_schedule(places.scop, places.dependences).bands


def test_full_tiles_of_a_triangle() -> None:
    scop = _plain("syrk").scop
    condition = full_tiles(scop, "S2", (TileSide("i", dim("i"), 4), TileSide("j", dim("j"), 8)))
    sizes = (("N", 20), ("M", 1))
    domain = scop.statement("S2").domain
    chosen = poly.set_text(scop.parameters, "S2", ("i", "j", "k"), (condition,))
    inside = poly.points(domain, sizes)
    points: dict[tuple[int, int], int] = {}
    for i, j, _ in inside:
        points[i // 4, j // 8] = points.get((i // 4, j // 8), 0) + 1
    full = {p for p in inside if points[p[0] // 4, p[1] // 8] == 4 * 8}
    assert full
    assert set(poly.points(poly.intersect(domain, chosen), sizes)) == full


def test_full_tiles_of_a_skewed_coordinate() -> None:
    scop = _plain("jacobi-1d").scop
    skewed = dim("i") + dim("t") * 2
    condition = full_tiles(scop, "S1", (TileSide("i", skewed, 4),))
    sizes = (("N", 23), ("TSTEPS", 5))
    domain = scop.statement("S1").domain
    inside = poly.points(domain, sizes)
    places = [(t, (i + 2 * t) // 4) for t, i in inside]
    full = {p for p, place in zip(inside, places, strict=True) if places.count(place) == 4}
    chosen = poly.set_text(scop.parameters, "S1", ("t", "i"), (condition,))
    assert full
    assert set(poly.points(poly.intersect(domain, chosen), sizes)) == full


def test_no_full_tile_is_said() -> None:
    scop = Schedule.of(capture(_short).function).scop
    with pytest.raises(NotApplicable):
        full_tiles(scop, "S1", (TileSide("i", dim("i"), 4),))


def _short(x: "f64[3]") -> None:  # type: ignore  # noqa: UP037
    for i in range(3):
        x[i] = 1.0
