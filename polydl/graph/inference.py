"""Static interpretation of a model's nodes: types and shapes of all values, and the values of shape arithmetic.

The nodes are walked once in topological order. ONNX's own inference gives each node's output types from its input
types and from the inputs whose contents are known; `Shape` and `Size` of a static shape are known, and so is
everything small computed from known values. `If` with a known condition is replaced by the chosen branch's nodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, isfinite
from typing import Final

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference

from polydl.dtypes import from_numpy
from polydl.errors import InvalidModel
from polydl.graph.bodies import fresh_name, function_body, renamed_node
from polydl.graph.evaluate import evaluate_node
from polydl.graph.ir import Array, AttributeValue, Node, Value
from polydl.graph.limits import Limits
from polydl.graph.loading import TensorReader, subgraphs
from polydl.graph.nodes import pooled_shape
from polydl.graph.protobuf import attribute_value, dtype_of, type_name, type_proto
from polydl.graph.structure import captured, describe, first_line, live_nodes, schema_of, sorted_nodes

__all__ = ["Inference", "Problem", "fold_node"]

_NEVER_FOLDED: Final = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"}
)  # fmt: skip
_POOLS: Final = frozenset({"AveragePool", "LpPool", "MaxPool"})


@dataclass(frozen=True, slots=True)
class Problem:
    """A node that cannot be compiled, and why."""

    operator: str
    node: str
    why: str


@dataclass(slots=True)
class Inference:
    """The walk's state. `values` holds all known types; names in `unknown` have none because of a `Problem` before.

    Operators that are not `compiled` but defined by ONNX as a function of others are replaced by that function's
    nodes. `used` are the names that somebody reads: the graph's outputs, put there by the caller, and what the nodes
    read.
    """

    opset: int
    where: str
    reader: TensorReader
    limits: Limits
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    compiled: Callable[[str], bool] = field(default=lambda op_type: True)
    used: set[str] = field(default_factory=set)
    _names: set[str] = field(default_factory=set)

    def add_constant(self, name: str, array: Array) -> None:
        array.setflags(write=False)
        self.values[name] = Value(name, from_numpy(array.dtype), tuple(array.shape))
        self.constants[name] = array

    def walk(self, nodes: list[onnx.NodeProto]) -> None:
        """Interpret `nodes` (topologically sorted), growing `nodes`, `values`, `constants` and `problems`."""
        pending = deque(nodes)
        self.used.update(i for n in nodes for i in captured(n))
        seen = 0
        while pending:
            proto = pending.popleft()
            seen += 1
            self.limits.check_nodes(seen, self.where)
            if self._constant_node(proto):
                continue
            if proto.op_type == "If" and proto.domain in ("", "ai.onnx"):
                branch = self._chosen_branch(proto)
                if branch is not None:
                    self.used.update(i for n in branch for i in captured(n))
                    pending.extendleft(reversed(branch))
                    continue
            body = self._function_body(proto)
            if body is not None:
                self.used.update(i for n in body for i in captured(n))
                pending.extendleft(reversed(body))
                continue
            self._visit(proto)

    def _function_body(self, proto: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The nodes by which ONNX defines an operator that is not compiled itself; None where it does not."""
        schema = schema_of(proto, self.opset)
        if schema is None or self.compiled(proto.op_type):
            return None
        return function_body(proto, schema, self.opset, self.values, self.unknown)

    def _visit(self, proto: onnx.NodeProto) -> None:
        schema = schema_of(proto, self.opset)
        self._drop_unused_outputs(proto, schema)
        name = self._unique(proto)
        if schema is None:
            ours = proto.domain in ("", "ai.onnx")
            self._give_up(
                proto,
                f"ONNX has no such operator in operator set {self.opset}"
                if ours
                else f"polydl reads operators of the default domain only, this is {proto.domain}'s",
            )
            return
        if any(True for _ in subgraphs(proto)):
            why = (
                "its condition is not known at build time"
                if proto.op_type == "If"
                else "it has a body of its own"
            )
            self._give_up(proto, why)
            return
        if schema.deprecated:
            self._give_up(proto, f"deprecated in operator set {self.opset}")
            return
        if any(i in self.unknown for i in proto.input):
            self.unknown |= {o for o in proto.output if o}
            return
        place = f"{self.where}, {describe(proto)}, opset {self.opset}"
        node = Node(
            name,
            proto.op_type,
            self.opset,
            tuple(proto.input),
            tuple(proto.output),
            _attributes(proto, schema, place),
        )
        types = self._infer(proto, schema, place)
        if types is None:
            return
        if node.op_type in _POOLS and node.inputs[0] in self.values:
            x = self.values[node.inputs[0]].shape
            types = [replace(v, shape=pooled_shape(node, x, v.shape)) for v in types]
        for value in types:
            self.limits.check_tensor(value.shape, value.dtype.bytes, f"{place}, output '{value.name}'")
            self.values[value.name] = value
        if node.op_type == "Reshape" and types[0].elements != self.values[node.inputs[0]].elements:
            raise InvalidModel(
                f"{describe(proto)} turns {self.values[node.inputs[0]]} into {types[0]}",
                where=place,
                why="a Reshape keeps the number of elements",
            )
        folded = self._fold(node)
        if folded is None:
            self.nodes.append(node)
        else:
            for o, array in folded.items():
                self.add_constant(o, array)

    def _drop_unused_outputs(self, proto: onnx.NodeProto, schema: defs.OpSchema | None) -> None:
        """Nobody asks for the mask of a Dropout or the indices of a MaxPool; how many parts a Split has matters, and
        how many outputs a BatchNormalization has says, before operator set 14, whether it trains."""
        if schema is None or schema.name == "BatchNormalization":
            return
        optional = [o.option == defs.OpSchema.FormalParameterOption.Optional for o in schema.outputs]
        kept = [
            o if o in self.used or not able else "" for o, able in zip(proto.output, optional, strict=False)
        ]
        if len(kept) < len(proto.output) or not any(optional):  # variadic outputs, or nothing to drop
            return
        while kept and not kept[-1]:
            kept.pop()
        proto.output[:] = kept

    def _infer(self, proto: onnx.NodeProto, schema: defs.OpSchema, place: str) -> list[Value] | None:
        """Types of the node's outputs; None (and a problem noted) where they depend on data."""
        used = [i for i in dict.fromkeys(proto.input) if i]
        given = {i: type_proto(self.values[i]) for i in used}
        data = {
            i: numpy_helper.from_array(np.asarray(self.constants[i], order="C"), name=i)
            for i in used
            if i in self.constants
            and self.constants[i].size <= self.limits.fold_elements
            and self.constants[i].ndim <= 1
        }
        imports = [helper.make_opsetid("", self.opset)]
        try:
            found = shape_inference.infer_node_outputs(schema, proto, given, data, opset_imports=imports)
        except Exception as e:  # onnx raises InferenceError, ValidationError and bare RuntimeErrors from C++
            raise InvalidModel(
                f"{describe(proto)} does not fit its inputs",
                where=place,
                why=f"{first_line(e)} (inputs: {', '.join(f'{i}: {self.values[i]}' for i in used)})",
            ) from e
        result, missing = [], []
        for k, o in enumerate(proto.output):
            if not o:
                continue
            t = found.get(o)
            if schema.name == "BatchNormalization" and self.opset < 14 and k > 0 and len(proto.input) > 3:
                t = given[
                    proto.input[3]
                ]  # ONNX does not infer them before operator set 14: all are like the mean
            kind = t.WhichOneof("value") if t is not None else None
            if kind not in (None, "tensor_type"):
                self._give_up(proto, f"its output '{o}' is not a tensor but a {kind}")
                return None
            tensor = t.tensor_type if kind == "tensor_type" else None
            if tensor is None or not tensor.elem_type:
                missing.append(o)
                continue
            dtype = dtype_of(tensor.elem_type)
            if dtype is None:
                self._give_up(proto, f"its output '{o}' has {type_name(tensor.elem_type)} elements")
                return None
            dims = [int(d.dim_value) if d.HasField("dim_value") else None for d in tensor.shape.dim]
            shape = tuple(d for d in dims if d is not None)
            if not tensor.HasField("shape") or len(shape) != len(dims):
                missing.append(o)
                continue
            if any(d < 0 for d in shape):
                raise InvalidModel(
                    f"output '{o}' has the shape {list(shape)}", where=place, why="a dimension is negative"
                )
            result.append(Value(o, dtype, shape))
        if not missing:
            return result
        evaluated = self._evaluate_for_shape(proto, schema, place) or self._infer_by_function(proto, schema)
        if evaluated is not None:
            return evaluated
        self._give_up(
            proto, f"the shape of its output '{missing[0]}' depends on data that is known only at run time"
        )
        return None

    def _infer_by_function(self, proto: onnx.NodeProto, schema: defs.OpSchema) -> list[Value] | None:
        """Types found by walking the nodes that define the operator; None where that is no help."""
        nodes = function_body(proto, schema, self.opset, self.values, self.unknown)
        if nodes is None:
            return None
        inner = Inference(self.opset, self.where, self.reader, self.limits, compiled=self.compiled)
        for i in proto.input:
            if i in self.values:
                inner.values[i] = self.values[i]
            if i in self.constants:
                inner.constants[i] = self.constants[i]
        inner.used = {o for o in proto.output if o}
        inner.walk(nodes)
        if inner.problems:
            return None
        return [inner.values[o] for o in proto.output if o]

    def _evaluate_for_shape(
        self, proto: onnx.NodeProto, schema: defs.OpSchema, place: str
    ) -> list[Value] | None:
        """Types found by computing the node, where all its inputs are known and small."""
        if not self._known_and_small(proto.input) or proto.op_type in _NEVER_FOLDED | {
            "Expand",
            "Tile",
            "OneHot",
        }:
            return None
        if proto.op_type == "Range":
            return self._range_type(proto)
        node = Node(
            "",
            proto.op_type,
            self.opset,
            tuple(proto.input),
            tuple(proto.output),
            _attributes(proto, schema, place),
        )
        try:
            arrays = evaluate_node(node, {i: self.constants[i] for i in proto.input if i})
        except Exception:  # the evaluator raises whatever numpy does; then the shape stays unknown
            return None
        if any(dtype_of(helper.np_dtype_to_tensor_dtype(a.dtype)) is None for a in arrays.values()):
            return None
        return [Value(o, from_numpy(a.dtype), tuple(a.shape)) for o, a in arrays.items()]

    def _range_type(self, proto: onnx.NodeProto) -> list[Value] | None:
        """max(0, ceil((limit - start) / delta)) elements of the type of `start`, however many they are."""
        first, last, step = (self.constants[i] for i in proto.input)
        if not step.size == first.size == last.size == 1 or not step.item():
            return None
        length = (float(last.item()) - float(first.item())) / float(step.item())
        dtype = self.values[proto.input[0]].dtype
        return [Value(proto.output[0], dtype, (max(0, ceil(length)),))] if isfinite(length) else None

    def _known_and_small(self, names: list[str]) -> bool:
        given = [self.constants.get(i) for i in names if i]
        return all(a is not None and a.size <= self.limits.fold_elements for a in given)

    def _fold(self, node: Node) -> dict[str, Array] | None:
        values = [self.values[o] for o in node.outputs if o]
        if not values:
            return None
        match node.op_type:
            case "Shape":
                shape = self.values[node.input(0)].shape
                return {node.output: np.array(shape[_clipped(node, len(shape))], np.int64)}
            case "Size":
                return {node.output: np.array(self.values[node.input(0)].elements, np.int64)}
        if not self._known_and_small(list(node.inputs)):
            return None
        # ConstantOfShape and Expand are views of one element: they cost nothing however large.
        if node.op_type not in ("ConstantOfShape", "Expand") and any(
            v.elements > self.limits.fold_elements for v in values
        ):
            return None
        return fold_node(node, self.constants, self.values)

    def _constant_node(self, proto: onnx.NodeProto) -> bool:
        if proto.op_type != "Constant" or proto.domain not in ("", "ai.onnx") or not proto.output:
            return False
        place = f"{self.where}, {describe(proto)}"
        attributes = {a.name: a for a in proto.attribute}
        name = proto.output[0]
        if "value" in attributes:
            tensor = attributes["value"].t
            if dtype_of(tensor.data_type) is None:
                self._give_up(proto, f"it has {type_name(tensor.data_type)} elements")
                return True
            self.add_constant(name, self.reader.read(tensor, place))
            return True
        for key, kind in (
            ("value_float", np.float32),
            ("value_floats", np.float32),
            ("value_int", np.int64),
            ("value_ints", np.int64),
        ):
            if key in attributes:
                self.add_constant(name, np.array(attribute_value(attributes[key], place), kind))
                return True
        self._give_up(proto, f"its value is given as {', '.join(attributes) or 'nothing'}")
        return True

    def _chosen_branch(self, proto: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The nodes of the branch that a known condition chooses, renamed apart; None where it is not known."""
        condition = self.constants.get(proto.input[0]) if proto.input else None
        if condition is None or condition.size != 1:
            return None
        wanted = "then_branch" if bool(condition.reshape(())) else "else_branch"
        branch = next((a.g for a in proto.attribute if a.name == wanted), None)
        if branch is None or len(branch.output) != len(proto.output):
            raise InvalidModel(f"{describe(proto)} has no proper {wanted}", where=self.where)
        place = f"{self.where}, {wanted} of {describe(proto)}"
        prefix = f"{proto.name or next(iter(proto.output), 'If')}/{wanted.removesuffix('_branch')}/"
        known = set(self.values) | self.unknown
        defined = {t.name for t in branch.initializer} | {o for n in branch.node for o in n.output if o}
        renamed = {d: fresh_name(prefix + d, known) for d in defined}
        ordered = sorted_nodes(
            branch.node,
            (known | {t.name for t in branch.initializer}) - {o for n in branch.node for o in n.output},
            place,
        )
        for t in branch.initializer:
            self.add_constant(renamed[t.name], self.reader.read(t, place))
        nodes = [renamed_node(n, renamed) for n in live_nodes(ordered, [o.name for o in branch.output])]
        for outer, inner in zip(proto.output, branch.output, strict=True):
            if outer:
                nodes.append(helper.make_node("Identity", [renamed.get(inner.name, inner.name)], [outer]))
        return nodes

    def _give_up(self, proto: onnx.NodeProto, why: str) -> None:
        domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}."
        self.problems.append(
            Problem(f"{domain}{proto.op_type}", proto.name or next(iter(proto.output), ""), why)
        )
        self.unknown |= {o for o in proto.output if o}

    def _unique(self, proto: onnx.NodeProto) -> str:
        name = fresh_name(proto.name or f"{proto.op_type}_{len(self._names)}", self._names)
        self._names.add(name)
        return name


def fold_node(
    node: Node, constants: Mapping[str, Array], values: Mapping[str, Value]
) -> dict[str, Array] | None:
    """The node's outputs computed from constants; None where the evaluator cannot, or disagrees with the known
    types."""
    if node.op_type in _NEVER_FOLDED:
        return None
    target = values[node.output]
    if node.op_type == "ConstantOfShape":
        fill = node.attributes.get("value")
        one = np.zeros((), np.float32) if not isinstance(fill, np.ndarray) else fill.reshape(())
        return {node.output: np.broadcast_to(one, target.shape)}
    if node.op_type == "Expand":
        return {node.output: np.broadcast_to(constants[node.input(0)], target.shape)}
    if node.op_type == "Transpose":
        array = constants[node.input(0)]
        return {node.output: array.transpose(node.integers("perm", tuple(reversed(range(array.ndim)))))}
    try:
        arrays = evaluate_node(node, {i: constants[i] for i in node.inputs if i})
    except Exception:  # whatever numpy or the evaluator raises: the node is simply left in the graph
        return None
    for o, a in arrays.items():
        if o in values and (tuple(a.shape) != values[o].shape or a.dtype != values[o].dtype.numpy):
            return None
    return arrays


def _attributes(proto: onnx.NodeProto, schema: defs.OpSchema, place: str) -> dict[str, AttributeValue]:
    result = {
        k: attribute_value(a.default_value, place)
        for k, a in schema.attributes.items()
        if a.default_value.name
    }
    for a in proto.attribute:
        if a.ref_attr_name:
            raise InvalidModel(
                f"attribute '{a.name}' refers to a function's attribute outside a function", where=place
            )
        result[a.name] = attribute_value(a, place)
    return result


def _clipped(node: Node, rank: int) -> slice:
    start, end = node.integer("start", 0), node.integer("end", rank)
    low = min(max(start + rank if start < 0 else start, 0), rank)
    return slice(low, min(max(end + rank if end < 0 else end, 0), rank))
