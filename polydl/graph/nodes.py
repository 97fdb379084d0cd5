"""Graph nodes as the operator table sees them."""

from __future__ import annotations

from polydl.dtypes import DType
from polydl.graph.ir import Graph, Node
from polydl.ops.registry import OpNode

__all__ = ["depthwise", "op_node"]


def op_node(graph: Graph, node: Node) -> OpNode:
    """The node with its types and with the contents of its constant inputs."""
    outputs: list[tuple[str, DType, tuple[int, ...]]] = []
    for o in node.outputs:
        value = graph.values.get(o)
        outputs.append(
            (node.op_type.lower(), value.dtype, value.shape)
            if value is not None
            else ("", graph.values[node.output].dtype, ())
        )
    constants = {k: graph.constants[i] for k, i in enumerate(node.inputs) if i in graph.constants}
    return OpNode(
        node.op_type, node.domain, node.name, node.opset, node.attributes, constants, tuple(outputs)
    )


def depthwise(graph: Graph, node: Node) -> bool:
    """Is this a convolution in which every output channel reads the one input channel of its own number?"""
    if node.op_type not in ("Conv", "ConvTranspose"):
        return False
    group, w = node.integer("group", 1), graph.values[node.inputs[1]].shape
    return group > 1 and w[0] == group and w[1] == 1
