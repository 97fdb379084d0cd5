"""Values that lie inside the storage of others: views, and the parts of Concat and Split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from polydl.graph.groups import Group, GroupKind
from polydl.graph.ir import Graph, Node
from polydl.graph.placement import PLAIN, Placement, Slice, resolve, storage_bytes

__all__ = ["find_slices", "is_free", "root_of", "with_offsets"]


def find_slices(
    graph: Graph,
    groups: Sequence[Group],
    placements: Mapping[str, Placement],
    external: set[str],
    separate: set[str],
) -> dict[str, Slice]:
    """Which values can lie inside others; offsets are filled in when the halos are known."""
    produced = {o for g in groups for o in g.outputs} - external
    slices: dict[str, Slice] = {}
    for g in groups:
        node = g.anchor
        if len(g.nodes) != 1:
            continue
        match node.op_type:
            case _ if g.kind is GroupKind.VIEW:
                source, result = node.inputs[0], node.output
                if not _same_bytes(graph, source, result, placements):
                    continue
                root = root_of(source, slices)
                if result not in graph.outputs:
                    if root in produced or root in graph.inputs:
                        slices[result] = Slice(source, 0)
                elif root in produced and _all_whole(graph, root, slices):
                    slices[root] = Slice(result, 0)  # computed in the output itself
            case "Concat":
                parts, whole = list(node.inputs), node.output
                # A part must be a buffer of its own: not inside something else, and each only once.
                own = all(p in produced and p not in slices for p in parts) and len(set(parts)) == len(parts)
                if own and whole in produced - separate and _can_hold(graph, node, whole, parts, placements):
                    slices |= {p: Slice(whole, 0) for p in parts}
            case "Split":
                whole, parts = node.inputs[0], list(node.outputs)
                # Of what lies in an input or an output there are no parts: those are addressed as a whole.
                root = root_of(whole, slices)
                own = {whole, root} <= produced - separate and all(p and p not in external for p in parts)
                if own and _can_hold(graph, node, whole, parts, placements):
                    slices |= {p: Slice(whole, 0) for p in parts}
            case _:
                continue
    return slices


def root_of(value: str, slices: Mapping[str, Slice]) -> str:
    while value in slices:
        value = slices[value].base
    return value


def _all_whole(graph: Graph, root: str, slices: Mapping[str, Slice]) -> bool:
    """Is everything that lies in `root` as large as it?"""
    return all(
        graph.values[v].bytes == graph.values[root].bytes for v in slices if root_of(v, slices) == root
    )


def _same_bytes(graph: Graph, source: str, result: str, placements: Mapping[str, Placement]) -> bool:
    """Is row-major `result` the same array of bytes as `source` as stored?"""
    if placements.get(result, PLAIN) != placements.get(source, PLAIN) and result in placements:
        return False
    place = placements.get(source, PLAIN)
    if place.block is None:
        return True
    shape = graph.values[source].shape
    if result in placements:
        return graph.values[result].shape == shape
    return (
        prod(shape[2:]) == 1
        and (shape[0] == 1 or shape[1] % place.block == 0)
        and shape[1] % place.block == 0
    )


def _can_hold(
    graph: Graph, node: Node, whole: str, parts: Sequence[str], placements: Mapping[str, Placement]
) -> bool:
    """Are the parts of a Concat or Split one after the other in the storage of `whole`, in the form of their own?

    So if no storage dimension before the axis is larger than 1. (A Split of a halo's interior keeps the halo.)
    """
    place = placements.get(whole, PLAIN)
    shape = graph.values[whole].shape
    axis = node.integer("axis") % len(shape)
    if place.block is not None and axis > 1:
        return False
    return prod(shape[:axis]) == 1 and all(placements.get(p, PLAIN) == place for p in parts)


def with_offsets(
    graph: Graph, groups: Sequence[Group], placements: Mapping[str, Placement], slices: Mapping[str, Slice]
) -> dict[str, Slice]:
    """The slices with their byte offsets, which depend on the halos."""
    result = dict(slices)
    for g in groups:
        node = g.anchor
        if len(g.nodes) != 1 or node.op_type not in ("Concat", "Split"):
            continue
        whole = node.output if node.op_type == "Concat" else node.inputs[0]
        parts = node.inputs if node.op_type == "Concat" else node.outputs
        if not all(p in slices and slices[p].base == whole for p in parts):
            continue
        offset = 0
        for p in parts:
            result[p] = Slice(whole, offset)
            offset += storage_bytes(graph.values[p], placements.get(p, PLAIN))
    return result


def is_free(group: Group, slices: Mapping[str, Slice]) -> bool:
    """Has the group nothing to do, because its result already lies where it belongs?"""
    node = group.anchor
    if len(group.nodes) != 1:
        return False
    if group.kind is GroupKind.VIEW:
        a, b = node.inputs[0], node.output
        return (a in slices or b in slices) and resolve(a, slices) == resolve(b, slices)
    if node.op_type == "Concat":
        return all(i in slices and slices[i].base == node.output for i in node.inputs)
    if node.op_type == "Split":
        return all(o in slices and slices[o].base == node.inputs[0] for o in node.outputs)
    return False
