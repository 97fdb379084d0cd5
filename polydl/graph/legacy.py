"""Old spellings made new.

Operator set 6: binary operators with the attributes `broadcast` and `axis` become numpy-style ones of operator set 7.
BatchNormalization before operator set 14 (inference, statistics per channel) becomes that of 15; in training it stays,
since its results differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from polydl.graph.editor import Editor
from polydl.graph.ir import Graph, Node

__all__ = ["upgrade"]

_BINARY: Final = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"}
)


def upgrade(graph: Graph) -> Graph:
    """The same graph in spellings that the rest of polydl reads: of operator set 7 or later."""
    e = Editor(graph)
    for node in e.walk():
        if node.op_type == "BatchNormalization" and node.opset < 14:
            attributes = {k: v for k, v in node.attributes.items() if k in ("epsilon", "momentum")}
            if len(node.outputs) > 1 and not node.integer("is_test"):
                e.substitute(node, replace(node, opset=max(node.opset, 7)))
            elif node.integer("spatial", 1) == 1:
                e.substitute(node, replace(node, opset=15, attributes=attributes))
            continue
        if node.opset >= 7:
            continue
        inputs = node.inputs
        if node.op_type in _BINARY and node.integer("broadcast") == 1:
            inputs = (node.inputs[0], _aligned(e, node))
        elif node.op_type == "PRelu":
            inputs = (node.inputs[0], _slope(e, node))
        dropped: tuple[str, ...] = (
            ("broadcast", "axis")
            if node.op_type in _BINARY
            else ("broadcast",)
            if node.op_type == "Gemm"
            else ()
        )
        dropped += ("is_test",) if node.op_type == "Dropout" else ()
        attributes = {k: v for k, v in node.attributes.items() if k not in (*dropped, "consumed_inputs")}
        e.substitute(node, replace(node, opset=7, inputs=inputs, attributes=attributes))
    return replace(e.finish(), opset=max(graph.opset, 7))


def _aligned(e: Editor, node: Node) -> str:
    """The second operand with trailing dimensions of 1, so that its first dimension lands on `axis`."""
    a, b = (e.values[i] for i in node.inputs)
    if "axis" not in node.attributes:
        return node.inputs[1]
    axis = node.integer("axis") % max(len(a.shape), 1)
    shape = b.shape + (1,) * (len(a.shape) - axis - len(b.shape))
    return node.inputs[1] if shape == b.shape else _reshaped(e, node.inputs[1], shape)


def _slope(e: Editor, node: Node) -> str:
    x, slope = (e.values[i] for i in node.inputs)
    if slope.elements == 1 or len(slope.shape) != 1 or len(x.shape) < 2:
        return node.inputs[1]
    return _reshaped(e, node.inputs[1], slope.shape + (1,) * (len(x.shape) - 2))


def _reshaped(e: Editor, name: str, shape: tuple[int, ...]) -> str:
    array = e.constant(name)
    if array is not None:
        return e.add_constant(f"{name}_aligned", array.reshape(shape))
    return e.add("Reshape", [name, e.add_constant(f"{name}_shape", np.array(shape, np.int64))], opset=7)
