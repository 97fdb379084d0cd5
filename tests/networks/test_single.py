"""Convolutions between row-major tensors: operands packed, and results copied, tile by tile inside of one nest."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from polydl.compiler import stages
from tests.graph.build import model, node
from tests.networks.peer import assert_equal_outputs, outputs, reference

# Shapes of the input and of the weights, attributes.
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "strided": ((1, 40, 14, 14), (1024, 40, 1, 1), {"strides": [2, 2]}),
    "strided, batch of 2, odd": ((2, 24, 13, 17), (1024, 24, 1, 1), {"strides": [2, 3]}),
    "strided windows": ((1, 16, 15, 15), (512, 16, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "few filters": ((1, 40, 14, 14), (64, 40, 1, 1), {"strides": [2, 2]}),
    "large": ((1, 32, 56, 56), (64, 32, 1, 1), {}),
    "pages apart": ((1, 128, 28, 28), (64, 128, 1, 1), {}),
    "pages apart, batch of 2, odd": ((2, 130, 33, 31), (72, 130, 1, 1), {}),
    "pages apart, strided": ((1, 130, 57, 60), (96, 130, 1, 1), {"strides": [2, 2]}),
    "pages apart, groups": ((1, 256, 28, 30), (128, 128, 1, 1), {"group": 2}),
    "pages apart, volumes": ((1, 130, 6, 20, 20), (64, 130, 1, 1, 1), {}),
    "pages apart, small results": ((1, 128, 28, 28), (96, 128, 1, 1), {"strides": [2, 2]}),
    "near": ((1, 32, 28, 28), (64, 32, 3, 3), {"pads": [1, 1, 1, 1]}),
    "far": ((1, 32, 14, 14), (256, 32, 3, 3), {"pads": [1, 1, 1, 1]}),
    "surplus channels": ((1, 20, 30, 30), (21, 20, 1, 1), {}),
    "depthwise": ((2, 48, 14, 14), (48, 1, 3, 3), {"group": 48, "pads": [1, 1, 1, 1]}),
    "depthwise, surplus channels": ((1, 36, 28, 28), (36, 1, 3, 3), {"group": 36, "pads": [1, 1, 1, 1]}),
    "depthwise strided": ((1, 48, 14, 14), (48, 1, 3, 3), {"group": 48, "strides": [2, 2]}),
    "groups": ((1, 16, 9, 9), (48, 8, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "of sequences": ((1, 24, 100), (48, 24, 1), {}),
    "narrow": ((1, 32, 7, 7), (32, 32, 3, 3), {"pads": [1, 1, 1, 1]}),
    "narrow strided": ((2, 20, 14, 13), (32, 20, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "narrow, tall windows": ((1, 16, 7, 6), (16, 16, 7, 3), {"pads": [3, 1, 3, 1]}),
    "narrow, far taps": ((1, 16, 5, 5), (32, 16, 3, 3), {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    "all rows in one tile": ((1, 16, 4, 4), (16, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
    "two tiles of rows": ((1, 16, 4, 4), (32, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
    "padding alone under some rows": ((1, 16, 3, 3), (16, 16, 2, 2), {"pads": [3, 1, 3, 1]}),
}


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules for a named target, whatever runs the tests."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def values(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def network(name: str, alone: bool = False) -> onnx.ModelProto:
    """The convolution with a bias, rectified; or `alone`."""
    x, w, attributes = CASES[name]
    if alone:
        return model([node("Conv", ["x", "w"], ["y"], **attributes)], {"x": x}, constants={"w": values(*w)})
    nodes = [node("Conv", ["x", "w", "b"], ["v"], **attributes), node("Relu", ["v"], ["y"])]
    return model(nodes, {"x": x}, constants={"w": values(*w), "b": values(w[0])})


def loops_of(name: str, folder: Path, alone: bool = False) -> str:
    onnx.save(network(name, alone), folder / "model.onnx")
    return stages(folder / "model.onnx", "loops", target="x86-64-avx512")


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("name", CASES)
def test_results(name: str, threads: int) -> None:
    inputs = {"x": values(*CASES[name][0])}
    for alone in (False, True):
        found = outputs(network(name, alone), inputs, threads=threads)
        assert_equal_outputs(found, reference(network(name, alone), inputs))


def test_what_a_stride_skips_is_left_out_where_many_filters_read_the_rest(tmp_path: Path) -> None:
    """14 x 14 pixels, of which 7 x 7 are read: a register tile takes two rows of 7, for each channel side by side."""
    assert "alloc x0_packed: local f32[1, 4, 1, 1, 40, 2, 7]" in loops_of("strided", tmp_path)


def test_bands_of_rows_are_packed_where_each_channel_lies_on_pages_of_its_own(tmp_path: Path) -> None:
    """Bands of 7 rows of two register tiles each, 128 channels; the results of a band leave it filter by filter."""
    text = loops_of("pages apart", tmp_path, alone=True)
    assert "parallel for h.o in 0..4:" in text
    assert "alloc x0_packed: local f32[1, 1, 7, 2, 1, 128, 1, 14]" in text
    assert "workspace" not in text


@pytest.mark.parametrize(
    ("cores", "loops"), [(2, "0..2: 0..2: 0..14:"), (8, "0..4: 0..2: 0..7:"), (5, "0..2: 0..28:")]
)
def test_a_core_computes_all_filters_of_its_rows(
    cores: int, loops: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """28 rows of two register tiles of filters; four groups of two cores have 7 rows each, five cores the same rows."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    found = re.findall(r"parallel for (?:h|h\.o|k\.o|h\.i) in (\S+)", loops_of("near", tmp_path))
    assert " ".join(found) == loops


