"""What several passes ask of constants and nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from polydl.graph.editor import Editor
from polydl.graph.ir import Array, AttributeValue, Node

__all__ = ["axes_of", "per_channel", "rebuilt"]


def per_channel(array: Array, rank: int, axis: int, channels: int) -> Array | None:
    """`array`, broadcast against a tensor of `rank`, as one number per index of `axis` (float64); None where it varies
    along another axis or would broadcast the tensor itself."""
    if array.ndim > rank or not np.issubdtype(array.dtype, np.floating):
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(s != 1 for k, s in enumerate(shape) if k != axis) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(-1), (channels,)).astype(np.float64)


def axes_of(e: Editor, node: Node, index: int = 1) -> tuple[int, ...] | None:
    """The axes of a Reduce, Squeeze or Unsqueeze, an attribute or the constant input `index`; () is none given.

    None where they are not known. Negative axes stay as they are.
    """
    if node.input(index):
        array = e.constant(node.input(index))
        return None if array is None else tuple(int(a) for a in array.reshape(-1))
    return node.integers("axes")


def rebuilt(
    e: Editor, node: Node, inputs: tuple[str, ...] | None = None, **attributes: AttributeValue
) -> Node:
    """`node` replaced by a copy with other inputs or attributes."""
    new = replace(
        node,
        inputs=inputs if inputs is not None else node.inputs,
        attributes={**node.attributes, **attributes},
    )
    e.substitute(node, new)
    return new
