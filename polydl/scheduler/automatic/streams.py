"""Several rows in flight: a loop jammed into the innermost ones below it.

    for i: for j: y[j] += A[i, j] * t[i]            for i.o: for j.o: for i.i [unroll]: for j.i [vector]: …
    for i: {t[i] = 0; for j: t[i] += A[i, j] * x[j]}     the same, the loop distributed over what it holds

What does not move with the row (y, x) is loaded and stored once for several of them, each row has an accumulator of its
own, and the memory serves as many streams at once. Rows are jammed into every innermost loop below, so that what these
loops share of a matrix is read once. Legal where the rows of one group may run together: the judge says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from polydl.poly.tree import Band, Sequence, members, walk
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.strategy import Part, innermost_bands
from polydl.scheduler.bindings import Unroll, Vectorize
from polydl.scheduler.loops import Distribute, Reorder, Split
from polydl.scheduler.recipes.common import attempt
from polydl.scheduler.recipes.written import lanes_of, parallel, suited, vectorised
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["row_streams"]

_ROWS: Final = (8, 4)


def row_streams(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """For each loop above ones that can be vectors, and each number of rows: the part with that loop jammed."""
    for node in list(walk(part.subtree(schedule.tree))):
        if not isinstance(node, Band) or not _above_innermost(node):
            continue
        for m in node.members:
            for rows in _ROWS:
                jammed = _jam(schedule, part, m.name, rows, target)
                if jammed is not None:
                    yield parallel(jammed, part.statements)


def _above_innermost(band: Band) -> bool:
    """Whether the band's last loop is the row of innermost ones: those are in the band, or in a sequence below it."""
    below = [n for n in walk(band.child) if isinstance(n, Band)]
    if not below:
        return len(band.members) > 1
    return isinstance(band.child, Sequence) and all(
        not any(isinstance(x, Band) for x in walk(n.child)) for n in below
    )


def _jam(schedule: Schedule, part: Part, row: str, rows: int, target: Target) -> Schedule | None:
    """The part with groups of iterations of `row` jammed into its innermost loops; None where that is illegal."""
    split = attempt(schedule, Split(row, rows))
    if split is None:
        return None
    band = split.band(f"{row}.i")
    inside = tuple(m.name for m in band.members)
    if isinstance(band.child, Sequence):
        if inside[-1] != f"{row}.i":
            return None
    else:  # the row outermost of what is below it, so that its tiles can be separated
        split = attempt(
            split, Reorder((f"{row}.o", f"{row}.i", *(n for n in inside if not n.startswith(f"{row}."))))
        )
    if split is None:
        return None
    before = {m.name for m in members(split.tree)}
    separated = attempt(split, SeparateTiles((f"{row}.o",))) or split
    tails = {m.name for m in members(separated.tree)} - before
    known = before | tails
    jammed = separated
    if isinstance(separated.band(f"{row}.i").child, Sequence):
        distributed = attempt(separated, Distribute(f"{row}.i"))
        if distributed is None:
            return None
        jammed = distributed
    copies = {f"{row}.i"} | {m.name for m in members(jammed.tree)} - known
    found = False
    for band in list(innermost_bands(part.subtree(jammed.tree))):
        names = tuple(m.name for m in band.members)
        copy = next((n for n in names if n in copies), None)
        if copy is None:
            jammed = vectorised(jammed, names, target) if set(names) & tails else jammed
            continue
        if len(names) > 1:
            changed = _jammed_band(jammed, names, copy, target)
            if changed is None:
                return None
            jammed, found = changed, True
        else:
            jammed = attempt(jammed, Vectorize(copy)) or jammed
    return jammed if found else None


def _jammed_band(schedule: Schedule, names: tuple[str, ...], row: str, target: Target) -> Schedule | None:
    """One innermost band with its best loop as vectors inside the rows, the rows spelled out."""
    for m in suited(schedule, tuple(n for n in names if n != row)):
        rest = tuple(n for n in names if n not in (row, m.name))
        lanes = f"{m.name}.i"
        tiled = attempt(
            schedule,
            Split(m.name, lanes_of(schedule, m, target)),
            Reorder((*rest, f"{m.name}.o", row, lanes)),
        )
        if tiled is None:
            continue
        before = {x.name for x in members(tiled.tree)}
        separated = attempt(tiled, SeparateTiles((f"{m.name}.o",))) or tiled
        done = attempt(separated, Unroll(row), Vectorize(lanes))
        if done is None:
            continue
        new = [x.name for x in members(done.tree) if x.name not in before]
        for name in new:
            if name.startswith(f"{row}.tail"):
                done = attempt(done, Unroll(name)) or done
            elif name.startswith(f"{lanes}.tail"):
                done = attempt(done, Vectorize(name)) or done
        return done
    return None
