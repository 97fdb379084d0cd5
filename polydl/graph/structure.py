"""What must hold of an ONNX graph before any of it is interpreted: names, order, domains, functions, ONNX's own
rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import onnx
import onnx.inliner
from onnx import checker, defs, helper

from polydl.errors import InvalidModel, ResourceLimit, UnsupportedOperator
from polydl.graph.limits import Limits
from polydl.graph.loading import subgraphs

__all__ = [
    "MIN_OPSET",
    "check_rules",
    "default_opset",
    "inline_functions",
    "live_nodes",
    "schema_of",
    "sorted_nodes",
]

MIN_OPSET: Final = 1  # `oldest.py` brings 1 to 5 to 6 where the operators allow it, `legacy.py` 6 to 7


def default_opset(model: onnx.ModelProto, where: str) -> int:
    """The version of the default domain that the model asks for; errors where it is missing, too old or too new."""
    versions = {"" if o.domain == "ai.onnx" else o.domain: int(o.version) for o in model.opset_import}
    version = versions.get("")
    if version is None:
        if all(n.domain not in ("", "ai.onnx") for n in model.graph.node) and model.graph.node:
            return int(defs.onnx_opset_version())
        raise InvalidModel(
            "the model does not say which operator set it uses", where=where, next="export it again"
        )
    newest = defs.onnx_opset_version()
    if version > newest:
        raise UnsupportedOperator(
            f"the model uses operator set {version}",
            where=where,
            why=f"the installed onnx {onnx.__version__} knows operator sets up to {newest}",
            next="pip install --upgrade onnx",
        )
    if version < MIN_OPSET:
        raise UnsupportedOperator(
            f"the model uses operator set {version}",
            where=where,
            why=f"the oldest operator set that is read is {MIN_OPSET}",
            next="convert it with onnx.version_converter.convert_version(model, 13)",
        )
    return version


def schema_of(node: onnx.NodeProto, opset: int) -> defs.OpSchema | None:
    """ONNX's schema of an operator of the default domain; None where there is none."""
    if node.domain not in ("", "ai.onnx") or not defs.has(
        node.op_type, max_inclusive_version=opset, domain=""
    ):
        return None
    return defs.get_schema(node.op_type, max_inclusive_version=opset, domain="")


def captured(node: onnx.NodeProto) -> Iterator[str]:
    """The names of the enclosing graph that a node reads, as inputs or from inside its subgraphs."""
    yield from (i for i in node.input if i)
    for g in subgraphs(node):
        inside = (
            {i.name for i in g.input}
            | {t.name for t in g.initializer}
            | {o for n in g.node for o in n.output}
        )
        for n in g.node:
            yield from (i for i in captured(n) if i not in inside)
        yield from (o.name for o in g.output if o.name not in inside)


def sorted_nodes(nodes: Sequence[onnx.NodeProto], known: set[str], where: str) -> list[onnx.NodeProto]:
    """The nodes in topological order, file order where possible.

    InvalidModel for a name that is defined twice, one that is defined nowhere, and a cycle (its nodes are named).
    """
    producer: dict[str, int] = {}
    for k, n in enumerate(nodes):
        for o in n.output:
            if o and (o in producer or o in known):
                raise InvalidModel(
                    f"value '{o}' is defined twice",
                    where=f"{where}, {describe(n)}",
                    why="ONNX graphs assign once",
                )
            if o:
                producer[o] = k
    needs: list[list[int]] = []
    for n in nodes:
        reads = list(dict.fromkeys(captured(n)))
        for i in reads:
            if i not in producer and i not in known:
                raise InvalidModel(
                    f"value '{i}' is read but defined nowhere",
                    where=f"{where}, {describe(n)}",
                    why="it is no input, no initialiser and no node's output",
                )
        needs.append([producer[i] for i in reads if i in producer])
    # Depth-first, iteratively: 1 = on the path, 2 = done.
    state = [0] * len(nodes)
    order: list[int] = []
    for root in range(len(nodes)):
        if state[root]:
            continue
        state[root] = 1
        path = [(root, iter(needs[root]))]
        while path:
            k, rest = path[-1]
            following = next((j for j in rest if state[j] != 2), None)
            if following is None:
                state[k] = 2
                order.append(k)
                path.pop()
            elif state[following] == 1:
                on_path = [j for j, _ in path]
                cycle = on_path[on_path.index(following) :]
                names = " → ".join(describe(nodes[j]) for j in reversed(cycle[-6:]))
                raise InvalidModel(f"the graph has a cycle of {len(cycle)} nodes", where=f"{where}: {names}")
            else:
                state[following] = 1
                path.append((following, iter(needs[following])))
    return [nodes[k] for k in order]


def live_nodes(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes (given in topological order) that the outputs need."""
    needed = set(outputs)
    kept = []
    for n in reversed(nodes):
        if needed & set(n.output):
            needed |= set(captured(n))
            kept.append(n)
    return kept[::-1]


def describe(n: onnx.NodeProto) -> str:
    """A node for messages: operator and name, or its first output where it has no name."""
    return f"{n.op_type} '{n.name or next(iter(n.output), '')}'"


def inline_functions(model: onnx.ModelProto, limits: Limits, where: str) -> onnx.ModelProto:
    """The model with its local functions expanded; recursion and exponential growth are found before expanding."""
    if not model.functions:
        return model
    bodies = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    active: set[tuple[str, str]] = set()

    def count(nodes: Sequence[onnx.NodeProto]) -> int:
        total = 0
        for n in nodes:
            inner = sum(count(g.node) for g in subgraphs(n))
            key = (n.domain, n.op_type)
            total += inner + (size(key) if key in bodies else 1)
        return total

    def size(key: tuple[str, str]) -> int:
        if key in active:
            raise InvalidModel(f"function '{key[1]}' of domain '{key[0]}' calls itself", where=where)
        if key not in sizes:
            active.add(key)
            if len(active) > 100:
                raise ResourceLimit("functions are nested more than 100 deep", where=where)
            sizes[key] = count(bodies[key].node)
            active.discard(key)
        return sizes[key]

    limits.check_nodes(count(model.graph.node), where)
    try:
        return onnx.inliner.inline_local_functions(model, convert_version=True)
    except Exception as e:  # the inliner raises bare RuntimeErrors of many kinds
        raise InvalidModel("the model's functions cannot be expanded", where=where, why=first_line(e)) from e


def check_rules(model: onnx.ModelProto, where: str) -> None:
    """ONNX's own checker; InvalidModel with its message. Inputs and outputs may lack a shape: ours is inferred."""
    checked = onnx.ModelProto()
    checked.CopyFrom(model)
    for v in (*checked.graph.input, *checked.graph.output):
        if v.type.HasField("tensor_type"):
            v.type.tensor_type.shape.SetInParent()
    try:
        checker.check_model(checked)
    except (checker.ValidationError, UnicodeDecodeError) as e:  # the message may quote the file's own bytes
        raise InvalidModel("the model breaks ONNX's rules", where=where, why=first_line(e)) from e


def as_input(t: onnx.TensorProto) -> onnx.ValueInfoProto:
    """A declaration with the tensor's name and type, which stands for it where its contents do not matter."""
    return helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))


def first_line(e: Exception) -> str:
    """The telling lines of a C++ exception's text."""
    lines = [x.strip() for x in str(e).splitlines() if x.strip()]
    return " ".join(lines)[:400] or type(e).__name__
