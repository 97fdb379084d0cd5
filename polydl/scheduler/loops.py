"""Transformations of loops: split, tile, reorder, fuse, distribute and collapse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from polydl.errors import NotApplicable
from polydl.poly.tree import Band, Filter, Member, Selection, Sequence, members, walk
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import at, band_of, band_with, normalise, replace_at, unique_name
from polydl.targets import Target

__all__ = ["Collapse", "Distribute", "Fuse", "Reorder", "Split", "Tile", "split_member"]


def split_member(m: Member, factor: int) -> tuple[Member, Member]:
    """The loop over blocks of `factor` iterations, and the one inside a block."""
    outer = Member(f"{m.name}.o", tuple((s, e // factor) for s, e in m.exprs), m.binding)
    inner = Member(f"{m.name}.i", tuple((s, e % factor) for s, e in m.exprs))
    return outer, inner


@dataclass(frozen=True, slots=True, repr=False)
class Split(Transform):
    """Strip-mine one loop.

    rewrite:  band(i) -> band(i.o, i.i)   with i.o = floor(i/factor), i.i = i mod factor
    legal if: always (the order does not change)
    """

    loop: str
    factor: int

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if self.factor < 1:
            raise NotApplicable(
                f"loop {self.loop} cannot be split by {self.factor}", next="use a positive factor"
            )
        path, band, k = band_of(schedule.tree, self.loop)
        halves = split_member(band.members[k], self.factor)
        new = Band(band.members[:k] + halves + band.members[k + 1 :], band.child)
        return Rewritten(replace_at(schedule.tree, path, new))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        for m in members(schedule.tree):
            span = schedule.member_range(m.name)
            for factor in (4, 8, 16, 32, 64):
                if span is not None and span[1] - span[0] + 1 > factor:
                    yield cls(m.name, factor)


@dataclass(frozen=True, slots=True, repr=False)
class Tile(Transform):
    """Tile members of one band.

    rewrite:  band(i, j) -> band(i.o, j.o, i.i, j.i)   with i.o = floor(i/T), i.i = i mod T
    legal if: no active dependence has a negative component on any of the members
    """

    loops: tuple[str, ...]
    sizes: tuple[int, ...]

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if len(self.loops) != len(self.sizes) or not self.loops or min(self.sizes) < 1:
            raise NotApplicable("tile needs one positive size for each loop")
        if len(set(self.loops)) != len(self.loops):
            raise NotApplicable("a loop is tiled once at a time", next="tile the loops it has become again")
        path, band, by_name = band_with(
            schedule.tree, self.loops, "tile loops that are directly nested, or fuse or distribute first"
        )
        names = list(by_name)
        first = min(names.index(n) for n in self.loops)
        last = max(names.index(n) for n in self.loops)
        halves = {
            n: split_member(band.members[names.index(n)], t)
            for n, t in zip(self.loops, self.sizes, strict=True)
        }
        between = tuple(m for m in band.members[first : last + 1] if m.name not in halves)
        tiles = tuple(halves[n][0] for n in self.loops)
        points = tuple(halves[n][1] for n in self.loops)
        new = Band(band.members[:first] + tiles + between + points + band.members[last + 1 :], band.child)
        return Rewritten(replace_at(schedule.tree, path, new))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Pairs of neighbouring loops in tiles that suit registers, and ones that suit the first cache."""
        for node in walk(schedule.tree):
            if isinstance(node, Band):
                for a, b in pairwise(m.name for m in node.members):
                    yield from (cls((a, b), sizes) for sizes in ((4, 16), (8, 32), (32, 32), (64, 64)))


