"""Small changes that make a refused transformation legal; each has been tried, and passed the judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from polydl.errors import IllegalSchedule, InvalidProgram, NotApplicable, PolyhedralBlowup, UsageError
from polydl.poly import Violation
from polydl.poly.affine import dim
from polydl.poly.tree import members
from polydl.scheduler.bindings import Parallel, Vectorize
from polydl.scheduler.compute import Privatize
from polydl.scheduler.loops import Fuse
from polydl.scheduler.motion import Shift, Skew
from polydl.scheduler.schedule import Schedule, Transform
from polydl.scheduler.storage import Local
from polydl.vocabulary import Binding

__all__ = ["repair"]

_FACTORS = (1, 2, -1)  # of skews
_DELAYS = (1, 2, 3, 4)  # of shifts
_LANES = 8  # of a privatised reduction


def repair(schedule: Schedule, refused: Transform, violation: Violation) -> str:
    """What to do instead of applying `refused` to `schedule`, in words; "" where nothing that was tried is legal."""
    for words, steps in _ideas(schedule, refused, violation):
        try:
            schedule.apply(*steps, explain=False)
        except (NotApplicable, IllegalSchedule, PolyhedralBlowup, UsageError, InvalidProgram):
            continue
        return words
    return ""


def _ideas(
    schedule: Schedule, t: Transform, violation: Violation
) -> Iterator[tuple[str, tuple[Transform, ...]]]:
    match t:
        case Parallel(loop=loop) | Vectorize(loop=loop):
            yield from _privatised(schedule, t, loop, violation)
            yield from _other_loops(schedule, t, loop)
        case Local(tensor=tensor):
            users = {s.name for s in schedule.scop.statements if any(a.tensor == tensor for a in s.accesses)}
            shared = [m.name for m in members(schedule.tree) if users <= {s for s, _ in m.exprs}]
            for name in reversed(shared):
                step = replace(t, loops=(name,))
                yield f"{step} instead", (step,)
        case Fuse(loops=loops) if violation.dependence is not None:
            sink = violation.dependence.sink
            for name in loops[1:]:
                if sink in dict(schedule.member(name).exprs):
                    for amount in _DELAYS:
                        shift = Shift(sink, name, amount)
                        yield f"{shift} first", (shift, t)
        case _:
            pass
    base = _origin(schedule, violation.member)
    if base:
        for other in (m.name for m in schedule.band(base).members if m.name != base):
            for factor in _FACTORS:
                skew = Skew(other, base, factor)
                yield f"{skew} first", (skew, t)


def _origin(schedule: Schedule, loop: str) -> str:
    """The loop of the schedule that a loop of the refused tree was made of; "" if there is none."""
    names = {m.name for m in members(schedule.tree)}
    while loop and loop not in names:
        loop = loop.rpartition(".")[0]
    return loop


def _privatised(
    schedule: Schedule, t: Transform, loop: str, violation: Violation
) -> Iterator[tuple[str, tuple[Transform, ...]]]:
    d = violation.dependence
    if d is None or not d.reduction:
        return
    e = dict(schedule.member(loop).exprs).get(d.sink)
    axes = [a.name for a in schedule.statement(d.sink).axes if e == dim(a.name)]
    for axis in axes:
        first = Privatize(d.sink, axis, _LANES)
        bound = Parallel(f"{axis}v") if isinstance(t, Parallel) else Vectorize(f"{axis}v")
        yield f"{first}, then {bound}", (first, bound)


def _other_loops(schedule: Schedule, t: Transform, loop: str) -> Iterator[tuple[str, tuple[Transform, ...]]]:
    """The same binding of another loop around the same statements."""
    statements = {s for s, _ in schedule.member(loop).exprs}
    for m in members(schedule.tree):
        if m.name != loop and m.binding is Binding.SEQUENTIAL and statements & {s for s, _ in m.exprs}:
            other = Parallel(m.name) if isinstance(t, Parallel) else Vectorize(m.name)
            yield f"{other} instead", (other,)
