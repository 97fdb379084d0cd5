"""Fusion groups: which nodes become one function, scheduled as one nest.

    Conv ─ Add(bias) ─ Add(residual) ─ Relu        one contraction group
    Div ─ Add(mask) ─ Softmax ─ Mul                one reduction group
    Reshape                                        a view: an alias that costs nothing

A group has one output that leaves it (an operator with several outputs is a group of its own), so that a group
depends on another exactly if one of its inputs does, and fusing never makes a cycle through other groups unless a
fused node reads something that itself depends on the group; that is checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from polydl.graph.ir import Graph, Node

__all__ = ["ELEMENTWISE", "Group", "GroupKind", "kind_of", "make_groups"]


class GroupKind(str, Enum):
    """What decides how a group is scheduled: its anchor's nature."""

    CONTRACTION = "contraction"
    ELEMENTWISE = "elementwise"
    REDUCTION = "reduction"
    POOL = "pool"
    MOVEMENT = "movement"
    VIEW = "view"


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Nodes in topological order that become one function.

    `inputs` are the values read from outside, constants included, in order of first use; `outputs` those read outside.
    `anchor` is the node that the kind comes from.
    """

    name: str
    kind: GroupKind
    anchor: Node
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        body = " ".join(n.op_type for n in self.nodes)
        return (
            f"{self.name}: {self.kind.value} [{body}] ({', '.join(self.inputs)}) -> {', '.join(self.outputs)}"
        )


ELEMENTWISE: Final = frozenset(
    {
        "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd",
        "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh",
        "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual",
        "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log",
        "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu",
        "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub",
        "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
    }
)  # fmt: skip
"""Operators whose result at an index depends on their operands at that index (after broadcasting) alone."""

_KINDS: Final[dict[str, GroupKind]] = {
    **dict.fromkeys(ELEMENTWISE, GroupKind.ELEMENTWISE),
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"), GroupKind.CONTRACTION),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), GroupKind.POOL),
    **dict.fromkeys(
        (
            "Softmax", "LogSoftmax", "Hardmax", "LayerNormalization", "RMSNormalization",
            "InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization", "LpNormalization",
            "LRN", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "ArgMax", "ArgMin", "CumSum",
            "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
            "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "BatchNormalization",
        ),
        GroupKind.REDUCTION,
    ),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), GroupKind.VIEW),
}  # fmt: skip

_MAX_NODES: Final = 32  # of one group: larger functions cost the polyhedral side more than fusion gains


def kind_of(node: Node) -> GroupKind:
    """The kind of a group of this node alone."""
    if node.op_type == "Identity":
        return GroupKind.VIEW
    return _KINDS.get(node.op_type, GroupKind.MOVEMENT)


def make_groups(graph: Graph) -> tuple[Group, ...]:
    """A partition of the graph's nodes into groups, in an order in which they can run."""
    return _Grouping(graph).run()


