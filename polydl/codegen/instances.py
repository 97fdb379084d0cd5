"""One instance of a statement as loop IR: its stores at once, and checks of the subscripts that depend on data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from polydl.dsl.function import StatementDef
from polydl.dsl.polyhedral import to_affine
from polydl.dsl.tensor import Tensor
from polydl.ir.expr import Expr, Load, Select, Var, and_, children, not_, or_, walk
from polydl.ir.kernel import Let, Stmt, Store
from polydl.ir.printer import print_expr
from polydl.ir.rewrite import block

__all__ = ["at_once", "bounds_checks", "guarded_loads"]


def at_once(stores: Sequence[Store]) -> Stmt:
    """The stores of one point: every value is computed before what it reads is stored to.

    a = f(a, b); b = g(b)  as it is;  a, b = b, a  ->  let x = b in let y = a in: a = x; b = y
    """
    if len(stores) == 1:
        return stores[0]
    for first in stores:
        rest = [x for x in stores if x is not first]
        if not any(_needs_old(x, first) for x in rest):
            return block([first, at_once(rest)])
    held = [Var(f"{x.buffer}.new{k}", x.value.dtype) for k, x in enumerate(stores)]
    result: Stmt = block([replace(x, value=v) for x, v in zip(stores, held, strict=True)])
    for x, v in reversed(list(zip(stores, held, strict=True))):
        result = Let(v.name, x.value, result)
    return result


def _needs_old(other: Store, first: Store) -> bool:
    """Whether `other` must come before `first`, or in its place beside it: it reads or stores to the same tensor."""
    same = other.buffer == first.buffer
    return same or any(isinstance(e, Load) and e.buffer == first.buffer for e in walk(other.value))


def bounds_checks(
    s: StatementDef, tensors: Mapping[str, Tensor], load: Load, when: Expr | None
) -> Iterator[tuple[Expr, str]]:
    """What must hold at run time for a load of `s` that is performed `when`, each with the error's message.

    Affine subscripts are proved in bounds; all others are checked, those of data and those of products alike.
    """
    tensor = tensors[load.buffer]
    text = print_expr(load, buffers={name: t.dtype for name, t in tensors.items()})
    for k, i in enumerate(load.index):
        if to_affine(i) is None:
            low, extent = tensor.origin[k], tensor.shape[k]
            inside: Expr = and_(i >= low, i < low + extent)
            if when is not None:
                inside = or_(not_(when), inside)
            yield inside, f"subscript {k} of {text} in {s.name} is out of range"


def guarded_loads(e: Expr, when: Expr | None = None) -> Iterator[tuple[Load, Expr | None]]:
    """All loads in `e`, innermost subscripts first, each with the condition under which it is performed."""
    if isinstance(e, Select):
        yield from guarded_loads(e.cond, when)
        yield from guarded_loads(e.a, e.cond if when is None else and_(when, e.cond))
        yield from guarded_loads(e.b, not_(e.cond) if when is None else and_(when, not_(e.cond)))
        return
    for child in children(e):
        yield from guarded_loads(child, when)
    if isinstance(e, Load):
        yield e, when