def test_images_are_made_by_the_cores_that_read_them(tmp_path: Path) -> None:
    """The padded copy in blocks: its rows are shared out as those of the convolution are, not its blocks."""
    copy = loops_of("near", tmp_path).split("barrier")[0]
    assert re.findall(r"parallel for (\S+) in (\S+):", copy)[:3] == [
        ("i2.o", "0..2"), ("i1.o", "0..2"), ("i2.i", "0..14")
    ]  # fmt: skip


def test_channels_by_themselves_are_shared_where_they_leave_in_planes(tmp_path: Path) -> None:
    """Cores that share rows would meet in a line of every plane, and need nothing from other channels."""
    assert not re.search(r"parallel for (h|i2)\.o", loops_of("depthwise strided", tmp_path))


def test_small_planes_are_not_cut(tmp_path: Path) -> None:
    text = loops_of("pages apart, small results", tmp_path, alone=True)
    assert re.findall(r"parallel for (\S+)", text)[0] == "k.o"


def test_many_filters_are_shared_among_cores(tmp_path: Path) -> None:
    assert "parallel for k.o in 0..8:" in loops_of("far", tmp_path)


@pytest.mark.parametrize("name", ["few filters", "strided windows", "large", "pages apart, small results"])
def test_nothing_is_packed_where_that_does_not_pay(name: str, tmp_path: Path) -> None:
    assert "_packed" not in loops_of(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "tile"), [("large", "[1, 2, 1, 56, 16]"), ("depthwise", "[1, 1, 14, 14, 16]")]
)
def test_results_are_copied_while_they_are_near(name: str, tile: str, tmp_path: Path) -> None:
    """One row of 32 filters; the whole picture of 16 channels, which is small enough."""
    assert f"local f32{tile}" in loops_of(name, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_sums_are_vectors_of_filters_in_registers(name: str, tmp_path: Path) -> None:
    """Whether something follows the convolution or not: row-major results are copied out of blocks of 16."""
    for alone in (False, True):
        loops = loops_of(name, tmp_path, alone)
        assert re.search(r"alloc \w+: register f32\[.*16\]", loops), loops


def test_large_windows_are_not_cut_for_taps_on_padding(tmp_path: Path) -> None:
    """With edges in all dimensions each of the 7 x 7 taps would be a dozen nests of its own."""
    attributes = {"dilations": [2, 1], "pads": [6, 3, 6, 3], "strides": [2, 3]}
    proto = model([node("Conv", ["x", "w"], ["y"], **attributes)], {"x": (1, 17, 16, 10)},
                  constants={"w": values(24, 17, 7, 7)})  # fmt: skip
    onnx.save(proto, tmp_path / "model.onnx")
    loops = stages(tmp_path / "model.onnx", "loops", target="x86-64-avx512").splitlines()
    assert sum(line.strip().startswith("for s") for line in loops) <= 12


def test_taps_on_padding_are_left_out_of_tiles_of_several_rows(tmp_path: Path) -> None:
    """Who takes part is asked outside of the steps."""
    lines = [line.strip() for line in loops_of("narrow", tmp_path).splitlines()]
    conditions = [k for k, line in enumerate(lines) if line.startswith("if ")]
    assert [lines[k] for k in conditions] == ["if h.o >= 1:", "if h.o == 0:"]
    assert all(lines[k + 1].startswith("for s") for k in conditions)
