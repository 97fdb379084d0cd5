"""Windows that share a register tile, and contractions side by side that share their loops; results are numpy's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polydl.compiler import compile_function
from polydl.dsl import Function, FunctionBuilder, Layout, reduce_over, sum_over
from polydl.dtypes import F32
from polydl.scheduler import Schedule, Split
from polydl.scheduler.recipes import default_schedule
from polydl.scheduler.recipes.generic import top_nests
from polydl.targets import parse

TARGET = parse("x86-64-avx512")
Window = tuple[int, int]  # kernel and stride


def pool(channels: int, height: int, width: int, window: Window, op: str) -> Function:
    """A pool over the columns and rows of an image in blocks of 16 channels."""
    kernel, stride = window
    f = FunctionBuilder("pool")
    shape = (channels, height, width)
    x = f.input("x", shape, F32, layout=Layout.blocked(shape, 0, 16))
    axes = {"c": channels, "h": (height - kernel) // stride + 1, "w": (width - kernel) // stride + 1}
    taps = {"r": kernel, "s": kernel}
    y = f.compute(
        "y",
        axes,
        lambda c, h, w: reduce_over(op, taps, lambda r, s: x[c, h * stride + r, w * stride + s]),
    )
    function = f.build([y])
    stored = replace(function.tensor("y"), layout=Layout.blocked(tuple(axes.values()), 0, 16))
    return function.with_tensor(stored)


def in_blocks(a: np.ndarray) -> np.ndarray:
    c, h, w = a.shape
    return np.ascontiguousarray(a.reshape(c // 16, 16, h, w).transpose(0, 2, 3, 1))


def columns(schedule: Schedule) -> int:
    return next((t.factor for t in schedule.trace if isinstance(t, Split) and t.loop == "w"), 1)


@pytest.mark.parametrize("op", ["max", "add"])
@pytest.mark.parametrize("window", [(2, 2), (3, 2), (3, 1), (5, 5)], ids=str)
@pytest.mark.parametrize("size", [(32, 12, 61), (16, 5, 9)], ids=str)
def test_windows_share_a_tile(size: tuple[int, int, int], window: Window, op: str) -> None:
    function = pool(*size, window, op)
    schedule = default_schedule(function, TARGET)
    outputs = (size[2] - window[0]) // window[1] + 1
    assert columns(schedule) > 1 or outputs < 4
    rng = np.random.default_rng(3)
    x = rng.standard_normal(size).astype(np.float32)
    x[0, 0, 3] = np.nan
    x[1, 2, 4] = -np.inf
    views = np.lib.stride_tricks.sliding_window_view(x, (window[0], window[0]), (1, 2))
    views = views[:, :: window[1], :: window[1]]
    want = views.max((3, 4)) if op == "max" else views.sum((3, 4), dtype=np.float64)
    with compile_function(default_schedule(function, parse("native")), threads=1) as module:
        y = module(in_blocks(x))
    np.testing.assert_allclose(y, in_blocks(want.astype(np.float32)), rtol=1e-5, atol=1e-5)


def two_products(rows: int, depth: int, width: int) -> Function:
    """Two results of `width` columns, sums over the same rows."""
    f = FunctionBuilder("two")
    x = f.input("x", (rows, 4, depth), F32)
    results = []
    for name in ("a", "b"):
        w = f.input(f"w_{name}", (depth, width), F32, constant=True)
        axes = {"i": rows, "p": 4, "j": width}
        results.append(
            f.compute(name, axes, lambda i, p, j, w=w: sum_over({"k": depth}, lambda k: x[i, p, k] * w[k, j]))
        )
    return f.build(results)


def test_contractions_of_one_operand_share_their_loops() -> None:
    assert len(top_nests(default_schedule(two_products(24, 32, 64), TARGET).tree)) < 2
    most = TARGET.l2_bytes // 2 // (2 * 4 * 32)  # columns of constants that the cache keeps from row to row
    assert len(top_nests(default_schedule(two_products(24, most * 2, 32), TARGET).tree)) == 2


@pytest.mark.parametrize("shape", [(24, 32, 64), (5, 19, 40)], ids=str)
def test_shared_loops_compute_the_same(shape: tuple[int, int, int]) -> None:
    rows, depth, width = shape
    rng = np.random.default_rng(rows)
    x, a, b = (
        rng.standard_normal(s).astype(np.float32) for s in ((rows, 4, depth), (depth, width), (depth, width))
    )
    schedule = default_schedule(two_products(*shape), parse("native"))
    packed = [schedule.function.tensor(n).pack(w) for n, w in (("w_a", a), ("w_b", b))]
    with compile_function(schedule, threads=2) as module:
        results = module(x, *packed)
    for got, w in zip(results, (a, b), strict=True):
        np.testing.assert_allclose(got, x.astype(np.float64) @ w.astype(np.float64), rtol=1e-4, atol=1e-4)
