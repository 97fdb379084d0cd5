"""What a refusal says: the tree with a pointer, the statements, the broken dependence, and a repair that was tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import indent

from polydl.dsl.function import Function, StatementDef
from polydl.dtypes import DType
from polydl.errors import IllegalSchedule, NotApplicable
from polydl.ir.printer import print_expr
from polydl.poly import ValueViolation, Violation, render
from polydl.poly.equivalence import OtherValue
from polydl.poly.tree import Tree, members

__all__ = ["illegal", "misread", "not_applicable", "refused", "spelled"]

_COLUMNS = 100  # longer statements are cut


def illegal(
    transform: object, function: Function, tree: Tree, violation: Violation, repair: tuple[object, ...]
) -> IllegalSchedule:
    """The error that refuses `transform`, which would have made `function` run as `tree`; `repair` is legal instead."""
    text = "\n" + indent(render(tree, violation.member, _note(violation)), "  ")
    d = violation.dependence
    if d is not None:
        types = {t.name: t.dtype for t in function.tensors}
        definitions = {s.name: s for s in function.statements()}
        text += "".join(
            f"\n    {spelled(definitions[name], types)}" for name in dict.fromkeys((d.source, d.sink))
        )
    return refused(transform, violation, repair, where=text)


def refused(
    transform: object,
    violation: Violation | ValueViolation | OtherValue,
    repair: tuple[object, ...] = (),
    *,
    where: str = "",
) -> IllegalSchedule:
    """The refusal with its judge's verdict, and what `Schedule.repaired` does instead."""
    steps = ", ".join(map(repr, repair))
    error = IllegalSchedule(
        f"{transform} is illegal",
        where=where,
        why=violation.reason,
        next=f"apply({steps}), as repaired({transform}) does" if steps else "",
    )
    error.violation, error.repair = violation, repair
    return error


def misread(
    transform: object,
    names: Iterable[str],
    function: Function,
    tree: Tree,
    violation: ValueViolation | OtherValue,
    repair: tuple[object, ...] = (),
) -> IllegalSchedule:
    """The error that refuses `transform` of `function`, with which a statement would read another value."""
    loops = {m.name for m in members(tree)}
    text = "\n" + indent(render(tree, next((n for n in names if n in loops), "")), "  ")
    types = {t.name: t.dtype for t in function.tensors}
    definitions = {s.name: s for s in function.statements()}
    if isinstance(violation, OtherValue):
        ends = [violation.statement, *violation.statements]
    else:
        ends = [violation.statement, *(e[0] for e in (violation.wanted, violation.found) if e is not None)]
    known = (name for name in dict.fromkeys(ends) if name in definitions)
    text += "".join(f"\n    {spelled(definitions[name], types)}" for name in known)
    return refused(transform, violation, repair, where=text)


def not_applicable(
    transform: object, tree: Tree, names: Iterable[str], refusal: NotApplicable
) -> NotApplicable:
    """A refusal that says also what was asked for and where: the first of `names` that is a loop of the tree."""
    where = refusal.where
    if not where:
        loops = {m.name for m in members(tree)}
        where = "\n" + indent(render(tree, next((n for n in names if n in loops), "")), "  ")
    return NotApplicable(
        f"{transform} does not apply: {refusal.what}", where=where, why=refusal.why, next=refusal.next
    )


def _note(violation: Violation) -> str:
    """The two instances, behind the marked loop."""
    d = violation.dependence
    if d is None:
        return ""
    ends = ((d.source, violation.source), (d.sink, violation.sink))
    return " before ".join(f"{s}({', '.join(map(str, at))})" for s, at in ends)


def spelled(s: StatementDef, types: Mapping[str, DType]) -> str:
    """A statement as text: `C(i, j, k): C[i, j] add= A[i, k] * B[k, j]`."""
    index = ", ".join(print_expr(e, buffers=types) for e in s.index)
    head = f"{s.name}({', '.join(a.name for a in s.axes)}): {s.target}[{index}]"
    text = f"{head} {s.op or ''}= {print_expr(s.value, buffers=types)}"
    text = text.replace(" + -", " - ")  # subscripts of captured loops are sums
    return text if len(text) <= _COLUMNS else text[: _COLUMNS - 1] + "…"
