"""Transformations of imperfect nests in one step: unroll and jam, and fusion with the delay that makes it legal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from polydl import poly
from polydl.errors import NotApplicable
from polydl.poly.tree import Allocate, Band, Filter, Leaf, Mark, Member, Sequence, Tree, walk
from polydl.scheduler.loops import Fuse, split_member
from polydl.scheduler.motion import Shift
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, normalise, replace_at, unique_name
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["FuseShifted", "UnrollAndJam"]


@dataclass(frozen=True, slots=True, repr=False)
class UnrollAndJam(Transform):
    """Run `factor` iterations of an outer loop together in the innermost loops, spelled out there.

    rewrite:  band(i, sequence(A, band(j, B)))
              -> band(i.o, sequence(unrolled band(i.i, A), band(j, unrolled band(i.i', B))))
    In every branch below the new loop is the innermost one, but for vectors, whose lanes stay inside.
    legal if: no dependence that the loop carries within a block of `factor` iterations goes backwards in the loops that
    have moved outside of it
    """

    loop: str
    factor: int

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if self.factor < 2:
            raise NotApplicable(f"loop {self.loop} cannot be unrolled by {self.factor}", next="use 2 or more")
        path, band, k = band_of(schedule.tree, self.loop)
        outer, inner = split_member(band.members[k], self.factor)
        below: Tree = Band(band.members[k + 1 :], band.child) if band.members[k + 1 :] else band.child
        if isinstance(below, Leaf):
            raise NotApplicable(
                f"loop {self.loop} is innermost",
                next=f"Split('{self.loop}', {self.factor}) and Unroll the inner one",
            )
        sunk = _sink(below, replace(inner, binding=Binding.UNROLL), _Names(schedule.tree))
        return Rewritten(replace_at(schedule.tree, path, normalise(Band((*band.members[:k], outer), sunk))))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Small factors for the sequential loops that have others inside."""
        for node in walk(schedule.tree):
            if isinstance(node, Band):
                deeper = [m for x in walk(node.child) if isinstance(x, Band) for m in x.members]
                for k, m in enumerate(node.members):
                    if m.binding is Binding.SEQUENTIAL and (k + 1 < len(node.members) or deeper):
                        yield from (cls(m.name, factor) for factor in (2, 4))


class _Names:
    """Names for the copies of one loop in several branches: its own first, then with the statement's."""

    def __init__(self, tree: Tree) -> None:
        self.tree, self.taken = tree, list[str]()

    def of(self, m: Member) -> str:
        base = m.name if not self.taken else f"{m.exprs[0][0]}.{m.name}"
        self.taken.append(unique_name(self.tree, base, self.taken))
        return self.taken[-1]


def _sink(node: Tree, loop: Member, names: _Names) -> Tree:
    """The subtree with the loop moved inside of everything but vectors; in several branches, one loop in each."""
    match node:
        case Leaf():
            return Band((replace(loop, name=names.of(loop)),), node)
        case Band(members=ms, child=child):
            lanes = next((k for k, m in enumerate(ms) if m.binding is Binding.VECTOR), None)
            if lanes is not None:
                return Band((*ms[:lanes], replace(loop, name=names.of(loop)), *ms[lanes:]), child)
            return Band(ms, _sink(child, loop, names))
        case Sequence(children=branches):
            return Sequence(tuple(f for b in branches if isinstance(f := _sink(b, loop, names), Filter)))
        case Filter(selections=selections, child=child):
            chosen = {s.statement for s in selections}
            part = replace(loop, exprs=tuple(e for e in loop.exprs if e[0] in chosen))
            return Filter(selections, _sink(child, part, names))
        case Allocate() | Mark():
            return replace(node, child=_sink(node.child, loop, names))


@dataclass(frozen=True, slots=True, repr=False)
class FuseShifted(Transform):
    """Fuse the outermost loops of neighbouring branches, each delayed just enough for what it needs of those before.

    rewrite:  sequence(band(i, A), band(j, B)) -> band(i = A: i | B: j + d, sequence(A, B))
    The delays are the least ones, of 0 or more, with which no dependence between two of the branches goes backwards
    along the fused loop; `delays` says them.
    legal if: the fused loop is; NotApplicable where a dependence goes backwards without bound
    """

    loops: tuple[str, ...]

    def rewrite(self, schedule: Schedule) -> Rewritten:
        delays = self.delays(schedule)
        for name, delay in zip(self.loops, delays, strict=True):
            if delay:
                for statement, _ in schedule.member(name).exprs:
                    schedule = replace(schedule, tree=Shift(statement, name, delay).rewrite(schedule).tree)
        return Fuse(self.loops).rewrite(schedule)

    def delays(self, schedule: Schedule) -> tuple[int, ...]:
        """The iterations by which each loop's statements start later than those of the first."""
        tree = Fuse(self.loops).rewrite(schedule).tree
        branch = {s: k for k, name in enumerate(self.loops) for s, _ in schedule.member(name).exprs}
        between = [
            d for d in schedule.dependences if branch.get(d.source, len(branch)) < branch.get(d.sink, -1)
        ]
        found = poly.distances(schedule.scop, tree, between, self.loops[0])
        delays = [0] * len(self.loops)
        for k in range(1, len(delays)):
            for distance in found:
                if branch[distance.dependence.sink] == k:
                    if distance.low is None:
                        raise NotApplicable(
                            f"no delay is enough: {distance.dependence.sink} needs what {distance.dependence.source} "
                            "does any number of iterations later",
                            where=f"loops {', '.join(self.loops)}",
                        )
                    delays[k] = max(delays[k], delays[branch[distance.dependence.source]] - distance.low)
        return tuple(delays)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """The outermost loops of each two neighbouring branches."""
        for node in walk(schedule.tree):
            if isinstance(node, Sequence):
                for a, b in pairwise(f.child for f in node.children):
                    if isinstance(a, Band) and isinstance(b, Band):
                        yield cls((a.members[0].name, b.members[0].name))
