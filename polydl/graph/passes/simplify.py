"""Nodes that do nothing are removed; chains of reshapes and of transposes become one."""

from __future__ import annotations

from typing import Final

import numpy as np

from polydl.graph.editor import Editor
from polydl.graph.ir import Graph, Node
from polydl.graph.passes.common import rebuilt

__all__ = ["RESHAPES", "merge_movements", "remove_no_ops"]

RESHAPES: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators that keep the row-major order of the elements."""

_KEEPS_IF_SAME_SHAPE: Final = RESHAPES | {"Expand", "Tile", "Slice", "CenterCropPad"}
_SINGLE_OPERAND: Final = frozenset({"Concat", "Sum", "Max", "Min", "Mean", "Split"})
_IDEMPOTENT: Final = frozenset({"Relu", "Abs", "Ceil", "Floor", "Round", "Sign"})


def remove_no_ops(graph: Graph) -> Graph:
    """`x = op(y)` with x equal to y: readers of x read y.

    Identity, Dropout, Cast to the same type, Reshape/Expand/Tile/Slice to the same shape, Pad by nothing, Transpose
    by the identity, Concat/Sum/Max/… of one, x+0, x-0, x*1, x/1, x^1, a 1x1 stride-1 pool, Relu of Relu.
    """
    e = Editor(graph)
    for node in e.walk():
        kept = _kept(e, node)
        if kept is None:
            continue
        source, result = e.values[kept], e.values[node.output]
        copies_at_edge = (
            node.op_type == "Identity"
            and node.output in graph.outputs
            and (kept in graph.inputs or kept in e.constants or kept in graph.outputs)
        )
        if (source.dtype, source.shape) == (result.dtype, result.shape) and not copies_at_edge:
            e.replace(node.output, kept)
    return e.finish()


def _kept(e: Editor, node: Node) -> str | None:
    """The input that the node's only output equals, if there is one."""
    if [o for o in node.outputs if o] != [node.output] or not node.inputs:
        return None
    x = node.inputs[0]
    match node.op_type:
        case "Identity" | "Dropout" | "Cast" | "CastLike":
            return x if node.op_type != "Dropout" or not _trains(e, node) else None
        case op if op in _KEEPS_IF_SAME_SHAPE:
            return x if op != "Slice" or not _reversed(e, node) else None
        case "Pad":  # one element more at one end and one less at the other keep the shape too
            amounts = node.integers("pads") if node.opset < 11 else e.constant(node.input(1))
            return x if amounts is not None and not np.any(amounts) else None
        case "Transpose":
            rank = len(e.values[x].shape)
            shape = e.values[x].shape
            permutation = node.integers("perm", tuple(reversed(range(rank))))
            moved = [p for p in permutation if shape[p] != 1]  # axes of extent 1 may move freely
            return x if moved == sorted(moved) else None
        case op if (
            op in _SINGLE_OPERAND
            and len([i for i in node.inputs if i]) == 1
            and (op != "Split" or len(node.outputs) == 1)
        ):
            return x
        case "Add" | "Mul":
            neutral = 0.0 if node.op_type == "Add" else 1.0
            for one, other in (node.inputs, node.inputs[::-1]):
                if _all(e, other, neutral):
                    return one
            return None
        case "Sub":
            return x if _all(e, node.inputs[1], 0.0) else None
        case "Div" | "Pow":
            return x if _all(e, node.inputs[1], 1.0) else None
        case "MaxPool" | "AveragePool":
            plain = {"kernel_shape": 1, "strides": 1, "pads": 0}
            trivial = all(all(v == want for v in node.integers(k)) for k, want in plain.items())
            return x if trivial and len(node.outputs) == 1 else None
        case op if op in _IDEMPOTENT:
            return x if e.producer(x, op) is not None else None
        case _:
            return None


def _all(e: Editor, name: str, value: float) -> bool:
    array = e.constant(name)
    return array is not None and bool(np.all(array == value))


def _trains(e: Editor, node: Node) -> bool:
    return bool(node.input(2)) and not _all(e, node.input(2), 0)


def _reversed(e: Editor, node: Node) -> bool:
    """May a Slice of full size have negative steps?"""
    if node.opset < 10 or not node.input(4):
        return False
    steps = e.constant(node.input(4))
    return steps is None or bool(np.any(steps < 1))


def merge_movements(graph: Graph) -> Graph:
    """Reshape(Reshape(x)) -> Reshape(x), also for Flatten, Squeeze, Unsqueeze; Transpose(Transpose(x)) ->
    Transpose(x)."""
    e = Editor(graph)
    for node in e.walk():
        if node.op_type in RESHAPES:
            first = e.producer(node.inputs[0])
            # A transpose that only moves axes of extent 1 is a reshape too; remove_no_ops cannot see it.
            if first is not None and (first.op_type in RESHAPES or _only_unit_axes_move(e, first)):
                _reshape(e, node, first.inputs[0])
        elif node.op_type == "Transpose":
            first = e.producer(node.inputs[0], "Transpose")
            if first is not None:
                outer, inner = _permutation(e, node), _permutation(e, first)
                rebuilt(e, node, (first.inputs[0],), perm=tuple(inner[p] for p in outer))
            elif _only_unit_axes_move(e, node):
                _reshape(e, node, node.inputs[0])
    return e.finish()


def _permutation(e: Editor, node: Node) -> tuple[int, ...]:
    return node.integers("perm", tuple(reversed(range(len(e.values[node.inputs[0]].shape)))))


def _only_unit_axes_move(e: Editor, node: Node) -> bool:
    if node.op_type != "Transpose":
        return False
    shape = e.values[node.inputs[0]].shape
    moved = [p for p in _permutation(e, node) if shape[p] != 1]
    return moved == sorted(moved)


def _reshape(e: Editor, node: Node, source: str) -> None:
    """`node` replaced by one Reshape of `source` to its static shape."""
    shape = e.values[node.output].shape
    if 0 in shape:
        return  # a 0 in Reshape's shape means "copy the dimension"
    e.replace(
        node.output,
        e.add(
            "Reshape",
            [source, e.add_constant(f"{node.output}_shape", np.array(shape, np.int64))],
            opset=max(e.graph.opset, 7),
            hint=node.name,
        ),
    )
