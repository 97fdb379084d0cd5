"""Transformations that automatic scheduling is made of: a whole new order, and full tiles of any shape."""

from __future__ import annotations

from dataclasses import dataclass

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine, FloorDiv, Mod
from polydl.poly.full_tiles import full_tiles
from polydl.poly.tree import Band, Tree
from polydl.poly.treetext import parse_tree
from polydl.scheduler.partition import _partition
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, replace_at

__all__ = ["AffineOrder", "SeparateTiles"]


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
              where j.o is the last of the loops, each of which counts tiles of an axis
    legal if: the partial tiles may run after the full ones, within one iteration of the loops outside j.o
    """

    loops: tuple[str, ...]

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if not self.loops:
            raise NotApplicable("name the tile loops")
        path, band, k = band_of(schedule.tree, self.loops[-1])
        full, partial = [], []
        for statement, _ in band.members[k].exprs:
            sizes = tuple(_tile(name, schedule.member(name).expr(statement)) for name in self.loops)
            condition = full_tiles(schedule.scop, statement, sizes)
            full.append((statement, condition or "true"))
            partial.append((statement, f"not ({condition})" if condition else ""))
        if all(c == "true" for _, c in full):
            raise NotApplicable(f"all tiles of loops {', '.join(self.loops)} are full")
        new: Tree = _partition(schedule.tree, Band(band.members[k:], band.child), full, partial)
        return Rewritten(replace_at(schedule.tree, path, Band(band.members[:k], new) if k else new))


def _tile(loop: str, number: Affine) -> tuple[str, int]:
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
