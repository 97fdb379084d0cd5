"""Matrix products whose rows are pages apart: the recipe packs, or takes fewer rows at once; the result is numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from polydl.dsl import Function, FunctionBuilder, sum_over
from polydl.dtypes import F32
from polydl.scheduler import Pack, ReadAhead, Split
from polydl.scheduler.recipes import default_schedule
from polydl.targets import Target, parse
from tests.graph.build import model, node
from tests.networks.peer import outputs

TARGET = "x86-64-avx512"


def product(m: int, n: int, k: int, *, constant: bool = True) -> Function:
    f = FunctionBuilder("product")
    a, b = f.input("a", (m, k), F32), f.input("b", (k, n), F32, constant=constant)
    return f.build(
        [f.compute("y", {"i": m, "j": n}, lambda i, j: sum_over({"k": k}, lambda k: a[i, k] * b[k, j]))]
    )


def packed(function: Function) -> set[str]:
    return {t.tensor for t in default_schedule(function, parse(TARGET)).trace if isinstance(t, Pack)}


def rows(function: Function, target: Target) -> int:
    """Rows of the register tile."""
    trace = default_schedule(function, target).trace
    return next(t.factor for t in trace if isinstance(t, Split) and t.loop == "i")


def test_rows_on_the_same_sets_are_packed_where_many_panels_read_them() -> None:
    assert packed(product(256, 256, 1024)) == {"a"}
    assert packed(product(256, 256, 1040)) == set()


def test_run_time_operands() -> None:
    assert packed(product(256, 256, 512, constant=False)) == {"a", "b"}
    assert packed(product(1024, 64, 1024, constant=False)) == {"b"}


def test_constants_that_a_cache_does_not_hold_are_asked_for_ahead() -> None:
    def ahead(function: Function) -> set[str]:
        return {t.tensor for t in default_schedule(function, parse(TARGET)).trace if isinstance(t, ReadAhead)}

    assert ahead(product(64, 512, 256)) == {"b"}
    assert ahead(product(64, 32, 64)) == set()  # it stays in the first-level cache
    assert ahead(product(64, 512, 256, constant=False)) == set()


def test_few_panels_take_no_more_rows_than_a_set_has_lines() -> None:
    target = parse(TARGET)
    ways = target.l1d_bytes // 4096
    assert packed(product(256, 64, 1024)) == set()
    assert rows(product(256, 64, 1024), target) <= ways


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("shape", [(70, 300, 1024), (61, 64, 2048), (129, 100, 1024), (9, 7, 1024)])
def test_results(shape: tuple[int, int, int], constant: bool) -> None:
    m, n, k = shape
    rng = np.random.default_rng(k + m)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
    inputs = {"a": a} if constant else {"a": a, "b": b}
    proto = model([node("MatMul", ["a", "b"], ["y"])], {x: v.shape for x, v in inputs.items()},
                  constants={"b": b} if constant else {})  # fmt: skip
    y = outputs(proto, inputs)["y"]
    np.testing.assert_allclose(y, a.astype(np.float64) @ b.astype(np.float64), rtol=1e-4, atol=1e-3)
