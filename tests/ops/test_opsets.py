"""Where an operator changed its meaning between operator sets: each form against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.cases import Array, compare_with_onnxruntime, run_node


def floats(*shape: int) -> Array:
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


X4 = floats(2, 3, 4, 5)
STATS = [np.abs(floats(3)) + 0.5 for _ in range(2)]

SOFTMAXES = ("Softmax", "LogSoftmax", "Hardmax")
REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum")
REDUCTIONS += ("ReduceLogSumExp", "ReduceSumSquare")
TF = {"mode": "nearest", "coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"}
LAST_INDEX = {"axis": -1, "select_last_index": 1, "keepdims": 0}

Row = tuple[str, int, list[Any], dict[str, Any]]  # operator, opset, inputs, attributes
FORMS: list[Row] = [
    # Up to opset 12 a softmax takes its input as a matrix.
    *((op, opset, [X4], {"axis": axis}) for op in SOFTMAXES for opset in (7, 11) for axis in (0, 1, 2, 3)),
    *((op, 11, [X4], {}) for op in SOFTMAXES),
    *((op, 13, [X4], attributes) for op in SOFTMAXES for attributes in ({}, {"axis": 1}, {"axis": -2})),
    ("Softmax", 11, [X4], {"axis": -1}),
    # Axes as attribute, then as input.
    ("Squeeze", 7, [floats(1, 3, 1, 5)], {"axes": [0, 2]}),
    ("Squeeze", 11, [floats(1, 3, 1, 5)], {}),
    ("Squeeze", 13, [floats(1, 3, 1, 5), ints(-2)], {}),
    ("Unsqueeze", 7, [floats(3, 5)], {"axes": [0, 3]}),
    ("Unsqueeze", 13, [floats(3, 5), ints(-1, 0)], {}),
    *(("ReduceSum", opset, [X4], {"axes": [1, 3], "keepdims": keep}) for opset in (7, 11) for keep in (0, 1)),
    ("ReduceSum", 13, [X4, ints(1, -1)], {"keepdims": 0}),
    ("ReduceSum", 13, [X4, ints()], {}),
    ("ReduceSum", 13, [X4, ints()], {"noop_with_empty_axes": 1}),
    ("ReduceSum", 13, [X4], {"keepdims": 0}),
    *((op, 13, [np.abs(X4) + 0.1], {"axes": [-1]}) for op in REDUCTIONS),
    *((op, 18, [np.abs(X4) + 0.1, ints(0, 2)], {"keepdims": 0}) for op in REDUCTIONS),
    ("Slice", 9, [X4], {"starts": [1, -3], "ends": [9, -1], "axes": [1, 3]}),
    ("Slice", 9, [X4], {"starts": [0, 1], "ends": [1, 3]}),
    ("Slice", 10, [X4, ints(-1, 3), ints(-9, 0), ints(3, 2), ints(-2, -1)], {}),
    ("Slice", 13, [X4, ints(1), ints(np.iinfo(np.int64).max), ints(2)], {}),
    ("Slice", 13, [X4, ints(-1), ints(np.iinfo(np.int64).min), ints(2), ints(-1)], {}),
    ("Split", 7, [X4], {"axis": 3, "split": [2, 3]}),
    ("Split", 11, [X4], {"axis": 2}),
    ("Split", 13, [X4, ints(1, 4)], {"axis": -1}),
    ("Split", 18, [X4], {"axis": -1, "num_outputs": 2}),
    ("Pad", 7, [X4], {"pads": [0, 0, 1, 2, 0, 1, 0, 3], "value": 1.5}),
    ("Pad", 10, [X4], {"pads": [0, 0, 1, 2, 0, 0, 3, 3], "mode": "reflect"}),
    ("Pad", 11, [X4, ints(0, 0, -1, 2, 0, 0, 3, -3), np.array(2.5, np.float32)], {"mode": "constant"}),
    ("Pad", 13, [X4, ints(1, 0, 1, 2, 0, 2, 3, 0)], {"mode": "edge"}),
    ("Pad", 18, [X4, ints(2, 1, 3, 0), None, ints(-1, 1)], {"mode": "reflect"}),
    ("Pad", 19, [X4, ints(0, 0, 1, 2, 0, 0, 3, 4)], {"mode": "wrap"}),
    # Bounds as attributes, then as inputs.
    ("Clip", 7, [X4], {"min": -0.5, "max": 0.5}),
    ("Clip", 10, [X4], {"max": 0.25}),
    ("Clip", 11, [X4, np.array(-0.5, np.float32)], {}),
    ("Clip", 13, [X4, None, np.array(0.5, np.float32)], {}),
    ("Clip", 13, [np.arange(-5, 5, dtype=np.int8), np.array(-2, np.int8), np.array(3, np.int8)], {}),
    ("Dropout", 7, [X4], {"ratio": 0.7}),
    ("Dropout", 10, [X4], {}),
    ("Dropout", 13, [X4, np.array(0.7, np.float32), np.array(False)], {}),
    # Scales as attribute, as input 1, as input 2; sizes.
    *(("Upsample", 7, [X4], {"scales": [1.0, 1.0, 2.0, 3.0], "mode": mode}) for mode in ("nearest", "linear")),
    *(("Upsample", 9, [X4, np.array([1, 1, 2, 1.5], np.float32)], {"mode": mode}) for mode in ("nearest", "linear")),
    *(("Resize", 10, [X4, np.array([1, 1, s, 0.6], np.float32)], {"mode": mode})
      for mode in ("nearest", "linear") for s in (2, 0.5, 1.7)),
    ("Resize", 11, [X4, np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)], {"mode": "cubic"}),
    ("Resize", 11, [X4, np.array([], np.float32), np.array([], np.float32), ints(2, 3, 7, 9)], TF),
    ("Resize", 18, [X4, None, None, ints(9, 7)], {"mode": "linear", "axes": [3, 2]}),
    # Statistics per channel; opset 15 lets their type differ.
    *(("BatchNormalization", opset, [X4, *STATS, *STATS], {"epsilon": 1e-3}) for opset in (7, 9, 14, 15)),
    ("InstanceNormalization", 7, [X4, *STATS], {"epsilon": 1e-3}),
    ("GroupNormalization", 18, [floats(2, 6, 4), np.abs(floats(3)), floats(3)], {"num_groups": 3}),
    ("GroupNormalization", 21, [floats(2, 6, 4), np.abs(floats(6)), floats(6)], {"num_groups": 3}),
    ("LayerNormalization", 17, [X4, floats(4, 5), floats(4, 5)], {"axis": 2}),
    ("Gemm", 7, [floats(3, 4), floats(5, 4), floats(1, 5)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", 7, [floats(4, 3), floats(4, 5), floats(3, 1)], {"transA": 1}),
    ("Gemm", 11, [floats(3, 4), floats(4, 5)], {"alpha": 0.25}),
    ("Flatten", 7, [X4], {"axis": 0}),
    ("Flatten", 11, [X4], {"axis": -1}),
    ("Reshape", 7, [X4, ints(0, -1, 5)], {}),
    ("Reshape", 14, [X4, ints(2, 30, -1)], {"allowzero": 0}),
    ("Expand", 8, [floats(3, 1), ints(2, 1, 6)], {}),
    ("Tile", 7, [floats(2, 3), ints(2, 3)], {}),
    ("ArgMax", 7, [X4], {"axis": 1}),
    ("ArgMin", 12, [np.array([[2, 1, 1], [0, 0, 3]], np.float32)], LAST_INDEX),
    ("Equal", 7, [np.array([True, False, True]), np.array([True, True, False])], {}),
    ("Sum", 8, [X4, floats(5), floats(4, 1)], {}),
    ("Max", 8, [X4, floats(5)], {}),
    ("Mean", 8, [X4, floats(4, 1), floats(5)], {}),
    ("PRelu", 7, [X4, floats(3, 1, 1)], {}),
    ("PRelu", 9, [X4, floats(5)], {}),
    ("Pow", 7, [np.abs(X4), floats(5)], {}),
    ("Pow", 12, [np.array([1, 2, 3], np.int32), np.array([2.0, 3.0, 0.5], np.float32)], {}),
    ("Mod", 10, [np.array([-7, 7, -7, 7], np.int64), np.array([3, -3, -3, 3], np.int64)], {}),
    ("Mod", 10, [np.array([-7, 7, -7, 7], np.int64), np.array([3, -3, -3, 3], np.int64)], {"fmod": 1}),
    ("Div", 14, [np.array([-7, 7, -8], np.int32), np.array([2, -2, 3], np.int32)], {}),
    ("DepthToSpace", 7, [floats(1, 8, 2, 3)], {"blocksize": 2}),
    ("DepthToSpace", 11, [floats(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", 7, [floats(1, 2, 4, 6)], {"blocksize": 2}),
    ("Gather", 11, [X4, np.array([[-1, 0], [1, 2]], np.int64)], {"axis": 1}),
    ("GatherElements", 11, [floats(3, 3), np.array([[-1, 0, 1]], np.int64)], {"axis": 0}),
    ("OneHot", 9, [np.array([[1, -2], [0, 7]]), np.array(4, np.int64), np.array([0.5, 3.0], np.float32)], {"axis": 1}),
    ("CumSum", 11, [X4, np.array(-2, np.int64)], {"exclusive": 1, "reverse": 1}),
    ("ConstantOfShape", 9, [ints(2, 3)], {}),
    ("EyeLike", 9, [floats(3, 4)], {"k": -1}),
    ("Range", 11, [np.array(10, np.int64), np.array(-4, np.int64), np.array(-3, np.int64)], {}),
    ("LpPool", 11, [X4], {"kernel_shape": [2, 2], "p": 3}),
    ("MaxPool", 7, [X4], {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1], "strides": [1, 2]}),
    ("AveragePool", 7, [X4], {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1], "strides": [1, 2]}),
    *((op, 7, [floats(2, 3, *extents)], {}) for op in ("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
      for extents in ((5,), (4, 3), (2, 3, 4))),
    ("GlobalLpPool", 7, [X4], {"p": 3}),
    ("LpNormalization", 7, [X4], {"axis": 1, "p": 1}),
    ("MeanVarianceNormalization", 9, [X4], {"axes": [0, 2, 3]}),
    ("LRN", 7, [floats(1, 7, 2, 2)], {"size": 5, "alpha": 0.5, "beta": 0.7, "bias": 2.0}),
    ("Selu", 7, [X4], {"alpha": 1.5, "gamma": 0.5}),
    ("Where", 9, [X4 > 0, X4, floats(5)], {}),
]  # fmt: skip


@pytest.mark.parametrize("row", FORMS, ids=lambda r: f"{r[0]}-{r[1]}")
def test_form(row: Row) -> None:
    op_type, opset, inputs, attributes = row
    outputs = 2 if op_type == "Split" else 1
    compare_with_onnxruntime(op_type, inputs, attributes, opset, outputs)


@pytest.mark.parametrize(
    "row",
    [r for r in FORMS if any(x is not None and x.size == 1 for x in r[2])],
    ids=lambda r: f"{r[0]}-{r[1]}",
)
def test_known_scalars_become_literals(row: Row) -> None:
    op_type, opset, inputs, attributes = row
    known = [i for i, x in enumerate(inputs) if x is not None and x.size == 1]
    compare_with_onnxruntime(op_type, inputs, attributes, opset, known=known)


def test_scalar_pool_of_int8_types() -> None:
    x = np.arange(-60, 60, dtype=np.int8).reshape(1, 1, 10, 12)
    compare_with_onnxruntime("MaxPool", [x], {"kernel_shape": [3, 3], "strides": [2, 2]}, 12)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
@pytest.mark.parametrize("keep", [0, 1])
def test_real_reductions_of_integers_are_truncated(dtype: type, keep: int) -> None:
    x = np.arange(1, 25).reshape(2, 3, 4).astype(dtype)
    wide = x.astype(np.float64)
    total = np.sum(wide, axis=(0, 2), keepdims=bool(keep))
    expected = {
        "ReduceL2": np.sqrt(np.sum(wide * wide, axis=(0, 2), keepdims=bool(keep))),
        "ReduceLogSum": np.log(total),
        "ReduceLogSumExp": np.log(np.sum(np.exp(wide), axis=(0, 2), keepdims=bool(keep))),
    }
    for op, value in expected.items():
        wanted = [("y", dtype, value.shape)]
        (actual,) = run_node(op, [x, ints(0, 2)], wanted, {"keepdims": keep}, 18)
        np.testing.assert_array_equal(actual, value.astype(dtype))
