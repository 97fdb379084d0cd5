"""The one judge: whether a schedule tree respects the dependences of a program.

Order. Every source runs before its sink: going down the loops and sequences that both share, the first difference
has the sink later. Reduction dependences are exempt where reassociation is allowed.
Binding. Instances that differ in a parallel or vector loop and agree in everything outside it may run at the same
time, so no dependence at all may connect them; vector lanes of a reduction, all of one statement, may be combined where
reassociation is allowed. Unrolled loops run in order.
Storage. An allocated tensor is accessed below its allocation only, and each of its elements within one arrival only.

The sign table (`signs.py`) proves most of it; what it cannot prove, isl decides exactly, and gives the example.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Final, NamedTuple

import islpy

from polydl.errors import InvalidProgram, PolyhedralBlowup
from polydl.poly.affine import Affine
from polydl.poly.explain import Violation, explain_missing_allocation, explain_order, explain_storage
from polydl.poly.isl import guarded, map_of, remember_map
from polydl.poly.model import Dependence, Scop
from polydl.poly.paths import Path, Position, common_coordinates, new_paths, paths
from polydl.poly.remembered import Remembered
from polydl.poly.sets import primed, relation_text, restrict
from polydl.poly.signs import End, Meeting, pieces, surely_legal, surely_together
from polydl.poly.tree import Member, Tree, members
from polydl.poly.verify import verify
from polydl.vocabulary import Binding

__all__ = ["Violation", "carried_by", "check", "independent", "parallel_members"]

# Trees that were found legal of late: one that is made from them is judged where it differs.
_LEGAL: Final = Remembered[bool](256)


def check(
    scop: Scop,
    tree: Tree,
    dependences: tuple[Dependence, ...],
    reassociate: bool = True,
    near: Tree | None = None,
) -> Violation | None:
    """The first dependence that the tree breaks, explained; None if the tree is legal.

    `reassociate`: the order within reductions is free. `near`: the tree that this one was made from; where it is legal,
    statements that run in both on the same paths are not judged against each other again. Raises `InvalidProgram`
    where the tree breaks its structural contract, `PolyhedralBlowup` where isl's budget does not suffice.
    """
    if near is not None and not _is_legal(scop, near, dependences, reassociate):
        near = None
    violation = _judged(scop, tree, dependences, reassociate, near)
    if violation is None:
        _LEGAL.put(True, scop, tree, dependences, reassociate)
    return violation


def _is_legal(scop: Scop, tree: Tree, dependences: tuple[Dependence, ...], reassociate: bool) -> bool:
    if _LEGAL.get(scop, tree, dependences, reassociate):
        return True
    try:
        return check(scop, tree, dependences, reassociate) is None
    except (InvalidProgram, PolyhedralBlowup):
        return False


@guarded
def _judged(
    scop: Scop,
    tree: Tree,
    dependences: tuple[Dependence, ...],
    reassociate: bool,
    near: Tree | None,
) -> Violation | None:
    """`check`, where `near` is legal."""
    verify(scop, tree, near)
    by_statement = _by_statement(scop, tree)
    listed = tuple(p for found in by_statement.values() for p in found)
    before = () if near is None else paths(scop, near)
    new = {id(p) for p in new_paths(listed, before)}
    meetings: dict[tuple[str, str], list[tuple[Path, Path, Meeting, tuple[Member, ...]]]] = {}
    for dependence in dependences:
        free = dependence.reduction and reassociate
        ends = dependence.source, dependence.sink
        if ends not in meetings:  # many dependences join the same two statements
            meetings[ends] = [
                (p, q, *_meet(scop, p, q))
                for p in by_statement[ends[0]]
                for q in by_statement[ends[1]]
                if (id(p) in new or id(q) in new) and not _in_turn(p, q)
            ]
        for p, q, meeting, loops in meetings[ends]:
            if not meeting.source and meeting.end == "before":
                continue  # no loop around both: whatever depends on what
            if _proven(scop, dependence, meeting, free):
                continue
            # Parts of a statement mostly run as legally as the whole, which is judged once for all pairs of parts.
            parts = bool(p.conditions or q.conditions)
            if parts and _conflict(scop, dependence, meeting, free, (), ()) is None:
                continue
            conflict = _conflict(scop, dependence, meeting, free, p.conditions, q.conditions)
            if conflict is not None:
                bad = map_of(conflict.pairs)
                return explain_order(scop, dependence, meeting, loops, conflict.at, bad)
    known = {node.tensor for p in before for _, node in p.allocations}
    return _storage_violation(scop, dependences, by_statement, new, known)


def _in_turn(p: Path, q: Path) -> bool:
    """Whether p is in an earlier top-level nest than q."""
    here, there = p.coordinates[:1], q.coordinates[:1]
    match here, there:
        case (Position(i),), (Position(k),):
            return i < k
        case _:
            return False


def _by_statement(scop: Scop, tree: Tree) -> dict[str, list[Path]]:
    grouped: dict[str, list[Path]] = {s.name: [] for s in scop.statements}
    for path in paths(scop, tree):
        grouped[path.statement].append(path)
    return grouped


def _meet(scop: Scop, p: Path, q: Path, depth: int | None = None) -> tuple[Meeting, tuple[Member, ...]]:
    """The loops that both paths share (of the first `depth` coordinates), and what decides after them."""
    shared = common_coordinates(p, q)
    end: End
    if shared < min(len(p.coordinates), len(q.coordinates)):
        here, there = p.coordinates[shared], q.coordinates[shared]
        earlier = isinstance(here, Position) and isinstance(there, Position) and here.index < there.index
        end = "before" if earlier else "after"
    elif p.statement == q.statement:
        end = "same"
    else:
        names = [s.name for s in scop.statements]
        end = "before" if names.index(p.statement) < names.index(q.statement) else "after"
    if depth is not None:
        shared = min(shared, depth)
    loops, source, sink = [], [], []
    for d in range(shared):
        coordinate = p.coordinates[d]
        if isinstance(coordinate, Member):
            loops.append(coordinate)
            source.append(p.exprs[d])
            sink.append(q.exprs[d])
    return Meeting(tuple(source), tuple(sink), tuple(m.binding for m in loops), end), tuple(loops)


def _pieces(scop: Scop, dependence: Dependence) -> tuple[tuple[object, ...], tuple[str, ...]]:
    source, sink = scop.statement(dependence.source), scop.statement(dependence.sink)
    return pieces(dependence.relation, source.iterators, sink.iterators), sink.iterators


def _proven(scop: Scop, dependence: Dependence, meeting: Meeting, free: bool) -> bool:
    parts, iterators = _pieces(scop, dependence)
    return all(surely_legal(part, iterators, meeting, free, _combined(dependence, free)) for part in parts)


def _combined(dependence: Dependence, free: bool) -> bool:
    """Whether vector lanes that meet in a cell are combined: those of one statement are."""
    return free and dependence.source == dependence.sink


class _Conflict(NamedTuple):
    """Pairs (isl text of `{ source -> sink }`) that go wrong at shared loop number `at` (-1: after all loops)."""

    at: int
    pairs: str


def _pairs(scop: Scop, dependence: Dependence, p: tuple[str, ...], q: tuple[str, ...]) -> islpy.Map:
    """The dependent pairs whose source and sink pass these filter conditions."""
    pairs = map_of(dependence.relation)
    if scop.context or p:
        pairs = pairs.intersect_domain(restrict(scop, scop.statement(dependence.source), p))
    return pairs.intersect_range(restrict(scop, scop.statement(dependence.sink), q)) if q else pairs


def _where(scop: Scop, dependence: Dependence, condition: str) -> islpy.Map:
    """All pairs of instances with this condition over iterators and primed sink iterators."""
    source, sink = scop.statement(dependence.source), scop.statement(dependence.sink)
    outputs = [f"{i}'" for i in sink.iterators]
    return map_of(
        relation_text(scop.parameters, source.name, source.iterators, sink.name, outputs, condition)
    )


@lru_cache(maxsize=4096)
def _conflict(
    scop: Scop, dependence: Dependence, meeting: Meeting, free: bool, p: tuple[str, ...], q: tuple[str, ...]
) -> _Conflict | None:
    """isl's exact verdict on one dependence between two paths."""
    rest = _pairs(scop, dependence, p, q)
    iterators = scop.statement(dependence.sink).iterators
    for at, (source, sink, binding) in enumerate(
        zip(meeting.source, meeting.sink, meeting.bindings, strict=True)
    ):
        if rest.is_empty():
            return None
        difference: Affine = primed(sink, iterators) - source
        if binding is Binding.PARALLEL or (binding is Binding.VECTOR and not _combined(dependence, free)):
            wrong = rest.intersect(_where(scop, dependence, f"{difference} != 0"))
        elif free:
            wrong = None
        else:
            wrong = rest.intersect(_where(scop, dependence, f"{difference} < 0"))
        if wrong is not None and not wrong.is_empty():
            return _Conflict(at, remember_map(wrong))
        rest = rest.intersect(_where(scop, dependence, f"{difference} = 0"))
    if meeting.end == "after" and not free and not rest.is_empty():
        return _Conflict(-1, remember_map(rest))
    return None


