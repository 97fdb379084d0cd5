"""From a fusion group to a `Function`: the group's nodes through the operator table, over tensors placed as chosen.

Functions are canonical: run-time inputs are x0, x1, …, constants w0, w1, …, computations are called after operators.
Two groups that compute the same on the same shapes and placements give equal functions, which are compiled once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from polydl.dsl import Axis, Computation, Function, FunctionBuilder, Layout, Tensor, TensorRole
from polydl.dsl.function import identity
from polydl.dsl.polyhedral import loads
from polydl.graph.groups import Group, GroupKind, kind_of
from polydl.graph.ir import Array, Graph, Node
from polydl.graph.nodes import depthwise, op_node
from polydl.graph.placement import PLAIN, Layouts, Placement
from polydl.ir.expr import Expr, as_expr
from polydl.ops import lower
from polydl.ops.registry import static_inputs

__all__ = ["Binding", "LoweredGroup", "constant_array", "lower_group"]


@dataclass(frozen=True, slots=True)
class Binding:
    """Tensor `tensor` of the function is value `value` of the graph. A constant is padded with zeros up to `shape`."""

    tensor: str
    value: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LoweredGroup:
    """A function and what its tensors stand for, in the order in which the function lists them."""

    group: Group
    function: Function
    inputs: tuple[Binding, ...]
    constants: tuple[Binding, ...]
    outputs: tuple[Binding, ...]


def constant_array(graph: Graph, binding: Binding) -> Array:
    """The logical contents of a constant tensor: the graph's constant, padded with zeros at the end of each
    dimension."""
    array = graph.constants[binding.value]
    if array.shape == binding.shape:
        return array
    return np.pad(array, [(0, n - m) for n, m in zip(binding.shape, array.shape, strict=True)])


def lower_group(graph: Graph, group: Group, layouts: Layouts | None = None) -> LoweredGroup:
    """`group` as a function. UnsupportedOperator where the operator table refuses a node."""
    return _Lowering(graph, group, layouts if layouts is not None else Layouts()).run()


class _Lowering:
    def __init__(self, graph: Graph, group: Group, layouts: Layouts) -> None:
        self.graph, self.group, self.layouts = graph, group, layouts
        operators = [n.op_type.lower() for n in group.nodes]
        more = [f"and_{len(operators) - 5}_more"] if len(operators) > 6 else []
        self.builder = FunctionBuilder("_".join(operators[:5] + more if more else operators))
        self.tensors: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        self.bindings: dict[str, Binding] = {}
        self.staged = _staged(group, layouts)
        out = graph.values[self.staged or group.outputs[0]]
        place = layouts.of(out.name)
        self.rank = len(out.shape)
        self.channels = out.shape[1] if place.block is not None else 0
        self.stored = place.channels(self.channels) if place.block is not None else 0

    def run(self) -> LoweredGroup:
        made: dict[str, Tensor] = {}
        for node in self.group.nodes:
            copies = self.staged is not None and node.inputs == (self.staged,)
            results = (self._copy(made[node.inputs[0]], node),) if copies else self._lower_node(node, made)
            made |= {o: t for o, t in zip(node.outputs, results, strict=True) if o and t is not None}
        outputs = {o: self._own(made[o], o) for o in self.group.outputs}
        function = self.builder.build(list(outputs.values()))
        function = _without_unused(function)
        stored = outputs if self.staged is None else outputs | {self.staged: made[self.staged]}
        for o, tensor in stored.items():
            function = _placed(function, tensor.name, self.layouts.of(o))
        function = self._with_blocked_temporaries(function)
        present = {t.name for t in function.tensors}
        bound = [b for n, b in self.bindings.items() if n in present]
        return LoweredGroup(
            self.group,
            function,
            tuple(b for b in bound if b.value not in self.graph.constants),
            tuple(b for b in bound if b.value in self.graph.constants),
            tuple(Binding(t.name, o, t.extents) for o, t in outputs.items()),
        )

    @property
    def _staged_values(self) -> tuple[str, ...]:
        return () if self.staged is None else (self.staged,)

    @property
    def _surplus(self) -> bool:
        return self.stored != self.channels

    def _padded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a value inside the group with its surplus channels."""
        if self._surplus and len(shape) == self.rank and shape[1] == self.channels:
            return (shape[0], self.stored, *shape[2:])
        return shape

    def _lower_node(self, node: Node, made: dict[str, Tensor]) -> tuple[Tensor | None, ...]:
        op = op_node(self.graph, node)
        static = static_inputs(node.op_type, node.domain, node.opset)
        constants = dict(op.constants)
        if node.op_type == "Resize" and self._surplus and 3 in constants:
            constants[3] = self._sizes(node, constants[3])
        tensors: list[Tensor | None] = []
        shapes: dict[int, tuple[int, ...]] = {}
        for k, i in enumerate(node.inputs):
            if not i or (k in static and i in self.graph.constants):
                tensors.append(None)
            elif i in made:
                tensors.append(made[i])
            elif i in self.graph.constants:
                shape = self._constant_shape(node, k)
                constants[k] = constant_array(self.graph, Binding("", i, shape))
                tensors.append(self._constant(i, shape))
            else:
                tensor = self._input(i)
                tensors.append(tensor)
                logical = self._logical_shape(node, k)
                if tensor.extents != logical:
                    shapes[k] = logical
        attributes = dict(op.attributes)
        if self._surplus and depthwise(self.graph, node):
            attributes["group"] = self.stored
        outputs = tuple((name, dtype, self._padded(shape)) for name, dtype, shape in op.outputs)
        op = replace(op, attributes=attributes, constants=constants, outputs=outputs, input_shapes=shapes)
        return lower(self.builder, op, tensors)

    def _sizes(self, node: Node, sizes: Array) -> Array:
        """The extents that a Resize is to give, with surplus channels: there are as many as before."""
        axes = node.integers("axes", tuple(range(self.rank)))
        stored = [self.stored if a % self.rank == 1 else n for a, n in zip(axes, sizes, strict=True)]
        return np.array(stored, sizes.dtype)

    def _logical_shape(self, node: Node, k: int) -> tuple[int, ...]:
        """What `node` takes input `k` to be: with surplus channels where it works per channel."""
        shape = self.graph.values[node.inputs[k]].shape
        sums = kind_of(node) is GroupKind.CONTRACTION and not depthwise(self.graph, node) and k == 0
        return shape if sums else self._padded(shape)

    def _constant_shape(self, node: Node, k: int) -> tuple[int, ...]:
        """The shape of constant input `k`, padded where it counts the group's channels."""
        shape = self.graph.values[node.inputs[k]].shape
        if not self._surplus:
            return shape
        match node.op_type, k:
            case "ConvTranspose", 1 if not depthwise(self.graph, node):
                axis = 1
            case ("Conv" | "ConvTranspose", _) | (("BatchNormalization" | "InstanceNormalization"), _):
                axis = 0
            case _:
                axis = len(shape) - self.rank + 1
        if axis < 0 or axis >= len(shape) or shape[axis] != self.channels:
            return shape
        return (*shape[:axis], self.stored, *shape[axis + 1 :])

    def _constant(self, value: str, shape: tuple[int, ...]) -> Tensor:
        key = (value, shape)
        if key not in self.tensors:
            number = sum(b.value in self.graph.constants for b in self.bindings.values())
            dtype = self.graph.values[value].dtype
            self.tensors[key] = self.builder.input(f"w{number}", shape, dtype, constant=True)
            self.bindings[self.tensors[key].name] = Binding(self.tensors[key].name, value, shape)
        return self.tensors[key]

    def _input(self, value: str) -> Tensor:
        key = (value, ())
        if key not in self.tensors:
            number = sum(b.value not in self.graph.constants for b in self.bindings.values())
            v, place = self.graph.values[value], self.layouts.of(value)
            shape, lower, layout = _box(v.shape, place)
            self.tensors[key] = self.builder.input(f"x{number}", shape, v.dtype, lower=lower, layout=layout)
            self.bindings[self.tensors[key].name] = Binding(self.tensors[key].name, value, shape)
        return self.tensors[key]

    def _own(self, tensor: Tensor, value: str) -> Tensor:
        """The tensor itself where the function computes it, else a copy (an operator may return its input)."""
        if (
            tensor.role is TensorRole.TEMPORARY
            and self.builder.tensor(tensor.name).role is TensorRole.TEMPORARY
        ):
            return tensor
        return self.builder.compute(
            "copy", {f"i{d}": n for d, n in enumerate(tensor.extents)}, lambda *i: tensor[i]
        )

    def _copy(self, tensor: Tensor, node: Node) -> Tensor:
        shape = self.graph.values[node.output].shape
        return self.builder.compute(
            node.op_type.lower(), {f"i{d}": n for d, n in enumerate(shape)}, lambda *i: tensor[i]
        )

    def _with_blocked_temporaries(self, function: Function) -> Function:
        """Temporaries as large as the blocked values around them are blocked too."""
        blocks = {
            p.block
            for p in map(self.layouts.of, (*self.group.inputs, *self.group.outputs, *self._staged_values))
            if p.block
        }
        if len(blocks) != 1:
            return function
        (block,) = blocks
        for t in function.of_role(TensorRole.TEMPORARY):
            if t.layout is None and t.rank >= 3 and t.rank == self.rank and t.extents[1] % block == 0:
                low = tuple(int(x.value) for x in t.origin)  # type: ignore[union-attr]
                function = function.with_tensor(replace(t, layout=Layout.blocked(t.extents, 1, block, low)))
        return function


