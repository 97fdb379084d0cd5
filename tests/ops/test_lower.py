"""The door into the operators: the table, what is refused and how, the forms that schedules count on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polydl.dsl import Function, FunctionBuilder, Tensor, interpret
from polydl.dtypes import F32, I64, DType
from polydl.errors import InvalidModel, UnsupportedOperator
from polydl.ir.expr import Const
from polydl.ops import OpNode, lower, static_inputs, supported

PROMISED = [
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "BatchNormalization", "InstanceNormalization",
    "LayerNormalization", "GroupNormalization", "LRN", "MaxPool", "AveragePool", "LpPool", "GlobalMaxPool",
    "GlobalAveragePool", "GlobalLpPool", "Softmax", "LogSoftmax", "ArgMax", "ArgMin", "Concat", "Split", "Slice",
    "Pad", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile", "Gather", "GatherElements",
    "Where", "Cast", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "Shape", "Size", "Range", "Constant",
    "ConstantOfShape", "Identity", "Dropout", "CumSum", "OneHot", "Trilu", "Relu", "LeakyRelu", "PRelu", "Elu",
    "Selu", "Celu", "Gelu", "HardSigmoid", "HardSwish", "Mish", "Sigmoid", "Softplus", "Softsign", "Swish", "Tanh",
    "ThresholdedRelu", "Clip", "Shrink", "Erf", "Sign", "Round", "Floor", "Ceil", "Reciprocal", "Pow", "Mod",
    "BitShift", "IsNaN", "IsInf", "Not", "And", "Or", "Xor", "Sum", "Mean", "Max", "Min", "ReduceSum", "ReduceMean",
    "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceSumSquare", "RMSNormalization", "LpNormalization", "MeanVarianceNormalization", "Hardmax", "CastLike",
    "GatherND", "EyeLike", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "Add", "Sub", "Mul", "Div",
    "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "Neg", "Abs", "Sqrt", "Exp", "Log", "Sin", "Cos",
    "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh",
]  # fmt: skip


def lowered(
    op: str,
    shapes: list[tuple[int, ...] | None],
    output: tuple[int, ...],
    attributes: dict[str, Any] | None = None,
    constants: dict[int, Any] | None = None,
    *,
    opset: int = 21,
    dtype: DType = F32,
    outputs: int = 1,
) -> Function:
    b = FunctionBuilder("f")
    known = {k: np.asarray(v) for k, v in (constants or {}).items()}
    wanted = tuple((f"y{k}" if k else "y", dtype, output) for k in range(outputs))
    node = OpNode(op, "", "some_node", opset, attributes or {}, known, wanted)
    inputs = [None if s is None else b.input(f"x{i}", s, F32) for i, s in enumerate(shapes)]
    return b.build([t for t in lower(b, node, inputs) if t is not None])


def test_every_promised_operator_is_in_the_table() -> None:
    assert {("", name) for name in PROMISED} <= supported()


def test_static_inputs_depend_on_the_opset() -> None:
    assert static_inputs("Resize", "", 10) == {1}
    assert static_inputs("Resize", "ai.onnx", 13) == {1, 2, 3}
    assert static_inputs("Add", "", 13) == frozenset()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Frobnicate", [(2,)], (2,)), "no such operator in the table"),
        (("NonZero", [(2,)], (1, 2)), "depends on the data"),
        (("Gelu", [(2,)], (2,), {"approximate": "sigmoid"}), "approximate='sigmoid'"),
        (("Add", [(2, 3), (3,)], (2, 3), {"broadcast": 1}), "broadcast=1"),
        (("Slice", [(4,), (1,), (1,)], (2,)), "must be known at build time"),
        (("Split", [(4,), (2,)], (2,)), "must be known at build time"),
    ],
)
def test_refusals_name_node_and_reason(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UnsupportedOperator) as error:
        lowered(*arguments)
    assert message in str(error.value)
    assert f"node 'some_node' ({arguments[0]}, opset 21)" in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Relu", [(2, 3)], (3, 2)), "the model says f32[3, 2]"),
        (("Conv", [(1, 3, 8, 8), (4, 2, 3, 3)], (1, 4, 6, 6)), "do not fit together"),
        (("Conv", [(1, 3, 2, 2), (4, 3, 3, 3)], (1, 4, 0, 0)), "does not fit spatial dimension"),
        (("MatMul", [(2, 3), (4, 5)], (2, 5)), "times"),
        (("Add", [(2, 3), (4,)], (2, 3)), "do not broadcast"),
        (("Transpose", [(2, 3)], (2, 3), {"perm": (0, 0)}), "not a permutation"),
        (("Concat", [(2, 3)], (2, 3), {"axis": 5}), "outside a tensor of 2 dimensions"),
        (("Relu", [(2,)], (2,), {"x": 1}), ""),
        (("LeakyRelu", [(2,)], (2,), {"alpha": "big"}), "wrong type"),
        (("Reshape", [(2, 3), None], (4,)), "cannot become"),
        (("Einsum", [(2, 3)], (2,), {"equation": "ij,jk"}), "1 operands"),
        (("Split", [(4,), None], (3,), None, {1: [3, 3]}), "do not make up"),
    ],
)
def test_invalid_nodes_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    if not message:
        lowered(*arguments)  # attributes that an operator does not know are the checker's business
        return
    with pytest.raises(InvalidModel) as error:
        lowered(*arguments)
    assert message in str(error.value)
    assert "some_node" in str(error.value)


def test_a_convolution_is_one_reduction_then_the_bias() -> None:
    f = lowered("Conv", [(1, 8, 6, 6), (4, 8, 3, 3), (4,)], (1, 4, 4, 4))
    total, bias = f.computations
    assert [a.name for a in total.axes] == ["n", "k", "h", "w", "c", "r", "s"]
    assert total.reduction is not None
    assert total.reduction.axes == ("c", "r", "s")
    assert bias.reduction is None


def test_depthwise_convolutions_have_no_channel_axis() -> None:
    f = lowered("Conv", [(1, 8, 6, 6), (8, 1, 3, 3)], (1, 8, 4, 4), {"group": 8})
    assert [a.name for a in f.computations[0].axes] == ["n", "k", "h", "w", "r", "s"]


def test_grouped_convolutions_have_a_group_axis() -> None:
    f = lowered("Conv", [(1, 8, 6, 6), (6, 4, 3, 3)], (1, 6, 4, 4), {"group": 2})
    assert [a.name for a in f.computations[0].axes] == ["n", "g", "k", "h", "w", "c", "r", "s"]


def test_padding_is_a_copy_with_negative_subscripts() -> None:
    """Of columns: taps on the rows of padding are no part of the sum. Depthwise convolutions read both."""
    f = lowered("Conv", [(1, 2, 5, 5), (3, 2, 3, 3)], (1, 3, 5, 5), {"pads": (1, 1, 1, 1)})
    halo = f.tensor("x0_pad")
    assert halo.extents == (1, 2, 5, 7)
    assert [int(e.value) for e in halo.origin if isinstance(e, Const)] == [0, 0, 0, -1]
    assert sum(c.target == "x0_pad" for c in f.computations) == 3  # the inside and two borders
    f = lowered("Conv", [(1, 2, 5, 5), (2, 1, 3, 3)], (1, 2, 5, 5), {"pads": (1, 1, 1, 1), "group": 2})
    assert f.tensor("x0_pad").extents == (1, 2, 7, 7)
    assert sum(c.target == "x0_pad" for c in f.computations) == 5


def test_an_input_with_a_halo_is_read_directly() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (1, 2, 7, 7), F32, lower=(0, 0, -1, -1))
    w = b.input("w", (3, 2, 3, 3), F32)
    node = OpNode(
        "Conv",
        "",
        "c",
        13,
        {"pads": (1, 1, 1, 1)},
        {},
        (("y", F32, (1, 3, 5, 5)),),
        input_shapes={0: (1, 2, 5, 5)},
    )
    (y,) = lower(b, node, [x, w])
    assert y is not None
    f = b.build([y])
    assert len(f.computations) == 1
    rng = np.random.default_rng(0)
    inside, weights = rng.standard_normal((1, 2, 5, 5)).astype(np.float32), rng.standard_normal((3, 2, 3, 3))
    arrays = {"x": np.pad(inside, ((0, 0), (0, 0), (1, 1), (1, 1))), "w": weights.astype(np.float32)}
    other = lowered("Conv", [(1, 2, 5, 5), (3, 2, 3, 3)], (1, 3, 5, 5), {"pads": (1, 1, 1, 1)})
    expected = interpret(other, {"x0": inside, "x1": arrays["w"]})["y"]
    np.testing.assert_allclose(interpret(f, arrays)["y"], expected, rtol=1e-6, atol=1e-6)


def test_elementwise_operators_see_the_inside_of_a_halo() -> None:
    b = FunctionBuilder("f")
    x: Tensor = b.input("x", (4,), F32, lower=(-1,))
    node = OpNode("Relu", "", "r", 13, {}, {}, (("y", F32, (2,)),), input_shapes={0: (2,)})
    (y,) = lower(b, node, [x])
    assert y is not None
    result = interpret(b.build([y]), {"x": np.array([9, -1, 2, 9], np.float32)})["y"]
    np.testing.assert_array_equal(result, [0, 2])


def test_pools_are_clipped_by_conditions_only_where_they_pad() -> None:
    plain = lowered("MaxPool", [(1, 2, 6, 6)], (1, 2, 3, 3), {"kernel_shape": (2, 2), "strides": (2, 2)})
    assert plain.computations[0].conditions == ()
    same = lowered(
        "MaxPool",
        [(1, 2, 6, 6)],
        (1, 2, 3, 3),
        {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 0, 0)},
    )
    assert len(same.computations[0].conditions) == 2


def test_softmax_has_four_steps() -> None:
    f = lowered("Softmax", [(4, 5)], (4, 5))
    assert [c.name for c in f.computations] == ["y_max", "y_exp", "y_sum", "y"]


def test_unwanted_outputs_are_not_computed() -> None:
    b = FunctionBuilder("f")
    x = b.input("x", (1, 1, 4, 4), F32)
    outputs = (("y", F32, (1, 1, 2, 2)), ("", I64, (1, 1, 2, 2)))
    node = OpNode("MaxPool", "", "p", 12, {"kernel_shape": (2, 2), "strides": (2, 2)}, {}, outputs)
    first, second = lower(b, node, [x])
    assert second is None
    assert first is not None
    assert len(b.build([first]).computations) == 1


def test_upsampling_by_two_is_one_quasi_affine_copy() -> None:
    f = lowered(
        "Resize",
        [(1, 3, 4, 4), None, None],
        (1, 3, 8, 8),
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        {2: np.array([1, 1, 2, 2], np.float32)},
    )
    assert len(f.computations) == 1


def test_stable_where_naive_formulas_overflow() -> None:
    big = np.array([-1e4, -100, 0, 100, 1e4], np.float32)
    for op, expected in (
        ("Sigmoid", [0, 0, 0.5, 1, 1]),
        ("Softplus", [0, 0, np.log(2), 100, 1e4]),
        ("Mish", [0, 0, 0, 100, 1e4]),
        ("Softmax", [0, 0, 0, 0, 1]),
        ("LogSoftmax", [-2e4, -10100, -1e4, -9900, 0]),
    ):
        result = interpret(lowered(op, [(5,)], (5,)), {"x0": big})["y"]
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-30, err_msg=op)


KEEPS_NAN = [
    "Relu",
    "LeakyRelu",
    "Sigmoid",
    "Tanh",
    "HardSigmoid",
    "HardSwish",
    "Softplus",
    "Elu",
    "Selu",
    "Celu",
    "Gelu",
]
KEEPS_NAN += ["Mish", "Sign", "Softsign", "Abs", "Floor", "ThresholdedRelu"]


@pytest.mark.parametrize("op", KEEPS_NAN)
def test_nan_is_kept(op: str) -> None:
    result = interpret(lowered(op, [(2,)], (2,)), {"x0": np.array([np.nan, 1], np.float32)})["y"]
    assert np.isnan(result[0])
    assert np.isfinite(result[1])


@pytest.mark.parametrize(
    ("op", "x", "wanted"),
    [
        ("LpNormalization", [np.nan, 2.0, 1.0], [np.nan, np.nan, np.nan]),
        ("LpNormalization", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    ],
)
def test_nan_in_norms(op: str, x: list[float], wanted: list[float]) -> None:
    result = interpret(lowered(op, [(3,)], (3,)), {"x0": np.array(x, np.float32)})["y"]
    np.testing.assert_array_equal(result, wanted)