def _storage_violation(
    scop: Scop,
    dependences: tuple[Dependence, ...],
    by_statement: dict[str, list[Path]],
    new: Collection[int],
    known: Collection[str],
) -> Violation | None:
    """Of the tensors `known`, only paths that are `new` (by identity) are looked at."""
    allocated: dict[str, None] = {}
    for listed in by_statement.values():
        for path in listed:
            allocated.update(dict.fromkeys(node.tensor for _, node in path.allocations))
    for tensor in allocated:
        for statement in scop.statements:
            if any(a.tensor == tensor for a in statement.accesses):
                for path in by_statement[statement.name]:
                    judged = tensor in known and id(path) not in new
                    outside = all(node.tensor != tensor for _, node in path.allocations)
                    if not judged and outside and not restrict(scop, statement, path.conditions).is_empty():
                        return explain_missing_allocation(statement.name, tensor)
        for dependence in dependences:
            if dependence.tensor != tensor:
                continue
            for p in by_statement[dependence.source]:
                for q in by_statement[dependence.sink]:
                    if tensor in known and id(p) not in new and id(q) not in new:
                        continue
                    found = _apart(scop, dependence, tensor, p, q)
                    if found is not None:
                        return found
    return None


def _apart(scop: Scop, dependence: Dependence, tensor: str, p: Path, q: Path) -> Violation | None:
    """A pair that meets in an element of `tensor` from two arrivals at its allocation."""
    depths = [d for d, node in p.allocations if node.tensor == tensor]
    if not depths:
        return None  # a path without instances: every other one is inside the allocation
    depth = max(depths)
    one_node = depth <= common_coordinates(p, q)
    meeting, loops = _meet(scop, p, q, depth)
    parts, iterators = _pieces(scop, dependence)
    if one_node and all(surely_together(part, iterators, meeting) for part in parts):
        return None
    if _none_meet(scop, dependence, p.conditions, q.conditions):
        return None
    rest = _pairs(scop, dependence, p.conditions, q.conditions)
    for loop, source, sink in zip(loops, meeting.source, meeting.sink, strict=True):
        difference = primed(sink, iterators) - source
        wrong = rest.intersect(_where(scop, dependence, f"{difference} != 0"))
        if not wrong.is_empty():
            return explain_storage(scop, dependence, loop.name, wrong)
    return None if one_node else explain_storage(scop, dependence, "", rest)


