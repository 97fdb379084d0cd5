"""Innermost loops of several statements taken apart, until each runs a part of one statement that vectors suit.

    for j: S(j); T(j)      ->  for j: S(j);  for j: T(j)                             S waits for nothing in the loop
    for j: S(j) uses x[k]  ->  for j < k: S(j);  for j >= k: S(j)                    only S(k) changes x[k]

What waits for nothing within an iteration of the loops outside goes first, whole statements before parts of them; where
nothing does, what nothing waits for goes last.
"""

from __future__ import annotations

from typing import Final

from polydl import poly
from polydl.dsl.function import StatementDef
from polydl.errors import InvalidProgram, NotApplicable, PolyhedralBlowup
from polydl.poly.affine import Affine, FloorDiv, Mod
from polydl.poly.tree import members
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.bindings import Vectorize
from polydl.scheduler.instances import RunFirst
from polydl.scheduler.loops import Split
from polydl.scheduler.recipes.common import attempt, reads
from polydl.scheduler.recipes.written import row_stride
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["axis_of", "counterpart", "free", "suits_vectors", "taken_apart", "vector_loop"]

_MOST: Final = 8  # pieces of one loop


def taken_apart(schedule: Schedule, loop: str, target: Target) -> Schedule:
    """The schedule with the innermost loop in pieces, those in vectors that suit."""
    for _ in range(_MOST):
        inside = [s for s, _ in schedule.member(loop).exprs]
        piece = _first_piece(schedule, loop)
        if piece is None:
            break
        names, conditions = piece
        if len(inside) == 1 and conditions == ("",):
            break
        divided = attempt(schedule, RunFirst(loop, names, conditions))
        if divided is None:
            break
        rest = counterpart(schedule, divided, loop)
        schedule, loop = vector_loop(divided, loop, target), rest
    return vector_loop(schedule, loop, target)


def _first_piece(schedule: Schedule, loop: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Statements and conditions of what should be run first; None where nothing can be told apart."""
    inside = [s for s, _ in schedule.member(loop).exprs]
    early = free(schedule, loop, first=True)
    whole = [s for s in inside if early[s] == ""]
    if whole:
        return (whole[0],), ("",)
    parts = [s for s in inside if early[s] != "false"]
    if parts:
        return (parts[0],), (early[parts[0]],)
    late = free(schedule, loop)
    for s in inside:
        if late[s] != "false":
            others = tuple(x for x in inside if x != s or late[s])
            return others, tuple(f"not ({late[s]})" if x == s else "" for x in others)
    return None


def free(schedule: Schedule, loop: str, *, first: bool = False, carried: bool = False) -> dict[str, str]:
    """`poly.free_instances` of a schedule; "false" for all statements where that is no affine condition."""
    try:
        return poly.free_instances(
            schedule.scop,
            schedule.tree,
            schedule.dependences,
            loop,
            first=first,
            carried=carried,
            reassociate=schedule.reassociate,
        )
    except (NotApplicable, PolyhedralBlowup, InvalidProgram):
        return {s: "false" for s, _ in schedule.member(loop).exprs}


def counterpart(before: Schedule, after: Schedule, loop: str) -> str:
    """The loop that does in the second part what `loop`, now of the first part alone, did for all."""
    known = {m.name for m in members(before.tree)}
    return next(m.name for m in members(after.tree) if m.name not in known)


def vector_loop(schedule: Schedule, loop: str, target: Target) -> Schedule:
    """The schedule with an innermost loop of one statement cut into vectors, where they suit it."""
    member = schedule.member(loop)
    if len(member.exprs) != 1 or not _innermost(schedule, loop):
        return schedule
    name, time = member.exprs[0]
    s = schedule.statement(name)
    if not suits_vectors(schedule, s, axis_of(time)) or _fixed(schedule, loop, name):
        return schedule
    size = max(schedule.function.tensor(s.target).dtype.bytes, *(x.dtype.bytes for x in reads(s)), 1)
    cut = attempt(schedule, Split(loop, target.lanes(size)), Vectorize(f"{loop}.i"))
    if cut is None:
        return schedule
    return attempt(cut, SeparateTiles((f"{loop}.o",))) or cut


def suits_vectors(schedule: Schedule, s: StatementDef, axis: str) -> bool:
    """Whether neighbours along an axis lie next to each other where it matters, or are summed up."""
    if not axis:
        return False
    strides = [row_stride(x.index, axis) for x in reads(s)]
    stored = row_stride(s.index, axis)
    folded = stored == 0 and s.op is not None and schedule.reassociate and 1 in strides
    return (stored == 1 or folded) and strides.count(None) <= strides.count(1)


def axis_of(time: Affine) -> str:
    """The axis whose neighbours follow each other in a loop with this coordinate; "" for a mixture."""
    match time.terms:
        case ((Mod(inner), 1),):
            return axis_of(inner)
        case ((FloorDiv(inner), 1),):
            return axis_of(inner)
        case ((str() as name, 1),):
            return name
        case _:
            return ""


def _fixed(schedule: Schedule, loop: str, statement: str) -> bool:
    """Whether a loop outside has the same coordinate, so that this one has a single iteration."""
    for path in poly.paths(schedule.scop, schedule.tree):
        names = [getattr(c, "name", "") for c in path.coordinates]
        if path.statement == statement and loop in names:
            k = names.index(loop)
            return path.exprs[k] in path.exprs[:k]
    return False


def _innermost(schedule: Schedule, loop: str) -> bool:
    band = schedule.band(loop)
    return band.members[-1].name == loop and not list(members(band.child))
