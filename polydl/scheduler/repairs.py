"""Small changes that make a refused transformation legal. Each is tried: what is offered has passed the judge.

What is looked for, in this order where it fits the request:

privatise     a reduction whose iterations would race gets partial results
expand        a temporary that iterations share gets a place for each of them
distribute    the statements that disturb each other get loops of their own
strip-mine    no more lanes than iterations that do not depend on each other
elsewhere     the same binding of another loop, the same storage or copy at another loop
shift         one of the fused statements is delayed, by the least amount that the dependences allow
skew          a loop is skewed by the least factor that turns its backward distances forward
wavefront     skewing until an outer loop carries everything, so that the loop asked for is free
reverse       a loop runs backwards first
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Final

from polydl import poly
from polydl.dsl import TensorRole
from polydl.errors import IllegalSchedule, InvalidProgram, NotApplicable, PolyhedralBlowup, UsageError
from polydl.poly import ValueViolation, Violation
from polydl.poly.affine import dim
from polydl.poly.equivalence import OtherValue
from polydl.poly.tree import Sequence, members
from polydl.scheduler.bindings import Parallel, Vectorize
from polydl.scheduler.compute import Privatize
from polydl.scheduler.expansion import Expand
from polydl.scheduler.folding import Contract, Fold
from polydl.scheduler.loops import Distribute, Fuse, Reorder, Split
from polydl.scheduler.motion import Reverse, Shift, Skew
from polydl.scheduler.packing import Pack
from polydl.scheduler.placement import ComputeAt
from polydl.scheduler.schedule import Schedule, Transform
from polydl.scheduler.storage import Local
from polydl.vocabulary import Binding

__all__ = ["repair"]

Steps = tuple[Transform, ...]
_Strategy = Callable[[Schedule, Transform, Violation], Iterator[Steps]]

_FACTORS: Final = (1, -1, 2, -2, 3, -3, 4)  # of skews, when no distance says which
_CHANGES: Final = 8  # skews or shifts put together, and how far a number is moved
_LITTLE: Final = 4  # a delay by more is hardly a fusion
_LANES: Final = 8  # of a privatised reduction


def repair(
    schedule: Schedule, refused: Transform, violation: Violation | ValueViolation | OtherValue
) -> Steps:
    """What to apply to `schedule` instead of `refused`, proven legal; () where nothing that was tried is."""
    for steps in _ideas(schedule, refused, violation):
        if isinstance(_verdict(schedule, steps), Schedule):
            return steps
    return ()


def _ideas(
    schedule: Schedule, refused: Transform, violation: Violation | ValueViolation | OtherValue
) -> Iterator[Steps]:
    if isinstance(violation, OtherValue):
        return
    if isinstance(violation, ValueViolation):
        yield from _other_storage(refused)
        return
    for strategy in _strategies(refused):
        yield from strategy(schedule, refused, violation)


def _strategies(refused: Transform) -> tuple[_Strategy, ...]:
    match refused:
        case Parallel() | Vectorize():
            return _privatised, _expanded, _distributed, _strips, _other_loops, _wavefront
        case Local() | Pack() | ComputeAt():
            return (_elsewhere,)
        case Fuse():
            return _shifted_a_little, _reversed, _shifted, _expanded
        case Shift() | Skew():
            return _nearest, _skewed
        case Contract() | Fold():
            return ()
        case Distribute():
            return (_expanded,)
        case Reverse():
            return _expanded, _distributed
        case _:
            return _skewed, _skewed_blindly, _reversed, _expanded, _distributed


def _verdict(schedule: Schedule, steps: Steps) -> Schedule | Violation | None:
    """The schedule that the steps make, the judge's objection, or None where they do not fit."""
    try:
        return schedule.apply(*steps, explain=False)
    except IllegalSchedule as refusal:
        return refusal.violation if isinstance(refusal.violation, Violation) else None
    except (NotApplicable, PolyhedralBlowup, UsageError, InvalidProgram):
        return None


def _origin(schedule: Schedule, loop: str) -> str:
    """The loop of the schedule that a loop of the refused tree was made of; "" if there is none."""
    names = {m.name for m in members(schedule.tree)}
    while loop and loop not in names:
        loop = loop.rpartition(".")[0]
    return loop


def _bound(t: Transform, loop: str) -> Transform:
    """The binding `t` for another loop."""
    return Parallel(loop) if isinstance(t, Parallel) else Vectorize(loop)


# ---- bindings ------------------------------------------------------------------------------------------------------


