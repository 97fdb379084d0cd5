"""Making a new graph from an old one: what graph passes are written with.

e = Editor(graph)
for node in e.nodes(): ...            # e.producer(value), e.users(value), e.constant(value)
    new = e.add("Mul", [x, s])        # returns the name of the new value; types are inferred
    e.replace(node.output, new)       # every reader of the old value reads the new one
return e.finish()                     # dead nodes and constants dropped, nodes sorted
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np
from onnx import defs, helper, numpy_helper, shape_inference

from polydl.dtypes import DType, from_numpy
from polydl.errors import InvalidModel, InvalidProgram
from polydl.graph.ir import Array, AttributeValue, Graph, Node, Value
from polydl.graph.protobuf import attribute_value, dtype_of, node_proto, type_proto

__all__ = ["Editor", "infer_types"]

NEWEST = defs.onnx_opset_version()


class Editor:
    """A graph under change. Nodes are replaced, never modified; the output names of the graph are kept."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, Value] = dict(graph.values)
        self.constants: dict[str, Array] = dict(graph.constants)
        self._producers: dict[str, Node] = graph.producers()
        self._users: dict[str, dict[Node, None]] = {}
        self._nodes: dict[Node, None] = {}
        self._names = {n.name for n in graph.nodes}
        self._changed = False
        for n in graph.nodes:
            self._insert(n)

    def walk(self) -> Iterator[Node]:
        """The nodes of the old graph in its order, each as rewritten by what has been done so far; not the new ones."""
        for n in list(self._nodes):
            current = self._producers.get(next((o for o in n.outputs if o), ""))
            if current is not None:
                yield current

    def producer(self, value: str, *op_types: str) -> Node | None:
        """The node that makes `value`, if there is one (of one of `op_types`)."""
        n = self._producers.get(value)
        return n if n is not None and (not op_types or n.op_type in op_types) else None

    def users(self, value: str) -> list[Node]:
        """The nodes that read `value`."""
        return list(self._users.get(value, ()))

    def only_user(self, value: str, *op_types: str) -> Node | None:
        """The one node (of one of `op_types`) that reads `value`, where nothing else does and it is no output."""
        users = self._users.get(value, {})
        if len(users) != 1 or value in self.graph.outputs:
            return None
        n = next(iter(users))
        return n if n.inputs.count(value) == 1 and (not op_types or n.op_type in op_types) else None

    def constant(self, value: str) -> Array | None:
        """The contents of `value` where they are known."""
        return self.constants.get(value)

    def scalar(self, value: str) -> float | None:
        """The one element of a constant of one element."""
        array = self.constants.get(value)
        return float(array.reshape(())) if array is not None and array.size == 1 else None

    def add_constant(self, hint: str, array: Array) -> str:
        """A new constant; returns its name."""
        name = self._fresh(hint, self.values)
        array = np.asarray(array)
        array.setflags(write=False)
        self.values[name] = Value(name, from_numpy(array.dtype), tuple(array.shape))
        self.constants[name] = array
        self._changed = True
        return name

    def add(
        self,
        op_type: str,
        inputs: Sequence[str],
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        opset: int | None = None,
        hint: str = "",
    ) -> str:
        """A new node of one output (at the graph's operator set, unless said); returns the output's name."""
        name = self._fresh(hint or op_type, self._names)
        self._names.add(name)
        out = self._fresh(hint or op_type, self.values)
        node = Node(name, op_type, opset or self.graph.opset, tuple(inputs), (out,), dict(attributes or {}))
        node, types = infer_types(node, self.values, self.constants)
        self.values |= types
        self._insert(node)
        self._producers[out] = node
        self._changed = True
        return out

    def substitute(self, old: Node, new: Node) -> None:
        """Put `new`, which has the same outputs, in the place of `old`."""
        if old.outputs != new.outputs:
            raise InvalidProgram(f"node '{old.name}' cannot be replaced by one with other outputs")
        self._remove(old)
        self._insert(new)
        for o in new.outputs:
            self._producers[o] = new
        self._changed = True

    def replace(self, old: str, new: str) -> None:
        """Every reader of `old` (and the graph's output of that name) gets `new`; types must agree."""
        if (self.values[old].dtype, self.values[old].shape) != (
            self.values[new].dtype,
            self.values[new].shape,
        ):
            raise InvalidProgram(f"'{new}: {self.values[new]}' cannot replace '{old}: {self.values[old]}'")
        self._changed = True
        maker = self._producers.get(old)
        if old in self.graph.outputs:
            new = self._take_output_name(old, new)
        if new != old:
            for user in self.users(old):
                if new not in user.outputs:  # the replacement may itself be computed from the old value
                    self._reread(user, old, new)
        if maker is not None:
            self._collect(maker)

    def _collect(self, node: Node) -> None:
        """Removes `node`, and then what it alone used, if nothing reads it: dead readers would hide patterns."""
        pending = [node]
        while pending:
            n = pending.pop()
            if any(o and (self._users.get(o) or o in self.graph.outputs) for o in n.outputs):
                continue
            if n in self._nodes:
                self._remove(n)
            for o in n.outputs:
                if self._producers.get(o) is n:
                    del self._producers[o]
            pending += [self._producers[i] for i in n.inputs if i in self._producers]

    def _take_output_name(self, old: str, new: str) -> str:
        """The graph's output `old` is to hold `new`: rename `new` if it can be, else copy it by an Identity."""
        node = self._producers.get(new)
        holder = self._producers.get(old)
        if holder is not None:
            self._drop_output(holder, old)
        if node is None or new in self.graph.outputs:
            copy = Node(self._fresh("output", self._names), "Identity", self.graph.opset, (new,), (old,))
            self._names.add(copy.name)
            self._insert(copy)
            self._producers[old] = copy
            return new
        for user in self.users(new):
            self._reread(user, new, old)
        renamed = Node(
            node.name, node.op_type, node.opset, node.inputs, tuple(old if o == new else o for o in node.outputs),
            node.attributes, node.domain,
        )  # fmt: skip
        self._remove(node)
        self._insert(renamed)
        for o in renamed.outputs:
            self._producers[o] = renamed
        del self._producers[new]
        return old

    def _drop_output(self, node: Node, value: str) -> None:
        self._remove(node)
        rest = tuple("" if o == value else o for o in node.outputs)
        if any(rest):
            kept = Node(node.name, node.op_type, node.opset, node.inputs, rest, node.attributes, node.domain)
            self._insert(kept)
            for o in rest:
                self._producers[o] = kept
        self._producers.pop(value, None)

    def _reread(self, user: Node, old: str, new: str) -> None:
        inputs = tuple(new if i == old else i for i in user.inputs)
        self.substitute(
            user,
            Node(user.name, user.op_type, user.opset, inputs, user.outputs, user.attributes, user.domain),
        )

    def _live(self) -> set[Node]:
        stack = [self._producers[o] for o in self.graph.outputs if o in self._producers]
        live: set[Node] = set()
        while stack:
            n = stack.pop()
            if n not in live:
                live.add(n)
                stack += [self._producers[i] for i in n.inputs if i in self._producers]
        return live

    def _insert(self, node: Node) -> None:
        self._nodes[node] = None
        for i in node.inputs:
            if i:
                self._users.setdefault(i, {})[node] = None

    def _remove(self, node: Node) -> None:
        del self._nodes[node]
        for i in set(node.inputs):
            if i:
                self._users[i].pop(node, None)

    def _fresh(self, name: str, taken: Mapping[str, object] | set[str]) -> str:
        candidate, k = name, 1
        while candidate in taken:
            candidate, k = f"{name}_{k}", k + 1
        return candidate

    def finish(self) -> Graph:
        """The new graph (the old one itself where nothing changed): dead code dropped, nodes in topological order."""
        if not self._changed:
            return self.graph
        rank = {o: k for k, n in enumerate(self.graph.nodes) for o in n.outputs if o}
        live = self._live()
        # Roots in the old graph's order, so that printed graphs differ only where they must; new nodes come on demand.
        roots = sorted(
            (n for n in live if any(o in rank for o in n.outputs)),
            key=lambda n: min(rank.get(o, len(rank)) for o in n.outputs if o),
        )
        order: list[Node] = []
        done: set[str] = set(self.constants) | set(self.graph.inputs)
        for root in roots:
            stack = [root]
            while stack:
                n = stack[-1]
                missing = [self._producers[i] for i in n.inputs if i and i not in done]
                if missing:
                    stack += reversed(missing)
                    continue
                stack.pop()
                if not done.issuperset(o for o in n.outputs if o):
                    order.append(n)
                    done |= {o for o in n.outputs if o}
        used = {i for n in order for i in n.inputs} | set(self.graph.outputs)
        made = {o for n in order for o in n.outputs if o}
        constants = {k: a for k, a in self.constants.items() if k in used}
        alive = used | made | set(self.graph.inputs)
        values = {k: v for k, v in self.values.items() if k in alive and k}
        g = self.graph
        return Graph(g.name, g.opset, g.inputs, g.outputs, tuple(order), constants, values)


