"""What every refusal must say, and what a repair must do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from polydl.errors import IllegalSchedule
from polydl.poly import Violation
from polydl.scheduler import Schedule, Transform

__all__ = ["check_illegal"]


def check_illegal(
    name: str, schedule: Schedule, steps: tuple[Transform, ...], golden: Callable[[str, str], None]
) -> IllegalSchedule:
    """The last of the steps is illegal: the message names two instances and the cell, and a repair that then works."""
    before = schedule.apply(*steps[:-1])
    with pytest.raises(IllegalSchedule) as refusal:
        before.apply(steps[-1])
    error = refusal.value
    golden(f"errors/{name}.txt", str(error))
    assert error.what == f"{steps[-1]} is illegal"
    violation = error.violation
    assert violation.reason == error.why
    if isinstance(violation, Violation) and violation.dependence is not None:
        d = violation.dependence
        for statement, at in ((d.source, violation.source), (d.sink, violation.sink)):
            assert f"{statement}({', '.join(map(str, at))})" in error.why
        cell = ", ".join("?" if c is None else str(c) for c in violation.cell)
        assert f"{d.tensor}[{cell}]" in error.why
        assert all(f"{n} = {v}" in error.why for n, v in violation.parameters)
    if error.repair:
        made = before.apply(*error.repair)
        assert made == before.repaired(steps[-1])
        assert made.trace == (*before.trace, *error.repair)
        listed = ", ".join(map(repr, error.repair))
        assert error.next == f"apply({listed}), as repaired({steps[-1]}) does"
    else:
        assert not error.next
        with pytest.raises(IllegalSchedule, match="is illegal"):
            before.repaired(steps[-1])
    return error
