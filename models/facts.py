"""What can be read from a model: its inputs, its size, its shapes."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper

from models.distribution import attribute

__all__ = ["count_parameters", "example_inputs", "infer_shapes"]


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
