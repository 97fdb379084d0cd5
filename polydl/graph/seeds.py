"""Operators that draw from a seed become what the seed draws.

    Dropout(x, ratio, true), seed=7  ->  x * m    m = (RandomState(7).uniform(0, 1, shape) >= ratio) / (1 - ratio)

ONNX leaves the generator open; this is the one of its reference implementation, so that a result can be compared. Every
run of the compiled network drops the same elements. Without a seed a result is random: such a node stays, and lowering
refuses it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from polydl.errors import InvalidModel
from polydl.graph.editor import Editor
from polydl.graph.ir import Array, Graph, Node

__all__ = ["draw"]

_SEEDS: Final = 1 << 32  # numpy's RandomState takes seeds below


def draw(graph: Graph) -> Graph:
    """The same graph without the training Dropouts that have a seed and a ratio known at build time."""
    if all(n.op_type != "Dropout" for n in graph.nodes):
        return graph
    e = Editor(graph)
    for node in e.walk():
        if node.op_type == "Dropout":
            _drop(e, node)
    return e.finish()


def _drop(e: Editor, node: Node) -> None:
    training, ratio = (
        e.constant(node.input(2)),
        e.constant(node.input(1)) if node.input(1) else np.float32(0.5),
    )
    if training is None or training.size != 1 or not training.item() or ratio is None or ratio.size != 1:
        return
    seed = node.attributes.get("seed")
    if ratio.item() == 0 or not isinstance(seed, int) or not 0 <= seed < _SEEDS:
        return
    if not 0 < ratio.item() < 1:
        raise InvalidModel(
            f"Dropout has the ratio {ratio.item()}", where=f"node '{node.name}'", why="it is in [0, 1)"
        )
    x = e.values[node.inputs[0]]
    mask: Array = np.random.RandomState(seed).uniform(0, 1, x.shape) >= ratio.item()
    if node.outputs[0]:
        factor = np.where(mask, 1 / (1 - np.float64(ratio.item())), 0).astype(x.dtype.numpy)
        name = e.add_constant(f"{node.outputs[0]}_factor", factor)
        e.replace(node.outputs[0], e.add("Mul", [x.name, name], hint=node.name))
    if len(node.outputs) > 1 and node.outputs[1]:
        e.replace(node.outputs[1], e.add_constant(f"{node.outputs[1]}_drawn", mask))
