"""Which values are read: the judge of transformations that store things elsewhere and keep the statements.

Dependences between storage locations say nothing of a change of storage itself. What must stay is the *source* of each
read: the write that it sees, the last one to its cell before it. Storage may be renamed, expanded, contracted or folded
exactly if every read has the same source before and after, in an order that is known to be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import islpy

from polydl.poly.affine import Affine, constant
from polydl.poly.dependences import ordered_pairs
from polydl.poly.isl import guarded, least, map_of, thread_context
from polydl.poly.model import Access, AccessKind, Scop
from polydl.poly.paths import paths
from polydl.poly.sets import header, point_coordinates, restrict, single_affine
from polydl.poly.tree import Tree

__all__ = ["Redirected", "UnwrittenRead", "ValueViolation", "span", "unwritten_read", "value_violation"]


@dataclass(frozen=True, slots=True)
class Redirected:
    """One access of a statement, to its cell before and to its cell after a change of storage."""

    statement: str
    before: Access
    after: Access


@dataclass(frozen=True, slots=True)
class ValueViolation:
    """A read that would see another value.

    `reader` is the instance of `statement`; `wanted` the instance of the statement whose value it reads before the
    change, None where it reads what nobody has written; `found` the one whose value it would read after it.
    """

    parameters: tuple[tuple[str, int], ...]
    statement: str
    reader: tuple[int, ...]
    tensor: str
    wanted: tuple[str, tuple[int, ...]] | None
    found: tuple[str, tuple[int, ...]] | None

    @property
    def reason(self) -> str:
        """The violation in words."""
        at = f" (with {', '.join(f'{n} = {v}' for n, v in self.parameters)})" if self.parameters else ""
        reads = f"{_instance(self.statement, self.reader)} reads of {self.tensor} what {_source(self.wanted)}"
        return f"{reads}, but would then read what {_source(self.found)}{at}."


@dataclass(frozen=True, slots=True)
class UnwrittenRead:
    """A read of what nobody has written before: `reader` is the instance of `statement`."""

    parameters: tuple[tuple[str, int], ...]
    statement: str
    reader: tuple[int, ...]


def _instance(statement: str, at: tuple[int, ...]) -> str:
    return f"{statement}({', '.join(map(str, at))})"


def _source(instance: tuple[str, tuple[int, ...]] | None) -> str:
    return "nobody has written" if instance is None else f"{_instance(*instance)} has written"


@guarded
def value_violation(
    before: Scop, after: Scop, tree: Tree, accesses: tuple[Redirected, ...]
) -> ValueViolation | None:
    """A read whose source, in the order of `tree`, is another one after the change of storage; None if there is none.

    `accesses` are all accesses to the tensors that change. Both scops have the same statements.
    """
    return _value_violation(before, after, tree, accesses)


@lru_cache(maxsize=1024)
def _value_violation(
    before: Scop, after: Scop, tree: Tree, accesses: tuple[Redirected, ...]
) -> ValueViolation | None:
    writers = [a for a in accesses if a.before.kind is not AccessKind.READ]
    for reader in accesses:
        if reader.before.kind is AccessKind.WRITE:
            continue
        old = _sources(
            before, tree, reader.statement, reader.before, [(w.statement, w.before) for w in writers]
        )
        new = _sources(after, tree, reader.statement, reader.after, [(w.statement, w.after) for w in writers])
        lost, gained = old.subtract(new), new.subtract(old)
        if not (lost.is_empty() and gained.is_empty()):
            return _example(before, reader, old, new, lost if not lost.is_empty() else gained)
    return None


@guarded
def unwritten_read(scop: Scop, tree: Tree, tensor: str) -> UnwrittenRead | None:
    """A read of `tensor` that, in the order of `tree`, no write to its cell comes before; None if there is none."""
    return _unwritten_read(scop, tree, tensor)


@lru_cache(maxsize=1024)
def _unwritten_read(scop: Scop, tree: Tree, tensor: str) -> UnwrittenRead | None:
    accesses = [(s, a) for s in scop.statements for a in s.accesses if a.tensor == tensor]
    writes = [(s.name, a) for s, a in accesses if a.kind is not AccessKind.READ]
    for statement, access in accesses:
        if access.kind is AccessKind.WRITE:
            continue
        found = _sources(scop, tree, statement.name, access, writes).domain()
        left = islpy.UnionSet.from_set(restrict(scop, statement, ())).subtract(found)
        if not left.is_empty():
            parameters, at = _point(scop, least(islpy.Set.from_union_set(left)).sample_point())
            return UnwrittenRead(parameters, statement.name, at)
    return None


def _sources(
    scop: Scop, tree: Tree, statement: str, read: Access, writes: Sequence[tuple[str, Access]]
) -> islpy.UnionMap:
    """Every instance that reads, with the instance that has written what it reads.  # { Read[..] -> Write[..] }

    Of the writes to the cell before the read those that no other one comes after: isl's own dataflow analysis loses
    some where subscripts have remainders.
    """
    into: dict[tuple[str, Access], islpy.Map] = {}
    for write in dict.fromkeys(w for w in writes if w[1].tensor == read.tensor):
        found = _before(scop, tree, *write, statement, read)
        if found is not None:
            into[write] = found
    total = islpy.UnionMap.read_from_str(thread_context(), f"{header(scop.parameters)}{{ }}")
    for write, relation in into.items():
        for other, later in into.items():
            covered = _before(scop, tree, *write, *other)
            if covered is not None:
                relation = relation.subtract(covered.apply_range(later))
        total = total.union(islpy.UnionMap.from_map(relation.reverse()))
    return total


def _before(
    scop: Scop, tree: Tree, source: str, first: Access, sink: str, second: Access
) -> islpy.Map | None:
    """The instances that meet in a cell, the source first; None if there are none.  # { Source[..] -> Sink[..] }"""
    total: islpy.Map | None = None
    listed = paths(scop, tree)
    for p in (p for p in listed if p.statement == source):
        for q in (q for q in listed if q.statement == sink):
            part = ordered_pairs(scop, scop.statement(source), first, p, scop.statement(sink), second, q)
            if part is not None:
                total = part if total is None else total.union(part)
    return total