# The pairs of some hundred parts: most are those of the tree before the last change.
@lru_cache(maxsize=1 << 15)
def _none_meet(scop: Scop, dependence: Dependence, p: tuple[str, ...], q: tuple[str, ...]) -> bool:
    """Whether no dependent pair passes these filter conditions: parts of one statement mostly exclude each other."""
    return bool(_pairs(scop, dependence, p, q).is_empty())


@guarded
def carried_by(
    scop: Scop, tree: Tree, dependences: tuple[Dependence, ...], name: str
) -> tuple[Dependence, ...]:
    """The dependences between instances that differ in this loop and agree in all loops outside it."""
    by_statement = _by_statement(scop, tree)
    found = []
    for dependence in dependences:
        carried = False
        for p in by_statement[dependence.source]:
            for q in by_statement[dependence.sink]:
                meeting, loops = _meet(scop, p, q)
                position = next((k for k, m in enumerate(loops) if m.name == name), None)
                if position is None or carried:
                    continue
                bindings = tuple(
                    Binding.PARALLEL if k == position else Binding.SEQUENTIAL for k in range(position + 1)
                )
                probe = Meeting(
                    meeting.source[: position + 1], meeting.sink[: position + 1], bindings, "before"
                )
                # Order is not the question here, so judge as an order-free dependence.
                carried = not _proven(scop, dependence, probe, True) and (
                    _conflict(scop, dependence, probe, True, p.conditions, q.conditions) is not None
                )
        if carried:
            found.append(dependence)
    return tuple(found)


@guarded
def parallel_members(scop: Scop, tree: Tree, dependences: tuple[Dependence, ...]) -> tuple[str, ...]:
    """Names of the loops that carry no dependence, in order: each alone could be bound parallel or vector."""
    return tuple(m.name for m in members(tree) if not carried_by(scop, tree, dependences, m.name))


def independent(
    dependences: tuple[Dependence, ...], first: frozenset[str] | set[str], second: frozenset[str] | set[str]
) -> bool:
    """Whether no dependence connects a statement of one set with one of the other, either way."""
    return not any(
        (d.source in first and d.sink in second) or (d.source in second and d.sink in first)
        for d in dependences
    )
