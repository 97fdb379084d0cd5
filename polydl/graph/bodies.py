"""The nodes by which ONNX defines an operator, put in the operator's place under fresh names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx
import onnx.inliner
from onnx import defs, helper

from polydl.graph.ir import Value
from polydl.graph.loading import subgraphs
from polydl.graph.protobuf import type_proto
from polydl.graph.structure import live_nodes

__all__ = ["fresh_name", "function_body", "renamed_node"]


def function_body(
    proto: onnx.NodeProto,
    schema: defs.OpSchema,
    opset: int,
    values: Mapping[str, Value],
    unknown: Collection[str],
) -> list[onnx.NodeProto] | None:
    """Nodes that compute what `proto` does, in topological order, with fresh names for what they compute on the way.

    None where ONNX defines no such function, or the type of an input is not among `values`. `unknown`: more names that
    are taken.
    """
    names = [i for i in dict.fromkeys(proto.input) if i]
    defined = schema.has_function or schema.has_context_dependent_function
    if not defined or any(i not in values for i in names):
        return None
    graph = helper.make_graph(
        [_with_defaults(proto, schema)],
        "one",
        [helper.make_value_info(i, type_proto(values[i])) for i in names],
        [onnx.ValueInfoProto(name=o) for o in proto.output if o],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        inlined = onnx.inliner.inline_selected_functions(
            model, [("", proto.op_type)], inline_schema_functions=True
        )
    except Exception:  # the inliner raises RuntimeErrors of many kinds; then nobody defines the operator
        return None
    nodes = live_nodes(list(inlined.graph.node), [o for o in proto.output if o])
    if any(n.op_type == proto.op_type for n in nodes):
        return None
    outer = {*names, *proto.output}
    prefix = f"{proto.name or proto.output[0]}/"
    known = set(values) | set(unknown)
    inner = {o: fresh_name(prefix + o, known) for n in nodes for o in n.output if o and o not in outer}
    return [renamed_node(n, inner) for n in nodes]


def fresh_name(name: str, taken: set[str]) -> str:
    """`name`, or with a number behind it where it is taken."""
    candidate, k = name, 1
    while candidate in taken:
        candidate, k = f"{name}_{k}", k + 1
    return candidate


def renamed_node(n: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy of the node with value names replaced, also where its subgraphs read them."""
    result = onnx.NodeProto()
    result.CopyFrom(n)
    result.input[:] = [names.get(i, i) for i in n.input]
    result.output[:] = [names.get(o, o) for o in n.output]
    for g in subgraphs(result):
        inside = (
            {i.name for i in g.input}
            | {t.name for t in g.initializer}
            | {o for x in g.node for o in x.output}
        )
        visible = {k: v for k, v in names.items() if k not in inside}
        replaced = [renamed_node(x, visible) for x in g.node]
        del g.node[:]
        g.node.extend(replaced)
        for o in g.output:
            o.name = visible.get(o.name, o.name)
    return result


def _with_defaults(proto: onnx.NodeProto, schema: defs.OpSchema) -> onnx.NodeProto:
    """A copy of the node that spells out its default attributes, which a function's body refers to by name."""
    result = onnx.NodeProto()
    result.CopyFrom(proto)
    given = {a.name for a in proto.attribute}
    defaults = (a.default_value for n, a in schema.attributes.items() if n not in given)
    result.attribute.extend(d for d in defaults if d.name)
    return result
