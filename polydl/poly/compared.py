"""What a comparison of two programs compares: values at points, each traced to where it comes from.

Everything has a relation `at` from the points of the comparison: to the instances that spell or have stored it, or to
the cells that hold it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import islpy

from polydl.poly.explain import smallest_point
from polydl.poly.flow import Apply, Flow, Read, Sources, Store, Value, joined
from polydl.poly.isl import least
from polydl.poly.sets import access_relation

__all__ = [
    "Different",
    "Given",
    "Instance",
    "Node",
    "Spelled",
    "Sum",
    "Term",
    "copies",
    "different",
    "expanded",
    "inside",
    "instance_text",
    "seen",
    "restricted",
    "split",
    "twice",
]


@dataclass(frozen=True)
class Spelled:
    """A value at instances of a statement."""

    statement: str
    value: Value
    at: islpy.Map


@dataclass(frozen=True)
class Given:
    """What a cell holds at the beginning."""

    tensor: str
    at: islpy.Map


@dataclass(frozen=True)
class Instance:
    """What instances of a store have stored."""

    store: Store
    at: islpy.Map


@dataclass(frozen=True)
class Sum:
    """An origin, and updates by `op` that have changed it since; "" if their order counts."""

    origin: Given | Instance
    op: str
    added: tuple[tuple[Store, islpy.Map], ...]

    @property
    def at(self) -> islpy.Map:
        return self.origin.at


Node: TypeAlias = Spelled | Given | Instance | Sum
Term: TypeAlias = tuple[bool, str, Value, islpy.Map]  # whether it is subtracted, statement, value, instances


class Different(Exception):
    def __init__(self, points: islpy.Set, wanted: str, found: str, statements: tuple[str, ...]) -> None:
        super().__init__(wanted, found)
        self.points, self.wanted, self.found, self.statements = points, wanted, found, statements


def expanded(flow: Flow, a: Spelled) -> list[Node]:
    assert isinstance(a.value, Read)
    found = flow.sources(a.statement, a.value.access)
    listed: list[Node] = list(seen(a.value.access.tensor, (flow, a), found))
    return listed


def seen(tensor: str, read: tuple[Flow, Spelled] | None, found: Sources) -> Iterator[Node]:
    """What a read (None: a result at the end) sees, by origin and by whether there are updates."""
    whole = read[1].at if read is not None else None

    def at(m: islpy.Map) -> islpy.Map:
        return m if whole is None else whole.apply_range(m)

    def untouched(points: islpy.Set) -> Given:
        if read is None:
            return Given(tensor, points.identity())
        flow, a = read
        assert isinstance(a.value, Read)
        scop = flow.meaning.scop
        cells = access_relation(scop, scop.statement(a.statement), a.value.access)
        return Given(tensor, a.at.intersect_range(points).apply_range(cells))

    origins: list[Given | Instance] = [Instance(s, at(m)) for s, m in found.written]
    origins.append(untouched(found.given))
    added = tuple((s, at(m)) for s, m in found.added)
    added = tuple((s, m) for s, m in added if not m.is_empty())
    for origin in origins:
        here = origin.at.domain()
        if here.is_empty():
            continue
        kinds: dict[str, islpy.Set] = {}
        for s, m in added:
            points = m.domain().intersect(here)
            kinds[s.op] = kinds[s.op].union(points) if s.op in kinds else points
        mixed = joined([p.intersect(q) for o, p in kinds.items() for r, q in kinds.items() if o < r], here)
        for op, points in kinds.items():
            yield from _sum(origin, op, tuple((s, m) for s, m in added if s.op == op), points.subtract(mixed))
        yield from _sum(origin, "", added, mixed)
        rest = here.subtract(joined(list(kinds.values()), here))
        if not rest.is_empty():
            yield restricted(origin, rest)


def _sum(
    origin: Given | Instance, op: str, added: tuple[tuple[Store, islpy.Map], ...], points: islpy.Set
) -> Iterator[Node]:
    if not points.is_empty():
        yield restricted(Sum(origin, op, added), points)


def different(a: Node, b: Node, points: islpy.Set | None = None) -> Different:
    where = a.at.domain() if points is None or points.is_empty() else points
    single = islpy.Set.from_point(least(where).sample_point() if _bounded(where) else where.sample_point())
    names = dict.fromkeys(
        n.statement if isinstance(n, Spelled) else n.store.statement
        for n in (a, b)
        if isinstance(n, Spelled | Instance)
    )
    return Different(single, _words(a, single), _words(b, single), tuple(names))


def copies(store: Store) -> bool:
    return not store.updates and isinstance(store.value, Read)


def inside(node: Instance) -> Spelled:
    return Spelled(node.store.statement, node.store.value, node.at)


def restricted(node: Node, points: islpy.Set) -> Node:
    match node:
        case Spelled(statement=statement, value=value, at=at):
            return Spelled(statement, value, at.intersect_domain(points))
        case Given(tensor=tensor, at=at):
            return Given(tensor, at.intersect_domain(points))
        case Instance(store=store, at=at):
            return Instance(store, at.intersect_domain(points))
        case Sum(origin=origin, op=op, added=added):
            here = ((s, m.intersect_domain(points)) for s, m in added)
            inner = restricted(origin, points)
            assert isinstance(inner, Given | Instance)
            return Sum(inner, op, tuple((s, m) for s, m in here if not m.is_empty()))


def split(value: Value, op: str, free: bool, minus: bool = False) -> Iterator[tuple[bool, Value]]:
    """The terms of a value that is added, with signs."""
    match value:
        case Apply(label=("add" | "sub") as label, operands=(a, b)) if op == "add" and free:
            yield from split(a, op, free, minus)
            yield from split(b, op, free, minus != (label == "sub"))
        case Apply(label="neg", operands=(a,)) if op == "add" and free:
            yield from split(a, op, free, not minus)
        case _:
            yield minus, value


def twice(m: islpy.Map) -> islpy.Set:
    """The first elements of a relation that share a second one with another."""
    pairs = m.apply_range(m.reverse())
    return pairs.subtract(m.domain().identity()).domain()


def _bounded(points: islpy.Set) -> bool:
    return all(
        points.dim_has_lower_bound(islpy.dim_type.set, k) for k in range(points.dim(islpy.dim_type.set))
    )


def instance_text(m: islpy.Map, name: str) -> str:
    """The smallest instance that a relation leads to."""
    return f"{name}({_numbers(m.range())})"


def _numbers(points: islpy.Set) -> str:
    found = smallest_point(points.identity())[1]
    return ", ".join(map(str, found[: points.dim(islpy.dim_type.set)]))


def _words(node: Node, single: islpy.Set) -> str:
    here = node.at.intersect_domain(single)
    match node:
        case Given(tensor=tensor):
            return f"{tensor}[{_numbers(here.range())}] as given"
        case Instance(store=store):
            return instance_text(here, store.statement)
        case Sum(origin=origin, op=op):
            return f"{_words(origin, single)} combined by {op} with more"
        case Spelled(statement=statement):
            return f"a value that {instance_text(here, statement)} spells otherwise"
