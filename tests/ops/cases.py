"""The node cases of onnx.backend.test, one OpNode each, and how a node is run through `lower` and the interpreter."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from polydl.dsl import FunctionBuilder, interpret
from polydl.dsl.polyhedral import scop_of
from polydl.dtypes import DType, from_numpy
from polydl.errors import InvalidProgram
from polydl.ops import OpNode, lower, static_inputs
from polydl.poly.dependences import bounds_violation

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class NodeCase:
    """A single-node model with inputs and expected outputs, by position; None for absent ones."""

    name: str
    op_type: str
    domain: str
    opset: int
    attributes: Mapping[str, Any]
    inputs: tuple[Any, ...]
    output_names: tuple[str, ...]
    outputs: tuple[Any, ...]
    rtol: float
    atol: float

    def __repr__(self) -> str:
        return self.name


@cache
def node_cases() -> tuple[NodeCase, ...]:
    """Every case of the suite whose model is one node."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return tuple(_node_case(c) for c in found if c.model is not None and len(c.model.graph.node) == 1)


def _node_case(case: Any) -> NodeCase:
    graph = case.model.graph
    node = graph.node[0]
    given, expected = case.data_sets[0]
    values = dict(zip([i.name for i in graph.input], given, strict=True))
    results = dict(zip([o.name for o in graph.output], expected, strict=True))
    opset = next(
        o.version
        for o in case.model.opset_import
        if o.domain in (node.domain, "ai.onnx" if not node.domain else "")
    )
    return NodeCase(
        case.name,
        node.op_type,
        node.domain,
        opset,
        attributes_of(node),
        tuple(_plain(values[n]) if n else None for n in node.input),
        tuple(node.output),
        tuple(_plain(results.get(n)) for n in node.output),
        case.rtol or 1e-3,
        case.atol or 1e-7,
    )


def _plain(value: Any) -> Any:
    """A TensorProto as an array where polydl has its type; the suite gives some values so."""
    if isinstance(value, onnx.TensorProto):
        array = numpy_helper.to_array(value)
        return array if dtype_of(array) is not None else value
    return value


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes as numbers, strings, tuples and arrays."""
    result: dict[str, Any] = {}
    for a in node.attribute:
        value = helper.get_attribute_value(a)
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        result[a.name] = tuple(value) if isinstance(value, list) else value
    return result


def dtype_of(value: Any) -> DType | None:
    """The polydl type of an array; None where it has none or is no array."""
    if not isinstance(value, np.ndarray | np.generic):
        return None
    try:
        dtype = from_numpy(value.dtype)
    except InvalidProgram:
        return None
    return None if dtype.name == "f16" else dtype


def run_node(
    op_type: str,
    inputs: Sequence[Array | None],
    outputs: Sequence[tuple[str, Any, tuple[int, ...]]],
    attributes: Mapping[str, Any],
    opset: int,
    domain: str = "",
    *,
    known: Sequence[int] = (),
) -> tuple[Array | None, ...]:
    """Lower one node, prove its accesses in bounds, interpret it; its outputs by position (None for unwanted ones).

    `outputs` says name, numpy type and shape; inputs that the operator needs at build time, and those in `known`, are
    given as constants.
    """
    static = static_inputs(op_type, domain, opset) | set(known)
    constants = {i: np.asarray(x) for i, x in enumerate(inputs) if x is not None and i in static}
    wanted = tuple((n, from_numpy(t), tuple(s)) for n, t, s in outputs)
    node = OpNode(op_type, domain, f"the_{op_type}", opset, attributes, constants, wanted)
    b = FunctionBuilder("test")
    tensors = [
        None if x is None else b.input(f"in{i}", x.shape, from_numpy(x.dtype), constant=i in constants)
        for i, x in enumerate(inputs)
    ]
    made = lower(b, node, tensors)
    function = b.build([t for t in made if t is not None])
    assert bounds_violation(scop_of(function)) is None
    arrays = {f"in{i}": np.asarray(x) for i, x in enumerate(inputs) if x is not None}
    results = interpret(function, arrays)
    return tuple(None if t is None else results[t.name] for t in made)


def check_equal(actual: Array | None, expected: Any, rtol: float, atol: float) -> None:
    """As onnx.backend.test compares: same type and shape; integers and bool equal, floats close."""
    assert actual is not None
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype.kind == "f":
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True)
    else:
        np.testing.assert_array_equal(actual, expected)


def onnxruntime_outputs(
    op_type: str, inputs: Sequence[Array | None], attributes: Mapping[str, Any], opset: int, outputs: int = 1
) -> list[Array]:
    """What onnxruntime computes for one node; inputs known at build time are initialisers, as it may need them."""
    import onnxruntime

    static = static_inputs(op_type, "", opset)
    names = [f"in{i}" if x is not None else "" for i, x in enumerate(inputs)]
    node = helper.make_node(op_type, names, [f"out{k}" for k in range(outputs)], **attributes)
    given = {
        n: x for i, (n, x) in enumerate(zip(names, inputs, strict=True)) if x is not None and i not in static
    }
    known = [
        numpy_helper.from_array(x, names[i]) for i, x in enumerate(inputs) if x is not None and i in static
    ]
    graph = helper.make_graph(
        [node],
        "one_node",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for n, x in given.items()
        ],
        [helper.make_empty_tensor_value_info(f"out{k}") for k in range(outputs)],
        known,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results: list[Array] = session.run(None, given)
    return results


def compare_with_onnxruntime(
    op_type: str,
    inputs: Sequence[Array | None],
    attributes: Mapping[str, Any],
    opset: int,
    outputs: int = 1,
    *,
    known: Sequence[int] = (),
) -> None:
    """One node through polydl's interpreter and through onnxruntime, to float32's accuracy."""
    expected = onnxruntime_outputs(op_type, inputs, attributes, opset, outputs)
    wanted = [(f"out{k}", x.dtype, x.shape) for k, x in enumerate(expected)]
    results = run_node(op_type, inputs, wanted, attributes, opset, known=known)
    for actual, value in zip(results, expected, strict=True):
        check_equal(actual, value, rtol=1e-4, atol=1e-5)
