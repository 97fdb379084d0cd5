"""Loops that a hardware instruction computes: where its operands are."""

from __future__ import annotations

from polydl.ir.expr import Binary, Const, Expr, Load, as_expr, substitute
from polydl.ir.kernel import Binding, For, Stmt, Store
from polydl.scheduler.instructions import INSTRUCTIONS, Instruction, unified
from polydl.targets import Target

__all__ = ["operands_of"]


def operands_of(s: For, target: Target) -> tuple[Instruction, dict[str, Load]] | None:
    """The instruction for these loops, and the first element of each of its operands; None where the loops run.

    They do where the machine lacks the instruction, and where the tile is not a full one.
    """
    chosen = INSTRUCTIONS.get(s.instruction)
    if chosen is None or not all(target.has(f) for f in chosen.features):
        return None
    start: dict[str, Expr] = {}
    inner: Stmt = s
    for extent in chosen.extents:
        if not isinstance(inner, For) or inner.binding is not Binding.SEQUENTIAL or inner.step != 1:
            return None
        if inner.lower != as_expr(0) or not isinstance(inner.upper, Const) or inner.upper.value != extent:
            return None
        start[inner.var] = as_expr(0)
        inner = inner.body
    if not isinstance(inner, Store) or inner.mask is not None:
        return None
    body = chosen.statement
    old = Load(body.target, body.index, chosen.body.tensor(body.target).dtype)
    pattern = Binary(body.op, old, body.value) if isinstance(body.op, str) else body.value
    found = unified(pattern, inner.value)
    if found is None:
        return None
    place = Load(inner.buffer, inner.index, old.dtype)
    if found.setdefault(body.target, place) != place:
        return None
    first = {
        n: Load(x.buffer, tuple(substitute(i, start) for i in x.index), x.dtype) for n, x in found.items()
    }
    return chosen, first
