"""Operator sets 1 to 5 read as operator set 6.

An operator that says the same in both is taken as it is (`consumed_inputs`, a hint for memory, means nothing); the few
that only spell it otherwise are spelled anew; the rest are refused:

    Reshape(x, shape=[2, 3])   ->  Reshape(x, constant [2, 3])
    Pad(paddings=...)          ->  Pad(pads=...)
    Cast(to="FLOAT")           ->  Cast(to=1)
    Concat(...)                ->  Concat(axis=1)
    Selu(...)                  ->  Selu(alpha=1.6732, gamma=1.0507)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from polydl.errors import InvalidModel, UnsupportedOperator
from polydl.graph.loading import subgraphs
from polydl.graph.structure import describe, schema_of

__all__ = ["OLDEST_READ", "as_operator_set_six"]

OLDEST_READ: Final = 6
"""What `legacy` and the operators read; older sets come here first."""


def as_operator_set_six(model: onnx.ModelProto, version: int, where: str) -> None:
    """Rewrite the model, of operator set `version` < 6, in place. UnsupportedOperator lists what cannot be."""
    changed: dict[str, list[str]] = {}
    for graph in _graphs(model.graph):
        for node in list(graph.node):
            if _means_the_same(node, version):
                _take(node, "consumed_inputs")
                continue
            rewrite = _REWRITES.get(node.op_type)
            if rewrite is None or not rewrite(node, graph):
                changed.setdefault(node.op_type, []).append(describe(node))
    if changed:
        names = ", ".join(sorted(changed))
        raise UnsupportedOperator(
            f"{names} of operator set {version} cannot be read",
            where=f"{where}: {', '.join(n for nodes in changed.values() for n in nodes[:8])}",
            why=f"it became another operator before operator set {OLDEST_READ}",
            next="convert the model with onnx.version_converter.convert_version(model, 13)",
        )
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = OLDEST_READ


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner)


def _means_the_same(node: onnx.NodeProto, version: int) -> bool:
    """Do both operator sets have the operator with the same operands, results and attributes?"""
    old, new = schema_of(node, version), schema_of(node, OLDEST_READ)
    return old is None or (new is not None and _signature(old) == _signature(new))


def _signature(schema: defs.OpSchema) -> tuple[Any, ...]:
    return (
        {
            name: (a.type, a.required, str(a.default_value))
            for name, a in schema.attributes.items()
            if name != "consumed_inputs"
        },
        [i.option for i in schema.inputs],
        [o.option for o in schema.outputs],
    )


def _attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    return next((a for a in node.attribute if a.name == name), None)


def _take(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    """The attribute, removed from the node."""
    found = _attribute(node, name)
    if found is not None:
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend(kept)
    return found


def _reshape(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    shape = _take(node, "shape")
    if shape is None or len(node.input) != 1 or not node.output:
        return False
    taken = {i.name for i in graph.input} | {t.name for t in graph.initializer}
    taken |= {name for n in graph.node for name in (*n.input, *n.output)}
    name = f"{node.output[0]}_shape"
    while name in taken:
        name += "_"
    graph.initializer.append(numpy_helper.from_array(np.array(shape.ints, np.int64), name))
    node.input.append(name)
    return True


def _pad(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    paddings = _take(node, "paddings")
    if paddings is None:
        return False
    node.attribute.append(helper.make_attribute("pads", list(paddings.ints)))
    return True


def _cast(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    to = _take(node, "to")
    name = to.s.decode(errors="replace").upper() if to is not None else ""
    types = dict(onnx.TensorProto.DataType.items())
    if name not in types:
        raise InvalidModel(f"{describe(node)} casts to '{name}'", why="there is no such type")
    node.attribute.append(helper.make_attribute("to", types[name]))
    return True


def _concat(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    if _attribute(node, "axis") is None:
        node.attribute.append(helper.make_attribute("axis", 1))
    return True


def _selu(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    for name, value in (("alpha", 1.6732), ("gamma", 1.0507)):
        if _attribute(node, name) is None:
            node.attribute.append(helper.make_attribute(name, value))
    return True


def _split(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    return len(node.input) == 1  # with sizes as an operand it is what operator set 13 has again


def _same(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    return True


_REWRITES: Final[dict[str, Callable[[onnx.NodeProto, onnx.GraphProto], bool]]] = {
    "Cast": _cast, "Clip": _same, "Concat": _concat, "Pad": _pad, "Reshape": _reshape, "Selu": _selu, "Split": _split,
}  # fmt: skip