class _Grouping:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.position = {n: k for k, n in enumerate(graph.nodes)}
        self.producers = graph.producers()
        self.users = {v: list(dict.fromkeys(ns)) for v, ns in graph.consumers().items()}
        self.members: dict[Node, list[Node]] = {}  # anchor -> its group
        self.taken: set[Node] = set()

    def run(self) -> tuple[Group, ...]:
        # Contractions first, later ones before earlier ones: a residual Add goes to the convolution that runs last,
        # whose other operand is then there already. Then what has a reduction or window, then the elementwise rest.
        anchors = [n for n in self.graph.nodes if kind_of(n) is GroupKind.CONTRACTION][::-1]
        anchors += [n for n in self.graph.nodes if kind_of(n) in (GroupKind.REDUCTION, GroupKind.POOL)]
        for n in anchors:
            self._start(n)
            if kind_of(n) is GroupKind.REDUCTION:
                self._grow_backwards(n)
            self._grow(n)
        for n in self.graph.nodes:
            if n not in self.taken:
                self._start(n)
                if kind_of(n) is GroupKind.ELEMENTWISE:
                    self._grow(n)
        return self._ordered()

    def _start(self, anchor: Node) -> None:
        self.members[anchor] = [anchor]
        self.taken.add(anchor)

    def _grow(self, anchor: Node) -> None:
        """Adds following elementwise nodes, up to the last point at which a single value leaves the group.

        A value with several readers (x in x * sigmoid(x)) is passed if all of them can be added and meet again.
        """
        group = self.members[anchor]
        if len([o for o in anchor.outputs if o]) != 1:
            return
        tail = anchor.output
        tentative: list[Node] = []
        tentative_set = set(group)
        shape = self.graph.values[tail].shape
        open_values = {tail}
        while len(group) + len(tentative) < _MAX_NODES:
            candidates = {
                u
                for v in open_values
                for u in self.users.get(v, ())
                if self._can_follow(u, tentative_set, shape)
            }
            if not candidates:
                break
            chosen = min(candidates, key=self.position.__getitem__)
            tentative.append(chosen)
            tentative_set.add(chosen)
            open_values.add(chosen.output)
            open_values = {v for v in open_values if self._leaves(v, tentative_set)}
            if open_values == {chosen.output}:
                group += tentative
                self.taken |= set(tentative)
                tentative = []

    def _can_follow(self, node: Node, group: set[Node], shape: tuple[int, ...]) -> bool:
        if node in group or node in self.taken or kind_of(node) is not GroupKind.ELEMENTWISE:
            return False
        if len(node.outputs) != 1 or self.graph.values[node.output].shape != shape:
            return False
        return not any(
            self._depends(i, group) for i in node.inputs if i and self.producers.get(i) not in group
        )

    def _grow_backwards(self, anchor: Node) -> None:
        """Adds the elementwise nodes before a reduction whose values nothing else reads."""
        group = self.members[anchor]
        if not anchor.inputs:
            return
        shape = self.graph.values[anchor.inputs[0]].shape
        pending = [anchor.inputs[0]]
        while pending and len(group) < _MAX_NODES:
            value = pending.pop()
            node = self.producers.get(value)
            if node is None or node in self.taken or kind_of(node) is not GroupKind.ELEMENTWISE:
                continue
            if (
                self._leaves(value, set(group))
                or len(node.outputs) != 1
                or self.graph.values[value].shape != shape
            ):
                continue
            group.insert(0, node)
            self.taken.add(node)
            pending += [i for i in node.inputs if i]
        group.sort(key=self.position.__getitem__)

    def _leaves(self, value: str, group: set[Node]) -> bool:
        return value in self.graph.outputs or any(u not in group for u in self.users.get(value, ()))

    def _depends(self, value: str, group: set[Node]) -> bool:
        """Does `value`, made outside the group, depend on a member? Groups made so far count as units."""
        first = min(self.position[n] for n in group)
        seen: set[Node] = set()
        stack = [self.producers[value]] if value in self.producers else []
        while stack:
            n = stack.pop()
            if n in group:
                return True
            if n in seen or self.position[n] < first:
                # A node before the group's first member cannot depend on it; neither can its group, whose members that
                # lead to its one output are followed one by one.
                continue
            seen.add(n)
            stack += [self.producers[i] for i in n.inputs if i in self.producers]
        return False

    def _ordered(self) -> tuple[Group, ...]:
        group_of = {n: a for a, ns in self.members.items() for n in ns}
        order: list[Node] = []
        done: set[Node] = set()
        for root in sorted(self.members, key=lambda a: max(self.position[n] for n in self.members[a])):
            stack = [root]
            while stack:
                anchor = stack[-1]
                missing = [
                    group_of[self.producers[i]]
                    for n in self.members[anchor]
                    for i in n.inputs
                    if i in self.producers and group_of[self.producers[i]] not in done | {anchor}
                ]
                if missing:
                    stack += dict.fromkeys(missing)
                    continue
                stack.pop()
                if anchor not in done:
                    done.add(anchor)
                    order.append(anchor)
        return tuple(self._finished(a, k) for k, a in enumerate(order))

    def _finished(self, anchor: Node, number: int) -> Group:
        nodes = tuple(self.members[anchor])
        made = {o for n in nodes for o in n.outputs if o}
        inputs = _unique(i for n in nodes for i in n.inputs if i and i not in made)
        outputs = _unique(o for n in nodes for o in n.outputs if o and self._leaves(o, set(nodes)))
        return Group(f"g{number}_{anchor.op_type.lower()}", kind_of(anchor), anchor, nodes, inputs, outputs)


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
