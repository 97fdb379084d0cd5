"""The schedule tree: the one representation of a schedule.

Semantic contract
-----------------
* `Band(members, child)`: for each statement below, time is extended by one coordinate per member: the value of the
  member's expression at the instance. Instances with different coordinates run in lexicographic order, subject to the
  bindings.
* `Sequence(children)`: the children run one after the other; each child is a `Filter`.
* `Filter(selections, child)`: only the selected statement instances take part. The filters of one sequence partition
  the instances that reach it; `condition` is isl text over the statement's iterators ("" = all of them).
* `Allocate(tensor, memory, child)`: fresh storage for `tensor` each time control reaches this point; the tensor is
  accessed below it only, and every element within one arrival only (the judge checks both).
* `Mark(label, child)`: a note without meaning for execution.
* `Leaf`: the statement itself; where several statements reach one leaf with equal time, their textual order decides.
* Names of members are unique in a tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from polydl.errors import InvalidProgram
from polydl.poly.affine import Affine
from polydl.vocabulary import Binding, Memory

__all__ = [
    "Allocate",
    "Band",
    "Filter",
    "Leaf",
    "Mark",
    "Member",
    "Selection",
    "Sequence",
    "Tree",
    "map_tree",
    "members",
    "statements_below",
    "walk",
    "with_child",
]


@dataclass(frozen=True, slots=True)
class Member:
    """One loop: per statement the time coordinate, and how its iterations are executed."""

    name: str
    exprs: tuple[
        tuple[str, Affine], ...
    ]  # statement name -> expression over its iterators and the parameters
    binding: Binding = Binding.SEQUENTIAL

    def expr(self, statement: str) -> Affine:
        return next(e for s, e in self.exprs if s == statement)


@dataclass(frozen=True, slots=True)
class Band:
    members: tuple[Member, ...]
    child: Tree


@dataclass(frozen=True, slots=True)
class Selection:
    """The instances of `statement` that satisfy `condition` (isl text over its iterators and the parameters)."""

    statement: str
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    selections: tuple[Selection, ...]
    child: Tree


@dataclass(frozen=True, slots=True)
class Sequence:
    children: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Allocate:
    tensor: str
    memory: Memory
    child: Tree


@dataclass(frozen=True, slots=True)
class Mark:
    label: str
    child: Tree


@dataclass(frozen=True, slots=True)
class Leaf:
    pass


Tree = Band | Sequence | Filter | Allocate | Mark | Leaf


def children(tree: Tree) -> tuple[Tree, ...]:
    """The direct subtrees."""
    if isinstance(tree, Sequence):
        return tree.children
    return () if isinstance(tree, Leaf) else (tree.child,)


def with_child(tree: Band | Filter | Allocate | Mark, child: Tree) -> Tree:
    """The same node over another child."""
    return replace(tree, child=child)


def map_tree(tree: Tree, f: Callable[[Tree], Tree]) -> Tree:
    """`f(node) -> node` applied bottom-up to every node; of a filter it must make one.

    Subtrees in which `f` changes nothing are the same objects afterwards: whoever compares the trees sees it at once.
    """
    match tree:
        case Sequence(children=below):
            changed = [map_tree(c, f) for c in below]
            filters = tuple(c for c in changed if isinstance(c, Filter))
            if len(filters) < len(changed):
                raise InvalidProgram("a sequence has a child that is not a filter")
            same = all(a is b for a, b in zip(filters, below, strict=True))
            new: Tree = tree if same else Sequence(filters)
        case Leaf():
            new = tree
        case _:
            child = map_tree(tree.child, f)
            new = tree if child is tree.child else with_child(tree, child)
    return f(new)


def walk(tree: Tree) -> Iterator[Tree]:
    """All nodes, parents first, in execution order."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(children(node)))


def members(tree: Tree) -> Iterator[Member]:
    """All band members, outermost and first first."""
    for node in walk(tree):
        if isinstance(node, Band):
            yield from node.members


def statements_below(tree: Tree) -> tuple[str, ...]:
    """Names of the statements selected at or scheduled by a subtree, in order of first occurrence."""
    names: dict[str, None] = {}
    for node in walk(tree):
        match node:
            case Band(members=ms):
                for m in ms:
                    names.update(dict.fromkeys(s for s, _ in m.exprs))
            case Filter(selections=selections):
                names.update(dict.fromkeys(s.statement for s in selections))
            case _:
                pass
    return tuple(names)
