"""Programs and schedules made at random: the judge says legal exactly where running all instances by hand does.

A short slice; `python -m tests.oracle --pairs 20000` is the long run, and prints what it has counted.
`POLYDL_ORACLE_PAIRS` sets the number of pairs here (default 240).
"""

from __future__ import annotations

import os

import pytest

from polydl import poly
from polydl.poly import legality
from polydl.scheduler import TRANSFORMS
from tests.oracle import pairs
from tests.oracle.candidates import ALWAYS_LEGAL
from tests.oracle.pairs import Misjudged, Tally, pair

COUNT = int(os.environ.get("POLYDL_ORACLE_PAIRS", "240"))
SLICES = 4  # for as many workers


@pytest.mark.parametrize("part", range(SLICES))
def test_the_judge_agrees_with_running_all_instances(part: int) -> None:
    tally = Tally()
    each = COUNT // SLICES
    for number in range(part * each, (part + 1) * each):
        pair(7, number, tally)
    assert tally.pairs > 0.9 * each
    assert tally.illegal.total() > 0.4 * tally.pairs, str(tally)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_every_transformation_is_judged_legal_and_illegal(name: str) -> None:
    """Where it can be illegal, that is."""
    tally = Tally()
    number = 0
    names = pairs.names()
    while not tally.legal[name] or not (tally.illegal[name] or name in ALWAYS_LEGAL):
        number += 1
        assert number < 60 * len(names), str(tally)
        if names[number % len(names)] == name:
            pair(8, number, tally)


def test_a_judge_that_lets_everything_pass_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legality, "_conflict", lambda *_: None)
    with pytest.raises(Misjudged, match="judged legal, and it is illegal"):
        _many()


def test_a_judge_that_refuses_everything_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    never = poly.Violation(None, (), (), (), (), "", "never")
    monkeypatch.setattr(poly, "check", lambda *_: never)
    with pytest.raises(Misjudged, match="judged illegal, and it is legal"):
        _many()


def _many() -> None:
    for number in range(200):
        pair(9, number, Tally())
