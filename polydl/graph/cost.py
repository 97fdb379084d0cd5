"""Arithmetic and traffic of nodes, from shapes alone: what rooflines, `inspect` and profiles count with."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from polydl.graph.groups import ELEMENTWISE, Group, kind_of
from polydl.graph.groups import GroupKind as Kind
from polydl.graph.ir import Graph, Node

__all__ = ["Cost", "group_cost", "network_cost", "node_flops"]


@dataclass(frozen=True, slots=True)
class Cost:
    """`flops`: arithmetic operations (a multiply-add is two); `bytes`: every operand and result moved once."""

    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.bytes if self.bytes else 0.0


def node_flops(graph: Graph, node: Node) -> int:
    """Arithmetic operations of one node; a special function counts as one, a movement as none."""
    out = graph.values[next(o for o in node.outputs if o)]
    shapes = [graph.values[i].shape if i else () for i in node.inputs]
    match node.op_type:
        case "Conv":
            # each output sums over the channels of its group and the window; the bias is one more addition
            return out.elements * (2 * prod(shapes[1][1:]) + (len(shapes) > 2))
        case "ConvTranspose":
            # each input element is multiplied with the filters of its group
            return 2 * prod(shapes[0]) * prod(shapes[1][1:]) + (out.elements if len(shapes) > 2 else 0)
        case "Gemm":
            depth = shapes[0][0 if node.integer("transA", 0) else 1]
            return out.elements * (2 * depth + (len(shapes) > 2))
        case "MatMul":
            return 2 * out.elements * shapes[0][-1]
        case "Einsum":
            return 2 * _einsum_points(node, shapes)
        case "LSTM" | "GRU" | "RNN":
            # W and R have the shape [directions, gates*hidden, columns]: one product each per step and batch element
            steps, batch = shapes[0][:2]
            return 2 * steps * batch * (prod(shapes[1]) + prod(shapes[2]))
        case "MaxPool" | "AveragePool" | "LpPool":
            return out.elements * prod(node.integers("kernel_shape"))
        case "Softmax" | "LogSoftmax" | "LayerNormalization" | "InstanceNormalization" | "GroupNormalization":
            return 5 * out.elements  # two reductions and three elementwise steps
        case "Sum" | "Mean" | "Max" | "Min":
            return out.elements * max(1, len(shapes) - 1)
        case "Identity" | "Cast" | "Dropout":
            return 0
        case op if op in ELEMENTWISE:
            return out.elements
        case _ if kind_of(node) is Kind.REDUCTION:
            return prod(shapes[0])
        case _:
            return 0


def _einsum_points(node: Node, shapes: list[tuple[int, ...]]) -> int:
    """Points of the joint index space of an Einsum; 0 where it has an ellipsis."""
    terms = node.text("equation").replace(" ", "").split("->")[0].split(",")
    if any("." in t for t in terms):
        return 0
    extents = {letter: n for t, s in zip(terms, shapes, strict=True) for letter, n in zip(t, s, strict=True)}
    return prod(extents.values())


def group_cost(graph: Graph, group: Group) -> Cost:
    """A group's operations, and the bytes that enter and leave it."""
    return Cost(
        sum(node_flops(graph, n) for n in group.nodes),
        sum(graph.values[v].bytes for v in (*group.inputs, *group.outputs)),
    )


def network_cost(graph: Graph) -> Cost:
    """All nodes' operations; the bytes of inputs, outputs and constants."""
    return Cost(
        sum(node_flops(graph, n) for n in graph.nodes),
        sum(graph.values[v].bytes for v in {*graph.inputs, *graph.outputs, *graph.constants}),
    )
