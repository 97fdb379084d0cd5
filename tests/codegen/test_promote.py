"""Updated places held in registers: the picture, what must be left alone, and that results are kept."""

from __future__ import annotations

import numpy as np
import pytest

from polydl.codegen.passes.promote import promote
from polydl.codegen.passes.vectorize import Vectorize
from polydl.ir import parse_kernel, print_kernel, verify
from polydl.ir.interpret import interpret
from polydl.targets import parse


def _body(*lines: str) -> str:
    head = (
        "kernel f(inout C: f64[N, M], in A: f64[N, K], in B: f64[K, M]) sizes(N, M, K):\n  for k in 0..K:\n"
    )
    return head + "".join(f"    {line}\n" for line in lines)


def _promoted(*lines: str) -> str:
    return print_kernel(promote(parse_kernel(_body(*lines))))


def test_rows_that_differ_by_a_constant_become_registers() -> None:
    text = _promoted("C[0, 3] = C[0, 3] + A[0, k] * B[k, 3]", "C[1, 3] = C[1, 3] + A[1, k] * B[k, 3]")
    loop = text[text.index("for k") :]
    assert "C.kept[0, 0] = C.kept[0, 0] + A[0, k] * B[k, 3]" in loop
    assert "C.kept[1, 0] = C.kept[1, 0] + A[1, k] * B[k, 3]" in loop
    assert text.index("0 < K") < text.index("C.kept[0, 0] = C[0, 3]") < text.index("for k")
    assert text.index("for k") < text.index("C[1, 3] = C.kept[1, 0]")


@pytest.mark.parametrize(
    "lines",
    [
        ("C[0, 3] = C[0, 3] + A[0, k]",),  # one place is left to the compiler behind
        ("C[0, 3] = C[0, 3] + A[0, k]", "C[k, 4] = C[k, 4] + A[1, k]"),  # another place in every iteration
        ("C[0, 3] = C[0, 3] + A[0, k]", "C[N - 1, 3] = C[N - 1, 3] + A[1, k]"),  # may be the same place
        ("C[0, 3] = C[0, 3] + A[0, k]", "C[1, 3] = C[1, 3] + C[0, k]"),  # read elsewhere
        (
            "C[0, ramp(0, 1, 4)] = C[0, ramp(0, 1, 4)] + 1.0",
            "C[0, ramp(2, 1, 4)] = C[0, ramp(2, 1, 4)] + 1.0",
        ),  # lanes overlap
    ],
)
def test_what_may_overlap_or_moves_is_left_alone(lines: tuple[str, ...]) -> None:
    assert "kept" not in _promoted(*lines)


_IN_PLACE = """\
kernel f(inout C: f64[N, M]) sizes(N, M):
  for k in 0..N{owns}:
    C[8, 0] = C[8, 0] - C[8, k + 8] * C[k, 0]
    C[9, 0] = C[9, 0] - C[9, k + 8] * C[k, 0]"""


def test_reads_of_an_owned_buffer_are_of_other_cells() -> None:
    text = print_kernel(promote(parse_kernel(_IN_PLACE.format(owns=" owns C"))))
    loop = text[text.index("for k") :]
    assert "C.kept[0, 0] = C.kept[0, 0] - C[8, k + 8] * C[k, 0]" in loop
    assert "kept" not in print_kernel(promote(parse_kernel(_IN_PLACE.format(owns=""))))


def test_lanes_of_a_loop_do_not_own_what_its_iterations_do() -> None:
    loop = """\
kernel f(inout C: f64[64]):
  vector for v in 0..8 length 8:
    for k in 0..8 owns C:
      C[v + 8] = C[v + 8] + C[k]"""
    assert "owns" not in print_kernel(Vectorize(parse("x86-64-avx2"))(parse_kernel(loop)))


@pytest.mark.parametrize(("owns", "vectors"), [(" owns C", True), ("", False)])
def test_lanes_are_summed_beside_reads_of_an_owned_buffer(owns: str, vectors: bool) -> None:
    loop = f"""\
kernel f(inout C: f64[64]):
  vector for v in 0..8 length 8{owns}:
    C[63] = C[63] - C[v] * C[v + 8]"""
    text = print_kernel(Vectorize(parse("x86-64-avx512"))(parse_kernel(loop)))
    assert ("reduce_add" in text) == vectors


_EDGE = """\
kernel f(inout C: f64[N, M], in A: f64[N, K], in B: f64[K, M]) sizes(N, M, K):
  for k in 0..K:
    if M > 8:
      C[0, ramp(8, 1, 8)] = C[0, ramp(8, 1, 8) where ramp(8, 1, 8) < M] + A[0, k] where ramp(8, 1, 8) < M"""


