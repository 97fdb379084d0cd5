"""Changes of statements, right and spoiled: what the judge of values accepts computes the same when run by hand.

Spoiled are the functions that transformations make: a read moved, an instance left out, a constant changed. The judge
may refuse what nobody would notice (a store that nothing depends on); it must not accept anything that can be seen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from polydl.dsl import Function
from polydl.dsl.function import Computation
from polydl.errors import InvalidProgram, NotApplicable, OutOfBounds, PolyhedralBlowup
from polydl.ir.expr import Const, Expr, Load, transform, walk
from polydl.scheduler.redirection import keeps_statements
from polydl.scheduler.same_values import changed_result
from tests.oracle.candidates import candidate
from tests.oracle.enumeration import Terms, outcome
from tests.oracle.functions import Program
from tests.oracle.pairs import prepared

NAMES = ("Accumulate", "ComputeAt", "Inline", "Pack", "PartialSums", "Privatize", "SplitSum")
COUNT = 40  # of each


def changed(r: Random, name: str) -> tuple[Program, Function, Function, bool] | None:
    """A function before and after a transformation that makes other statements."""
    try:
        program, schedule = prepared(r, name)
        step = candidate(r, schedule, name)
        function = None if step is None else step.rewrite(schedule).function
    except (OutOfBounds, NotApplicable, PolyhedralBlowup, InvalidProgram):
        return None
    before = schedule.function
    if function is None or keeps_statements(before, function) or (before.order and not function.order):
        return None
    return program, before, function, schedule.reassociate


def spoiled(r: Random, before: Function, after: Function) -> Function | None:
    """The new function with one statement, a new one if any, changed a little; None where that is impossible."""
    new = [c for c in after.computations if c not in before.computations]
    c = r.choice(new or after.computations)
    read = [x for x in dict.fromkeys(walk(c.value)) if isinstance(x, Load) and x.index]
    numbers = [x for x in walk(c.value) if isinstance(x, Const) and x.dtype.is_float]
    match r.choice(("read", "read", "instance", "constant")):
        case "read" if read:
            old = r.choice(read)
            d = r.randrange(len(old.index))
            moved = tuple(e + r.choice((-1, 1)) if k == d else e for k, e in enumerate(old.index))
            wrong = _with(c, old, Load(old.buffer, moved, old.dtype))
        case "constant" if numbers:
            wrong = _with(c, numbers[0], Const(3.0, numbers[0].dtype))
        case "instance" if c.axes:
            wrong = replace(c, conditions=(*c.conditions, r.choice(c.axes).var >= 1))
        case _:
            return None
    return replace(after, computations=tuple(wrong if x is c else x for x in after.computations))


def _with(c: Computation, old: Expr, new: Expr) -> Computation:
    return replace(c, value=transform(c.value, lambda e: new if e == old else e))


def differs(program: Program, before: Function, after: Function) -> bool:
    for sizes in program.sizes:
        terms = Terms(program.reassociate)
        if outcome(before, None, sizes, terms) != outcome(after, None, sizes, terms):
            return True
    return False


@pytest.mark.parametrize("name", NAMES)
def test_what_is_accepted_computes_the_same(name: str) -> None:
    found: Counter[str] = Counter()
    for number in range(COUNT):
        r = Random(f"values:{name}:{number}")
        case = changed(r, name)
        if case is None:
            continue
        program, before, after, reassociate = case
        for function in (after, *(spoiled(r, before, after) for _ in range(4))):
            if function is None:
                continue
            try:
                wrong = changed_result(before, function, reassociate)
            except (NotApplicable, PolyhedralBlowup):
                found["not judged"] += 1
                continue
            seen = differs(program, before, function)
            assert wrong is not None or not seen, f"{name}, {number}: {function}"
            if function is after:
                assert wrong is None, f"{name}, {number}: {wrong.reason}"
                found["right"] += 1
            else:
                found["refused" if wrong is not None else "unnoticed"] += 1
                found["visible"] += seen
    assert found["right"] > 3, found
    assert found["visible"] > 3, found
    assert found["refused"] >= found["visible"], found
    assert found["not judged"] < 0.2 * found.total(), found
