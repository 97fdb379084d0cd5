"""Whatever the judge accepts keeps the result: random programs under random transformations, and the recipes.

`POLYDL_SCHEDULE_EXAMPLES` sets the number of examples (default 150).
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polydl.scheduler import default_schedule
from polydl.targets import parse
from tests.codegen.native import level
from tests.scheduler.programs import Case, cases, chain, convolution, matmul, normalised, triangular
from tests.scheduler.running import check_compiled, check_lowered
from tests.scheduler.steps import schedules

EXAMPLES = int(os.environ.get("POLYDL_SCHEDULE_EXAMPLES", "150"))
TARGETS = ("x86-64", "x86-64-avx2", "x86-64-avx512")
quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=quiet)
@given(cases(), st.data())
def test_accepted_schedules_keep_the_result(case: Case, data: st.DataObject) -> None:
    check_lowered(data.draw(schedules(case.schedule())), case)


@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=quiet)
@given(cases(), st.data())
def test_accepted_schedules_keep_the_result_compiled(case: Case, data: st.DataObject) -> None:
    if not case.sizes:
        check_compiled(data.draw(schedules(case.schedule())), case)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=quiet)
@given(cases(), st.sampled_from(TARGETS))
def test_recipes_keep_the_result(case: Case, target: str) -> None:
    check_lowered(default_schedule(case.function, parse(target)), case)


# Extents of one, primes, less and more than the vectors of every target, and empty ones.
SIZES = {
    "matmul_1": matmul(1, 1, 1),
    "matmul_row": matmul(1, 17, 5, bias=True),
    "matmul_column": matmul(19, 1, 5),
    "matmul_primes": matmul(13, 37, 11, bias=True),
    "matmul_one_vector": matmul(4, 16, 16),
    "matmul_many_tiles": matmul(31, 67, 8, bias=True),
    "matmul_empty_sum": matmul(4, 20, 0, bias=True),
    "matmul_empty": matmul(0, 20, 3),
    "convolution_small": convolution(1, 3, 5, 4, 4),
    "convolution_vectors": convolution(2, 3, 16, 5, 7),
    "convolution_tails": convolution(1, 2, 19, 9, 9),
    "convolution_strided": convolution(1, 4, 17, 9, 9, stride=2),
    "convolution_of_one": convolution(1, 1, 1, 1, 1),
    "rows": normalised(5, 33),
    "one_row": normalised(1, 129),
    "one_column": normalised(40, 1),
    "triangle": triangular(19),
    "halo": chain(21, 17),
    "tiny_halo": chain(2, 1),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SIZES)
def test_recipes_at_awkward_sizes(name: str, target: str) -> None:
    case = SIZES[name]
    schedule = default_schedule(case.function, parse(target))
    if all(t.extents == () or 0 not in t.extents for t in case.function.tensors):
        check_compiled(schedule, case, target=level(target).name)
    if "convolution" not in name and "many" not in name:  # the interpreter takes its time
        check_lowered(schedule, case)
