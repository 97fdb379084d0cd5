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

__all__ = ["Prefetch", "prefetched"]

_WORD = "prefetch"


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
        tensor, tree = schedule.function.tensor(self.tensor), schedule.tree
        if self.distance < 1:
            raise NotApplicable("prefetching looks ahead", next="use a distance of 1 or more iterations")
        if any(isinstance(n, Allocate) and n.tensor == self.tensor for n in walk(tree)):
            raise NotApplicable(
                f"{self.tensor} is local", why="its storage is near, and new in every iteration"
            )
        path, band, k = band_of(tree, self.loop)
        if band.members[k].binding in (Binding.VECTOR, Binding.UNROLL):
            raise NotApplicable(
                f"loop {self.loop} is spelled out: it has no later iterations", next="name a loop around it"
            )
        accesses = [
            a
            for s, _ in band.members[k].exprs
            for a in schedule.scop.statement(s).accesses
            if a.tensor == tensor.name
        ]
        if not accesses:
            raise NotApplicable(f"nothing inside loop {self.loop} accesses {self.tensor}")
        if any(None in a.subscripts for a in accesses):
            raise NotApplicable(
                f"{self.tensor} is accessed at a data-dependent place",
                why="where is known only after the data has been read",
            )
        rest = Band(band.members[k + 1 :], band.child) if band.members[k + 1 :] else band.child
        new = Band(band.members[: k + 1], Mark(f"{_WORD} {self.tensor} {self.distance}", rest))
        return Rewritten(replace_at(tree, path, new))

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


def prefetched(path: Path) -> Iterator[tuple[str, str, int]]:
    """Tensor, loop and distance of each prefetch on the way to a statement."""
    for depth, label in path.marks:
        word, *rest = label.split(" ")
        loop = next((m for m in reversed(path.coordinates[:depth]) if isinstance(m, Member)), None)
        if word == _WORD and loop is not None and len(rest) == 2:
            yield rest[0], loop.name, int(rest[1])
