"""What the judge must agree with: enumeration of all instances, written without the package's own machinery."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from polydl.poly import (
    AccessKind,
    Allocate,
    Ast,
    Band,
    BlockNode,
    CallNode,
    Filter,
    ForNode,
    IfNode,
    Leaf,
    Mark,
    Node,
    Scop,
    Sequence,
    Statement,
    Tree,
    evaluate,
)
from polydl.vocabulary import Binding

Instance = tuple[str, tuple[int, ...]]


def instances(statement: Statement, parameters: dict[str, int]) -> list[tuple[int, ...]]:
    """All points of the domain (of the simple form that `programs` writes), lexicographically."""
    body = statement.domain.split(":", 1)[1].rsplit("}", 1)[0] if ":" in statement.domain else ""
    tests = [c.strip() for c in body.split(" and ") if c.strip()]
    found = []
    for point in itertools.product(range(5), repeat=len(statement.iterators)):
        values = {**parameters, **dict(zip(statement.iterators, point, strict=True))}
        if all(_holds(t, values) for t in tests):
            found.append(point)
    return found


def _holds(condition: str, values: dict[str, int]) -> bool:
    parts = re.split(r"(<=|<|>)", condition)
    numbers = [_number(p.strip(), values) for p in parts[0::2]]
    for a, symbol, b in zip(numbers, parts[1::2], numbers[1:], strict=False):
        if not {"<=": a <= b, "<": a < b, ">": a > b}[symbol]:
            return False
    return True


def _number(text: str, values: dict[str, int]) -> int:
    return sum(values[t] if t in values else int(t) for t in text.split(" + "))


@dataclass(frozen=True)
class Time:
    """One coordinate: of a loop (its name and binding) or of a sequence (name "")."""

    loop: str
    binding: Binding
    value: int


@dataclass
class Run:
    """One instance as the tree schedules it; `allocated` maps a tensor to the arrival that made its storage."""

    instance: Instance
    times: tuple[Time, ...]
    allocated: dict[str, object]


class BrokenContract(Exception):
    """The tree does not schedule every instance exactly once."""


def runs(scop: Scop, tree: Tree, parameters: dict[str, int]) -> list[Run]:
    """All instances with their times. Raises `BrokenContract`."""
    everything = [(s.name, p) for s in scop.statements for p in instances(s, parameters)]
    found = list(_walk(scop, tree, [Run(i, (), {}) for i in everything], parameters, ()))
    if sorted(r.instance for r in found) != sorted(everything):
        raise BrokenContract
    keys = [(r.instance[0], tuple((t.loop, t.value) for t in r.times)) for r in found]
    if len(set(keys)) != len(keys):
        raise BrokenContract
    return found


def _walk(
    scop: Scop, tree: Tree, here: list[Run], parameters: dict[str, int], place: tuple[int, ...]
) -> Iterator[Run]:
    def values(run: Run) -> dict[str, int]:
        name, point = run.instance
        return {**parameters, **dict(zip(scop.statement(name).iterators, point, strict=True))}

    match tree:
        case Leaf():
            yield from here
        case Mark(child=child):
            yield from _walk(scop, child, here, parameters, place)
        case Allocate(tensor=tensor, child=child):
            if any(isinstance(n, Allocate) and n.tensor == tensor for n in _nodes(child)):
                raise BrokenContract
            for run in here:
                run.allocated = {**run.allocated, tensor: (place, run.times)}
            yield from _walk(scop, child, here, parameters, (*place, 0))
        case Band(members=members, child=child):
            for run in here:
                at = values(run)
                run.times += tuple(
                    Time(m.name, m.binding, m.expr(run.instance[0]).evaluate(at)) for m in members
                )
            yield from _walk(scop, child, here, parameters, (*place, 0))
        case Sequence(children=children):
            for k, child in enumerate(children):
                assert isinstance(child, Filter)
                chosen = []
                for run in here:
                    for s in child.selections:
                        if s.statement == run.instance[0] and (
                            not s.condition or _holds(s.condition, values(run))
                        ):
                            time = Time("", Binding.SEQUENTIAL, k)
                            chosen.append(Run(run.instance, (*run.times, time), dict(run.allocated)))
                yield from _walk(scop, child.child, chosen, parameters, (*place, k))
        case _:
            raise AssertionError(f"{tree} outside a sequence")


def conflicts(scop: Scop, parameters: dict[str, int]) -> Iterator[tuple[Instance, Instance, str, bool]]:
    """`(earlier, later, tensor, reduction only)` for pairs that touch one cell, in the original order."""
    order = [(s, p) for s in scop.statements for p in instances(s, parameters)]
    cells: dict[Instance, list[tuple[AccessKind, str, tuple[int | None, ...]]]] = {}
    for s, p in order:
        values = {**parameters, **dict(zip(s.iterators, p, strict=True))}
        cells[s.name, p] = [
            (a.kind, a.tensor, tuple(None if e is None else e.evaluate(values) for e in a.subscripts))
            for a in s.accesses
        ]
    for (s, p), (t, q) in itertools.combinations(order, 2):
        shared: dict[str, bool] = {}
        for kind, tensor, cell in cells[s.name, p]:
            for other, other_tensor, other_cell in cells[t.name, q]:
                if tensor != other_tensor or kind is other is AccessKind.READ:
                    continue
                if all(a is None or b is None or a == b for a, b in zip(cell, other_cell, strict=True)):
                    updates = kind is other is AccessKind.UPDATE
                    reduction = updates and s.reduction == t.reduction is not None
                    shared[tensor] = shared.get(tensor, True) and reduction
        for tensor, reduction in shared.items():
            yield (s.name, p), (t.name, q), tensor, reduction


def is_legal(scop: Scop, tree: Tree, parameters: dict[str, int], reassociate: bool) -> bool:
    """By the semantic contract of the tree, for these sizes. Raises `BrokenContract`."""
    by_instance = {r.instance: r for r in runs(scop, tree, parameters)}
    allocated = {n.tensor for n in _nodes(tree) if isinstance(n, Allocate)}
    for run in by_instance.values():
        for access in scop.statement(run.instance[0]).accesses:
            if access.tensor in allocated and access.tensor not in run.allocated:
                return False
    for first, second, tensor, reduction in conflicts(scop, parameters):
        a, b = by_instance[first], by_instance[second]
        if not _ordered(a, b, reduction and reassociate):
            return False
        if a.allocated.get(tensor) != b.allocated.get(tensor):
            return False
    return True


def _ordered(a: Run, b: Run, free: bool) -> bool:
    for s, t in zip(a.times, b.times, strict=False):
        if s.value != t.value:
            combined = free and a.instance[0] == b.instance[0]  # lanes are, within one statement
            if s.binding is Binding.PARALLEL or (s.binding is Binding.VECTOR and not combined):
                return False
            return free or s.value < t.value
    return True  # equal times: textual order, which is the original one


def _nodes(tree: Tree) -> Iterator[Tree]:
    yield tree
    match tree:
        case Sequence(children=children):
            for c in children:
                yield from _nodes(c)
        case Leaf():
            pass
        case _:
            yield from _nodes(tree.child)


def execute(node: Node, values: dict[str, int]) -> Iterator[tuple[Instance, int]]:
    """The statement instances, each with its path, in the order in which the generated loops run them."""
    match node:
        case BlockNode(children=children):
            for child in children:
                yield from execute(child, values)
        case CallNode(statement=statement, arguments=arguments, path=path):
            yield (statement, tuple(number(a, values) for a in arguments)), path
        case IfNode(cond=cond, then=then, otherwise=otherwise):
            if evaluate(cond, values):
                yield from execute(then, values)
            elif otherwise is not None:
                yield from execute(otherwise, values)
        case ForNode():
            for value in range(number(node.lower, values), number(node.upper, values), node.step):
                yield from execute(node.body, {**values, node.iterator: value})


def number(expr: Ast, values: dict[str, int]) -> int:
    return evaluate(expr, values)
