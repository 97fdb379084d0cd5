"""Constant folding: nodes whose inputs are all known are computed now, as long as that does not make the model
grow."""

from __future__ import annotations

from math import prod
from typing import Final

from polydl.dtypes import from_numpy
from polydl.graph.editor import Editor
from polydl.graph.inference import fold_node
from polydl.graph.ir import Graph, Node
from polydl.graph.limits import DEFAULT_LIMITS, Limits

__all__ = ["fold_constants"]

_VIEWS: Final = frozenset({"ConstantOfShape", "Expand", "Transpose"})  # folded to views that own no memory
_COSTLY: Final = frozenset(
    {"Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "LSTM", "GRU", "RNN", "Resize", "Upsample", "LRN"}
)  # fmt: skip
_COSTLY_ELEMENTS: Final = 1 << 14  # the reference evaluator does these in Python: a second at most


def fold_constants(graph: Graph, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """`graph` with constant expressions computed.

    A result is kept only if it is small, or no larger than what it replaces; the sum of what is added is bounded by
    `limits.fold_bytes`.
    """
    e = Editor(graph)
    added = 0
    for node in e.walk():
        if not node.inputs or any(i and i not in e.constants for i in node.inputs):
            continue
        growth = _growth(e, node)
        if node.op_type not in _VIEWS and (added + growth > limits.fold_bytes or _too_slow(e, node)):
            continue
        arrays = fold_node(node, e.constants, e.values)
        if arrays is None:
            continue
        added += max(growth, 0) if node.op_type not in _VIEWS else 0
        for o, array in arrays.items():
            name = e.add_constant(o, array)
            if from_numpy(array.dtype) == e.values[o].dtype:
                e.replace(o, name)
    return e.finish()


def _growth(e: Editor, node: Node) -> int:
    made = sum(e.values[o].bytes for o in node.outputs if o)
    return made - sum(e.values[i].bytes for i in set(node.inputs) if i and len(e.users(i)) == 1)


def _too_slow(e: Editor, node: Node) -> bool:
    if node.op_type not in _COSTLY:
        return False
    return any(prod(e.values[v].shape) > _COSTLY_ELEMENTS for v in (*node.inputs, *node.outputs) if v)