def _privatised(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    d = violation.dependence
    if d is None or not d.reduction or not isinstance(t, Parallel | Vectorize):
        return
    e = dict(schedule.member(t.loop).exprs).get(d.sink)
    for axis in (a.name for a in schedule.statement(d.sink).axes if e == dim(a.name)):
        yield Privatize(d.sink, axis, _LANES), _bound(t, f"{axis}v")


def _strips(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    """Blocks no longer than the least distance: within one, no iteration depends on another."""
    if not isinstance(t, Vectorize):
        return
    found = poly.distances(schedule.scop, schedule.tree, schedule.dependences, t.loop)
    steps = {d.low for d in found if not (d.dependence.reduction and schedule.reassociate) and d.high != 0}
    least = None if None in steps else min((s for s in steps if s is not None), default=None)
    if least is not None and least > 1:
        width = 1 << (least.bit_length() - 1)
        yield Split(t.loop, width), Vectorize(f"{t.loop}.i")


def _other_loops(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    """The same binding of another loop around the same statements."""
    if not isinstance(t, Parallel | Vectorize):
        return
    statements = {s for s, _ in schedule.member(t.loop).exprs}
    for m in members(schedule.tree):
        if m.name != t.loop and m.binding is Binding.SEQUENTIAL and statements & {s for s, _ in m.exprs}:
            yield (_bound(t, m.name),)


def _wavefront(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    if not isinstance(t, Parallel | Vectorize):
        return
    names = [m.name for m in schedule.band(t.loop).members]
    for factor in _FACTORS:
        for other in names:
            if other != t.loop:
                inside = names.index(other) > names.index(t.loop)
                order: Steps = (Reorder((other, t.loop)),) if inside else ()
                yield Skew(t.loop, other, factor), *order, t
    for factor in _FACTORS:
        for other in names:
            if other != t.loop:
                inside = names.index(other) < names.index(t.loop)
                order = (Reorder((t.loop, other)),) if inside else ()
                yield Skew(other, t.loop, factor), *order, _bound(t, other)


# ---- the order of statements -----------------------------------------------------------------------------------------


def _distributed(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    """Loops around a sequence of the two statements moved into its branches, and the request for each of them."""
    d = violation.dependence
    if d is None or d.source == d.sink:
        return
    shared = [m.name for m in members(schedule.tree) if {d.source, d.sink} <= {s for s, _ in m.exprs}]
    moved: list[Transform] = []
    for loop in reversed(shared):
        band = schedule.band(loop)
        last = [
            m.name for m in band.members if m.name not in {x.loop for x in moved if isinstance(x, Distribute)}
        ]
        if not (isinstance(band.child, Sequence) and last and last[-1] == loop):
            return
        moved.append(Distribute(loop))
        apart = _verdict(schedule, tuple(moved))
        if not isinstance(apart, Schedule):
            return
        yield *moved, *_for_each_branch(schedule, apart, t)


def _for_each_branch(before: Schedule, after: Schedule, t: Transform) -> Steps:
    """The request for the loops it names, and for the ones that distribution has made of them."""
    known = {m.name for m in members(before.tree)}
    new = [m.name for m in members(after.tree) if m.name not in known]
    steps = [t]
    for branch in dict.fromkeys(n.split(".")[0] for n in new):
        here = {n.partition(".")[2]: n for n in new if n.startswith(f"{branch}.")}
        changed: dict[str, object] = {}
        for f in fields(t):
            value = getattr(t, f.name)
            if f.name in ("loop", "outer", "inner") and value in here:
                changed[f.name] = here[value]
            elif f.name == "loops" and set(value) & set(here):
                changed[f.name] = tuple(here.get(v, v) for v in value)
        if changed:
            steps.append(replace(t, **changed))
    return tuple(steps)


def _shifted(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    """Delays of the later loops of a fusion: least amounts with which no distance between the loops is negative."""
    if not isinstance(t, Fuse):
        return
    group = {s: k for k, name in enumerate(t.loops) for s, _ in schedule.member(name).exprs}
    delays = [0] * len(t.loops)
    for _ in range(_CHANGES):
        d = violation.dependence
        fused = _origin(schedule, violation.member)
        if d is None or fused != t.loops[0] or group.get(d.source) == group.get(d.sink):
            return
        first, second = group[d.source], group[d.sink]
        need = _backwards(schedule, (*_delays(schedule, t, delays), t), violation)
        if need is None or second == 0 or first > second:
            return
        delays[second] += need
        steps = (*_delays(schedule, t, delays), t)
        yield steps
        verdict = _verdict(schedule, steps)
        if not isinstance(verdict, Violation):
            return
        violation = verdict


def _shifted_a_little(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    for steps in _shifted(schedule, t, violation):
        if any(isinstance(s, Shift) and s.amount > _LITTLE for s in steps):
            return
        yield steps


def _delays(schedule: Schedule, t: Fuse, delays: list[int]) -> Steps:
    """Later statements of a loop move first, so that none overtakes what it needs."""
    return tuple(
        Shift(s, name, delay)
        for name, delay in zip(t.loops, delays, strict=True)
        if delay
        for s, _ in reversed(schedule.member(name).exprs)
    )


def _backwards(schedule: Schedule, steps: Steps, violation: Violation) -> int | None:
    """How far the dependence of a violation goes backwards along the loop it is violated at; None where unbounded."""
    d = violation.dependence
    before = _verdict(schedule, steps[:-1])
    if d is None or not isinstance(before, Schedule):
        return None
    tree = steps[-1].rewrite(before).tree
    found = poly.distances(before.scop, tree, (d,), violation.member)
    low = found[0].low if found else None
    return -low if low is not None and low < 0 else None


# ---- the order of iterations -----------------------------------------------------------------------------------------


def _skewed(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    """Skews of the loops where pairs go backwards, by loops where they go forwards; found from pair after pair."""
    factors: dict[tuple[str, str], int] = {}
    for _ in range(_CHANGES):
        base = _origin(schedule, violation.member)
        if not base or violation.dependence is None:
            return
        apart = {m.name: _apart(schedule, m.name, violation) for m in schedule.band(base).members}
        behind = apart[base] + sum(f * apart[o] for (o, b), f in factors.items() if b == base)
        ahead = next((n for n, x in apart.items() if n != base and x > 0), None)
        if behind >= 0 or ahead is None:
            return
        factors[ahead, base] = factors.get((ahead, base), 0) + -(behind // apart[ahead])
        steps = (*(Skew(outer, inner, f) for (outer, inner), f in factors.items()), t)
        yield steps
        verdict = _verdict(schedule, steps)
        if not isinstance(verdict, Violation):
            return
        violation = verdict


def _apart(schedule: Schedule, loop: str, violation: Violation) -> int:
    """sink - source of the violating pair along a loop of the schedule as it is."""
    d = violation.dependence
    exprs = dict(schedule.member(loop).exprs)
    if d is None or not {d.source, d.sink} <= exprs.keys():
        return 0
    ends = ((d.source, violation.source), (d.sink, violation.sink))
    here, there = (
        exprs[s].evaluate(
            {**dict(violation.parameters), **dict(zip(schedule.scop.statement(s).iterators, at, strict=True))}
        )
        for s, at in ends
    )
    return there - here


def _skewed_blindly(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    base = _origin(schedule, violation.member)
    if base:
        for factor in _FACTORS:
            for other in (m.name for m in schedule.band(base).members if m.name != base):
                yield Skew(other, base, factor), t


def _reversed(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    base = _origin(schedule, violation.member)
    loops = [m.name for m in schedule.band(base).members] if base else []
    loops += [n for n in t.names() if n not in loops and n in {m.name for m in members(schedule.tree)}]
    for loop in loops:
        # Backwards from nowhere, a loop would only be out of the other's way.
        if not isinstance(t, Fuse) or schedule.member_range(loop) is not None:
            yield Reverse(loop), t


def _nearest(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    """The same movement by another amount, the nearest ones first."""
    for change in (sign * n for n in range(1, _CHANGES + 1) for sign in (1, -1)):
        match t:
            case Shift(amount=amount) if amount + change:
                yield (replace(t, amount=amount + change),)
            case Skew(factor=factor) if factor + change:
                yield (replace(t, factor=factor + change),)
            case _:
                pass


# ---- storage ---------------------------------------------------------------------------------------------------------


def _expanded(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    """A place of its own for each iteration of the loop at which a temporary is reused, and of those around."""
    d = violation.dependence
    loop = _origin(schedule, violation.member) or (t.loop if isinstance(t, Distribute) else "")
    if d is None or not loop or schedule.function.tensor(d.tensor).role is not TensorRole.TEMPORARY:
        return
    around = [m.name for m in members(schedule.tree) if {d.source, d.sink} <= {s for s, _ in m.exprs}]
    loops = around[: around.index(loop) + 1] if loop in around else [loop]
    for first in range(len(loops) - 1, -1, -1):
        yield Expand(d.tensor, tuple(loops[first:])), t


def _other_storage(t: Transform) -> Iterator[Steps]:
    """A little more storage than asked for."""
    match t:
        case Fold(size=size):
            yield from ((replace(t, size=size + more),) for more in range(1, _CHANGES + 1))
        case Contract(axes=axes) if len(axes) > 1:
            yield from ((replace(t, axes=axes[:k] + axes[k + 1 :]),) for k in range(len(axes)))
        case Expand(loops=loops) if len(loops) > 1:
            yield from ((replace(t, loops=loops[:k]),) for k in range(len(loops) - 1, 0, -1))
        case _:
            pass


# ---- places ----------------------------------------------------------------------------------------------------------


def _elsewhere(schedule: Schedule, t: Transform, violation: Violation) -> Iterator[Steps]:
    """The same storage, copy or computation at a loop further out, or else further in."""
    names = [m.name for m in members(schedule.tree)]
    match t:
        case Local(tensor=tensor, loops=loops):
            users = {s.name for s in schedule.scop.statements if any(a.tensor == tensor for a in s.accesses)}
            shared = [m.name for m in members(schedule.tree) if users <= {s for s, _ in m.exprs}]
            yield from ((replace(t, loops=(name,)),) for name in reversed(shared) if (name,) != loops)
        case Pack(loop=loop) | ComputeAt(loop=loop):
            if loop in names:
                at = names.index(loop)
                order = [*reversed(names[:at]), *names[at + 1 :]]
                yield from ((replace(t, loop=name),) for name in order)
            if isinstance(t, ComputeAt) and not t.recompute:
                yield (replace(t, recompute=True),)
        case _:
            pass
