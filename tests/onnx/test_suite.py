"""All cases of ONNX's backend suite: those that must pass do, the others are refused with an error of polydl's."""

from __future__ import annotations

import unittest

import numpy as np
import pytest

from polydl.errors import PolydlError
from tests.onnx.exclusions import CASES, CATEGORIES, OPERATORS, ROUNDING
from tests.onnx.suite import Case, cases

WANTED = [c for c in cases() if c.excluded is None]
REFUSED = [c for c in cases() if c.excluded not in (None, ROUNDING, *CATEGORIES.values())]
ROUNDED = [c for c in cases() if c.excluded == ROUNDING]


@pytest.mark.parametrize("case", WANTED, ids=repr)
def test_case(case: Case) -> None:
    case.run()


@pytest.mark.parametrize("case", REFUSED, ids=repr)
def test_excluded_case_is_refused(case: Case) -> None:
    """An exclusion that is no longer needed fails here; so does a crash, or an error that is not polydl's."""
    with pytest.raises(PolydlError):
        case.run()


@pytest.mark.parametrize("case", ROUNDED, ids=repr)
def test_rounded_case_differs(case: Case) -> None:
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        case.run()


def test_no_case_of_pytorch_is_excluded() -> None:
    counts = {k: sum(c.category == k for c in WANTED) for k in ("PyTorchConverted", "PyTorchOperator")}
    assert counts == {"PyTorchConverted": 82, "PyTorchOperator": 35}


def test_most_nodes_are_wanted() -> None:
    """So that a rule that excludes too much is seen."""
    nodes = [c for c in cases() if c.category == "Node"]
    assert sum(c.excluded is None for c in nodes) >= 0.7 * len(nodes)


def test_every_rule_excludes_something() -> None:
    used = {c.excluded for c in cases()}
    assert {*CASES.values(), *OPERATORS.values()} <= used


def test_a_wrong_result_is_seen() -> None:
    """The suite compares: a backend that returns zeros fails."""
    case = next(c for c in WANTED if c.name == "test_add")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "polydl.onnx_backend.Prepared.run", lambda self, inputs: (np.zeros((3, 4, 5), np.float32),)
        )
        with pytest.raises((AssertionError, unittest.TestCase.failureException)):
            case.run()
