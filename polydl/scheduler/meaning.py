"""What a function means: its original order, where transformations change it or put new statements into it.

A transformation that adds statements may only do so where the function computes the same with them, run in its original
order. The judge then compares the schedule with that order, as always.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

from polydl import poly
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
    children,
    members,
    statements_below,
    walk,
)
from polydl.poly.tree import Sequence as SequenceNode
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import normalise, rename_members, restrict, unique_name
from polydl.vocabulary import Binding

__all__ = ["Rebase", "nest_of", "site_of_copy", "with_copy_before"]


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


@dataclass(frozen=True, slots=True)
class Site:
    """A place in an original order, in front of the part of it that holds a statement.

    `path` leads to the part, as in `structure.at`; `loops` are around it, `part` are its statements.
    """

    path: tuple[int, ...]
    loops: tuple[Member, ...]
    part: tuple[str, ...]


def sites(order: Tree, statement: str) -> Iterator[Site]:
    """The places in front of a statement at which others can be put, the outermost first."""
    path: tuple[int, ...] = ()
    loops: tuple[Member, ...] = ()
    node = order
    if not isinstance(order, SequenceNode):
        yield Site((), (), statements_below(order))
    while not isinstance(node, Leaf):
        if isinstance(node, SequenceNode):
            k = next(k for k, f in enumerate(node.children) if statement in statements_below(f))
            yield Site((*path, k), loops, statements_below(node.children[k]))
        else:
            k = 0
            loops += node.members if isinstance(node, Band) else ()
        path, node = (*path, k), children(node)[k]


def site_of_copy(
    scop: poly.Scop, order: Tree, reader: str, tensors: Collection[str], coordinates: Collection[Affine]
) -> Site:
    """The outermost place for a copy of what `reader` reads of some tensors, in loops that `coordinates` are of.

    NotApplicable where the statements between such a place and the read may store to it: a copy would not hold that.
    """
    refusal = None
    for site in sites(order, reader):
        if not {m.expr(reader) for m in site.loops} <= set(coordinates):
            break
        refused = _stored_before_read(scop, order, reader, tensors, site.part)
        if refused is None:
            return site
        refusal = refusal or refused
    raise refusal or NotApplicable(f"there is no place for a copy in front of {reader}")


def _stored_before_read(
    scop: poly.Scop, order: Tree, reader: str, tensors: Collection[str], part: Collection[str]
) -> NotApplicable | None:
    """Why `reader` may read, of one of the tensors, what the part of the program around it has stored; or None.

    Then all that it reads of them is there when the part begins, and may be copied.
    """
    for tensor in tensors:
        statements = []
        for s in scop.statements:
            mine = [a for a in s.accesses if a.tensor == tensor]
            writes = [replace(a, kind=AccessKind.WRITE) for a in mine if a.kind is not AccessKind.READ]
            reads = [a for a in mine if a.kind is AccessKind.READ] if s.name == reader else []
            if {a.subscripts for a in reads} & {a.subscripts for a in writes}:
                return NotApplicable(f"{reader} updates the elements of {tensor} that it reads")
            accesses = (*reads, *writes) if s.name in part else ()
            statements.append(replace(s, accesses=accesses, reduction=None))
        if not any(a.kind is AccessKind.WRITE for s in statements for a in s.accesses):
            continue
        small = replace(
            scop, tensors=tuple(t for t in scop.tensors if t[0] == tensor), statements=tuple(statements)
        )
        for d in poly.dependences(small, order):
            if d.kind is DependenceKind.FLOW and d.sink == reader:
                return NotApplicable(
                    f"{reader} reads elements of {tensor} that {d.source} has stored in the same nest",
                    why="a copy made before the nest would not hold them",
                )
    return None


def nest_of(tree: Tree, statement: str, loops: Sequence[tuple[str, Affine]]) -> Tree:
    """The loops of one statement, with names that are new to the tree."""
    taken: list[str] = []
    nest = []
    for name, e in loops:
        taken.append(unique_name(tree, name, taken))
        nest.append(Member(taken[-1], ((statement, e),)))
    return Band(tuple(nest), Leaf()) if nest else Leaf()


def with_copy_before(
    order: Tree, site: Site, reader: str, statement: str, loops: Sequence[tuple[str, Affine, Affine | None]]
) -> Tree:
    """The order with a new statement at a site, in loops of its own.

    `loops`: name, coordinate of the new statement, and the one of `reader` that it is equal to, if any.
    """
    shared = {m.expr(reader): m for m in site.loops}
    outer = {same: e for _, e, same in reversed(loops) if same is not None and same in shared}
    own = [(name, e) for name, e, same in loops if same is None or outer.get(same) != e]
    new = Filter((Selection(statement),), nest_of(order, statement, own))
    if not site.path:
        return SequenceNode((new, Filter(tuple(map(Selection, site.part)), order)))

    def grown(node: Tree, depth: int) -> Tree:
        k = site.path[depth]
        match node:
            case SequenceNode(children=filters) if depth == len(site.path) - 1:
                return SequenceNode((*filters[:k], new, *filters[k:]))
            case SequenceNode(children=filters):
                changed = grown(filters[k], depth + 1)
                return SequenceNode(
                    tuple(
                        changed if n == k and isinstance(changed, Filter) else f
                        for n, f in enumerate(filters)
                    )
                )
            case Band(members=band, child=child):
                timed = tuple(replace(m, exprs=(*m.exprs, (statement, outer[m.expr(reader)]))) for m in band)
                return Band(timed, grown(child, depth + 1))
            case Filter(selections=selections, child=child):
                return Filter((*selections, Selection(statement)), grown(child, depth + 1))
            case _:
                raise NotApplicable(f"there is no place for {statement} in the original order")

    return grown(order, 0)
