"""Common subexpressions: nodes that compute the same from the same, and constants with the same contents, become
one."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from polydl.graph.editor import Editor
from polydl.graph.ir import Array, AttributeValue, Graph, Node

__all__ = ["share_common"]

_HASHED_BYTES: Final = (
    1 << 20
)  # larger constants are hardly ever equal; hashing them would take longer than it gains
_COMMUTATIVE: Final = frozenset({"Add", "Mul", "And", "Or", "Xor", "Equal"})
_RANDOM: Final = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)  # fmt: skip


def share_common(graph: Graph) -> Graph:
    """`graph` with equal nodes and equal small constants shared."""
    e = Editor(graph)
    seen: dict[object, str] = {}
    for name, array in graph.constants.items():
        if array.nbytes <= _HASHED_BYTES:
            first = seen.setdefault(_content(array), name)
            if first != name:
                e.replace(name, first)
    known: dict[object, Node] = {}
    for position in graph.nodes:
        node = e.producer(next(o for o in position.outputs if o))  # as rewritten by earlier replacements
        if node is None or node.op_type in _RANDOM:
            continue
        inputs = tuple(sorted(node.inputs)) if node.op_type in _COMMUTATIVE else node.inputs
        attributes = tuple((k, _hashable(v)) for k, v in sorted(node.attributes.items()))
        wanted = tuple(bool(o) for o in node.outputs)
        first_node = known.setdefault(
            (node.domain, node.op_type, node.opset, inputs, attributes, wanted), node
        )
        if first_node is not node:
            for old, new in zip(node.outputs, first_node.outputs, strict=True):
                if old:
                    e.replace(old, new)
    return e.finish()


def _content(array: Array) -> tuple[object, ...]:
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
    return ("constant", str(array.dtype), array.shape, digest)


def _hashable(v: AttributeValue) -> object:
    return _content(v) if isinstance(v, np.ndarray) else (type(v).__name__, v)
