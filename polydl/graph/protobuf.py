"""Between ONNX's protobuf messages and the graph's own values."""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from polydl.dtypes import BOOL, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64, DType
from polydl.errors import InvalidModel
from polydl.graph.ir import Array, AttributeValue, Node, Value

__all__ = [
    "DTYPES",
    "attribute_value",
    "dtype_of",
    "node_proto",
    "onnx_dtype",
    "tensor_array",
    "type_name",
    "type_proto",
]

DTYPES: Final[dict[int, DType]] = {
    TensorProto.FLOAT16: F16, TensorProto.FLOAT: F32, TensorProto.DOUBLE: F64, TensorProto.INT8: I8,
    TensorProto.INT16: I16, TensorProto.INT32: I32, TensorProto.INT64: I64, TensorProto.UINT8: U8,
    TensorProto.UINT16: U16, TensorProto.UINT32: U32, TensorProto.UINT64: U64, TensorProto.BOOL: BOOL,
}  # fmt: skip

_CODES: Final = {v: k for k, v in DTYPES.items()}
_FIELDS: Final = {  # element type -> repeated field that holds it where there is no raw_data
    TensorProto.FLOAT: "float_data", TensorProto.DOUBLE: "double_data", TensorProto.INT64: "int64_data",
    TensorProto.UINT64: "uint64_data", TensorProto.UINT32: "uint64_data",
}  # fmt: skip


def dtype_of(code: int) -> DType | None:
    """The element type of ONNX's `code`; None where polydl has none (strings, bfloat16, complex, float8, 4 bits)."""
    return DTYPES.get(code)


def onnx_dtype(dtype: DType) -> int:
    """ONNX's code of an element type."""
    return _CODES[dtype]


def type_name(code: int) -> str:
    """ONNX's name of an element type, for messages."""
    names = {v: k for k, v in TensorProto.DataType.items()}
    return str(names.get(code, f"type {code}")).lower()


def type_proto(value: Value) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(onnx_dtype(value.dtype), value.shape)


def tensor_array(t: TensorProto, where: str) -> Array:
    """The contents of a tensor message whose size the caller has checked against its limits."""
    dtype = dtype_of(t.data_type)
    if dtype is None:
        raise InvalidModel(f"a tensor of {type_name(t.data_type)} elements cannot be read", where=where)
    shape = tuple(int(d) for d in t.dims)
    expected = prod(shape) * dtype.bytes
    raw = t.raw_data if t.HasField("raw_data") else None  # each access copies
    present = (
        len(raw) if raw is not None else len(getattr(t, _FIELDS.get(t.data_type, "int32_data"))) * dtype.bytes
    )
    if any(d < 0 for d in shape) or present != expected:
        raise InvalidModel(
            f"tensor '{t.name}' of shape {list(shape)} holds {present} bytes of data, {expected} are needed",
            where=where,
            why="the file is damaged or was written wrongly",
            next="export the model again",
        )
    if raw is not None:  # little-endian, and booleans are any non-zero byte
        array = (
            np.frombuffer(raw, dtype.numpy.newbyteorder("<")).astype(dtype.numpy, copy=False).reshape(shape)
        )
        array = array.view(np.uint8) != 0 if dtype is BOOL else array
    else:
        array = np.asarray(numpy_helper.to_array(t), dtype=dtype.numpy).reshape(shape)
    array.setflags(write=False)
    return array


def attribute_value(a: AttributeProto, where: str) -> AttributeValue:
    """An attribute's value; InvalidModel for kinds that no tensor operator of ours has (graphs, sparse tensors,
    types)."""
    match a.type:
        case AttributeProto.INT:
            return int(a.i)
        case AttributeProto.FLOAT:
            return float(a.f)
        case AttributeProto.STRING:
            return bytes(a.s).decode("utf-8", "replace")
        case AttributeProto.INTS:
            return tuple(int(i) for i in a.ints)
        case AttributeProto.FLOATS:
            return tuple(float(f) for f in a.floats)
        case AttributeProto.STRINGS:
            return tuple(bytes(s).decode("utf-8", "replace") for s in a.strings)
        case AttributeProto.TENSOR:
            return tensor_array(a.t, where)
        case _:
            kind = AttributeProto.AttributeType.Name(a.type)
            raise InvalidModel(
                f"attribute '{a.name}' has the kind {kind}, which is not supported", where=where
            )


def node_proto(node: Node) -> onnx.NodeProto:
    """The node as a message, for ONNX's own tools."""
    result = onnx.NodeProto(
        name=node.name, op_type=node.op_type, domain=node.domain, input=node.inputs, output=node.outputs
    )
    for key, value in sorted(node.attributes.items()):
        if isinstance(value, np.ndarray):
            value = numpy_helper.from_array(value)
        if isinstance(value, tuple) and not value:
            continue  # an empty list has no type; the schema's default is the same
        result.attribute.append(
            helper.make_attribute(key, list(value) if isinstance(value, tuple) else value)
        )
    return result
