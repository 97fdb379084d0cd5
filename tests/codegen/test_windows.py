"""Windows that slide along a row: the picture, what must be left alone, and that nothing outside is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydl.codegen.llvm import emit_llvm, lower
from polydl.codegen.passes import Vectorize, Windows
from polydl.dtypes import F32, F64, I16, I32, INDEX, DType
from polydl.ir import parse_kernel, print_kernel, verify
from polydl.ir.expr import Const
from polydl.ir.kernel import Alloc, Kernel
from polydl.ir.rewrite import walk_stmts
from polydl.targets import parse
from tests.codegen.agree import check
from tests.codegen.native import level

_WIDE = parse("x86-64-avx512")
_STENCIL = """\
kernel f(inout A: f64[N], inout B: f64[N]) sizes(N):
  for k in 0..(N - 2) // 8:
    vector for v in 0..8 length 8:
      {line}
"""


def _passed(line: str, target: str = "x86-64-avx512") -> str:
    machine = parse(target)
    kernel = Vectorize(machine)(parse_kernel(_STENCIL.format(line=line)))
    after = Windows(machine)(kernel)
    verify(after)
    return print_kernel(after)


_PICTURE = """\
kernel f(inout A: f64[N], inout B: f64[N]) sizes(N):
  if 0 < (N - 2) // 8:
    alloc A.window: register f64[16]:
      A.window[ramp(0, 1, 8)] = A[ramp(0, 1, 8)]
      for k in 0..(N + 6) // 8 - 2:
        A.window[ramp(8, 1, 8)] = A[ramp(k * 8 + 8, 1, 8)]
        B[8 * k + ramp(0, 1, 8) + 1] = A.window[ramp(0, 1, 8)] + A.window[ramp(2, 1, 8)]
        A.window[ramp(0, 1, 8)] = A.window[ramp(8, 1, 8)]
    B[8 * ((N + 6) // 8 - 2) + ramp(0, 1, 8) + 1] = \
A[8 * ((N + 6) // 8 - 2) + ramp(0, 1, 8)] + A[8 * ((N + 6) // 8 - 2) + ramp(0, 1, 8) + 2]
"""


def test_neighbours_come_from_a_window() -> None:
    text = _passed("B[8*k + v + 1] = A[8*k + v] + A[8*k + v + 2]")
    assert text.rstrip() == _PICTURE.rstrip()


@pytest.mark.parametrize(
    "line",
    [
        "A[8*k + v + 1] = A[8*k + v] + A[8*k + v + 2]",  # what is stored to is not read ahead
        "B[8*k + v] = A[8*k + v]",  # one position
        "B[8*k + v] = A[8*k + v] + A[8*k + v + 8]",  # whole vectors apart: nothing to be shifted
        "B[8*k + v] = A[4*k + v] + A[4*k + v + 1]",  # iterations are no whole vectors apart
        "B[8*k + v] = select(k < 3, A[8*k + v] + A[8*k + v + 1], 0.0f64)",  # read only if
        "B[8*k + v] = A[N - 8*k - v] + A[N - 8*k - v - 1]",  # downwards
    ],
)
def test_what_is_left_alone(line: str) -> None:
    assert "window" not in _passed(line)


def test_vectors_shorter_than_a_line_are_loaded_where_they_are() -> None:
    line = "B[8*k + v + 1] = A[8*k + v] + A[8*k + v + 1] + A[8*k + v + 2]"
    assert "window" in _passed(line)
    assert "window" not in _passed(line, "x86-64-avx2")


def test_rows_of_a_flat_array_have_windows_of_their_own() -> None:
    kernel = parse_kernel("""
kernel f(in A: f64[130], out B: f64[64]):
  for k in 0..7:
    vector for v in 0..8 length 8:
      B[8*k + v] = A[8*k + v] + A[8*k + v + 64] + A[8*k + v + 2] + A[8*k + v + 66]
""")
    after = Windows(_WIDE)(lower(kernel, _WIDE))
    made = [s.buffer for s in walk_stmts(after.body) if isinstance(s, Alloc)]
    assert [b.shape for b in made] == [(Const(16, INDEX),)] * 2


def test_a_shifted_vector_is_one_shuffle() -> None:
    text = emit_llvm(
        parse_kernel(_STENCIL.format(line="B[8*k + v + 1] = A[8*k + v] + A[8*k + v + 2]")), _WIDE
    )
    assert "<i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9>" in text


def _check(kernel: Kernel) -> None:
    machine = level("x86-64-avx512")
    check(kernel, machine, Windows(machine))


@settings(max_examples=120, deadline=None)
@given(
    dtype=st.sampled_from((F32, F64, I32, I16)),
    places=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    vectors=st.integers(0, 5),
    at_once=st.integers(1, 2),
    start=st.integers(0, 3),
)
def test_rows_just_as_long_as_what_is_read(
    dtype: DType, places: list[int], vectors: int, at_once: int, start: int
) -> None:
    step = at_once * _WIDE.lanes(dtype.bytes)
    terms = " + ".join(f"A[{step}*k + v + {p}]" for p in places)
    length = step * (start + vectors) + max(places)
    _check(
        parse_kernel(f"""
kernel f(in A: {dtype.name}[{max(length, 1)}], out B: {dtype.name}[{step * (start + vectors) + 1}]):
  for k in {start}..{start + vectors}:
    vector for v in 0..{step} length {step}:
      B[{step}*k + v] = {terms}
""")
    )


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 4), vectors=st.integers(1, 4), step=st.integers(1, 3))
def test_rows_of_a_plane(rows: int, vectors: int, step: int) -> None:
    """Several rows at once, each with a window, in a loop that takes more than one vector or skips some."""
    _check(
        parse_kernel(f"""
kernel f(in A: f64[{rows + 2}, {8 * vectors + 2}], out B: f64[{rows}, {8 * vectors}]):
  for k in 0..{vectors} step {step}:
    unroll for i in 0..{rows}:
      vector for v in 0..8 length 8:
        B[i, 8*k + v] = A[i, 8*k + v + 1] + A[i + 1, 8*k + v] + A[i + 1, 8*k + v + 2] + A[i + 2, 8*k + v + 1]
""")
    )
