"""Random transformations that may fit a schedule, and random sequences of those that the judge accepts."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from polydl.dsl import Layout, TensorRole
from polydl.dsl.polyhedral import loads
from polydl.errors import IllegalSchedule, NotApplicable, PolyhedralBlowup
from polydl.poly.tree import Band, Sequence, members, walk
from polydl.scheduler import (
    Accumulate,
    Collapse,
    ComputeAt,
    Distribute,
    Fuse,
    IndexSetSplit,
    Inline,
    Local,
    Pack,
    Parallel,
    Privatize,
    Reorder,
    Reverse,
    RunFirst,
    Schedule,
    Separate,
    SetLayout,
    Shift,
    Skew,
    Split,
    Tile,
    Transform,
    Unroll,
    Vectorize,
)
from tests.oracle.candidates import candidate

__all__ = ["schedules", "steps"]

# Made as the judge's oracle makes them.
_OTHERS = ("Contract", "Expand", "Fold", "FuseShifted", "Prefetch", "Unimodular", "UnrollAndJam", "SplitSum")
_SIZES = st.sampled_from([2, 3, 4, 8])


@st.composite
def steps(draw: st.DrawFn, schedule: Schedule) -> Transform | None:
    """A transformation of the schedule's own loops, computations and tensors; it may well be refused."""
    bands = [[m.name for m in node.members] for node in walk(schedule.tree) if isinstance(node, Band)]
    loops = [name for band in bands for name in band]
    computations = [c.name for c in schedule.function.computations]
    temporaries = [t.name for t in schedule.function.of_role(TensorRole.TEMPORARY)]
    if draw(st.integers(0, 5)) == 0:
        name = draw(st.sampled_from(computations))
        c = schedule.function.computation(name)
        match draw(st.integers(0, 2)):
            case 0:
                return Inline(name)
            case 1:
                return Accumulate(name)
            case _:
                return (
                    Privatize(name, draw(st.sampled_from(c.reduction.axes)), draw(_SIZES))
                    if c.reduction
                    else None
                )
    if not loops:
        return None
    loop, band = draw(st.sampled_from(loops)), draw(st.sampled_from(bands))
    match draw(st.integers(0, 25)):
        case 23 | 24 | 25:
            name = draw(st.sampled_from(_OTHERS))
            return candidate(Random(draw(st.integers(0, 1 << 30))), schedule, name)
        case 0:
            return Split(loop, draw(_SIZES))
        case 1 | 2:
            chosen = draw(st.permutations(band))[: draw(st.integers(1, 3))]
            return Tile(tuple(chosen), tuple(draw(_SIZES) for _ in chosen))
        case 3:
            return Reorder(tuple(draw(st.permutations(band))))
        case 4 | 5:
            heads = [
                [f.child.members[0].name if isinstance(f.child, Band) else loop for f in node.children]
                for node in walk(schedule.tree)
                if isinstance(node, Sequence)
            ]
            if not heads:
                return None
            head = draw(st.sampled_from(heads))
            first = draw(st.integers(0, len(head) - 2)) if len(head) > 1 else 0
            return Fuse(tuple(head[first : first + draw(st.integers(2, 3))]))
        case 6:
            return Distribute(loop)
        case 7:
            k = draw(st.integers(0, max(0, len(band) - 2)))
            return Collapse(band[k], band[min(k + 1, len(band) - 1)])
        case 8:
            return Skew(
                draw(st.sampled_from(band)), draw(st.sampled_from(band)), draw(st.sampled_from([1, 2, -1]))
            )
        case 9:
            return Parallel(loop)
        case 10:
            return Vectorize(loop)
        case 11:
            return Unroll(loop)
        case 12 | 13:
            return Separate(draw(st.sampled_from([n for n in loops if n.endswith(".o")] or loops)))
        case 14 | 20:
            if not temporaries:
                return None
            tensor = draw(st.sampled_from(temporaries))
            return Local(tensor, (draw(st.sampled_from(_common(schedule, tensor) or loops)),))
        case 16:
            return Reverse(loop)
        case 17:
            statement = draw(st.sampled_from([s for s, _ in schedule.member(loop).exprs]))
            return Shift(statement, loop, draw(st.sampled_from([-1, 1, 2])))
        case 18:
            return IndexSetSplit(loop, draw(st.integers(0, 4)))
        case 19 | 21:
            pairs = [
                (p.name, c.name)
                for p in schedule.function.computations
                for c in schedule.function.computations
                if p is not c and any(x.buffer == p.target for x in loads(c.value))
            ]
            if not pairs:
                return None
            producer, consumer = draw(st.sampled_from(pairs))
            inside = [m.name for m in members(schedule.tree) if consumer in dict(m.exprs)]
            return ComputeAt(producer, draw(st.sampled_from(inside or loops)), consumer, draw(st.booleans()))
        case 22:
            chosen_ = draw(
                st.lists(st.sampled_from([s for s, _ in schedule.member(loop).exprs]), unique=True)
            )
            conditions = [
                draw(st.sampled_from(["", *(f"{a} < {n}" for a in axes for n in (1, 3))]))
                for axes in ([a.name for a in schedule.statement(s).axes] for s in chosen_)
            ]
            return RunFirst(loop, tuple(chosen_), tuple(conditions))
        case 15:
            reader = draw(st.sampled_from(computations))
            read = sorted({x.buffer for x in loads(schedule.function.computation(reader).value)})
            return Pack(draw(st.sampled_from(read)), loop, reader) if read else None
        case _:
            tensor_ = draw(st.sampled_from(schedule.function.tensors))
            if not tensor_.rank or schedule.function.sizes:
                return None
            layout = Layout.blocked(
                tensor_.extents, draw(st.integers(0, tensor_.rank - 1)), draw(_SIZES),
                [int(x.value) for x in tensor_.origin],  # type: ignore[union-attr]
            )  # fmt: skip
            return SetLayout(tensor_.name, layout)


def _common(schedule: Schedule, tensor: str) -> list[str]:
    """The loops around every statement that accesses a tensor."""
    users = {s.name for s in schedule.scop.statements if any(a.tensor == tensor for a in s.accesses)}
    return [m.name for m in members(schedule.tree) if users <= {s for s, _ in m.exprs}]


@st.composite
def schedules(draw: st.DrawFn, start: Schedule, most: int = 8) -> Schedule:
    """`start` after a random sequence of transformations that fit and are legal."""
    schedule = start
    for _ in range(draw(st.integers(1, most))):
        step = draw(steps(schedule))
        if step is None:
            continue
        try:
            schedule = schedule.apply(step)
        except (NotApplicable, IllegalSchedule, PolyhedralBlowup):
            continue
    return schedule
