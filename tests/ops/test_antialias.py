"""Resize with antialias against ONNX's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tests.ops.cases import Array, check_equal, run_node

COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")


def reference(inputs: list[Array | None], attributes: dict[str, Any]) -> Array:
    names = [f"in{k}" if x is not None else "" for k, x in enumerate(inputs)]
    node = helper.make_node("Resize", names, ["y"], **attributes)
    present = {n: x for n, x in zip(names, inputs, strict=True) if x is not None}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in present.items()
    ]
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name="y")])
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)]))
    (y,) = evaluator.run(None, present)
    return np.asarray(y)


def compare(inputs: list[Array | None], atol: float = 2e-5, **attributes: Any) -> None:
    expected = reference(inputs, attributes | {"antialias": 1})
    (actual,) = run_node(
        "Resize", inputs, [("y", expected.dtype, expected.shape)], attributes | {"antialias": 1}, 19
    )
    check_equal(actual, expected, rtol=1e-4, atol=atol)


def image(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@settings(max_examples=60)
@given(st.data())
def test_against_the_reference(data: st.DataObject) -> None:
    height, width = (data.draw(st.integers(1, 12)) for _ in range(2))
    sizes = np.array([1, 2, *(data.draw(st.integers(1, 14)) for _ in range(2))], np.int64)
    mode = data.draw(st.sampled_from(["linear", "cubic"]))
    compare(
        [image(1, 2, height, width), None, None, sizes],
        mode=mode,
        coordinate_transformation_mode=data.draw(st.sampled_from(COORDINATES)),
        exclude_outside=data.draw(st.integers(0, 1)),
        cubic_coeff_a=data.draw(st.sampled_from([-0.75, -0.5])),
    )


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("scale", [0.3, 0.6, 0.07])
def test_scales_that_do_not_divide(mode: str, scale: float) -> None:
    scales = np.array([1, 1, scale, 0.5], np.float32)
    compare([image(1, 1, 29, 20), None, scales], mode=mode)


def test_some_axes() -> None:
    compare([image(7, 2, 9), None, None, np.array([3, 4], np.int64)], mode="cubic", axes=[2, 0])


def test_a_shrinking_and_a_growing_dimension() -> None:
    compare([image(1, 1, 9, 4), None, None, np.array([1, 1, 4, 9], np.int64)], mode="linear")


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_a_crop(mode: str) -> None:
    roi = np.array([0, 0, -0.2, 0.25, 1, 1, 1.1, 0.75], np.float32)
    attributes = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    compare([image(1, 1, 12, 16), roi, None, np.array([1, 1, 5, 4], np.int64)], mode=mode, **attributes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_integers_are_rounded_and_saturate(dtype: type, mode: str) -> None:
    x = np.random.default_rng(1).choice([0, 100, 127], (1, 1, 16, 16)).astype(dtype)
    compare([x, None, None, np.array([1, 1, 7, 5], np.int64)], mode=mode)


def test_double_precision() -> None:
    x = np.random.default_rng(2).standard_normal((1, 1, 16, 11))
    compare([x, None, None, np.array([1, 1, 7, 5], np.int64)], 1e-12, mode="cubic")


def test_nearest_has_no_filter() -> None:
    x = image(1, 1, 8, 8)
    (y,) = run_node("Resize", [x, None, None, np.array([1, 1, 4, 4])], [("y", np.float32, (1, 1, 4, 4))],
                    {"antialias": 1, "mode": "nearest"}, 19)  # fmt: skip
    np.testing.assert_array_equal(y, x[:, :, ::2, ::2])
