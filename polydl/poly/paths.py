"""Schedule paths: the flat view of a tree, per statement and leaf.

Every node on the way from the root to a leaf that extends time adds one coordinate: a band member its expression, a
sequence the position of the child taken. Two paths share their coordinates up to the first sequence where they take
different children; so coordinate number `d` of all statements below one loop is that loop, and `d` is the schedule
dimension under which `ast.ForNode.dim` reports it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, assert_never

from polydl.errors import InvalidProgram
from polydl.poly.affine import Affine, constant, dim
from polydl.poly.model import Scop
from polydl.poly.remembered import Remembered
from polydl.poly.tree import Allocate, Band, Filter, Leaf, Mark, Member, Selection, Sequence, Tree

__all__ = ["Coordinate", "Path", "Position", "common_coordinates", "initial_tree", "new_paths", "paths"]


@dataclass(frozen=True, slots=True)
class Position:
    """The coordinate of a sequence: which child is taken."""

    index: int


Coordinate = Member | Position


@dataclass(frozen=True, slots=True)
class Path:
    """How some instances of one statement are scheduled.

    `coordinates[d]` is what schedule dimension `d` is, `exprs[d]` its value at an instance; `conditions` are the
    non-trivial filter conditions passed; `allocations` are the `Allocate` nodes passed, each with the number of
    coordinates outside it; `marks` likewise.
    """

    statement: str
    coordinates: tuple[Coordinate, ...]
    exprs: tuple[Affine, ...]
    conditions: tuple[str, ...]
    allocations: tuple[tuple[int, Allocate], ...]
    marks: tuple[tuple[int, str], ...]


def paths(scop: Scop, tree: Tree) -> tuple[Path, ...]:
    """All paths, leaves in execution order and statements of one leaf in textual order.

    Raises `InvalidProgram` where a member lacks an expression for a statement that reaches it.
    """
    known = _OF_TREE.get(scop, tree)
    if known is not None:
        return known
    roots = [Path(s.name, (), (), (), (), ()) for s in scop.statements]
    if not isinstance(tree, Sequence):
        return _OF_TREE.put(_below(tree, roots), scop, tree)
    total: tuple[Path, ...] = ()
    for k, nest in enumerate(tree.children):
        found = _OF_NEST.get(scop, nest, k)
        if found is None:
            here = [replace(r, coordinates=(Position(k),), exprs=(constant(k),)) for r in roots]
            found = _OF_NEST.put(_below(nest, here), scop, nest, k)
        total += found
    return _OF_TREE.put(total, scop, tree)


_OF_TREE: Final = Remembered[tuple[Path, ...]](256)
_OF_NEST: Final = Remembered[tuple[Path, ...]](1024)  # of a child of the top-level sequence, and its number


def _below(tree: Tree, roots: list[Path]) -> tuple[Path, ...]:
    found: list[Path] = []
    _descend(tree, roots, found)
    return tuple(found)


def _descend(node: Tree, here: list[Path], found: list[Path]) -> None:
    match node:
        case Leaf():
            found.extend(here)
        case Band(members=members, child=child):
            below = []
            for p in here:
                exprs = tuple(_expr(m, p.statement) for m in members)
                below.append(
                    Path(
                        p.statement,
                        p.coordinates + members,
                        p.exprs + exprs,
                        p.conditions,
                        p.allocations,
                        p.marks,
                    )
                )
            _descend(child, below, found)
        case Sequence(children=children):
            for k, child in enumerate(children):
                at, value = Position(k), constant(k)
                below = [
                    Path(
                        p.statement,
                        (*p.coordinates, at),
                        (*p.exprs, value),
                        p.conditions,
                        p.allocations,
                        p.marks,
                    )
                    for p in here
                ]
                _descend(child, below, found)
        case Filter(selections=selections, child=child):
            chosen = {s.statement: s.condition for s in selections}
            below = []
            for p in here:
                if p.statement in chosen:
                    condition = chosen[p.statement]
                    conditions = (*p.conditions, condition) if condition else p.conditions
                    below.append(
                        Path(p.statement, p.coordinates, p.exprs, conditions, p.allocations, p.marks)
                    )
            _descend(child, below, found)
        case Allocate(child=child):
            below = []
            for p in here:
                allocations = (*p.allocations, (len(p.coordinates), node))
                below.append(Path(p.statement, p.coordinates, p.exprs, p.conditions, allocations, p.marks))
            _descend(child, below, found)
        case Mark(label=label, child=child):
            below = []
            for p in here:
                marks = (*p.marks, (len(p.coordinates), label))
                below.append(Path(p.statement, p.coordinates, p.exprs, p.conditions, p.allocations, marks))
            _descend(child, below, found)
        case _:
            assert_never(node)


def _expr(member: Member, statement: str) -> Affine:
    for name, expr in member.exprs:
        if name == statement:
            return expr
    raise InvalidProgram(
        f"loop '{member.name}' does not say when '{statement}' runs",
        where=f"loop '{member.name}'",
        why="every statement that reaches a loop needs an expression in it",
    )


def common_coordinates(first: Path, second: Path) -> int:
    """The number of leading coordinates that are the same tree node on both paths."""
    shared = 0
    for a, b in zip(first.coordinates, second.coordinates, strict=False):
        if isinstance(a, Position) and a != b:
            break
        shared += 1
    return shared


def new_paths(listed: tuple[Path, ...], near: tuple[Path, ...]) -> list[Path]:
    """The paths of a tree that another one, from which it was made, has not."""
    known: dict[str, list[Path]] = {}
    for p in near:
        known.setdefault(p.statement, []).append(p)
    same = set(map(id, near))
    return [p for p in listed if id(p) not in same and p not in known.get(p.statement, ())]


def initial_tree(scop: Scop) -> Tree:
    """Statements one after the other in textual order, each over its iterators in order.

    A loop is named by its iterator, or `Statement.iterator` where the name is taken.
    """
    taken: set[str] = set()
    filters = []
    for statement in scop.statements:
        loops = []
        for iterator in statement.iterators:
            name = iterator if iterator not in taken else f"{statement.name}.{iterator}"
            taken.add(name)
            loops.append(Member(name, ((statement.name, dim(iterator)),)))
        nest: Tree = Band(tuple(loops), Leaf()) if loops else Leaf()
        filters.append((statement.name, nest))
    if len(filters) == 1:
        return filters[0][1]
    return Sequence(tuple(Filter((Selection(name),), nest) for name, nest in filters))
