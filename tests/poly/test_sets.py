from __future__ import annotations

import threading

import pytest

from polydl.errors import InvalidProgram, PolyhedralBlowup
from polydl.poly import (
    budget,
    count,
    extent,
    intersect,
    is_empty,
    is_subset,
    operations_spent,
    points,
    sample,
)

TRIANGLE = "[N] -> { S[i, j] : 0 <= i < N and 0 <= j <= i }"


def test_questions_about_sets() -> None:
    assert is_empty("{ S[i] : i < 0 and i > 3 }")
    assert not is_empty(TRIANGLE)
    assert count("{ S[i, j] : 0 <= i < 4 and 0 <= j <= i }") == 10
    assert is_subset("{ S[i] : 1 <= i <= 2 }", "{ S[i] : 0 <= i < 4 }")
    assert sample(intersect("{ S[i] : 0 <= i <= 5 }", "{ S[i] : i >= 5 }")) == (5,)
    assert sample("{ S[i] : i < 0 and i > 3 }") is None
    assert points(TRIANGLE, (("N", 3),)) == ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2))


def test_extents() -> None:
    low, high = extent(TRIANGLE, "j") or pytest.fail("no extent")
    assert (str(low), str(high)) == ("0", "N - 1")
    low, high = extent("{ S[i, j] : 0 <= i < 5 and i <= j < 2i + 3 }", "j") or pytest.fail("no extent")
    assert (str(low), str(high)) == ("0", "10")
    assert extent("{ S[i] : i >= 0 }", "i") is None
    assert extent("[N, M] -> { S[i] : 0 <= i < N and i < M }", "i") is None  # min(N, M) is not one expression


@pytest.mark.parametrize("text", ["{ S[i : }", "", "{ S[i] : i < q }"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidProgram):
        is_empty(text)


def test_a_budget_ends_in_an_error_and_leaves_isl_usable() -> None:
    hard = "{ S[a, b, c, d] : exists x, y, z : 7x + 11y = 13a + 5b and 3y + 17z = c - d and 0 <= a, b, c, d < 99 }"
    with pytest.raises(PolyhedralBlowup, match="budget of 500 operations"), budget(500):
        count(hard)
    with budget(1_000_000):
        assert not is_empty(TRIANGLE)
        outer = operations_spent()
        with pytest.raises(PolyhedralBlowup), budget(50):
            count("{ S[i, j] : 0 <= i < 40 and 3i <= 7j <= 100 }")
        assert outer <= operations_spent() <= outer + 60
        assert count("{ S[i] : 0 <= i < 40 }") == 40


def test_an_inner_budget_does_not_extend_an_outer_one() -> None:
    with pytest.raises(PolyhedralBlowup), budget(200), budget(10**9):
        count("{ S[i, j] : 0 <= i < 41 and 3i <= 7j <= 100 }")


def test_every_thread_has_its_own_context() -> None:
    found: list[int] = []
    workers = [
        threading.Thread(target=lambda: found.append(count("{ S[i] : 0 <= i < 7 }"))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [7] * 4
