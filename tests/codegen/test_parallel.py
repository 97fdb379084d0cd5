"""Who does which iterations of a parallel loop: contiguous ranges, or turns where iterations differ in work."""

from __future__ import annotations

import numpy as np
import pytest

from polydl.codegen.passes import distribute, shared_buffers
from polydl.ir.interpret import interpret
from polydl.ir.parser import parse_kernel
from polydl.ir.printer import print_kernel

# Bounds of the inner loop `j` in the parallel loop `i` of 0..12.
_TRIANGLES = {
    "lower": "0..i",
    "upper": "i..N",
    "constant": "i..24",
    "below a diagonal": "max(i - 3, 0)..max(N - i, 0)",
    "of tiles": "0..(i + 3) // 4",
    "cut off": "0..min(2 * i, 20)",
    "of two ramps": "0..min(i, N - i)",
}
_TILES = {
    "clipped at both ends": "max(5 - i * 16, 0)..min(N - i * 16 + 40, 16)",
    "clipped below": "max(7 - i * 8, 0)..8",
    "moving": "i..i + N // 2",
    "moving and clipped": "max(i * 8, 3)..min(i * 8 + 8, N)",
    "shared among copies": "i % 2..N",
    "rectangle": "0..N",
}


def _text(bounds: str) -> str:
    return f"""
kernel part(inout x: f32[12, 24]) sizes(N):
  parallel for i in 0..12:
    for j in {bounds}:
      x[i, j % 24] = x[i, j % 24] * 2.0f32 + f32(j)
"""


def _run(text: str, threads: int) -> np.ndarray:
    kernel = parse_kernel(text)
    x = np.random.default_rng(3).random((12, 24), dtype=np.float32)
    if not threads:
        assert interpret(kernel, {"x": x}, {"N": 20}) == 0
    for thread in reversed(range(threads)):
        assert interpret(distribute(kernel), {"x": x}, {"N": 20, "thread": thread, "threads": threads}) == 0
    return x


@pytest.mark.parametrize("bounds", _TRIANGLES.values(), ids=_TRIANGLES)
def test_threads_take_turns_in_a_triangle(bounds: str) -> None:
    assert "i.turn" in print_kernel(distribute(parse_kernel(_text(bounds))))


@pytest.mark.parametrize("bounds", _TILES.values(), ids=_TILES)
def test_ranges_are_contiguous_where_only_the_ends_are_clipped(bounds: str) -> None:
    assert "for i in thread * 12 // threads..(thread * 12 + 12) // threads" in print_kernel(
        distribute(parse_kernel(_text(bounds)))
    )


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("bounds", [*_TRIANGLES.values(), *_TILES.values()])
def test_every_iteration_is_done_once(bounds: str, threads: int) -> None:
    np.testing.assert_array_equal(_run(_text(bounds), threads), _run(_text(bounds), 0))


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_turns_share_a_triangle_evenly(threads: int) -> None:
    """No thread does more than its share and one longest row; contiguous rows gave the last of two three quarters."""
    text = _text("0..i").replace("x[i, j % 24] * 2.0f32 + f32(j)", "x[i, j % 24] + 1.0f32")
    kernel = distribute(parse_kernel(text))
    done = []
    for thread in range(threads):
        x = np.zeros((12, 24), dtype=np.float32)
        interpret(kernel, {"x": x}, {"N": 20, "thread": thread, "threads": threads})
        done.append(x.sum())
    assert sum(done) == 66
    assert max(done) <= 66 / threads + 11


def test_storage_inside_of_a_parallel_loop_is_one_threads_own() -> None:
    """Another parallel loop in it is not shared among threads, so the storage is not either."""
    kernel = parse_kernel("""
kernel rows(in x: f32[8, 16], out y: f32[8, 16]):
  alloc all: local f32[8]
  parallel for k in 0..8:
    all[k] = x[k, 0]
  barrier
  parallel for i in 0..8:
    alloc row: local f32[16]
    parallel for j in 0..16:
      row[j] = x[i, j] + all[i]
    for l in 0..16:
      y[i, l] = row[15 - l]
""")
    assert shared_buffers(kernel) == {"all"}
