"""Prefetching: what an iteration some way ahead will touch is asked for now. Values are as they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from polydl.errors import NotApplicable
from polydl.poly.paths import Path
from polydl.poly.tree import Allocate, Band, Mark, Member, walk
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, replace_at
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["Ahead", "Prefetch", "ReadAhead", "prefetched"]

_WORD = "prefetch"
_ROWS = "read-ahead"


@dataclass(frozen=True, slots=True, repr=False)
class Prefetch(Transform):
    """At each access to a tensor, ask for the element that it touches `distance` iterations of a loop later.

    rewrite:  band(…, L, rest) -> band(…, L, mark("prefetch T distance", rest))
    The loop IR gets one prefetch for each vector or element that an iteration accesses, equal ones once. Subscripts are
    held inside of the tensor, so nothing outside of it is ever addressed. The loops inside stay where they are from
    then on: prefetching comes last.
    legal if: always (no value and no order changes)
    """

    tensor: str
    loop: str
    distance: int

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if self.distance < 1:
            raise NotApplicable("prefetching looks ahead", next="use a distance of 1 or more iterations")
        return _marked(schedule, self.tensor, self.loop, f"{_WORD} {self.tensor} {self.distance}")

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Each tensor in the innermost sequential loop around accesses to it, a few iterations ahead."""
        for node in walk(schedule.tree):
            if not isinstance(node, Band) or any(isinstance(x, Band) for x in walk(node.child)):
                continue
            loops = [m for m in node.members if m.binding is Binding.SEQUENTIAL]
            if loops:
                names = {s for s, _ in loops[-1].exprs}
                tensors = dict.fromkeys(
                    a.tensor for s in schedule.scop.statements if s.name in names for a in s.accesses
                )
                yield from (cls(t, loops[-1].name, d) for t in tensors for d in (4, 16))


@dataclass(frozen=True, slots=True, repr=False)
class ReadAhead(Transform):
    """At each access to a tensor inside a loop, ask for what lies `rows` rows of its storage further on.

    rewrite:  band(…, L, rest) -> band(…, L, mark("read-ahead T rows", rest))
    A row is the innermost dimension of the storage. Where loops read a tensor in the order in which it is stored, this
    runs ahead across the ends of all of them, as `Prefetch` along one loop cannot. The last row is asked for in place
    of those after the end. The loops inside stay where they are from then on: prefetching comes last.
    legal if: always (no value and no order changes)
    """

    tensor: str
    loop: str
    rows: int

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if self.rows < 1:
            raise NotApplicable("reading ahead looks ahead", next="use 1 or more rows of storage")
        return _marked(schedule, self.tensor, self.loop, f"{_ROWS} {self.tensor} {self.rows}")

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Where `Prefetch` has candidates, some lines ahead."""
        for p in Prefetch.candidates(schedule, target):
            if isinstance(p, Prefetch):
                yield cls(p.tensor, p.loop, 4 * p.distance)


def _marked(schedule: Schedule, name: str, loop: str, label: str) -> Rewritten:
    """The band of `loop` with a mark below it, where all accesses to tensor `name` can be known beforehand."""
    tensor, tree = schedule.function.tensor(name), schedule.tree
    if any(isinstance(n, Allocate) and n.tensor == name for n in walk(tree)):
        raise NotApplicable(f"{name} is local", why="its storage is near, and new in every iteration")
    path, band, k = band_of(tree, loop)
    if band.members[k].binding in (Binding.VECTOR, Binding.UNROLL):
        raise NotApplicable(
            f"loop {loop} is spelled out: it has no later iterations", next="name a loop around it"
        )
    accesses = [
        a
        for s, _ in band.members[k].exprs
        for a in schedule.scop.statement(s).accesses
        if a.tensor == tensor.name
    ]
    if not accesses:
        raise NotApplicable(f"nothing inside loop {loop} accesses {name}")
    if any(None in a.subscripts for a in accesses):
        raise NotApplicable(
            f"{name} is accessed at a data-dependent place",
            why="where is known only after the data has been read",
        )
    rest = Band(band.members[k + 1 :], band.child) if band.members[k + 1 :] else band.child
    return Rewritten(replace_at(tree, path, Band(band.members[: k + 1], Mark(label, rest))))


@dataclass(frozen=True, slots=True)
class Ahead:
    """What accesses to a tensor ask for: `distance` iterations of `loop` later, or rows of storage further on."""

    tensor: str
    loop: str | None
    distance: int


def prefetched(path: Path) -> Iterator[Ahead]:
    """The prefetches on the way to a statement."""
    for depth, label in path.marks:
        word, *rest = label.split(" ")
        if word not in (_WORD, _ROWS) or len(rest) != 2:
            continue
        tensor, distance = rest[0], int(rest[1])
        loop = next((m for m in reversed(path.coordinates[:depth]) if isinstance(m, Member)), None)
        if word == _ROWS:
            yield Ahead(tensor, None, distance)
        elif loop is not None:
            yield Ahead(tensor, loop.name, distance)
