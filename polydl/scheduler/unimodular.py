"""Any one-to-one linear change of the order of a band: the unimodular transformations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine
from polydl.poly.tree import Band, Member, members, walk
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_with, replace_at
from polydl.targets import Target

__all__ = ["Unimodular", "determinant"]

Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, repr=False)
class Unimodular(Transform):
    """Replace loops of one band by linear combinations of them, row by row of an integer matrix.

    rewrite:  band(i, j) -> band(w = i + j, p = j)      for Unimodular(("i", "j"), ((1, 1), (0, 1)), ("w", "p"))
    `offsets` are added to the new coordinates; `to` names the new loops (default: as the old ones), which take the
    places of the old ones. Reversal, interchange and skewing are the generators of these matrices.
    legal if: no active dependence becomes lexicographically negative; the matrix must have determinant 1 or -1 (checked
    here), so that whole coordinates come from whole iterations one to one
    """

    loops: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]
    to: tuple[str, ...] = ()
    offsets: tuple[int, ...] = ()

    def rewrite(self, schedule: Schedule) -> Rewritten:
        count = len(self.loops)
        if not count or len(set(self.loops)) != count:
            raise NotApplicable("a linear map needs distinct loop names")
        _require_unimodular(self.matrix, count)
        new = self.to or self.loops
        if len(new) != count or len(set(new)) != count or len(self.offsets) not in (0, count):
            raise NotApplicable(
                f"a map of {count} loops makes {count} loops", next="give one name and one offset each"
            )
        path, band, by_name = band_with(
            schedule.tree, self.loops, "map directly nested loops; fuse or distribute first"
        )
        taken = {m.name for m in members(schedule.tree)} - set(self.loops)
        if taken & set(new):
            raise NotApplicable(f"there is a loop {', '.join(sorted(taken & set(new)))} already")
        old = [by_name[n] for n in self.loops]
        made = iter(
            Member(name, tuple((s, _combined(row, old, s, offset)) for s, _ in old[0].exprs))
            for name, row, offset in zip(new, self.matrix, self.offsets or (0,) * count, strict=True)
        )
        changed = tuple(next(made) if m.name in self.loops else m for m in band.members)
        return Rewritten(replace_at(schedule.tree, path, Band(changed, band.child)))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """The wavefronts of two neighbouring loops: diagonals outside, and what is left of a point inside."""
        for node in walk(schedule.tree):
            if isinstance(node, Band):
                for a, b in pairwise(m.name for m in node.members):
                    yield cls((a, b), ((1, 1), (1, 0)))


def _combined(row: tuple[int, ...], loops: list[Member], statement: str, offset: int) -> Affine:
    total = Affine((), offset)
    for factor, m in zip(row, loops, strict=True):
        total = total + m.expr(statement) * factor
    return total


def _require_unimodular(matrix: Matrix, count: int) -> None:
    if len(matrix) != count or any(len(row) != count for row in matrix):
        raise NotApplicable(f"a map of {count} loops is a matrix of {count} rows of {count} numbers")
    found = determinant(matrix)
    if abs(found) != 1:
        raise NotApplicable(
            f"the matrix {matrix} has determinant {found}",
            why="only maps of determinant 1 or -1 have an inverse in whole numbers",
            next="combine rows by adding multiples of one to another",
        )


def determinant(matrix: Matrix) -> int:
    """The determinant of a square matrix, exactly: Bareiss' elimination, in which every division is without rest."""
    rows, sign, before = [list(row) for row in matrix], 1, 1
    for k in range(len(rows) - 1):
        pivot = next((r for r in range(k, len(rows)) if rows[r][k]), None)
        if pivot is None:
            return 0
        if pivot != k:
            rows[k], rows[pivot], sign = rows[pivot], rows[k], -sign
        for r in range(k + 1, len(rows)):
            for c in range(k + 1, len(rows)):
                rows[r][c] = (rows[r][c] * rows[k][k] - rows[r][k] * rows[k][c]) // before
        before = rows[k][k]
    return sign * rows[-1][-1]
