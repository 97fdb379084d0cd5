"""Strided vector loads: register tiles, their transposition in shuffles, and overlapping contiguous loads."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydl.codegen.llvm import emit_llvm
from polydl.codegen.passes import Transpose, flatten
from polydl.dtypes import F32, F64, I8, I16, I32, DType
from polydl.ir import parse_kernel, verify
from polydl.ir.kernel import Alloc, Kernel, Memory
from polydl.ir.rewrite import walk_stmts
from polydl.targets import Target, parse
from tests.codegen.agree import check
from tests.codegen.native import LEVELS, level, run_kernel

_DTYPES = (F32, F64, I32, I16, I8)


def transposition(dtype: DType, rows: int, columns: int, height: int, width: int, first: int = 0) -> Kernel:
    """y = transposed x, of which the rows `first`… of x are done in one tile."""
    return parse_kernel(f"""
kernel turn(in x: {dtype.name}[{rows}, {columns}], out y: {dtype.name}[{columns}, {rows}]):
  unroll for u in {first}..{first + width}:
    vector for t in 0..{height} length {height}:
      y[u, t] = x[t, u]
""")


def tiles(kernel: Kernel, target: Target) -> int:
    """How many register tiles the pass makes."""
    after = Transpose(target)(flatten(kernel))
    return sum(isinstance(s, Alloc) and s.buffer.memory is Memory.REGISTER for s in walk_stmts(after.body))


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
def test_whole_tiles(target: str, dtype: DType) -> None:
    machine = level(target)
    lanes = machine.lanes(dtype.bytes)
    kernel = transposition(dtype, lanes, lanes, lanes, lanes)
    assert tiles(kernel, machine) == 1
    assert "gather" not in emit_llvm(kernel, machine)
    check(kernel, machine)


@pytest.mark.parametrize("target", LEVELS)
def test_partial_tiles(target: str) -> None:
    machine = level(target)

    @given(st.sampled_from(_DTYPES), st.data())
    @settings(max_examples=40, deadline=None)
    def run(dtype: DType, draw: st.DataObject) -> None:
        lanes = machine.lanes(dtype.bytes)
        height, width = draw.draw(st.integers(1, lanes)), draw.draw(st.integers(1, lanes))
        first = draw.draw(st.integers(0, 3))
        rows, columns = height + draw.draw(st.integers(0, 2)), first + width + draw.draw(st.integers(0, 2))
        check(transposition(dtype, rows, columns, height, width, first), machine)

    run()


@pytest.mark.parametrize("target", LEVELS)
def test_every_stride(target: str) -> None:
    """Lanes 1 to 17 elements apart, the last one at the very end of the buffer."""
    machine = level(target)
    for dtype in _DTYPES:
        lanes = machine.lanes(dtype.bytes)
        for stride in range(1, 18):
            check(
                parse_kernel(f"""
kernel pick(in x: {dtype.name}[{stride * (lanes - 1) + 1}], out y: {dtype.name}[{lanes}]):
  vector for t in 0..{lanes} length {lanes}:
    y[t] = x[{stride} * t]
"""),
                machine,
            )


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
def test_rows_of_any_length(target: str, dtype: DType) -> None:
    """Extents are symbolic: lanes are a row apart, however long that is."""
    machine = level(target)
    lanes = machine.lanes(dtype.bytes)
    kernel = parse_kernel(f"""
kernel turn(in x: {dtype.name}[M, N], out y: {dtype.name}[M // {lanes}, N, {lanes}]) sizes(M, N):
  for p in 0..M // {lanes}:
    for q in 0..N // {lanes}:
      unroll for u in 0..{lanes}:
        vector for t in 0..{lanes} length {lanes}:
          y[p, u + q * {lanes}, t] = x[t + p * {lanes}, u + q * {lanes}]
""")
    verify(kernel)
    assert tiles(kernel, machine) == 1
    assert "gather" not in emit_llvm(kernel, machine)
    sizes = {"M": 2 * lanes + 1, "N": 3 * lanes - 1}
    x = np.arange(prod(sizes.values())).astype(dtype.numpy).reshape(sizes["M"], sizes["N"])
    want = np.zeros((2, sizes["N"], lanes), dtype.numpy)
    want[:, : 2 * lanes] = x[: 2 * lanes, : 2 * lanes].reshape(2, lanes, 2 * lanes).swapaxes(1, 2)
    y = np.zeros_like(want)
    assert run_kernel(kernel, machine, {"x": x, "y": y}, sizes) == [0]
    np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("place", ["x[u + t, u]", "x[t, u + t]", "x[u, t]", "x[t, 2 * u]"])
def test_rows_of_any_length_are_read_along_themselves_only(place: str) -> None:
    machine = parse("x86-64-avx512")
    kernel = parse_kernel(f"""
kernel turn(in x: f32[M, N], out y: f32[16, 16]) sizes(M, N):
  unroll for u in 0..16:
    vector for t in 0..16 length 16:
      y[u, t] = {place}
""")
    assert tiles(kernel, machine) == 0


def test_what_is_written_is_not_read_ahead() -> None:
    """Rows are not read before stores to the same buffer that come first."""
    machine = parse("x86-64-avx512")
    kernel = parse_kernel("""
kernel turn(inout x: f32[16, 32]):
  unroll for u in 0..16:
    vector for t in 0..16 length 16:
      x[u, t + 16] = x[t, u]
""")
    assert tiles(kernel, machine) == 0


def test_only_what_is_read_in_every_lane() -> None:
    """A load in the arm of a selection may not be in bounds elsewhere."""
    machine = parse("x86-64-avx512")
    kernel = parse_kernel("""
kernel turn(in x: f32[16, 16], out y: f32[16, 16]):
  unroll for u in 0..16:
    vector for t in 0..16 length 16:
      y[u, t] = select(u < t, x[t, u], 0.0)
""")
    assert tiles(kernel, machine) == 0


def test_collapsed_loops_become_contiguous() -> None:
    kernel = parse_kernel("""
kernel copy(in x: f32[5, 7], out y: f32[5, 7]):
  for z in 0..35:
    y[z // 7, z % 7] = x[z // 7, z % 7]
""")
    after = flatten(kernel)
    assert [p.buffer.shape for p in after.params] == [
        p.buffer.shape
        for p in parse_kernel("""
kernel copy(in x: f32[35], out y: f32[35]):
  for z in 0..35:
    y[z] = x[z]
""").params
    ]
    assert (
        after.body
        == parse_kernel("""
kernel copy(in x: f32[35], out y: f32[35]):
  for z in 0..35:
    y[z] = x[z]
""").body
    )


@pytest.mark.parametrize("target", LEVELS)
def test_the_first_lanes_of_a_stride(target: str) -> None:
    """Any number of lanes, the last one at the very end of the buffer, without gathers for small strides."""
    machine = level(target)
    for dtype in (F32, F64, I8):
        lanes = machine.lanes(dtype.bytes)
        for stride in (2, 3, 5):
            for count in range(1, min(lanes, 20) + 1):
                kernel = parse_kernel(f"""
kernel pick(in x: {dtype.name}[{stride * (count - 1) + 1}], out y: {dtype.name}[{count}]):
  vector for t in 0..{count} length {count}:
    y[t] = x[{stride} * t]
""")
                check(kernel, machine)
                if count > 4 and stride < 3:
                    assert "gather" not in emit_llvm(kernel, machine)
