"""The proof that no affine subscript leaves its tensor, or an example of one that does; and that sizes are sizes."""

from __future__ import annotations

from dataclasses import replace

from polydl import poly
from polydl.dsl.function import Function
from polydl.errors import InvalidProgram, OutOfBounds
from polydl.poly.model import Access, AccessKind, Scop, Statement
from polydl.scheduler.refusal import spelled

__all__ = ["require_inside"]


def require_inside(function: Function, scop: Scop, before: Scop | None = None) -> None:
    """InvalidProgram where a size may be negative, which no compiled code allows for.

    OutOfBounds with the smallest sizes, an instance, the subscript's value and the range it should be in. Accesses that
    are also in `before`, by the same instances to the same range, have been proven to be inside.
    """
    for size in scop.parameters:
        allowed = f"[{', '.join(scop.parameters)}] -> {{ : {size} >= 0 }}"
        if not poly.is_subset(scop.context, allowed):
            raise InvalidProgram(
                f"size {size} of function {function.name} may be negative",
                why="sizes count something: compiled code relies on it",
                next=f"assume {size} >= 0, and move the coordinates that are negative by a size or a number",
            )
    stray = poly.bounds_violation(_changed(scop, before) if before is not None else scop)
    if stray is None:
        return
    name, tensor, parameters, instance, cell = stray
    sizes = dict(zip(scop.parameters, parameters, strict=True))
    statement = scop.statement(name)
    at = {**sizes, **dict(zip(statement.iterators, instance, strict=True))}
    access = next(a for a in statement.accesses if a.tensor == tensor and _touches(a, at, cell))
    box = dict(scop.tensors)[tensor]
    wrong = []
    for d, (subscript, low, up, value) in enumerate(
        zip(access.subscripts, box.lower, box.upper, cell, strict=True)
    ):
        first, last = low.evaluate(sizes), up.evaluate(sizes) - 1
        if not first <= value <= last:
            inside = f"{first} to {last}" if first <= last else "empty"
            wrong.append(
                f"subscript {d}, {subscript} = {value}, is outside of {low} <= … < {up}, here {inside}"
            )
    verb = "reads" if access.kind is AccessKind.READ else "stores to"
    example = f"{name}({', '.join(map(str, instance))}) {verb} {tensor}[{', '.join(map(str, cell))}]"
    if sizes:
        example += f" at {', '.join(f'{n} = {v}' for n, v in sizes.items())}"
    types = {t.name: t.dtype for t in function.tensors}
    definition = next(s for s in function.statements() if s.name == name)
    raise OutOfBounds(
        f"function {function.name} reaches outside a tensor: {example}",
        where=spelled(definition, types),
        why="; ".join(wrong),
        next="correct the bounds of the axes, or say what holds for the sizes"
        if sizes
        else "correct the bounds of the axes",
    )


def _changed(scop: Scop, before: Scop) -> Scop:
    """The accesses that are not in `before`."""
    if (scop.parameters, scop.context) != (before.parameters, before.context):
        return scop
    boxes, known = dict(scop.tensors), dict(before.tensors)
    same = {name for name, box in boxes.items() if known.get(name) == box}
    proven = {(s.domain, a) for s in before.statements for a in s.accesses if a.tensor in same}
    new = (replace(s, accesses=_accesses(s, proven)) for s in scop.statements)
    return replace(scop, statements=tuple(s for s in new if s.accesses))


def _accesses(s: Statement, proven: set[tuple[str, Access]]) -> tuple[Access, ...]:
    return tuple(a for a in s.accesses if (s.domain, a) not in proven)


def _touches(access: Access, at: dict[str, int], cell: tuple[int, ...]) -> bool:
    """Whether the access reaches this cell at these iterators and sizes."""
    return all(e is None or e.evaluate(at) == c for e, c in zip(access.subscripts, cell, strict=True))