def _staged(group: Group, layouts: Layouts) -> str | None:
    """The blocked value of which the group's output is the row-major copy; None where there is none."""
    *before, last = group.nodes
    made = {o for n in before for o in n.outputs}
    staged = last.op_type == "Identity" and last.inputs[0] in made and layouts.of(last.inputs[0]).block
    return last.inputs[0] if staged else None


def _box(shape: tuple[int, ...], place: Placement) -> tuple[tuple[int, ...], tuple[int, ...], Layout | None]:
    """Extents, smallest subscripts and layout of the tensor that holds a value of `shape`."""
    if place == PLAIN:
        return shape, (), None
    halo = place.halo or ((0, 0),) * (len(shape) - 2)
    extents = (
        shape[0],
        place.channels(shape[1]),
        *(n + a + b for n, (a, b) in zip(shape[2:], halo, strict=True)),
    )
    lower = (0, 0, *(-a for a, _ in halo))
    if place.block is None:
        return extents, lower, None
    return extents, lower if any(lower) else (), Layout.blocked(extents, 1, place.block, lower)


def _placed(function: Function, name: str, place: Placement) -> Function:
    """The function with its output stored as `place` says; computations that write zeros around it come last."""
    if place == PLAIN:
        return function
    tensor = function.tensor(name)
    shape = tensor.extents
    extents, lower, layout = _box(shape, place)
    tensor = replace(
        tensor,
        shape=tuple(as_expr(n) for n in extents),
        lower=tuple(as_expr(x) for x in lower),
        layout=layout,
    )
    function = function.with_tensor(tensor)
    taken = {c.name for c in function.computations}
    borders = []
    for k, axes in enumerate(_borders(shape, place)):
        label = f"{name}_border{k}"
        while label in taken:
            label += "_"
        index: tuple[Expr, ...] = tuple(a.var for a in axes)
        borders.append(Computation(label, axes, (), name, index, identity("add", tensor.dtype)))
    return replace(function, computations=(*function.computations, *borders))


