"""What a function means: its original order, where transformations change it or put new statements into it.

A transformation that adds statements may only do so where the function computes the same with them, run in its original
order. The judge then compares the schedule with that order, as always.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count

from polydl import poly
from polydl.dsl.function import Function
from polydl.errors import NotApplicable
from polydl.poly.affine import Affine
from polydl.poly.model import AccessKind, DependenceKind
from polydl.poly.tree import (
    Allocate,
    Band,
    Filter,
    Leaf,
    Member,
    Selection,
    Tree,
    members,
    statements_below,
    walk,
)
from polydl.poly.tree import Sequence as SequenceNode
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import normalise, rename_members, restrict, unique_name
from polydl.vocabulary import Binding

__all__ = ["Rebase", "nest_of", "part_of", "require_read_before_written", "with_copy_before"]


@dataclass(frozen=True, slots=True, repr=False)
class Rebase(Transform):
    """Take the order that a top-level part of the program has now as its original order.

    rewrite:  the tree stays; the original order says now of the part, in which the statement is, what the tree says
    Transformations that add statements put them before, after or between parts: after the loops of a part have been
    distributed, each nest is a part of its own.
    legal if: every dependence runs forward in the new original order; its loops are sequential and whole (checked here)
    """

    statement: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function = schedule.function
        order = normalise(poly.initial_tree(schedule.scop) if function.order is None else function.order)
        nests = order.children if isinstance(order, SequenceNode) else ()
        old = next((f for f in nests if self.statement in statements_below(f)), None)
        if self.statement not in statements_below(order):
            raise NotApplicable(f"there is no statement '{self.statement}'")
        mine = statements_below(old if old is not None else order)
        now = restrict(schedule.tree, mine)
        if now is None or not _plain(now):
            raise NotApplicable(
                f"the nest of {self.statement} is split into parts, or has loops that are not sequential",
                next="do this first",
            )
        kept = {m.name for f in nests if f is not old for m in members(f)}
        taken: list[str] = [m.name for m in members(now) if m.name not in kept]

        def fresh(name: str) -> str:
            if name in kept:
                name = next(n for n in (f"{name}.{k}" for k in count(2)) if n not in kept and n not in taken)
                taken.append(name)
            return name

        now = normalise(rename_members(now, fresh))
        new = now.children if isinstance(now, SequenceNode) else (Filter(tuple(map(Selection, mine)), now),)
        listed = [x for f in nests for x in (new if f is old else (f,))] if old is not None else list(new)
        changed = normalise(SequenceNode(tuple(listed)))
        if changed == order:
            raise NotApplicable(f"the original order of {self.statement} is the one that it has")
        return Rewritten(schedule.tree, replace(function, order=changed))


def _plain(tree: Tree) -> bool:
    """Whether a tree is nothing but sequential loops and sequences of whole statements."""
    for node in walk(tree):
        match node:
            case Allocate():
                return False
            case Filter(selections=selections) if any(s.condition for s in selections):
                return False
            case Band(members=loops) if any(m.binding is not Binding.SEQUENTIAL for m in loops):
                return False
            case _:
                pass
    return True


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
    nest = []
    for name, e in loops:
        taken.append(unique_name(tree, name, taken))
        nest.append(Member(taken[-1], ((statement, e),)))
    return Band(tuple(nest), Leaf()) if nest else Leaf()


def with_copy_before(
    order: Tree, reader: str, statement: str, loops: Sequence[tuple[str, Affine]]
) -> SequenceNode:
    """The order with a new statement, in loops of its own, right before the top-level part of `reader`."""
    new = Filter((Selection(statement),), nest_of(order, statement, loops))
    if isinstance(order, SequenceNode):
        at = next(k for k, f in enumerate(order.children) if reader in statements_below(f))
        return SequenceNode((*order.children[:at], new, *order.children[at:]))
    return SequenceNode((new, Filter(tuple(Selection(s) for s in statements_below(order)), order)))
