"""What can be read from a model: its inputs, its size, its shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from models.distribution import attribute

__all__ = ["count_parameters", "example_inputs", "infer_shapes", "kernel_taps"]


def example_inputs(model: onnx.ModelProto, seed: int) -> dict[str, np.ndarray]:
    """Random inputs: floats are standard normal; integers are valid rows of the table they index, or else 0 and 1.

    Symbolic dimensions become 1.
    """
    generator = np.random.default_rng(seed)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    tables: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[0] in tensors:
            rows = tensors[node.input[0]].dims[attribute(node, "axis", 0)]
            tables[node.input[1]] = min(rows, tables.get(node.input[1], rows))
    arrays: dict[str, np.ndarray] = {}
    for value in model.graph.input:
        if value.name in tensors:
            continue
        shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if np.issubdtype(dtype, np.floating):
            arrays[value.name] = generator.standard_normal(shape).astype(dtype)
        else:
            arrays[value.name] = generator.integers(0, tables.get(value.name, 2), shape).astype(dtype)
    return arrays


def count_parameters(model: onnx.ModelProto, *, statistics: bool = False) -> int:
    """Number of float weights, scalars apart; BatchNormalization's mean and variance only with `statistics`."""
    measured = {
        name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]
    }
    return sum(
        math.prod(tensor.dims)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and tensor.dims
        and (statistics or tensor.name not in measured)
    )


def infer_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Every value's static shape, where ONNX can tell; without copying large weights."""
    graph = model.graph
    small = [
        tensor for tensor in graph.initializer if tensor.data_type != TensorProto.FLOAT or not tensor.dims
    ]
    listed = {value.name for value in graph.input}
    declared = [
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in graph.initializer
        if tensor.name not in listed and tensor.data_type == TensorProto.FLOAT and tensor.dims
    ]
    skeleton = helper.make_model(
        helper.make_graph(list(graph.node), graph.name, [*graph.input, *declared], list(graph.output), small),
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
    )
    inferred = onnx.shape_inference.infer_shapes(skeleton, data_prop=True).graph
    shapes: dict[str, tuple[int, ...]] = {}
    for value in [*inferred.input, *inferred.value_info, *inferred.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    for tensor in graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
    return shapes


def kernel_taps(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> list[float]:
    """Along each axis of a Conv, the mean number of kernel taps that fall inside the image: what is left to compute
    when padding is skipped. The whole kernel where shapes are not static."""
    kernel = shapes[node.input[1]][2:]
    if node.input[0] not in shapes or node.output[0] not in shapes:
        return [float(size) for size in kernel]
    rank = len(kernel)
    sizes, outs = shapes[node.input[0]][2:], shapes[node.output[0]][2:]
    strides, dilations = attribute(node, "strides", [1] * rank), attribute(node, "dilations", [1] * rank)
    pads = attribute(node, "pads", [0] * 2 * rank)[:rank]
    mode = attribute(node, "auto_pad", b"NOTSET")
    if mode in (b"SAME_UPPER", b"SAME_LOWER"):
        spans = [
            (o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(outs, strides, kernel, dilations, strict=True)
        ]
        totals = [max(span - size, 0) for span, size in zip(spans, sizes, strict=True)]
        pads = [(total + (mode == b"SAME_LOWER")) // 2 for total in totals]
    return [_inside(*axis) for axis in zip(sizes, outs, kernel, strides, dilations, pads, strict=True)]


def _inside(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> float:
    at = np.arange(out)[:, None] * stride - before + np.arange(kernel) * dilation
    return float(((at >= 0) & (at < size)).sum() / out)
