"""Diamond tiling: tiles of time and space all of which, along one front, may start at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine
from polydl.poly.skews import least_skew
from polydl.poly.tree import Band, Member, walk
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, replace_at
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["Diamond"]


@dataclass(frozen=True, slots=True, repr=False)
class Diamond(Transform):
    """Tile a loop and the time loop around it in diamonds: between lines along which no dependence goes backwards.

    rewrite:  band(t, …, i, …) -> band(t.o, i.o, t, …, i.i, …)
              with i.o = floor(a/W), t.o = floor(a/W) + floor(b/W) and i.i = a mod W, where a is i plus and b is -i plus
              the least multiples of t (and delays of statements) that turn all dependences forward
    legal if: a tile depends on none of the same t.o; so `i.o` may then be parallel, all tiles of a front at once

             a: \\   b: /        a front of diamonds:  t ^   ◇ ◇ ◇ ◇      t.o = 1
                                                        |  ◇ ◇ ◇ ◇ ◇     t.o = 0
    """

    time: str
    space: str
    width: int

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if self.width < 1:
            raise NotApplicable(f"diamonds of width {self.width}", next="use a positive width")
        path, band, at = band_of(schedule.tree, self.time)
        names = [m.name for m in band.members]
        if self.space not in names[at + 1 :]:
            raise NotApplicable(f"loop {self.space} is not inside {self.time} in one band")
        time, space = band.members[at], band.members[names.index(self.space)]
        right = _forward(schedule, time, dict(space.exprs))
        left = _forward(schedule, time, {s: -e for s, e in space.exprs})
        place = Member(f"{space.name}.o", tuple((s, e // self.width) for s, e in right.items()))
        front = Member(
            f"{time.name}.o", tuple((s, e // self.width + left[s] // self.width) for s, e in right.items())
        )
        within = Member(
            f"{space.name}.i", tuple((s, e % self.width) for s, e in right.items()), space.binding
        )
        rest = tuple(within if m is space else m for m in band.members[at:])
        new = Band((*band.members[:at], front, place, *rest), band.child)
        return Rewritten(replace_at(schedule.tree, path, new))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Neighbouring sequential loops, in diamonds of some sizes."""
        for node in walk(schedule.tree):
            if isinstance(node, Band):
                for a, b in pairwise(m for m in node.members if m.binding is Binding.SEQUENTIAL):
                    yield from (cls(a.name, b.name, width) for width in (16, 32, 64))


def _forward(schedule: Schedule, time: Member, coordinate: dict[str, Affine]) -> dict[str, Affine]:
    """The coordinate with the multiple of time and the delays that turn all dependences forward along it."""
    found = least_skew(schedule.scop, schedule.dependences, coordinate, [dict(time.exprs)])
    if found is None:
        raise NotApplicable(
            f"no small multiple of loop {time.name} turns all dependences along the tiled loop forward",
            why="some reach arbitrarily far in one iteration of it",
        )
    return {s: e + time.expr(s) * found.factors[0] + found.delays[s] for s, e in coordinate.items()}