def _example(
    scop: Scop, reader: Redirected, old: islpy.UnionMap, new: islpy.UnionMap, different: islpy.UnionMap
) -> ValueViolation:
    point = least(islpy.Set.from_union_set(different.domain()))
    parameters, at = _point(scop, point.sample_point())
    here = islpy.UnionSet.from_set(islpy.Set.from_point(point.sample_point()))
    wanted, found = (_first(scop, here.apply(sources)) for sources in (old, new))
    return ValueViolation(parameters, reader.statement, at, reader.before.tensor, wanted, found)


def _first(scop: Scop, instances: islpy.UnionSet) -> tuple[str, tuple[int, ...]] | None:
    """The one instance of a set of at most one."""
    if instances.is_empty():
        return None
    point = islpy.Set.from_union_set(instances).sample_point()
    return str(point.to_set().get_tuple_name()), _point(scop, point)[1]


def _point(scop: Scop, point: islpy.Point) -> tuple[tuple[tuple[str, int], ...], tuple[int, ...]]:
    """The parameters and the coordinates of a point."""
    space = islpy.Set.from_point(point)
    names = [space.get_dim_name(islpy.dim_type.param, k) for k in range(space.dim(islpy.dim_type.param))]
    numbers = point_coordinates(space, len(names))
    by_name = dict(zip(names, numbers, strict=False))
    return tuple((p, by_name.get(p, 0)) for p in scop.parameters), numbers[len(names) :]


@guarded
def span(scop: Scop, values: tuple[tuple[str, Affine], ...]) -> tuple[Affine, Affine] | None:
    """Bounds, affine in the parameters, of the values of an expression given per statement; None where there are none.

    The least and the greatest value where each is one expression, else a number that bounds it for all parameters. The
    values of all instances of all the statements are meant; there must be some for some parameters.
    """
    total: islpy.Set | None = None
    for name, e in values:
        statement = scop.statement(name)
        text = f"{header(scop.parameters)}{{ {name}[{', '.join(statement.iterators)}] -> [{e}] }}"
        part = map_of(text).intersect_domain(restrict(scop, statement, ())).range()
        total = part if total is None else total.union(part)
    if total is None or total.is_empty():
        return None
    kind = islpy.dim_type.set
    if not (total.dim_has_lower_bound(kind, 0) and total.dim_has_upper_bound(kind, 0)):
        return None
    low = single_affine(total.dim_min(0)) or _number(total.dim_min_val(0))
    high = single_affine(total.dim_max(0)) or _number(total.dim_max_val(0))
    return None if low is None or high is None else (low, high)


def _number(value: islpy.Val) -> Affine | None:
    return constant(value.to_python()) if value.is_int() else None
