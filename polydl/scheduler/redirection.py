"""What a change of the function says to the judge where it keeps the statements and stores their values elsewhere."""

from __future__ import annotations

from itertools import zip_longest

from polydl import poly
from polydl.dsl.function import Function, StatementDef
from polydl.dsl.polyhedral import loads, scop_of, to_affine
from polydl.dsl.tensor import TensorRole
from polydl.errors import NotApplicable
from polydl.ir.expr import Expr, Load, transform
from polydl.poly.model import Access, AccessKind
from polydl.poly.values import Redirected, ValueViolation
from polydl.scheduler.structure import normalise

__all__ = ["changed_values", "keeps_statements", "original_order"]


def keeps_statements(before: Function, after: Function) -> bool:
    """Whether both have the same statement instances, which may store and read elsewhere."""
    pairs = zip_longest(before.statements(), after.statements())
    return all(
        s is not None and t is not None and (s.name, s.axes, s.conditions) == (t.name, t.axes, t.conditions)
        for s, t in pairs
    )


def original_order(function: Function) -> poly.Tree:
    """The order that says what the function means."""
    return normalise(poly.initial_tree(scop_of(function)) if function.order is None else function.order)


def changed_values(before: Function, after: Function) -> ValueViolation | None:
    """The judge's example of a read that sees another write in `after`, which has the same statements; or None.

    NotApplicable where the computed values themselves differ, or accesses to what is not a temporary tensor.
    """
    changed = _changed(before, after)
    if not changed:
        return None
    for function in (before, after):
        for t in function.tensors:
            if t.name in changed and t.role is not TensorRole.TEMPORARY:
                raise NotApplicable(
                    f"{t.name} is not a temporary tensor", why="its storage belongs to the caller"
                )
    accesses = tuple(
        r
        for s, t in zip(before.statements(), after.statements(), strict=True)
        for r in _redirected(s, t, changed)
    )
    return poly.value_violation(scop_of(before), scop_of(after), original_order(after), accesses)


def _changed(before: Function, after: Function) -> set[str]:
    """The tensors, of before or after, that some access has left or come to; and those whose origins differ."""
    changed: set[str] = set()
    for s, t in zip(before.statements(), after.statements(), strict=True):
        if _bare(s.value) != _bare(t.value) or s.op != t.op:
            raise NotApplicable(f"the value of statement {s.name} would be another one")
        pairs = [((s.target, s.index), (t.target, t.index))]
        pairs += [
            ((x.buffer, x.index), (y.buffer, y.index))
            for x, y in zip(loads(s.value), loads(t.value), strict=True)
        ]
        for old, new in pairs:
            if old != new:
                changed |= {old[0], new[0]}
    return changed


def _bare(value: Expr) -> Expr:
    """The expression without what its loads say of places."""
    return transform(value, lambda e: Load("", (), e.dtype) if isinstance(e, Load) else e)


def _redirected(s: StatementDef, t: StatementDef, changed: set[str]) -> list[Redirected]:
    found = []
    for x, y in zip(loads(s.value), loads(t.value), strict=True):
        if {x.buffer, y.buffer} & changed:
            old, new = (_access(AccessKind.READ, e.buffer, e.index, s.name) for e in (x, y))
            found.append(Redirected(s.name, old, new))
    if {s.target, t.target} & changed:
        kind = AccessKind.WRITE if s.op is None else AccessKind.UPDATE
        old, new = (_access(kind, e.target, e.index, s.name) for e in (s, t))
        found.append(Redirected(s.name, old, new))
    return list(dict.fromkeys(found))


def _access(kind: AccessKind, tensor: str, index: tuple[Expr, ...], statement: str) -> Access:
    subscripts = tuple(map(to_affine, index))
    if any(e is None for e in subscripts):
        raise NotApplicable(
            f"{statement} accesses {tensor} at a data-dependent place",
            why="which value it reads is known at run time only",
        )
    return Access(kind, tensor, subscripts)
