"""Transformed captured programs compute what Python computes: whatever the judge accepts keeps every result.

In-place updates, triangular and descending loops, several statements, and reductions that read their own array.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise, permutations

import numpy as np
import pytest

from polydl.codegen.lower import lower
from polydl.dsl import TensorRole, capture
from polydl.errors import IllegalSchedule, NotApplicable
from polydl.ir import interpret as run_kernel
from polydl.poly import Band, walk
from polydl.scheduler import Distribute, Fuse, Reorder, Reverse, Shift, Split, Tile
from polydl.scheduler.schedule import Schedule, Transform
from tests.dsl.loop_programs import PROGRAMS, bound

_ELEMENTWISE = ("single", "flags", "bits", "rounding", "choices", "small_integers")  # goes in any order
CHECKED = [n for n in PROGRAMS if n not in ("gather", "functions", "truths", "without_axes")]


def transformations(schedule: Schedule) -> Iterator[tuple[Transform, ...]]:
    """Everything small that might apply, legal or not."""
    bands = [node for node in walk(schedule.tree) if isinstance(node, Band)]
    for band in bands:
        names = [m.name for m in band.members]
        for n in names:
            yield (Reverse(n),)
            yield (Split(n, 2), Reverse(f"{n}.o"))
            yield (Distribute(n),)
        for order in permutations(names):
            if len(names) > 1 and list(order) != names:
                yield (Reorder(order),)
        if len(names) > 1:
            yield (Tile(tuple(names), (2, 3, 2)[: len(names)]),)
            yield (Tile(tuple(names[-2:]), (3, 2)), Reverse(f"{names[-1]}.i"))
    heads = [band.members[0].name for band in bands]
    for a, b in pairwise(heads):
        yield (Fuse((a, b)),)
        yield (Shift(schedule.member(b).exprs[0][0], b, 1), Fuse((a, b)))


@pytest.mark.parametrize("name", CHECKED)
def test_accepted_transformations_keep_the_results(name: str) -> None:
    program = PROGRAMS[name]
    sizes = {n: 5 - k % 2 for k, n in enumerate(program.sizes.split())}
    given = program.make(np.random.default_rng(3), **sizes)
    wanted = copy.deepcopy(given)
    with np.errstate(over="ignore"):
        bound(program.function, sizes)(**wanted)
    schedule = Schedule.of(capture(program.function).function)
    accepted = refused = 0
    for steps in transformations(schedule):
        try:
            changed = schedule.apply(*steps, explain=False)
        except (IllegalSchedule, NotApplicable):
            refused += 1
            continue
        accepted += 1
        buffers = {
            t.name: np.array(given[t.name], t.dtype.numpy)
            if t.role is not TensorRole.TEMPORARY
            else np.zeros((), t.dtype.numpy)
            for t in changed.function.tensors
        }
        assert run_kernel(lower(changed), buffers, sizes) == 0
        for t in changed.function.of_role(TensorRole.INOUT):
            rtol = 1e-5 if t.dtype.bytes == 4 else 1e-11
            np.testing.assert_allclose(
                buffers[t.name], wanted[t.name], rtol=rtol, atol=rtol, err_msg=f"{name}: {steps}"
            )
    assert accepted
    assert refused or name in _ELEMENTWISE
