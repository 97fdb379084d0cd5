"""Instances that nothing waits for: found exactly, and what a loop has for itself."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import pytest

from polydl import poly
from polydl.dsl import capture
from polydl.poly.freedom import free_instances, undisturbed
from polydl.poly.sets import restricted_domain
from polydl.scheduler import Schedule, Split


def _substitution(L: "f64[N, N]", x: "f64[N]") -> None:
    for i in range(N):
        for j in range(i):
            x[i] -= L[i, j] * x[j]


def _schedule() -> Schedule:
    return Schedule.of(capture(_substitution).function)


def _instances(s: Schedule, n: int, condition: str) -> set[tuple[int, ...]]:
    domain = restricted_domain(s.scop, s.scop.statement("S1"), (condition,))
    return set(poly.points(domain, (("N", n),)))


def test_what_ends_no_dependence_in_a_block_is_all_before_it() -> None:
    s = _schedule().apply(Split("i", 4))
    found = free_instances(s.scop, s.tree, s.dependences, "i.i", first=True)
    early = _instances(s, 14, found["S1"])
    assert early == {(i, j) for i, j in _instances(s, 14, "") if j < i // 4 * 4}


def test_a_part_of_lower_dimension_is_left_out() -> None:
    s = _schedule()  # only column 0 ends no dependence
    assert free_instances(s.scop, s.tree, s.dependences, "i", first=True) == {"S1": "false"}


@pytest.mark.parametrize(("reassociate", "found"), [(True, ""), (False, "false")])
def test_a_reduction_counts_where_it_stays_in_order(reassociate: bool, found: str) -> None:
    s = _schedule()
    free = free_instances(s.scop, s.tree, s.dependences, "j", reassociate=reassociate)
    assert free == {"S1": found}


def test_a_row_of_sums_is_undisturbed_but_the_whole_is_not() -> None:
    s = _schedule()
    (path,) = poly.paths(s.scop, s.tree)
    assert undisturbed(s.scop, path, 1, s.dependences, "x")
    assert not undisturbed(s.scop, path, 0, s.dependences, "x")
