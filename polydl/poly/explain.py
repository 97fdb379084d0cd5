"""Why a schedule is illegal, in words: a concrete pair of instances and the cell they share."""

from __future__ import annotations

from dataclasses import dataclass

import islpy

from polydl.poly.isl import least
from polydl.poly.model import Dependence, Scop, Statement
from polydl.poly.sets import point_coordinates
from polydl.poly.signs import Meeting
from polydl.poly.tree import Member
from polydl.vocabulary import Binding

__all__ = ["Violation", "explain_missing_allocation", "explain_order", "explain_storage", "smallest_point"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken dependence.

    `parameters`, `source` and `sink` are concrete numbers; `cell` is the element of `dependence.tensor` that both
    touch (None for a data-dependent subscript). `member` is the loop to point at ("" : the order of a sequence).
    """

    dependence: Dependence | None
    parameters: tuple[tuple[str, int], ...]
    source: tuple[int, ...]
    sink: tuple[int, ...]
    cell: tuple[int | None, ...]
    member: str
    reason: str

    def __str__(self) -> str:
        return self.reason


def explain_order(
    scop: Scop, dependence: Dependence, meeting: Meeting, loops: tuple[Member, ...], at: int, bad: islpy.Map
) -> Violation:
    """The violation by these pairs at shared loop number `at` (-1: after all shared loops)."""
    parameters, source, sink = _smallest_pair(scop, dependence, bad)
    cell = _cell(scop, dependence, parameters, source, sink)
    concurrent = at >= 0 and loops[at].binding in (Binding.PARALLEL, Binding.VECTOR)
    what = _what(dependence, parameters, source, sink, cell, order=not concurrent)
    if at < 0:
        reason = (
            f"{what}, but the tree runs {dependence.sink} first where both have the same loop coordinates."
        )
        return Violation(dependence, parameters, source, sink, cell, "", reason)
    loop = loops[at]
    values = dict(parameters)
    here = meeting.source[at].evaluate({**values, **_names(scop, dependence.source, source)})
    there = meeting.sink[at].evaluate({**values, **_names(scop, dependence.sink, sink)})
    if concurrent:
        reason = (
            f"{what}, but loop '{loop.name}' is {loop.binding.value}: iterations {here} and {there} may run at the "
            f"same time."
        )
    else:
        reason = (
            f"{what}, but at loop '{loop.name}' the sink has coordinate {there} and runs before the source, "
            f"which has {here}."
        )
    return Violation(dependence, parameters, source, sink, cell, loop.name, reason)


def explain_storage(scop: Scop, dependence: Dependence, loop: str, bad: islpy.Map) -> Violation:
    """The violation by pairs that share an element of an allocated tensor from different arrivals."""
    parameters, source, sink = _smallest_pair(scop, dependence, bad)
    cell = _cell(scop, dependence, parameters, source, sink)
    what = _what(dependence, parameters, source, sink, cell, order=not dependence.reduction)
    where = f"in different iterations of loop '{loop}'" if loop else "at different places of the tree"
    reason = f"{what}, but '{dependence.tensor}' is allocated afresh between them: they run {where}."
    return Violation(dependence, parameters, source, sink, cell, loop, reason)


def explain_missing_allocation(statement: str, tensor: str) -> Violation:
    """The violation by a statement that accesses an allocated tensor from outside its allocation."""
    reason = f"{statement} accesses '{tensor}' outside the part of the tree where '{tensor}' is allocated."
    return Violation(None, (), (), (), (), "", reason)


def _what(
    dependence: Dependence,
    parameters: tuple[tuple[str, int], ...],
    source: tuple[int, ...],
    sink: tuple[int, ...],
    cell: tuple[int | None, ...],
    order: bool = True,
) -> str:
    numbers = ", ".join("?" if c is None else str(c) for c in cell)
    at = f" (at {', '.join(f'{n} = {v}' for n, v in parameters)})" if parameters else ""
    if dependence.reduction and not order:
        return (
            f"{dependence.source}({', '.join(map(str, source))}) and "
            f"{dependence.sink}({', '.join(map(str, sink))}){at} both update {dependence.tensor}[{numbers}]"
        )
    kind = "reduction" if dependence.reduction else dependence.kind.value
    return (
        f"{dependence.source}({', '.join(map(str, source))}) must run before "
        f"{dependence.sink}({', '.join(map(str, sink))}){at}: {kind} dependence on "
        f"{dependence.tensor}[{numbers}]"
    )


def _smallest_pair(
    scop: Scop, dependence: Dependence, bad: islpy.Map
) -> tuple[tuple[tuple[str, int], ...], tuple[int, ...], tuple[int, ...]]:
    """Parameters, source and sink of the lexicographically smallest pair (any pair where there is no smallest)."""
    values, numbers = smallest_point(bad)
    depth = len(scop.statement(dependence.source).iterators)
    parameters = tuple((p, values[p]) for p in scop.parameters if p in values)
    return parameters, numbers[:depth], numbers[depth:]


def smallest_point(relation: islpy.Map) -> tuple[dict[str, int], tuple[int, ...]]:
    """Parameters by name and coordinates of the lexicographically smallest pair (any where there is no smallest)."""
    flat = relation.wrap()
    count = flat.dim(islpy.dim_type.param)
    names = [flat.get_dim_name(islpy.dim_type.param, k) for k in range(count)]
    moved = flat.flatten().move_dims(islpy.dim_type.set, 0, islpy.dim_type.param, 0, count)
    bounded = moved.dim(islpy.dim_type.set) == 0 or all(
        moved.dim_min_val(k).is_int() for k in range(moved.dim(islpy.dim_type.set))
    )
    numbers = point_coordinates(least(moved) if bounded else moved, 0)
    return dict(zip(names, numbers, strict=False)), numbers[count:]


def _names(scop: Scop, statement: str, instance: tuple[int, ...]) -> dict[str, int]:
    return dict(zip(scop.statement(statement).iterators, instance, strict=True))


def _cell(
    scop: Scop,
    dependence: Dependence,
    parameters: tuple[tuple[str, int], ...],
    source: tuple[int, ...],
    sink: tuple[int, ...],
) -> tuple[int | None, ...]:
    """The element where the two instances meet."""
    values = dict(parameters)

    def cells(statement: Statement, instance: tuple[int, ...]) -> list[tuple[int | None, ...]]:
        at = {**values, **_names(scop, statement.name, instance)}
        return [
            tuple(None if e is None else e.evaluate(at) for e in a.subscripts)
            for a in statement.accesses
            if a.tensor == dependence.tensor
        ]

    for first in cells(scop.statement(dependence.source), source):
        for second in cells(scop.statement(dependence.sink), sink):
            if all(a is None or b is None or a == b for a, b in zip(first, second, strict=True)):
                return tuple(a if a is not None else b for a, b in zip(first, second, strict=True))
    return ()
