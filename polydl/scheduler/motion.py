"""Transformations that move iterations along a loop: skew, shift and reverse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine
from polydl.poly.tree import Band, walk
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, replace_at
from polydl.targets import Target

__all__ = ["Reverse", "Shift", "Skew"]


def _moved(schedule: Schedule, loop: str, move: Callable[[str, Affine], Affine]) -> Rewritten:
    """The tree where the loop's coordinate of each statement is `move(statement, coordinate)`."""
    path, band, k = band_of(schedule.tree, loop)
    member = band.members[k]
    changed = replace(member, exprs=tuple((s, move(s, e)) for s, e in member.exprs))
    return Rewritten(
        replace_at(
            schedule.tree, path, Band((*band.members[:k], changed, *band.members[k + 1 :]), band.child)
        )
    )


@dataclass(frozen=True, slots=True, repr=False)
class Skew(Transform):
    """Add `factor` times an outer loop of the band to an inner one.

    rewrite:  band(i, j) -> band(i, j + factor*i)
    legal if: always, when i is outside j; it makes distances along j larger, so that the pair may then be tiled
    """

    outer: str
    inner: str
    factor: int

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if self.outer == self.inner:
            raise NotApplicable(
                f"loop {self.inner} cannot be skewed by itself", next="name another loop of its band"
            )
        path, band, k = band_of(schedule.tree, self.inner)
        by_name = {m.name: m for m in band.members}
        if self.outer not in by_name:
            raise NotApplicable(f"loops {self.outer} and {self.inner} are not in one band")
        outer, inner = by_name[self.outer], band.members[k]
        skewed = replace(inner, exprs=tuple((s, e + outer.expr(s) * self.factor) for s, e in inner.exprs))
        return Rewritten(
            replace_at(
                schedule.tree, path, Band((*band.members[:k], skewed, *band.members[k + 1 :]), band.child)
            )
        )

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        for node in walk(schedule.tree):
            if isinstance(node, Band):
                names = [m.name for m in node.members]
                yield from (cls(a, b, 1) for k, a in enumerate(names) for b in names[k + 1 :])


@dataclass(frozen=True, slots=True, repr=False)
class Shift(Transform):
    """Delay one statement of a fused loop by some iterations.

    rewrite:  band(i = S: i; T: i)  ->  band(i = S: i; T: i + amount)
    legal if: no dependence then runs backwards; what it is for is making a fusion legal, or nearer
    """

    statement: str
    loop: str
    amount: int

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if self.statement not in dict(schedule.member(self.loop).exprs):
            raise NotApplicable(f"{self.statement} is not inside loop {self.loop}")
        return _moved(schedule, self.loop, lambda s, e: e + self.amount if s == self.statement else e)


@dataclass(frozen=True, slots=True, repr=False)
class Reverse(Transform):
    """Run a loop from its end to its beginning.

    rewrite:  band(i)  ->  band(first + last - i)   (band(-i) where the range is symbolic)
    legal if: the loop carries no dependence
    """

    loop: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        span = schedule.member_range(self.loop)
        return _moved(schedule, self.loop, lambda _, e: -e + (0 if span is None else span[0] + span[1]))
