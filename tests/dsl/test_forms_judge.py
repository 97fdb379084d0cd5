"""Forms of reductions in random orders: what the judge lets pass is right."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from polydl.dsl import (
    FunctionBuilder,
    Operator,
    interpret,
    reduce_over,
)
from polydl.errors import IllegalSchedule, NotApplicable, UsageError
from polydl.scheduler import (
    Parallel,
    Reorder,
    Reverse,
    Schedule,
    Split,
    Transform,
    Vectorize,
)
from tests.dsl.forms import LARGEST, LATEST, RNG, integers, run_in_c


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 9)),
    steps=st.lists(
        st.sampled_from(
            [
                Reverse("k"),
                Reverse("v_i"),
                Reorder(("k", "v_i")),
                Parallel("v_i"),
                Split("k", 4),
                Vectorize("k"),
            ]
        ),
        max_size=3,
    ),
    operator=st.sampled_from([LARGEST, LATEST]),
)
def test_what_the_judge_lets_pass_is_right(
    sizes: tuple[int, int], steps: list[Transform], operator: Operator
) -> None:
    f = FunctionBuilder("f")
    x = f.input("x", sizes)
    v, w = f.compute_several("v w", "v_i", lambda v_i: reduce_over(operator, "k", lambda k: (x[v_i, k], k)))
    schedule = Schedule.of(f.build([v, w]))
    x_ = integers(RNG, *sizes)
    wanted = interpret(schedule.function, {"x": x_})
    for step in steps:
        try:
            schedule = schedule.apply(step)
        except (IllegalSchedule, NotApplicable, UsageError):
            continue
    got = [np.zeros_like(a) for a in wanted.values()]
    run_in_c(schedule, [x_], got, {})
    for a, b in zip(got, wanted.values(), strict=True):
        np.testing.assert_array_equal(a, b)
