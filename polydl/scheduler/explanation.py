"""A schedule in plain words: what runs when, which loop carries which dependence, and why the bindings are allowed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from polydl import poly
from polydl.poly.model import Dependence
from polydl.poly.tree import Band, Member, members, walk
from polydl.poly.treetext import annotated
from polydl.scheduler.refusal import spelled
from polydl.scheduler.schedule import Schedule
from polydl.vocabulary import Binding

__all__ = ["explain"]

_BOUND: Final = {
    Binding.PARALLEL: "its iterations run on different threads",
    Binding.VECTOR: "its iterations are the lanes of vectors",
    Binding.UNROLL: "its iterations are spelled out one after the other",
}


def explain(schedule: Schedule) -> str:
    """The statements, the tree with what each loop carries, the dependences with their carriers, and the bands."""
    number = {d: k for k, d in enumerate(schedule.dependences, 1)}
    carried = {
        m.name: poly.carried_by(schedule.scop, schedule.tree, schedule.dependences, m.name)
        for m in members(schedule.tree)
    }
    types = {t.name: t.dtype for t in schedule.function.tensors}
    parts = [
        _section(
            f"function {schedule.function.name}", [spelled(s, types) for s in schedule.function.statements()]
        )
    ]
    if schedule.trace:
        parts.append(_section("transformed by", map(str, schedule.trace)))
    notes = {m.name: _note(m, carried[m.name], number) for m in members(schedule.tree)}
    parts.append(
        _section("what runs when, from the outside in", annotated(schedule.tree, notes).splitlines())
    )
    lines = [_dependence(schedule, d, k, carried) for d, k in number.items()]
    parts.append(
        _section(
            "what must keep its order", lines or ["nothing: no two instances touch a cell that one writes"]
        )
    )
    bands = [line for node in walk(schedule.tree) if isinstance(node, Band) for line in _band(schedule, node)]
    if bands:
        parts.append(_section("which loops may be exchanged and tiled", bands))
    return "\n\n".join(parts)


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _note(m: Member, carried: tuple[Dependence, ...], number: dict[Dependence, int]) -> str:
    what = "carries nothing" if not carried else f"carries {_numbers(number[d] for d in carried)}"
    if carried and all(d.reduction for d in carried):
        what += " (a reduction)"
    bound = _BOUND.get(m.binding)
    return f"{what}; {bound}" if bound else what


def _numbers(numbers: Iterable[int]) -> str:
    """`1, 3 to 5`."""
    listed = sorted(numbers)
    text: list[str] = []
    for n in listed:
        if text and n - 1 in listed and n + 1 in listed:
            if text[-1] != "to":
                text.append("to")
        else:
            text.append(str(n))
    return ", ".join(text).replace(", to, ", " to ")


def _dependence(
    schedule: Schedule, d: Dependence, number: int, carried: dict[str, tuple[Dependence, ...]]
) -> str:
    kind = "reduction" if d.reduction else d.kind.value
    apart = f" by ({', '.join(map(str, d.distance))})" if d.distance is not None else ""
    ends = f"{d.source} -> {d.sink}{apart}"
    loops = [name for name, listed in carried.items() if d in listed]
    if not loops:
        both = {d.source, d.sink}
        inside = any(both <= {s for s, _ in m.exprs} for m in members(schedule.tree))
        where = "both in one iteration of their common loops, in this order" if inside else "in this sequence"
        return f"{number}. {kind} on {d.tensor}, {ends}: {where}"
    how = ", ".join(f"'{name}'{_distance(schedule, d, name)}" for name in loops)
    free = ", whose points may be combined in any order" if d.reduction and schedule.reassociate else ""
    return f"{number}. {kind} on {d.tensor}, {ends}: carried by {how}{free}"


def _distance(schedule: Schedule, d: Dependence, loop: str) -> str:
    """How far apart along a loop that carries it, in words."""
    found = poly.distances(schedule.scop, schedule.tree, (d,), loop)
    low, high = (found[0].low, found[0].high) if found else (None, None)
    if low is None and high is None:
        return ""
    if low == high:
        return f" at distance {low}"
    if high is None:
        return f" at distance {low} or more"
    return f" at distances up to {high}" if low is None else f" at distances {low} to {high}"


def _band(schedule: Schedule, band: Band) -> list[str]:
    """The longest runs of neighbours that may be exchanged."""
    names = [m.name for m in band.members]
    if len(names) < 2:
        return []
    runs: list[list[str]] = [[names[0]]]
    for _, inner in pairwise(names):
        if schedule.can_permute(*runs[-1], inner):
            runs[-1].append(inner)
        else:
            runs.append([inner])
    return [f"{', '.join(run)}: any order" for run in runs if len(run) > 1] or [
        f"{', '.join(names)}: none, the order of the loops matters"
    ]