def _borders(shape: tuple[int, ...], place: Placement) -> Iterator[tuple[Axis, ...]]:
    """Disjoint boxes that cover the halo: for each spatial dimension its two ends, over the interior of the dimensions
    before it and the whole of those behind it."""
    for d, (before, after) in enumerate(place.halo, start=2):
        for low, high in ((-before, 0), (shape[d], shape[d] + after)):
            if low == high:
                continue
            ranges = [(0, n) for n in shape]
            ranges[d] = (low, high)
            for later, (a, b) in enumerate(place.halo[d - 1 :], start=d + 1):
                ranges[later] = (-a, shape[later] + b)
            if prod(b - a for a, b in ranges):
                yield tuple(Axis(f"i{k}", as_expr(a), as_expr(b)) for k, (a, b) in enumerate(ranges))


def _without_unused(function: Function) -> Function:
    """The function without inputs that nothing reads (known scalars have become literals)."""
    read = {load.buffer for c in function.computations for e in _expressions(c) for load in loads(e)}
    kept = tuple(
        t for t in function.tensors if t.role not in (TensorRole.INPUT, TensorRole.CONSTANT) or t.name in read
    )
    return replace(function, tensors=kept)


def _expressions(c: Computation) -> Iterator[Expr]:
    yield c.value
    yield from c.index
    yield from c.conditions
    yield from (e for a in c.axes for e in (a.lower, a.upper))
    if c.reduction is not None and c.reduction.init is not None:
        yield c.reduction.init
