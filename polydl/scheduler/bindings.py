"""Transformations that say how the iterations of a loop are executed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from polydl.errors import NotApplicable
from polydl.poly.tree import Band, Leaf, children, members, walk
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, replace_at
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["Parallel", "Sequential", "Unroll", "Vectorize"]


def _bind(schedule: Schedule, loop: str, binding: Binding) -> Rewritten:
    path, band, k = band_of(schedule.tree, loop)
    bound = replace(band.members[k], binding=binding)
    new = Band((*band.members[:k], bound, *band.members[k + 1 :]), band.child)
    return Rewritten(replace_at(schedule.tree, path, new))


@dataclass(frozen=True, slots=True, repr=False)
class Parallel(Transform):
    """Run the iterations of a loop on different threads.

    legal if: the loop carries no dependence, not even of a reduction
    """

    loop: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        return _bind(schedule, self.loop, Binding.PARALLEL)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """The outermost loops that are not parallel yet, of every nest."""
        pending = [schedule.tree]
        while pending:
            node = pending.pop()
            if isinstance(node, Band):
                yield from (cls(m.name) for m in node.members[:2] if m.binding is Binding.SEQUENTIAL)
            else:
                pending += children(node)


@dataclass(frozen=True, slots=True, repr=False)
class Vectorize(Transform):
    """Make the iterations of an innermost loop the lanes of vector instructions.

    legal if: the loop carries no dependence, except of a reduction where reassociation is allowed (lanes are combined)
    """

    loop: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if schedule.member_range(self.loop) is None:
            raise NotApplicable(
                f"the extent of loop {self.loop} is not a constant",
                next=f"Split('{self.loop}', …) and vectorise {self.loop}.i",
            )
        return _bind(schedule, self.loop, Binding.VECTOR)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Innermost loops of constant extent, up to a few vectors of bytes long."""
        for node in walk(schedule.tree):
            if isinstance(node, Band) and isinstance(node.child, Leaf):
                name = node.members[-1].name
                span = schedule.member_range(name)
                if span is not None and 1 < span[1] - span[0] + 1 <= 4 * target.vector_bytes:
                    yield cls(name)


@dataclass(frozen=True, slots=True, repr=False)
class Unroll(Transform):
    """Spell out the iterations of a loop with a constant extent.

    legal if: always
    """

    loop: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if schedule.member_range(self.loop) is None:
            raise NotApplicable(
                f"the extent of loop {self.loop} is not a constant",
                next=f"Split('{self.loop}', …) and unroll {self.loop}.i",
            )
        return _bind(schedule, self.loop, Binding.UNROLL)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Short loops: no longer than there are vector registers."""
        for m in members(schedule.tree):
            span = schedule.member_range(m.name)
            count = 1 if span is None else span[1] - span[0] + 1
            if m.binding is Binding.SEQUENTIAL and 1 < count <= target.vector_registers:
                yield cls(m.name)


@dataclass(frozen=True, slots=True, repr=False)
class Sequential(Transform):
    """Take back a binding."""

    loop: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        return _bind(schedule, self.loop, Binding.SEQUENTIAL)
