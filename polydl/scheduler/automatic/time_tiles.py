"""Time skewing: the nests inside a time loop fused into one band that may be tiled, time and space together.

    for t: for i, j: B[i, j] = f(A[i-1..i+1, j-1..j+1]);  for i, j: A[i, j] = f(B[…])
    band(t, i + 2*t | i + 2*t + 1, j + 2*t | j + 2*t + 1)

The statements meet where they write: coordinate k of the band is subscript k of the element written, plus the
multiple of time and the delay of the statement that make all dependences go forward. Nothing is known of programs:
where no such multiples exist, there is no such band.

Where the last loop of space is not to be tiled, it need not be skewed: whole rows of a statement then begin where the
rows of the array do, at the same place in every step.

    band(t, i + 2*t | i + 2*t + 1, sequence(S1: band(j - 1), S2: band(j - 1)))
"""

from __future__ import annotations

from dataclasses import dataclass

from polydl.dsl.function import StatementDef
from polydl.dsl.polyhedral import to_affine
from polydl.poly.affine import Affine, dim
from polydl.poly.skews import least_skew
from polydl.poly.tree import Band, Filter, Leaf, Member, Selection, Sequence, Tree
from polydl.poly.treetext import format_tree
from polydl.scheduler.affine_order import AffineOrder
from polydl.scheduler.automatic.strategy import Part, innermost_bands
from polydl.scheduler.recipes.common import attempt
from polydl.scheduler.schedule import Schedule
from polydl.scheduler.structure import replace_at, unique_name
from polydl.vocabulary import Binding

__all__ = ["Skewed", "skewed"]


@dataclass(frozen=True, slots=True)
class Skewed:
    """A schedule whose part is one band, time first, all of whose loops may be exchanged; its loops by name.

    `skews[k]`: by how much coordinate k moves in one time step, at most.
    """

    schedule: Schedule
    loops: tuple[str, ...]
    skews: tuple[int, ...]
    rows: Schedule | None = (
        None  # instead, with the last loop not skewed, each statement's in a band of its own
    )


def skewed(schedule: Schedule, part: Part) -> Skewed | None:
    """The part with time and space in one permutable band; None where that does not apply."""
    nest = part.subtree(schedule.tree)
    if not isinstance(nest, Band) or nest.members[0].binding is not Binding.SEQUENTIAL:
        return None
    time = nest.members[0]
    statements = [schedule.statement(s) for s, _ in time.exprs]
    places = [_place(s, time.expr(s.name)) for s in statements]
    ranks = {len(p) for p in places if p is not None}
    if None in places or len(ranks) != 1 or ranks == {0}:
        return None
    names = [s.name for s in statements]
    band = [dict(time.exprs)]
    skews: list[int] = []
    for k in range(ranks.pop()):
        coordinate = {s: p[k] for s, p in zip(names, places, strict=True) if p is not None}
        found = least_skew(schedule.scop, schedule.dependences, coordinate, band)
        if found is None:
            return None
        for factor, outer in zip(found.factors, band, strict=True):
            coordinate = {s: e + outer[s] * factor for s, e in coordinate.items()}
        skews.append(found.factors[0] + sum(f * w for f, w in zip(found.factors[1:], skews, strict=True)))
        band.append({s: e + found.delays[s] for s, e in coordinate.items()})
    if not any(skews):
        return None
    loops = _names(schedule, nest, len(band))
    new = Band(
        tuple(Member(n, tuple(c.items())) for n, c in zip(loops, band, strict=True)),
        Leaf() if len(names) == 1 else Sequence(tuple(Filter((Selection(s),), Leaf()) for s in names)),
    )
    done = attempt(schedule, AffineOrder(format_tree(_replaced(schedule.tree, nest, new))))
    if done is None:
        return None
    rows = _rows(schedule, nest, new, statements)
    return Skewed(done, tuple(loops), tuple(skews), rows)


def _rows(schedule: Schedule, nest: Band, new: Band, statements: list[StatementDef]) -> Schedule | None:
    """The schedule with the band `new` in place of `nest`, but each statement's last loop along the rows it writes."""
    *outer, last = new.members
    rows: list[Filter] = []
    taken = [m.name for m in outer]
    for s in statements:
        subscript = to_affine(s.index[-1])
        if subscript is None:
            return None
        name = last.name if not rows else unique_name(schedule.tree, f"{s.name}.{last.name}", taken)
        taken.append(name)
        row = Band((Member(name, ((s.name, subscript - _begin(s, subscript)),)),), Leaf())
        rows.append(Filter((Selection(s.name),), row))
    inside = rows[0].child if len(rows) == 1 else Sequence(tuple(rows))
    tree = _replaced(schedule.tree, nest, Band(tuple(outer), inside))
    return attempt(schedule, AffineOrder(format_tree(tree)))


def _begin(s: StatementDef, subscript: Affine) -> int:
    """Where the subscript begins, if that is a constant: vectors counted from there are whole but for the last."""
    for a in s.axes:
        lower = to_affine(a.lower)
        rest = subscript - dim(a.name)
        if rest.is_constant and lower is not None and lower.is_constant:
            return rest.constant + lower.constant
    return 0


def _place(s: StatementDef, time: Affine) -> tuple[Affine, ...] | None:
    """The subscripts that a statement writes to, if they and time tell all its instances apart."""
    subscripts = [to_affine(e) for e in s.index]
    axes = {a.name for a in s.axes} - time.names()
    found = tuple(e for e in subscripts if e is not None)
    if len(found) != len(subscripts) or len(time.terms) != 1:
        return None
    for axis in axes:
        if sum(axis in e.names() for e in found) != 1 or not any((e - dim(axis)).is_constant for e in found):
            return None
    return None if any(e.names() & time.names() for e in found) else found


def _names(schedule: Schedule, nest: Band, count: int) -> list[str]:
    """Names for the loops of the band: time's, then those of the deepest nest inside, or new ones."""
    deepest = max(innermost_bands(nest), key=lambda band: len(band.members))
    inside = [m.name for m in deepest.members][-count + 1 :]
    taken = [nest.members[0].name, *inside]
    while len(taken) < count:
        taken.append(unique_name(schedule.tree, "c", taken))
    return taken


def _replaced(tree: Tree, old: Tree, new: Tree) -> Tree:
    """The tree with its part `old`, the whole or a branch of the outermost sequence, replaced."""
    if tree is old or not isinstance(tree, Sequence):
        return new
    position = next(k for k, f in enumerate(tree.children) if f.child is old)
    return replace_at(tree, (position, 0), new)
