"""Pools and interpolation of blocked values: windows along one dimension after the other, lanes as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from polydl.compiler import stages
from tests.graph.build import model, node
from tests.networks.peer import assert_equal_outputs, outputs, reference


def values(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def after_convolution(
    op: str, extents: tuple[int, ...], sizes: Any = None, **attributes: Any
) -> onnx.ModelProto:
    """The operator on 20 channels in blocks, behind a convolution that makes them."""
    inputs = ["v"] if sizes is None else ["v", "", "", "sizes"]
    nodes = [node("Conv", ["x", "w"], ["v"]), node(op, inputs, ["y"], **attributes)]
    constants = {"w": values(20, 4, *(1 for _ in extents))} | (
        {} if sizes is None else {"sizes": np.array(sizes)}
    )
    return model(nodes, {"x": (2, 4, *extents)}, constants=constants, opset=18)


def loops_of(proto: onnx.ModelProto, kernel: str, folder: Path) -> str:
    onnx.save(proto, folder / "model.onnx")
    parts = stages(folder / "model.onnx", "loops", target="x86-64-avx512").split("# g")[1:]
    return next(p for p in parts if kernel in p.splitlines()[0])


WINDOWS: dict[str, tuple[tuple[int, ...], dict[str, Any], bool]] = {
    "wide": ((13, 12), {"kernel_shape": [9, 9], "pads": [4, 4, 4, 4]}, True),
    "small": ((28, 15), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, False),
    "apart": ((28, 15), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 0]}, False),
    "whole": ((7, 7), {"kernel_shape": [7, 7]}, False),
    "a column": ((9, 9), {"kernel_shape": [5, 1], "pads": [2, 0, 2, 0]}, False),
    "three dimensions": ((6, 7, 8), {"kernel_shape": [3, 3, 3], "pads": [1, 1, 1, 0, 0, 0]}, True),
    "uneven": (
        (17, 14),
        {"kernel_shape": [5, 4], "strides": [1, 2], "pads": [2, 1, 0, 3], "ceil_mode": 1},
        True,
    ),
}


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_combined_along_one_dimension_after_the_other(name: str, op: str, tmp_path: Path) -> None:
    """Where that is less work: not where each row belongs to few windows."""
    extents, attributes, apart = WINDOWS[name]
    proto = after_convolution(op, extents, **attributes)
    assert ("_along" in loops_of(proto, "pool", tmp_path)) == apart
    inputs = {"x": values(2, 4, *extents)}
    assert_equal_outputs(outputs(proto, inputs, threads=2), reference(proto, inputs))


def test_clipped_windows_share_register_tiles(tmp_path: Path) -> None:
    extents, attributes, _ = WINDOWS["wide"]
    loops = loops_of(after_convolution("MaxPool", extents, **attributes), "maxpool", tmp_path)
    assert "register f32[1, 1, 13, 1, 16]" in loops  # rows, where windows are clipped at the ends of columns
    assert "register f32[1, 1, 1, 12, 16]" in loops  # and columns, where they are at those of rows


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("sizes", [(31, 40), (13, 5)])
def test_interpolation_of_blocks_is_in_vectors(mode: str, sizes: tuple[int, ...], tmp_path: Path) -> None:
    """Each pass reads what the one before has made, all channels of a block at a time."""
    proto = after_convolution("Resize", (13, 9), (2, 20, *sizes), mode=mode)
    lines = loops_of(proto, "resize", tmp_path).splitlines()
    stores = [k for k, line in enumerate(lines) if "] = " in line]
    assert stores
    assert all("vector for" in lines[k - 1] for k in stores)
    inputs = {"x": values(2, 4, 13, 9)}
    assert_equal_outputs(outputs(proto, inputs, threads=2), reference(proto, inputs))


@pytest.mark.parametrize("target", ["x86-64", "native"])
def test_windows_mostly_on_padding(target: str) -> None:
    """One column under windows of four: which tap is on it depends on where the window begins."""
    nodes = [node("MaxPool", ["x"], ["y"], kernel_shape=[4, 4], pads=[1, 3, 1, 1])]
    proto = model(nodes, {"x": (1, 3, 9, 1)}, dtype=onnx.TensorProto.DOUBLE)
    inputs = {"x": values(1, 3, 9, 1).astype(np.float64)}
    assert_equal_outputs(outputs(proto, inputs, target=target), reference(proto, inputs))