@dataclass(frozen=True, slots=True, repr=False)
class Reorder(Transform):
    """Put loops of one band in this order (in the positions they have together).

    rewrite:  band(i, j, k) -> band(k, i, j)   for Reorder(("k", "i", "j"))
    legal if: no active dependence becomes lexicographically negative
    """

    loops: tuple[str, ...]

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if not self.loops or len(set(self.loops)) != len(self.loops):
            raise NotApplicable("reorder needs distinct loop names")
        path, band, by_name = band_with(
            schedule.tree,
            self.loops,
            "reorder directly nested loops; Distribute moves loops below a sequence",
        )
        order = iter(self.loops)
        new = tuple(by_name[next(order)] if m.name in self.loops else m for m in band.members)
        return Rewritten(replace_at(schedule.tree, path, Band(new, band.child)))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Each pair of loops of a band exchanged."""
        for node in walk(schedule.tree):
            if isinstance(node, Band):
                yield from (cls((b, a)) for a, b in combinations((m.name for m in node.members), 2))


@dataclass(frozen=True, slots=True, repr=False)
class Fuse(Transform):
    """Fuse the outermost loops of neighbouring branches of a sequence; the first name stays.

    rewrite:  sequence(band(i)…, band(j)…) -> band(i = i|j, sequence(…, …))
    legal if: no dependence between the branches then runs backwards
    """

    loops: tuple[str, ...]

    def rewrite(self, schedule: Schedule) -> Rewritten:
        tree = schedule.tree
        places = [band_of(tree, n) for n in self.loops]
        if len(places) < 2:
            raise NotApplicable("fuse needs at least two loops")
        parents = {path[:-2] for path, _, _ in places}
        if (
            len(parents) != 1
            or any(k != 0 for _, _, k in places)
            or any(len(path) < 2 for path, _, _ in places)
        ):
            raise NotApplicable(
                f"loops {', '.join(self.loops)} are not the outermost loops of branches of one sequence",
                next="fuse the loops around them first",
            )
        parent = parents.pop()
        sequence = at(tree, parent)
        positions = [path[-2] for path, _, _ in places]
        if not isinstance(sequence, Sequence) or positions != list(
            range(positions[0], positions[0] + len(positions))
        ):
            raise NotApplicable(f"loops {', '.join(self.loops)} are not in neighbouring branches, in order")
        chosen = [sequence.children[p] for p in positions]
        heads = [band.members[0] for _, band, _ in places]
        exprs = tuple(dict.fromkeys(pair for head in heads for pair in head.exprs))
        if len({s for s, _ in exprs}) != len(exprs):
            raise NotApplicable(f"loops {', '.join(self.loops)} run one statement at different times")
        merged = Member(heads[0].name, exprs, heads[0].binding)
        below = Sequence(
            tuple(
                Filter(f.selections, normalise(Band(band.members[1:], band.child)))
                for f, (_, band, _) in zip(chosen, places, strict=True)
            )
        )
        fused = Band((merged,), below)
        if len(chosen) == len(sequence.children):
            return Rewritten(replace_at(tree, parent, fused))
        selections = _united(chosen)
        rest = sequence.children[: positions[0]], sequence.children[positions[-1] + 1 :]
        new = Sequence((*rest[0], Filter(selections, fused), *rest[1]))
        return Rewritten(replace_at(tree, parent, new))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """The outermost loops of each two neighbouring branches."""
        for node in walk(schedule.tree):
            if isinstance(node, Sequence):
                for a, b in pairwise(f.child for f in node.children):
                    if isinstance(a, Band) and isinstance(b, Band):
                        yield cls((a.members[0].name, b.members[0].name))


def _united(branches: list[Filter]) -> tuple[Selection, ...]:
    """What any of the branches selects."""
    conditions: dict[str, list[str]] = {}
    for s in (s for f in branches for s in f.selections):
        conditions.setdefault(s.statement, []).append(s.condition)
    return tuple(
        Selection(
            name, "" if "" in parts else parts[0] if len(parts) == 1 else " or ".join(f"({c})" for c in parts)
        )
        for name, parts in conditions.items()
    )


@dataclass(frozen=True, slots=True, repr=False)
class Distribute(Transform):
    """Move a loop below the sequence that follows its band, into every branch (loop fission).

    rewrite:  band(…, i, sequence(A, B)) -> band(…, sequence(band(i, A), band(i', B)))
    legal if: no dependence from a later branch to an earlier one is carried by the loop
    """

    loop: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        tree = schedule.tree
        path, band, k = band_of(tree, self.loop)
        if k != len(band.members) - 1 or not isinstance(band.child, Sequence):
            raise NotApplicable(
                f"loop {self.loop} is not directly above a sequence", next="reorder it innermost first"
            )
        member = band.members[k]
        taken: list[str] = []
        branches = []
        for f in band.child.children:
            statements = {s.statement for s in f.selections}
            name = (
                member.name
                if not taken
                else unique_name(tree, f"{f.selections[0].statement}.{member.name}", taken)
            )
            taken.append(name)
            part = replace(member, name=name, exprs=tuple(e for e in member.exprs if e[0] in statements))
            branches.append(Filter(f.selections, normalise(Band((part,), f.child))))
        new = normalise(Band(band.members[:k], Sequence(tuple(branches))))
        return Rewritten(replace_at(tree, path, new))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        for node in walk(schedule.tree):
            if isinstance(node, Band) and isinstance(node.child, Sequence):
                yield cls(node.members[-1].name)


@dataclass(frozen=True, slots=True, repr=False)
class Collapse(Transform):
    """Make one loop of two neighbours, the inner one of constant extent.

    rewrite:  band(i, j) -> band(i*J + j)   with J the extent of j
    legal if: always (the order does not change)
    """

    outer: str
    inner: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        path, band, k = band_of(schedule.tree, self.outer)
        if k + 1 >= len(band.members) or band.members[k + 1].name != self.inner:
            raise NotApplicable(f"loop {self.inner} does not come directly after {self.outer} in one band")
        span = schedule.member_range(self.inner)
        if span is None:
            raise NotApplicable(f"the extent of loop {self.inner} is not a constant")
        outer, inner = band.members[k], band.members[k + 1]
        count = span[1] - span[0] + 1
        exprs = tuple((s, e * count + (inner.expr(s) - span[0])) for s, e in outer.exprs)
        merged = Member(self.outer, exprs, outer.binding)
        return Rewritten(
            replace_at(
                schedule.tree, path, Band((*band.members[:k], merged, *band.members[k + 2 :]), band.child)
            )
        )
