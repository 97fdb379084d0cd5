"""Instances that nothing waits for: found exactly, and what a loop has for itself."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import pytest

from polydl import poly
from polydl.dsl import capture
from polydl.poly.freedom import free_columns, free_instances, undisturbed
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


def _steps(Q: "f64[M, N]", A: "f64[M, N]", R: "f64[N, N]") -> None:
    for k in range(N):
        for i in range(M):
            Q[i, k] = A[i, k] + 1.0
        for j in range(k + 1, N):
            for i in range(M):
                R[k, j] += Q[i, k] * A[i, j]
            for i in range(M):
                A[i, j] -= Q[i, k] * R[k, j]


def test_the_columns_that_a_block_does_not_need_are_those_behind_it() -> None:
    s = Schedule.of(capture(_steps).function).apply(Split("k", 3))
    found = free_columns(s.scop, s.tree, s.dependences, "k.i", "j")
    assert set(found) == {"S2", "S3"}
    for name, condition in found.items():
        statement = s.scop.statement(name)
        sizes = (("M", 2), ("N", 10))
        late = set(poly.points(restricted_domain(s.scop, statement, (condition,)), sizes))
        every = set(poly.points(restricted_domain(s.scop, statement, ()), sizes))
        assert late == {(k, j, i) for k, j, i in every if j >= k // 3 * 3 + 3}


def test_where_the_next_step_needs_any_column_none_is_free() -> None:
    s = Schedule.of(capture(_steps).function)  # a block of all steps
    found = free_columns(s.scop, s.tree, s.dependences, "k", "j")
    assert found == {"S2": "false", "S3": "false"}
