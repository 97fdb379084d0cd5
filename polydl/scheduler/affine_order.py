"""Transformations that automatic scheduling is made of: a whole new order, and full tiles of any shape."""

from __future__ import annotations

from dataclasses import dataclass

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine, FloorDiv, Mod, dim
from polydl.poly.full_tiles import TileSide, full_tiles
from polydl.poly.paths import paths
from polydl.poly.tree import Band, Tree
from polydl.poly.treetext import parse_tree
from polydl.scheduler.partition import _partition
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import axes_by_depth, band_of, replace_at

__all__ = ["AffineOrder", "SeparateTiles", "tile_of"]


@dataclass(frozen=True, slots=True, repr=False)
class AffineOrder(Transform):
    """Run the program in the order of another tree.

    rewrite:  any tree -> the tree that `tree` spells
    legal if: every dependence runs forward in it
    """

    tree: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        return Rewritten(parse_tree(self.tree))


@dataclass(frozen=True, slots=True, repr=False)
class SeparateTiles(Transform):
    """Separate the tiles whose points all exist from the others, in domains of any shape.

    rewrite:  band(…, j.o, rest) -> band(…, sequence(full: band(j.o, rest), partial: band(j.o.tail, rest.tail)))
              where j.o is the last of the loops; each counts tiles of an axis, or of a skewed one (j + 2*t);
              `at` is a loop further inside from which on there are two copies instead of from j.o on
    legal if: the partial tiles may run after the full ones, within one iteration of the loops outside
    """

    loops: tuple[str, ...]
    at: str = ""

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if not self.loops:
            raise NotApplicable("name the tile loops")
        first = self.at or self.loops[-1]
        path, band, k = band_of(schedule.tree, first)
        full, partial = [], []
        for statement, _ in band.members[k].exprs:
            sides = _sides(schedule, statement, self.loops)
            condition = full_tiles(schedule.scop, statement, sides, _plain(schedule, statement, first))
            full.append((statement, condition or "true"))
            partial.append((statement, f"not ({condition})" if condition else ""))
        if all(c == "true" for _, c in full):
            raise NotApplicable(f"all tiles of loops {', '.join(self.loops)} are full")
        new: Tree = _partition(schedule.tree, Band(band.members[k:], band.child), full, partial)
        return Rewritten(replace_at(schedule.tree, path, Band(band.members[:k], new) if k else new))


def _plain(schedule: Schedule, statement: str, loop: str) -> tuple[str, ...]:
    """What filters on the way to a loop demand of a statement, where it is said without divisions."""
    for path in paths(schedule.scop, schedule.tree):
        if path.statement == statement and loop in (getattr(c, "name", "") for c in path.coordinates):
            return tuple(c for c in path.conditions if "floor" not in c and "mod" not in c)
    return ()


def tile_of(loop: str, number: Affine) -> tuple[str, int]:
    """The axis whose tiles a coordinate counts, and their size: `floor(x/T)`, perhaps inside an aligned block of x."""
    match number.terms:
        case ((FloorDiv(Affine(((str() as axis, 1),), 0), size), 1),) if number.constant == 0:
            return axis, size
        case ((FloorDiv(Affine(((Mod(Affine(((str() as axis, 1),), 0), block), 1),), 0), size), 1),) if (
            number.constant == 0 and block % size == 0
        ):
            return axis, size
        case _:
            raise NotApplicable(
                f"loop {loop} does not count tiles of an axis", next="split a loop that is an axis"
            )


def _sides(schedule: Schedule, statement: str, loops: tuple[str, ...]) -> tuple[TileSide, ...]:
    """The sides of the tiles of a statement that the loops count, innermost loop first."""
    found: list[TileSide] = []
    axes = [n for n in axes_by_depth(schedule.tree, statement) if n not in schedule.function.sizes]
    for loop in reversed(loops):
        member = schedule.member(loop)
        if statement not in (s for s, _ in member.exprs):
            raise NotApplicable(
                f"loop {loop} is not around {statement}", next="name loops that are around `at`"
            )
        found.append(_side(loop, member.expr(statement), axes, [s.iterator for s in found]))
    return tuple(found)


def _side(loop: str, number: Affine, axes: list[str], taken: list[str]) -> TileSide:
    """The tiles of `floor(e/T)`, perhaps inside an aligned block of e: of an axis e, one that runs downwards, or one
    that is skewed."""
    match number.terms:
        case ((FloorDiv(dividend, size), 1),) if number.constant == 0:
            dividend = _unblocked(dividend, size)
        case _:  # a loop that is not split: tiles of one
            dividend, size = number, 1
    for axis in reversed(axes):
        times = dict(dividend.terms).get(axis)
        if axis not in taken and times in (1, -1) and axis not in (dividend - dim(axis) * times).names():
            return TileSide(axis, dividend, size)
    raise NotApplicable(f"loop {loop} does not count tiles of an axis", next="split a loop that is an axis")


def _unblocked(e: Affine, size: int) -> Affine:
    """What aligned blocks are cut from: tiles inside of them are tiles of the whole."""
    match e.terms:
        case ((Mod(whole, block), 1),) if e.constant == 0 and block % size == 0:
            return _unblocked(whole, size)
        case _:
            return e
