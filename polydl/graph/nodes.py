"""Graph nodes as the operator table sees them."""

from __future__ import annotations

from polydl.dtypes import DType
from polydl.graph.ir import Graph, Node
from polydl.ops.registry import OpNode

__all__ = ["depthwise", "op_node", "pooled_shape"]


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


def pooled_shape(node: Node, x: tuple[int, ...], inferred: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a pool of `x`, for that which ONNX's inference gives.

    Where rounded up, windows that would begin behind the input and its first padding are left out; the inference
    forgets that where windows are shorter than their stride.
    """
    rank = len(x) - 2
    if not node.integer("ceil_mode", 0) or len(inferred) != len(x):
        return inferred
    strides, pads = node.integers("strides", (1,) * rank), node.integers("pads", (0,) * 2 * rank)
    sizes = (
        n - 1 if n > 1 and (n - 1) * s >= extent + before else n
        for n, s, extent, before in zip(inferred[2:], strides, x[2:], pads[:rank], strict=True)
    )
    return (*inferred[:2], *sizes)