def test_what_is_masked_is_loaded_and_stored_once_under_its_conditions() -> None:
    text = print_kernel(promote(parse_kernel(_EDGE)))
    before, loop = text.split("for k")
    assert "if M > 8:\n      C.kept[0, ramp(0, 1, 8)] = C[0, ramp(8, 1, 8) where ramp(8, 1, 8) < M]" in before
    inside, after = loop.rsplit("if M > 8", 1)
    assert "C.kept[0, ramp(0, 1, 8)] = C.kept[0, ramp(0, 1, 8)] + A[0, k]\n" in inside
    assert "C[0, ramp(8, 1, 8)] = C.kept[0, ramp(0, 1, 8)] where ramp(8, 1, 8) < M" in after


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("M > 8", "k > 8"),  # another condition in every iteration
        ("M > 8", "A[0, 0] > 8.0"),  # one that memory decides
        ("where ramp(8, 1, 8) < M]", "where ramp(8, 1, 8) < N]"),  # reads other lanes than it stores
        ("+ A[0, k] where ramp(8, 1, 8) < M", "+ A[0, k] where ramp(8, 1, 8) < k"),  # other lanes every time
    ],
)
def test_conditions_that_change_keep_places_in_memory(old: str, new: str) -> None:
    assert "kept" in print_kernel(promote(parse_kernel(_EDGE)))
    assert "kept" not in print_kernel(promote(parse_kernel(_EDGE.replace(old, new))))


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        # lanes left out are stored
        ("D[k, ramp(0, 1, 8)] = C[0, ramp(8, 1, 8) where ramp(8, 1, 8) < M]", False),
        ("D[k, 0] = reduce_add(C[0, ramp(8, 1, 8) where ramp(8, 1, 8) < M])", False),
        ("D[k, ramp(0, 1, 8)] = broadcast(A[1, k], 8)", True),
    ],
)
def test_lanes_that_are_left_out_read_as_zero(other: str, kept: bool) -> None:
    kernel = parse_kernel(
        _EDGE.replace("f64[K, M])", "f64[K, M], inout D: f64[K, 8])", 1) + f"\n      {other}"
    )
    verify(kernel)
    after = promote(kernel)
    assert ("kept" in print_kernel(after)) == kept
    found = []
    for form in (kernel, after):
        arrays = {"C": np.arange(22.0).reshape(2, 11), "A": np.ones((2, 5)), "B": np.ones((5, 11))}
        arrays["D"] = np.zeros((5, 8))
        interpret(form, arrays, {"N": 2, "M": 11, "K": 5})
        found.append(arrays)
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array, err_msg=name)


_TAIL = """\
kernel f(inout C: f64[N, M], in A: f64[N, 8]) sizes(N, M):
  if M > 0:
    C[0, ramp(0, 1, 8)] = 0.0f64 where ramp(0, 1, 8) < M
  if M > 8:
    C[0, ramp(8, 1, 8)] = 0.0f64 where ramp(8, 1, 8) < M
  if M > 0:
    C[0, ramp(0, 1, 8)] = C[0, ramp(0, 1, 8) where ramp(0, 1, 8) < M] + A[0, 1] where ramp(0, 1, 8) < M
  if M > 8:
    C[0, ramp(8, 1, 8)] = C[0, ramp(8, 1, 8) where ramp(8, 1, 8) < M] + A[0, 1] where ramp(8, 1, 8) < M"""


def test_masked_places_are_kept_outside_of_loops_and_conditions_tested_once_for_all_updates() -> None:
    text = print_kernel(promote(parse_kernel(_TAIL)))
    updates = [x.strip() for x in text.splitlines() if "kept" in x or "if" in x][2:][-10:]
    assert updates[:6] == [
        "if M > 0:",
        "C.kept[0, ramp(0, 1, 8)] = 0.0f64",
        "C.kept[0, ramp(0, 1, 8)] = C.kept[0, ramp(0, 1, 8)] + A[0, 1]",
        "if M > 8:",
        "C.kept[1, ramp(0, 1, 8)] = 0.0f64",
        "C.kept[1, ramp(0, 1, 8)] = C.kept[1, ramp(0, 1, 8)] + A[0, 1]",
    ]


def test_conditions_are_not_moved_past_what_another_buffer_stores() -> None:
    other = _TAIL.replace("in A", "inout A").replace(
        "  if M > 8:\n    C[0, ramp(8, 1, 8)] = 0",
        "  A[0, 1] = 2.0f64\n  if M > 8:\n    C[0, ramp(8, 1, 8)] = 0",
    )
    text = print_kernel(promote(parse_kernel(other)))
    assert "kept" in text
    assert (
        text.index("C.kept[0, ramp(0, 1, 8)] = 0.0") < text.index("A[0, 1] = 2.0") < text.index("] + A[0, 1]")
    )
