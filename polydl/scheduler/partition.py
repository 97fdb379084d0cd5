"""Transformations that split the instances of statements into parts: separation of full from partial tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine, FloorDiv, Mod
from polydl.poly.tree import Band, Filter, Leaf, Selection, Sequence, Tree, members, statements_below
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, rename_members, replace_at, restrict, unique_name
from polydl.targets import Target

__all__ = ["IndexSetSplit", "Separate"]


@dataclass(frozen=True, slots=True, repr=False)
class Separate(Transform):
    """Separate the full from the partial tiles of a split loop, so that full ones have constant extents.

    rewrite:  band(…, i.o, rest) -> band(…, sequence(full: band(i.o, rest), partial: band(i.o.tail, rest.tail)))
    A statement that follows the tiles of others (a packed copy, whose coordinate is the tile number itself) is
    separated as they are.
    legal if: the partial tiles may run after the full ones (the judge checks it)
    """

    loop: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        tree = schedule.tree
        path, band, k = band_of(tree, self.loop)
        member = band.members[k]
        full: list[tuple[str, str]] = []
        partial: list[tuple[str, str]] = []
        tiles = {s: _tiles(schedule, s, e) for s, e in member.exprs}
        sizes = set(schedule.function.sizes)
        leaders = {
            replace(t, number=Affine(()))
            for s, t in tiles.items()
            if t is not None and t.number == member.expr(s) and t.names() <= sizes
        }
        leader = leaders.pop() if len(leaders) == 1 else None
        for statement, number in member.exprs:
            tile = tiles[statement] or (leader and replace(leader, number=number))
            if tile is None:
                raise NotApplicable(
                    f"coordinate {number} of {statement} is not a tile number with known bounds",
                    next="separate the outer loop of a split",
                )
            condition = tile.full()
            full.append((statement, condition))
            partial.append((statement, f"not ({condition})" if condition != "true" else ""))
        if all(c == "true" for _, c in full):
            raise NotApplicable(
                f"all tiles of loop {self.loop} are full", why="its extent is a multiple of the tile size"
            )
        below = Band(band.members[k:], band.child)
        new: Tree = _partition(tree, below, full, partial)
        if k:
            new = Band(band.members[:k], new)
        return Rewritten(replace_at(tree, path, new))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """The outer loops of splits that do not divide their extent."""
        for m in members(schedule.tree):
            tiles = [_tiles(schedule, s, e) for s, e in m.exprs]
            if any(t is not None and t.full() != "true" for t in tiles):
                yield cls(m.name)


@dataclass(frozen=True, slots=True, repr=False)
class IndexSetSplit(Transform):
    """Split the iterations of a loop in two at a coordinate.

    rewrite:  band(…, i, rest) -> band(…, sequence(i < at: band(i, rest), i >= at: band(i.tail, rest.tail)))
    legal if: always (the order does not change)
    """

    loop: str
    at: int

    def rewrite(self, schedule: Schedule) -> Rewritten:
        path, band, k = band_of(schedule.tree, self.loop)
        span = schedule.member_range(self.loop)
        if span is not None and not span[0] < self.at <= span[1]:
            raise NotApplicable(
                f"loop {self.loop} runs from {span[0]} to {span[1]}: {self.at} does not split it"
            )
        first = [(s, f"{e} < {self.at}") for s, e in band.members[k].exprs]
        second = [(s, f"{e} >= {self.at}") for s, e in band.members[k].exprs]
        new: Tree = _partition(schedule.tree, Band(band.members[k:], band.child), first, second)
        return Rewritten(replace_at(schedule.tree, path, Band(band.members[:k], new) if k else new))


@dataclass(frozen=True, slots=True)
class _Tiles:
    """Tiles of `size` over the coordinates `lower <= x < upper`; `number` says which one an instance belongs to."""

    number: Affine
    size: int
    lower: Affine
    upper: Affine

    def names(self) -> frozenset[str]:
        return self.lower.names() | self.upper.names()

    def full(self) -> str:
        """The isl condition that all coordinates of the instance's tile exist."""
        conditions = []
        first = self.number * self.size
        aligned = self.lower.is_constant and self.lower.constant % self.size == 0
        if not aligned:
            conditions.append(f"{first} >= {self.lower}")
        extent = self.upper - self.lower
        if not (aligned and extent.is_constant and extent.constant % self.size == 0):
            conditions.append(f"{first + self.size} <= {self.upper}")
        return " and ".join(conditions) or "true"


def _tiles(schedule: Schedule, statement: str, number: Affine) -> _Tiles | None:
    """The tiles that a loop coordinate `floor(e/T)` counts; None where it does not or the bounds are not known."""
    match number.terms:
        case ((FloorDiv(dividend, size), 1),) if number.constant == 0:
            pass
        case _:
            return None
    match dividend.terms:  # tiles inside aligned blocks are tiles of the whole
        case ((Mod(whole, block), 1),) if dividend.constant == 0 and block % size == 0:
            return _tiles(schedule, statement, whole // size)
        case _:
            pass
    bounds = schedule.upper_bound(statement, dividend)
    return None if bounds is None else _Tiles(number, size, *bounds)


def _partition(
    tree: Tree, below: Tree, full: list[tuple[str, str]], partial: list[tuple[str, str]]
) -> Sequence:
    """Two copies of `below`: for the instances that meet `full`, then, renamed, those of `partial` ("" = none)."""
    remaining = [s for s, c in partial if c]
    rest = restrict(below, remaining) or Leaf()
    taken: list[str] = []

    def fresh(name: str) -> str:
        new = unique_name(tree, f"{name}.tail", taken)
        taken.append(new)
        return new

    if set(statements_below(below)) != {s for s, _ in full}:
        raise NotApplicable("some statement below the loop does not take part in it")
    first = Filter(tuple(Selection(s, "" if c == "true" else c) for s, c in full), below)
    second = Filter(tuple(Selection(s, c) for s, c in partial if c), rename_members(rest, fresh))
    return Sequence((first, second))
