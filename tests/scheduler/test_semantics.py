"""Whatever the judge accepts keeps the result: random programs under random transformations, and the recipes.

`POLYDL_SCHEDULE_EXAMPLES` sets the number of examples (default 150).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polydl.scheduler import default_schedule
from polydl.targets import parse
from tests.scheduler.programs import Case, cases
from tests.scheduler.running import check_lowered
from tests.scheduler.steps import schedules

EXAMPLES = int(os.environ.get("POLYDL_SCHEDULE_EXAMPLES", "150"))
quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=quiet)
@given(cases(), st.data())
def test_accepted_schedules_keep_the_result(case: Case, data: st.DataObject) -> None:
    schedule = data.draw(schedules(case.schedule()))
    check_lowered(schedule, case)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=quiet)
@given(cases(), st.sampled_from(["x86-64", "x86-64-avx2", "x86-64-avx512"]))
def test_recipes_keep_the_result(case: Case, target: str) -> None:
    check_lowered(default_schedule(case.function, parse(target)), case)
