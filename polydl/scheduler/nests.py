"""Placing new nests inside a loop of a tree, in front of what the loop does already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import gcd

from polydl.dsl.polyhedral import to_affine
from polydl.errors import NotApplicable
from polydl.ir.expr import Load
from polydl.ir.printer import print_expr
from polydl.poly.affine import Affine, FloorDiv, Mod, dim
from polydl.poly.tree import Band, Filter, Leaf, Member, Selection, Tree
from polydl.poly.tree import Sequence as SequenceNode
from polydl.scheduler.schedule import Schedule
from polydl.scheduler.structure import at, band_of, normalise, replace_at, unique_name

__all__ = ["Nest", "Place", "Window", "insert", "place_of", "window"]


@dataclass(frozen=True, slots=True)
class Nest:
    """A statement's coordinates in the loops around it, and its own loops by name."""

    statement: str
    outer: tuple[Affine, ...]
    loops: tuple[tuple[str, Affine], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One iteration of a loop: the loops around it (itself the last) and a statement's coordinates in them."""

    around: tuple[Member, ...]
    exprs: tuple[Affine, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The subscripts of one dimension that one iteration of a place reads: `base + step * [0, extent)`.

    `base` is over the place's coordinates; in all iterations it has the same remainder by `step`, `first`.
    """

    base: Affine
    extent: int
    step: int = 1

    @property
    def first(self) -> int:
        return self.base.constant % self.step

    @property
    def hull(self) -> Window:
        """All subscripts from the first to the last."""
        return Window(self.base, (self.extent - 1) * self.step + 1)


def place_of(tree: Tree, loop: str, statement: str) -> Place:
    """Where an iteration of `loop` is, as `statement` sees it; NotApplicable where it is not inside."""
    path, band, position = band_of(tree, loop)
    if statement not in dict(band.members[position].exprs):
        raise NotApplicable(f"{statement} is not inside loop {loop}")
    around: list[Member] = []
    for depth in range(len(path)):
        node = at(tree, path[:depth])
        if isinstance(node, Band):
            around += node.members
    around += band.members[: position + 1]
    return Place(tuple(around), tuple(m.expr(statement) for m in around))


def insert(
    tree: Tree,
    loop: str,
    nests: Sequence[Nest],
    wrap: Callable[[Tree], Tree] = lambda node: node,
    after: Sequence[Nest] = (),
) -> Tree:
    """The tree with the nests scheduled first in each iteration of `loop`, and those `after` last, all of the iteration
    inside `wrap`."""
    path, _, position = band_of(tree, loop)
    first, nests = len(nests), (*nests, *after)
    seen = 0
    for depth in range(len(path) + 1):
        node = at(tree, path[:depth])
        if isinstance(node, Band):
            count = position + 1 if depth == len(path) else len(node.members)
            grown = tuple(
                replace(m, exprs=(*m.exprs, *((n.statement, n.outer[seen + k]) for n in nests)))
                for k, m in enumerate(node.members[:count])
            )
            seen += count
            tree = replace_at(tree, path[:depth], Band((*grown, *node.members[count:]), node.child))
        elif isinstance(node, Filter):
            selections = (*node.selections, *(Selection(n.statement) for n in nests))
            tree = replace_at(tree, path[:depth], Filter(selections, node.child))
    band = at(tree, path)
    if not isinstance(band, Band):
        raise NotApplicable(f"loop {loop} has moved")
    new = {n.statement for n in nests}
    inner = band.members[position + 1 :]
    rest = normalise(Band(inner, band.child)) if inner else band.child
    others = Filter(tuple(Selection(s) for s, _ in band.members[position].exprs if s not in new), rest)
    taken: list[str] = []
    filters = []
    for n in nests:
        members = []
        for name, e in n.loops:
            taken.append(unique_name(tree, name, taken))
            members.append(Member(taken[-1], ((n.statement, e),)))
        filters.append(Filter((Selection(n.statement),), Band(tuple(members), Leaf()) if members else Leaf()))
    body = wrap(SequenceNode((*filters[:first], others, *filters[first:])))
    return replace_at(tree, path, Band(band.members[: position + 1], body))


def window(
    schedule: Schedule, reader: str, reads: Sequence[Load], place: Place, names: Sequence[str]
) -> list[Window]:
    """Per dimension of the tensor read, the subscripts in one iteration of the place (over `names`, its coordinates).
    NotApplicable where that is not a box of constant size."""
    ranges = schedule.axis_ranges(reader)
    tensor = reads[0].buffer
    windows: list[Window] = []
    for k in range(len(reads[0].index)):
        spans = []
        step = 0  # the greatest common divisor of the distances between subscripts
        for read in reads:
            subscript = to_affine(read.index[k])
            if subscript is None:
                raise NotApplicable(
                    f"{reader} reads {tensor} at a data-dependent place",
                    where=print_expr(read, buffers={read.buffer: read.dtype}),
                )
            low, width = Affine((), subscript.constant), 1
            for atom, c in subscript.terms:
                if isinstance(atom, FloorDiv | Mod) or c < 0:
                    raise NotApplicable(f"subscript {subscript} of {tensor} is not a sum of loop iterators")
                fixed = _digits(atom, place.exprs, names)
                if fixed is None:
                    if atom not in ranges:
                        raise NotApplicable(f"axis {atom} of {reader} has a symbolic extent")
                    start, end = ranges[atom]
                    fixed = Affine((), start), end - start + 1
                low, width = low + fixed[0] * c, width + c * (fixed[1] - 1)
                step = gcd(step, c) if fixed[1] > 1 else step
            spans.append((low, width))
        base = spans[0][0]
        offsets = [s[0] - base for s in spans]
        if not all(o.is_constant for o in offsets):
            raise NotApplicable(f"the reads of {tensor} in {reader} are not a constant distance apart")
        first = min(o.constant for o in offsets)
        last = max(o.constant + s[1] for o, s in zip(offsets, spans, strict=True))
        step = gcd(step, *(o.constant for o in offsets)) or 1
        if any(c % step for _, c in base.terms):
            step = 1
        windows.append(Window(base + first, (last - first - 1) // step + 1, step))
    return windows


def _digits(iterator: str, exprs: Sequence[Affine], names: Sequence[str]) -> tuple[Affine, int] | None:
    """What the coordinates fix of an iterator: `iterator = base + [0, rest)`, rest 1 if wholly; None if nothing."""
    base, rest = Affine(()), 0
    remaining: Affine = dim(iterator)
    progress = True
    while progress and rest != 1:
        progress = False
        for e, name in zip(exprs, names, strict=True):
            if e == remaining:
                return base + dim(name), 1
            match e.terms:
                case ((FloorDiv(dividend, size), 1),) if e.constant == 0 and dividend == remaining:
                    base, rest, remaining = base + dim(name) * size, size, remaining % size
                    progress = True
                    break
                case _:
                    continue
    return (base, rest) if rest else None
