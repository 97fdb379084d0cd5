"""The shape of a captured program: its loops and statements as a tree, and the schedule tree that they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from polydl.dsl.function import Axis
from polydl.dsl.polyhedral import from_affine, to_affine
from polydl.ir.expr import Expr, Var, walk
from polydl.poly.affine import Affine, dim
from polydl.poly.tree import Band, Filter, Leaf, Member, Selection, Tree
from polydl.poly.tree import Sequence as TreeSequence

__all__ = ["Loop", "Node", "reduced_axes", "simple", "sorted_axes", "tree_of"]


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop of the program: its axis in the statements inside; time runs along `sign` times the axis."""

    axis: Axis
    conditions: tuple[Expr, ...]
    sign: int
    body: list[Node] = field(default_factory=list)


Node = Loop | str  # a string is a statement


def reduced_axes(axes: Sequence[Axis], index: Sequence[Expr]) -> tuple[str, ...]:
    """The axes that no subscript determines by itself: instances that differ in them may meet in a cell."""
    fixed: set[str] = set()
    names = {a.name for a in axes}
    for e in index:
        form = to_affine(e)
        inside = (
            []
            if form is None
            else [(atom, c) for atom, c in form.terms if not isinstance(atom, str) or atom in names]
        )
        if len(inside) == 1 and isinstance(inside[0][0], str):
            fixed.add(inside[0][0])
    return tuple(a.name for a in axes if a.name not in fixed)


def sorted_axes(axes: tuple[Axis, ...], reduced: Sequence[str]) -> tuple[Axis, ...]:
    """The axes with the reduced ones last, where no bound of another depends on them."""
    last = tuple(a for a in axes if a.name in reduced)
    first = tuple(a for a in axes if a.name not in reduced)
    needed = {v.name for a in first for e in (a.lower, a.upper) for v in walk(e) if isinstance(v, Var)}
    return axes if needed & set(reduced) else (*first, *last)


def _statements(nodes: Sequence[Node]) -> Iterator[str]:
    for n in nodes:
        if isinstance(n, str):
            yield n
        else:
            yield from _statements(n.body)


def _tree(nodes: Sequence[Node], taken: set[str]) -> Tree:
    """The schedule tree of a block: its statements and loops one after the other."""
    parts: list[Filter] = []
    for n in nodes:
        below = tuple(_statements((n,)))
        if below:
            parts.append(Filter(tuple(Selection(s) for s in below), _subtree(n, below, taken)))
    return parts[0].child if len(parts) == 1 else TreeSequence(tuple(parts))


def _subtree(node: Node, below: Sequence[str], taken: set[str]) -> Tree:
    if isinstance(node, str):
        return Leaf()
    base = name = node.axis.name
    number = 2
    while name in taken:
        name, number = f"{base}{number}", number + 1
    taken.add(name)
    time = dim(base) if node.sign > 0 else Affine(((base, -1),))
    return Band((Member(name, tuple((s, time) for s in below)),), _tree(node.body, taken))


def tree_of(nodes: Sequence[Node]) -> Tree:
    """The order in which the program is written."""
    return _tree(nodes, set())


def simple(e: Expr) -> Expr:
    """`e` in normal form where it is affine."""
    form = to_affine(e)
    return e if form is None else from_affine(form)
