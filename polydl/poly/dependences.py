"""Dependences: which pairs of statement instances must keep their order.

Dependences are between *storage locations* (memory-based): two instances that touch the same cell, at least one of
them writing, keep their order. This needs no parametric integer programming (a value-based analysis costs tens of
milliseconds on a convolution), and it admits the same schedules: a flow dependence that another write covers
is implied by the output and flow dependences through that write. Renaming storage (privatisation, expansion) is a
change of the accesses, not of the dependences.

Updates by one operator (of one statement, or of several) relate *all* pairs that meet in a cell, not just neighbours:
their order is free where reassociation is allowed, so nothing may rely on transitivity through them. Who reads the cell
in between, or stores to it in another way, has dependences of its own with each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

import islpy

from polydl.errors import InvalidProgram
from polydl.poly.affine import Affine
from polydl.poly.explain import smallest_point
from polydl.poly.isl import guarded, map_of, remember_map, set_of
from polydl.poly.model import Access, AccessKind, Dependence, DependenceKind, Scop, Statement
from polydl.poly.paths import Path, Position, common_coordinates, initial_tree, paths
from polydl.poly.remembered import Remembered
from polydl.poly.sets import access_relation, box_text, point_coordinates, primed, relation_text, restrict
from polydl.poly.tree import Tree

__all__ = ["bounds_violation", "dependences", "is_reduction_pair", "ordered_pairs"]


@guarded
def dependences(scop: Scop, tree: Tree | None = None) -> tuple[Dependence, ...]:
    """All dependences of the program whose original order is `tree` (default: `initial_tree`).

    Preserving every returned dependence gives the same final contents of every tensor.
    """
    return _dependences(scop, initial_tree(scop) if tree is None else tree)


@lru_cache(maxsize=128)
def _dependences(scop: Scop, tree: Tree) -> tuple[Dependence, ...]:
    by_statement: dict[str, list[Path]] = {}
    for path in paths(scop, tree):
        by_statement.setdefault(path.statement, []).append(path)
    known = _ON_TENSORS.get(tree)
    known = _ON_TENSORS.put({}, tree) if known is None else known
    found: list[Dependence] = []
    for tensor, box in scop.tensors:
        users = [(s, a) for s in scop.statements for a in s.accesses if a.tensor == tensor]
        if all(a.kind is AccessKind.READ for _, a in users):
            continue
        # All that the dependences on a tensor follow from, in one order of the program.
        told = tuple((s.name, s.iterators, s.domain, s.reduction, _updates(s), a) for s, a in users)
        key = scop.parameters, scop.context, tensor, box, told
        if key not in known:
            known[key] = tuple(_on_tensor(scop, tensor, users, by_statement))
        found += known[key]
    return tuple(found)


# Transformations of storage change the accesses to one tensor; those on all others need not be found again.
_ON_TENSORS: Final = Remembered[dict[object, tuple[Dependence, ...]]](8)


def _on_tensor(
    scop: Scop,
    tensor: str,
    users: list[tuple[Statement, Access]],
    by_statement: dict[str, list[Path]],
) -> Iterable[Dependence]:
    found: dict[tuple[str, str, bool, str], Dependence] = {}
    done: set[object] = set()
    for source, first in users:
        for sink, second in users:
            kind = _kind(first.kind, second.kind)
            if kind is None:
                continue
            reduction = is_reduction_pair(source, first, sink, second)
            # Accesses that differ in kind only meet in the same instances: one dependence says it all.
            pair = (source.name, first.subscripts, sink.name, second.subscripts, reduction)
            if pair in done:
                continue
            done.add(pair)
            for p in by_statement.get(source.name, ()):
                for q in by_statement.get(sink.name, ()):
                    relation = ordered_pairs(scop, source, first, p, sink, second, q)
                    if relation is None:
                        continue
                    text = remember_map(relation)
                    key = (source.name, sink.name, reduction, text)
                    if key not in found:
                        distance = _distance(relation) if source.name == sink.name else None
                        found[key] = Dependence(
                            kind, source.name, sink.name, tensor, text, reduction, distance
                        )
    return found.values()


def _kind(source: AccessKind, sink: AccessKind) -> DependenceKind | None:
    """The name of the dependence between two accesses of one cell; None between two reads."""
    match source, sink:
        case AccessKind.READ, AccessKind.READ:
            return None
        case AccessKind.READ, _:
            return DependenceKind.ANTI
        case _, AccessKind.WRITE:
            return DependenceKind.OUTPUT
        case _:
            return DependenceKind.FLOW


def is_reduction_pair(source: Statement, first: Access, sink: Statement, second: Access) -> bool:
    """Whether the two accesses are updates by one operator, whose order is free where reassociation is allowed.

    Those of two statements are where each updates one cell: of tuples, only whole ones may be combined in any order.
    """
    if not (first.kind is second.kind is AccessKind.UPDATE) or source.reduction is None:
        return False
    if source.name == sink.name:
        return True
    return source.reduction == sink.reduction and _updates(source) == _updates(sink) == 1


def _updates(s: Statement) -> int:
    """How many places a statement updates."""
    return sum(a.kind is AccessKind.UPDATE for a in s.accesses)


def ordered_pairs(
    scop: Scop, source: Statement, first: Access, p: Path, sink: Statement, second: Access, q: Path
) -> islpy.Map | None:
    """`{ source -> sink }`: same cell, source earlier on its path p than the sink on its path q; None if empty."""
    same_cell = _equal_cells(scop, source, first, sink, second)
    if same_cell is None:
        return None
    equalities, extra = same_cell
    outputs = tuple(f"{i}'" for i in sink.iterators)
    earlier = scop.statements.index(source) < scop.statements.index(sink)
    cases = list(_before(p, q, sink.iterators, frozenset(equalities), earlier))
    if not cases:
        return None
    condition = " and ".join([*(f"{e} = 0" for e in equalities), *extra, f"({' or '.join(cases)})"])
    text = relation_text(scop.parameters, source.name, source.iterators, sink.name, outputs, condition)
    relation = map_of(text).intersect_domain(restrict(scop, source, p.conditions))
    relation = relation.intersect_range(restrict(scop, sink, q.conditions))
    return None if relation.is_empty() else relation


def _equal_cells(
    scop: Scop, source: Statement, first: Access, sink: Statement, second: Access
) -> tuple[list[Affine], list[str]] | None:
    """Affine expressions that vanish where both touch the same cell, and constraints from data-dependent subscripts.

    A data-dependent subscript may be anything in its tensor's box, so it restricts the other side to the box. None if
    the cells never meet.
    """
    box = dict(scop.tensors)[first.tensor]
    equalities: list[Affine] = []
    extra: list[str] = []
    for a, b, lower, upper in zip(first.subscripts, second.subscripts, box.lower, box.upper, strict=True):
        if a is not None and b is not None:
            difference = primed(b, sink.iterators) - a
            if not difference.is_constant:
                equalities.append(difference)
            elif difference.constant:
                return None
        elif a is not None:
            extra.append(f"{lower} <= {a} < {upper}")
        elif b is not None:
            extra.append(f"{lower} <= {primed(b, sink.iterators)} < {upper}")
        else:
            extra.append(f"{lower} < {upper}")
    return equalities, extra


def _before(
    p: Path, q: Path, sink_iterators: tuple[str, ...], zero: frozenset[Affine], earlier: bool
) -> Iterator[str]:
    """The disjuncts of "time on p is before time on q", in isl syntax over iterators and primed sink iterators.

    `zero` are expressions known to vanish; `earlier`: the source comes first where both reach one leaf at equal times.
    """
    shared = common_coordinates(p, q)
    equal: list[str] = []
    for d in range(shared):
        if isinstance(p.coordinates[d], Position):
            continue
        difference = primed(q.exprs[d], sink_iterators) - p.exprs[d]
        if difference in zero or -difference in zero:
            continue
        if difference.is_constant:
            if difference.constant > 0:
                yield " and ".join([*equal, "1 = 1"])
            if difference.constant:
                return
            continue
        yield " and ".join([*equal, f"{difference} > 0"])
        equal.append(f"{difference} = 0")
    if shared == len(p.coordinates) == len(q.coordinates):
        if earlier:
            yield " and ".join([*equal, "1 = 1"])
        return
    here, there = p.coordinates[shared], q.coordinates[shared]
    if isinstance(here, Position) and isinstance(there, Position) and here.index < there.index:
        yield " and ".join([*equal, "1 = 1"])


def _distance(relation: islpy.Map) -> tuple[int, ...] | None:
    """The constant sink - source, if it is constant."""
    deltas = relation.deltas()
    if relation.n_basic_map() > 4 or not deltas.is_singleton():
        return None
    return point_coordinates(deltas, 0)


@guarded
def bounds_violation(scop: Scop) -> tuple[str, str, tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """An affine access that leaves its tensor: `(statement, tensor, parameters, instance, cell)`; None if none does.

    Data-dependent subscripts are not looked at: they are checked at run time.
    """
    boxes = dict(scop.tensors)
    for statement in scop.statements:
        for access in statement.accesses:
            box = boxes.get(access.tensor)
            if box is None or len(box.lower) != len(access.subscripts):
                raise InvalidProgram(
                    f"statement '{statement.name}' accesses '{access.tensor}' with {len(access.subscripts)} subscripts",
                    why="the tensor is unknown or has another rank",
                )
            touched = access_relation(scop, statement, access)
            if touched.range().is_subset(set_of(box_text(scop, access.tensor, box))):
                continue
            outside = touched.subtract_range(set_of(box_text(scop, access.tensor, box)))
            return _example(scop, statement, access, outside)
    return None


def _example(
    scop: Scop, statement: Statement, access: Access, outside: islpy.Map
) -> tuple[str, str, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    values, numbers = smallest_point(outside)
    parameters = tuple(values.get(p, 0) for p in scop.parameters)
    depth = len(statement.iterators)
    return statement.name, access.tensor, parameters, numbers[:depth], numbers[depth:]