def infer_types(
    node: Node, values: Mapping[str, Value], constants: Mapping[str, Array]
) -> tuple[Node, dict[str, Value]]:
    """The node with its schema's default attributes filled in, and the types of its outputs."""
    schema = defs.get_schema(node.op_type, max_inclusive_version=node.opset, domain=node.domain)
    defaults = {
        k: attribute_value(a.default_value, node.name)
        for k, a in schema.attributes.items()
        if a.default_value.name
    }
    full = Node(
        node.name,
        node.op_type,
        node.opset,
        node.inputs,
        node.outputs,
        defaults | dict(node.attributes),
        node.domain,
    )
    used = [i for i in dict.fromkeys(node.inputs) if i]
    given = {i: type_proto(values[i]) for i in used}
    data = {
        i: numpy_helper.from_array(np.asarray(constants[i], order="C"), name=i)
        for i in used
        if i in constants and prod(constants[i].shape) <= 256
    }
    try:
        found = shape_inference.infer_node_outputs(
            schema, node_proto(full), given, data, opset_imports=[helper.make_opsetid("", node.opset)]
        )
    except Exception as e:  # onnx raises InferenceError, ValidationError and bare RuntimeErrors from C++
        # Old operator sets check less, so a broken model may only be found out when a node is rewritten.
        raise InvalidModel(
            f"{node.op_type} '{node.name}' does not fit its inputs",
            where=", ".join(f"{i}: {values[i]}" for i in used),
            why=str(e).strip(),
        ) from e
    types = {}
    for o in node.outputs:
        if not o:
            continue
        t = found[o].tensor_type
        dtype: DType | None = dtype_of(t.elem_type)
        shape = tuple(int(d.dim_value) for d in t.shape.dim)
        if dtype is None or not all(d.HasField("dim_value") for d in t.shape.dim) or not t.HasField("shape"):
            raise InvalidProgram(f"the type of '{o}' of {node.op_type} '{node.name}' cannot be inferred")
        types[o] = Value(o, dtype, shape)
    return full, types
