"""Why a schedule is illegal, in words: a concrete pair of instances, the cell they share, and a repair if any."""

from __future__ import annotations

from dataclasses import dataclass

import islpy

from polydl.poly.affine import Affine
from polydl.poly.isl import map_of
from polydl.poly.model import Dependence, Scop, Statement
from polydl.poly.sets import header, point_coordinates, primed
from polydl.poly.signs import Meeting
from polydl.poly.tree import Member
from polydl.vocabulary import Binding

__all__ = ["Violation", "explain_missing_allocation", "explain_order", "explain_storage"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken dependence.

    `parameters`, `source` and `sink` are concrete numbers; `cell` is the element of `dependence.tensor` that both
    touch (None for a data-dependent subscript). `member` is the loop to point at ("" : the order of a sequence).
    `repair` is a sentence naming the smallest skew, shift or distribution that would help, or "".
    """

    dependence: Dependence | None
    parameters: tuple[tuple[str, int], ...]
    source: tuple[int, ...]
    sink: tuple[int, ...]
    cell: tuple[int | None, ...]
    member: str
    reason: str
    repair: str = ""

    def __str__(self) -> str:
        return self.reason + (f" {self.repair}" if self.repair else "")


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
        repair = f"Run {dependence.source} before {dependence.sink} in their sequence."
        return Violation(dependence, parameters, source, sink, cell, "", reason, repair)
    loop = loops[at]
    values = dict(parameters)
    here = meeting.source[at].evaluate({**values, **_names(scop, dependence.source, source)})
    there = meeting.sink[at].evaluate({**values, **_names(scop, dependence.sink, sink)})
    if concurrent:
        reason = (
            f"{what}, but loop '{loop.name}' is {loop.binding.value}: iterations {here} and {there} may run at the "
            f"same time."
        )
        if dependence.reduction:
            repair = f"Keep '{loop.name}' sequential, or privatise '{dependence.tensor}' over it."
        else:
            repair = f"Keep '{loop.name}' sequential, or bind a loop that carries no dependence."
    else:
        reason = (
            f"{what}, but at loop '{loop.name}' the sink has coordinate {there} and runs before the source, "
            f"which has {here}."
        )
        repair = _order_repair(scop, dependence, meeting, loops, at)
    return Violation(dependence, parameters, source, sink, cell, loop.name, reason, repair)


def explain_storage(scop: Scop, dependence: Dependence, loop: str, bad: islpy.Map) -> Violation:
    """The violation by pairs that share an element of an allocated tensor from different arrivals."""
    parameters, source, sink = _smallest_pair(scop, dependence, bad)
    cell = _cell(scop, dependence, parameters, source, sink)
    what = _what(dependence, parameters, source, sink, cell, order=not dependence.reduction)
    where = f"in different iterations of loop '{loop}'" if loop else "at different places of the tree"
    reason = f"{what}, but '{dependence.tensor}' is allocated afresh between them: they run {where}."
    repair = f"Allocate '{dependence.tensor}' outside " + (f"loop '{loop}'." if loop else "both places.")
    return Violation(dependence, parameters, source, sink, cell, loop, reason, repair)


def explain_missing_allocation(statement: str, tensor: str) -> Violation:
    """The violation by a statement that accesses an allocated tensor from outside its allocation."""
    reason = f"{statement} accesses '{tensor}' outside the part of the tree where '{tensor}' is allocated."
    return Violation(None, (), (), (), (), "", reason, f"Allocate '{tensor}' around {statement} too.")


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
    flat = bad.wrap()
    count = flat.dim(islpy.dim_type.param)
    names = [flat.get_dim_name(islpy.dim_type.param, k) for k in range(count)]
    moved = flat.flatten().move_dims(islpy.dim_type.set, 0, islpy.dim_type.param, 0, count)
    bounded = moved.dim(islpy.dim_type.set) == 0 or all(
        moved.dim_min_val(k).is_int() for k in range(moved.dim(islpy.dim_type.set))
    )
    numbers = point_coordinates(moved.lexmin() if bounded else moved, 0)
    depth = len(scop.statement(dependence.source).iterators)
    values = dict(zip(names, numbers, strict=False))
    parameters = tuple((p, values[p]) for p in scop.parameters if p in values)
    return parameters, numbers[count : count + depth], numbers[count + depth :]


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


def _range(scop: Scop, dependence: Dependence, difference: Affine) -> tuple[int | None, int | None]:
    """Smallest and largest value of an expression over a dependence; None where unbounded."""
    source, sink = scop.statement(dependence.source), scop.statement(dependence.sink)
    outputs = [f"{i}'" for i in sink.iterators]
    pair = f"[{source.name}[{', '.join(source.iterators)}] -> {sink.name}[{', '.join(outputs)}]]"
    value = map_of(f"{header(scop.parameters)}{{ {pair} -> [{difference}] }}")
    image = map_of(dependence.relation).wrap().apply(value)
    low, high = image.dim_min_val(0), image.dim_max_val(0)
    return (
        low.to_python() if low.is_int() else None,
        high.to_python() if high.is_int() else None,
    )


def _order_repair(
    scop: Scop, dependence: Dependence, meeting: Meeting, loops: tuple[Member, ...], at: int
) -> str:
    """The smallest change of the tree that lets this dependence run forward at loop number `at`."""
    iterators = scop.statement(dependence.sink).iterators
    differences = [primed(t, iterators) - s for s, t in zip(meeting.source, meeting.sink, strict=True)]
    low, _ = _range(scop, dependence, differences[at])
    name = loops[at].name
    if low is not None and low < 0:
        if dependence.source != dependence.sink:
            return f"Shift {dependence.sink} by {-low} along '{name}', or distribute '{name}' over the two statements."
        for k in range(len(loops)):
            ahead, _ = _range(scop, dependence, differences[k])
            if k != at and ahead is not None and ahead > 0:
                return f"Skew '{name}' by {-(low // ahead)} times '{loops[k].name}'."
    if dependence.source != dependence.sink:
        return f"Distribute '{name}' over {dependence.source} and {dependence.sink}."
    return ""
