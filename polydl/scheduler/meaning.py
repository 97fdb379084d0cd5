"""What a function means where a transformation changes its statements: new ones get their place in the original order.

A transformation that adds statements may only do so where the function computes the same with them, run in its original
order. The judge then compares the schedule with that order, as always.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from polydl import poly
from polydl.dsl.function import Function
from polydl.errors import NotApplicable
from polydl.poly.affine import Affine
from polydl.poly.model import AccessKind, DependenceKind
from polydl.poly.tree import Band, Filter, Leaf, Member, Selection, Tree, statements_below
from polydl.poly.tree import Sequence as SequenceNode
from polydl.scheduler.structure import unique_name

__all__ = ["nest_of", "part_of", "require_read_before_written", "with_copy_before"]


def part_of(function: Function, statement: str) -> tuple[str, ...]:
    """The statements of the top-level part of the original order that holds `statement`."""
    order = function.order
    if order is None:
        owner = statement.removesuffix("_init") if statement.endswith("_init") else statement
        return tuple(s.name for s in function.statements() if s.name in (owner, f"{owner}_init"))
    if isinstance(order, SequenceNode):
        return next(names for names in map(statements_below, order.children) if statement in names)
    return tuple(s.name for s in function.statements())


def require_read_before_written(
    scop: poly.Scop, function: Function, reader: str, tensors: Collection[str]
) -> None:
    """NotApplicable where `reader` may read, of one of the tensors, what its own part of the program has stored.

    Otherwise all that it reads of them is there when the part begins, and may be copied then.
    """
    part = part_of(function, reader)
    for tensor in tensors:
        statements = []
        for s in scop.statements:
            mine = [a for a in s.accesses if a.tensor == tensor]
            writes = [replace(a, kind=AccessKind.WRITE) for a in mine if a.kind is not AccessKind.READ]
            reads = [a for a in mine if a.kind is AccessKind.READ] if s.name == reader else []
            if {a.subscripts for a in reads} & {a.subscripts for a in writes}:
                raise NotApplicable(f"{reader} updates the elements of {tensor} that it reads")
            accesses = (*reads, *writes) if s.name in part else ()
            statements.append(replace(s, accesses=accesses, reduction=None))
        if not any(a.kind is AccessKind.WRITE for s in statements for a in s.accesses):
            continue
        small = replace(
            scop, tensors=tuple(t for t in scop.tensors if t[0] == tensor), statements=tuple(statements)
        )
        for d in poly.dependences(small, function.order):
            if d.kind is DependenceKind.FLOW and d.sink == reader:
                raise NotApplicable(
                    f"{reader} reads elements of {tensor} that {d.source} has stored in the same nest",
                    why="a copy made before the nest would not hold them",
                )


def nest_of(tree: Tree, statement: str, loops: Sequence[tuple[str, Affine]]) -> Tree:
    """The loops of one statement, with names that are new to the tree."""
    taken: list[str] = []
    members = []
    for name, e in loops:
        taken.append(unique_name(tree, name, taken))
        members.append(Member(taken[-1], ((statement, e),)))
    return Band(tuple(members), Leaf()) if members else Leaf()


def with_copy_before(
    order: Tree, reader: str, statement: str, loops: Sequence[tuple[str, Affine]]
) -> SequenceNode:
    """The order with a new statement, in loops of its own, right before the top-level part of `reader`."""
    new = Filter((Selection(statement),), nest_of(order, statement, loops))
    if isinstance(order, SequenceNode):
        at = next(k for k, f in enumerate(order.children) if reader in statements_below(f))
        return SequenceNode((*order.children[:at], new, *order.children[at:]))
    return SequenceNode((new, Filter(tuple(Selection(s) for s in statements_below(order)), order)))
