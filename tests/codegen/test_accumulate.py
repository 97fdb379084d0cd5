"""Sums over lanes: partial results stay in vectors through loops and what follows them, and mean the same."""

from __future__ import annotations

import numpy as np
import pytest

from polydl.codegen.passes import accumulate
from polydl.ir import parse_kernel
from polydl.ir.expr import ReduceLanes
from polydl.ir.interpret import interpret
from polydl.ir.kernel import Kernel
from polydl.ir.rewrite import all_expressions

HEAD = "kernel sums(in x: f32[20], in y: f32[20], inout s: f32[4], inout t: f32[4]) sizes(N):\n"
LOOP = """  for k in 0..N // 4:
    s[1] = s[1] + reduce_add(x[ramp(0, 1, 4) + k * 4])
    t[1] = t[1] - reduce_add(y[ramp(0, 1, 4) + k * 4])
"""
REST = "x[ramp(0, 1, 4) + N // 4 * 4 where ramp(0, 1, 4) < N % 4]"
LEFTOVER = f"""  if N % 4 > 0:
    s[1] = s[1] + reduce_add(select(ramp(0, 1, 4) < N % 4, {REST}, -0.0f32))
    t[1] = t[1] - reduce_add(select(ramp(0, 1, 4) < N % 4, {REST.replace("x[", "y[")}, -0.0f32))
"""


def reductions(kernel: Kernel) -> int:
    return sum(isinstance(e, ReduceLanes) for e in all_expressions(kernel.body))


def agree(before: Kernel, after: Kernel) -> None:
    for n in (0, 3, 4, 11, 17):
        results = []
        for kernel in (before, after):
            data = {name: np.arange(20, dtype=np.float32) % 7 for name in ("x", "y")}
            data |= {"s": np.ones(4, np.float32), "t": np.full(4, 2, np.float32)}
            assert interpret(kernel, data, {"N": n}) == 0
            results.append(data)
        for name in ("s", "t"):
            np.testing.assert_array_equal(results[0][name], results[1][name], err_msg=f"{name}, N = {n}")


def test_leftovers_join_the_accumulators() -> None:
    kernel = parse_kernel(HEAD + LOOP + LEFTOVER)
    after = accumulate(kernel)
    assert reductions(kernel) == 4
    assert reductions(after) == 2
    agree(kernel, after)


def test_nothing_at_all_touches_nothing() -> None:
    """`s[N]` is outside where N is 4 or more, and no lane runs there."""
    text = HEAD + LOOP.replace("t[1] = t[1] - reduce_add(y", "s[3] = s[3] + reduce_add(y") + LEFTOVER
    kernel = parse_kernel(text.replace("s[1]", "s[M]").replace("sizes(N)", "sizes(N, M)"))
    data = {name: np.ones(20, np.float32) for name in ("x", "y")}
    data |= {"s": np.ones(4, np.float32), "t": np.ones(4, np.float32)}
    assert interpret(accumulate(kernel), data, {"N": 0, "M": 9}) == 0
    np.testing.assert_array_equal(data["s"], 1)


@pytest.mark.parametrize(
    "between",
    [
        "  t[2] = s[1]\n",  # the finished sum is read
        "  if N % 4 > 0:\n    s[1] = s[1] + reduce_add(select(ramp(0, 1, 4) < N % 4, s[ramp(0, 1, 4)], 0.0f32))\n",
        "  if N % 4 > 0:\n    s[1] = s[1] * 2.0f32\n",
        "  if s[1] > 9.0f32:\n    s[1] = s[1] + reduce_add(x[ramp(0, 1, 4)])\n",
        "  if N > 4:\n    s[1] = s[1] + reduce_add(x[ramp(0, 1, 8)])\n",  # of as many lanes no more
        "  if N > 4:\n    s[1] = max(s[1], reduce_max(x[ramp(0, 1, 4)]))\n",
    ],
)
def test_what_is_no_leftover_stays(between: str) -> None:
    kernel = parse_kernel(HEAD + LOOP + between + LEFTOVER)
    after = accumulate(kernel)
    assert reductions(after) == reductions(kernel)
    agree(kernel, after)


def test_conditions_of_leftovers_are_joined() -> None:
    more = LEFTOVER + "  if N > 7:\n    if N > 9:\n      s[1] = s[1] + reduce_add(x[ramp(8, 1, 4)])\n"
    kernel = parse_kernel(HEAD + LOOP + more)
    after = accumulate(kernel)
    assert reductions(after) == 2
    agree(kernel, after)
