"""Evaluation of nodes and graphs by ONNX's reference evaluator: the semantics that folding and the tests rely on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx
from onnx import helper

from polydl.errors import InvalidProgram
from polydl.graph.ir import Array, Graph, Node
from polydl.graph.protobuf import node_proto, type_proto
from polydl.graph.reference import reference_evaluator

__all__ = ["evaluate_graph", "evaluate_node", "to_onnx"]

_IR_VERSION: Final = 10  # readable by every runtime of the last years; nothing newer is used


def evaluate_node(node: Node, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of one node, by name. Whatever the evaluator raises is passed on."""
    names = [i for i in dict.fromkeys(node.inputs) if i]
    infos = [
        helper.make_tensor_value_info(i, helper.np_dtype_to_tensor_dtype(inputs[i].dtype), inputs[i].shape)
        for i in names
    ]
    outputs = [o for o in node.outputs if o]
    unknown = [onnx.ValueInfoProto(name=o) for o in outputs]
    graph = helper.make_graph([node_proto(node)], "one", infos, unknown)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, node.opset)])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = reference_evaluator(model).run(outputs, {i: inputs[i] for i in names})
    return {o: np.asarray(r) for o, r in zip(outputs, results, strict=True)}


def evaluate_graph(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The graph's outputs, node by node, each node at its own operator set."""
    live: dict[str, Array] = {**graph.constants, **inputs}
    missing = [i for i in graph.inputs if i not in live]
    if missing:
        raise InvalidProgram(f"no array for input {missing[0]}", where=graph.name)
    for node in graph.nodes:
        live |= evaluate_node(node, {i: live[i] for i in node.inputs if i})
    return {o: live[o] for o in graph.outputs}


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The graph as an ONNX model at the newest operator set of its nodes (each node must mean the same there)."""
    infos = [helper.make_value_info(i, type_proto(graph.values[i])) for i in graph.inputs]
    outs = [helper.make_value_info(o, type_proto(graph.values[o])) for o in graph.outputs]
    constants = [
        onnx.numpy_helper.from_array(np.asarray(a, order="C"), name=n) for n, a in graph.constants.items()
    ]
    body = helper.make_graph(
        [node_proto(n) for n in graph.nodes], graph.name or "graph", infos, outs, constants
    )
    opset = max([graph.opset, *(n.opset for n in graph.nodes)])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION)
