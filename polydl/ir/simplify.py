"""Simplification of expressions and of loop nests; see `simplifier` for what it assumes and preserves.

before:  for i in 0..1: for j in 0..16: if i*16 + j < 16: A[(i*16 + j)//4, (i*16 + j) % 4] = …
after:   for j in 0..16: A[j//4, j % 4] = …
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import assert_never

from polydl.ir.expr import Broadcast, Const, Expr, Load, Unary, Var, walk
from polydl.ir.kernel import (
    Alloc,
    Barrier,
    Block,
    Buffer,
    Check,
    For,
    If,
    Kernel,
    Let,
    Prefetch,
    Stmt,
    Store,
)  # fmt: skip
from polydl.ir.rewrite import EMPTY, block
from polydl.ir.simplifier import Affine, Range, Simplifier

__all__ = ["Affine", "Range", "bounds", "linear", "simplify", "simplify_kernel", "simplify_stmt"]


def simplify(e: Expr, ranges: Mapping[str, Range] | None = None) -> Expr:
    """A simpler expression of the same value for all variables within `ranges`."""
    return Simplifier(ranges).simplify(e)


def bounds(e: Expr, ranges: Mapping[str, Range] | None = None) -> Range:
    """Closed bounds of an integer expression (of any lane); None where no better bound than the type's is known."""
    return Simplifier(ranges).bounds(e)


def linear(e: Expr, names: Collection[str], ranges: Mapping[str, Range] | None = None) -> Affine | None:
    """The integer expression `e` as an affine form, or None where it is not affine in the variables `names`.

    Variables not in `names` may occur in atoms (`N * M`, `i // 4`); the form is an identity modulo 2^bits.
    """
    return Simplifier(ranges).linear(e, names)


def simplify_stmt(s: Stmt, ranges: Mapping[str, Range] | None = None) -> Stmt:
    """A simpler statement of the same effect for all free variables within `ranges`.

    Loops without iterations and conditions that are always false disappear, loops of one iteration become their
    body, nested blocks are flattened. A statement without effect becomes the empty `Block`.
    """
    return _stmt(s, Simplifier(ranges))


def simplify_kernel(k: Kernel, ranges: Mapping[str, Range] | None = None) -> Kernel:
    """`k` with its body simplified; sizes not in `ranges` are taken to be at least 0."""
    known = {name: Range(0, None) for name in k.sizes} | dict(ranges or {})
    return replace(k, body=_stmt(k.body, Simplifier(known)))


def _stmt(s: Stmt, using: Simplifier) -> Stmt:
    match s:
        case Store(buffer, index, value, mask):
            mask = _mask(mask, using)
            if mask is not None and _is(mask, False):
                return EMPTY
            return Store(buffer, _each(index, using), using.simplify(value), mask)
        case Block(stmts):
            return block([_stmt(x, using) for x in stmts])
        case For():
            return _for(s, using)
        case If(cond, then, otherwise):
            return _if(cond, then, otherwise, using)
        case Let(var, value, body):
            value = using.simplify(value)
            if isinstance(value, Const | Var):
                using.bind(var, value)
                return _stmt(body, using)
            using.bind(var, Range(*using.interval(value)) if value.dtype.is_integer else Range(None, None))
            body = _stmt(body, using)
            return EMPTY if body == EMPTY else Let(var, value, body)
        case Alloc(buffer, body):
            body = _stmt(body, using)
            return EMPTY if body == EMPTY else Alloc(_buffer(buffer, using), body)
        case Barrier():
            return s
        case Check(cond, code, message):
            cond = using.simplify(cond)
            return EMPTY if _is(cond, True) else Check(cond, code, message)
        case Prefetch(buffer, index, write):
            return Prefetch(buffer, _each(index, using), write)
        case _:
            assert_never(s)


def _for(s: For, using: Simplifier) -> Stmt:
    lower, upper = using.simplify(s.lower), using.simplify(s.upper)
    least, greatest = using.interval(upper - lower)
    if greatest <= 0:
        return EMPTY
    if least > 0 and greatest <= s.step:
        if not any(isinstance(x, Load) for x in walk(lower)):
            using.bind(s.var, lower)
            return _stmt(s.body, using)
        return _stmt(Let(s.var, lower, s.body), using)
    last = using.interval(upper)[1] - 1
    if isinstance(lower, Const):
        last -= (last - int(lower.value)) % s.step
    using.bind(s.var, Range(using.interval(lower)[0], last))
    body = _stmt(s.body, using)
    return EMPTY if body == EMPTY else replace(s, lower=lower, upper=upper, body=body)


def _if(cond: Expr, then: Stmt, otherwise: Stmt | None, using: Simplifier) -> Stmt:
    simple = using.simplify(cond)
    if _is(simple, True):
        return _stmt(then, using)
    if _is(simple, False):
        return EMPTY if otherwise is None else _stmt(otherwise, using)
    yes = _stmt(then, using.assuming(simple, True))
    no = EMPTY if otherwise is None else _stmt(otherwise, using.assuming(simple, False))
    if yes == EMPTY:
        return EMPTY if no == EMPTY else If(using.simplify(Unary("not", simple)), no)
    return If(simple, yes, None if no == EMPTY else no)


def _each(index: tuple[Expr, ...], using: Simplifier) -> tuple[Expr, ...]:
    return tuple([using.simplify(i) for i in index])


def _mask(mask: Expr | None, using: Simplifier) -> Expr | None:
    if mask is None:
        return None
    mask = using.simplify(mask)
    return None if _is(mask, True) else mask


def _buffer(buffer: Buffer, using: Simplifier) -> Buffer:
    return replace(buffer, shape=_each(buffer.shape, using))


def _is(e: Expr, truth: bool) -> bool:
    """Whether every lane of `e` is the constant `truth`."""
    e = e.operand if isinstance(e, Broadcast) else e
    return isinstance(e, Const) and e.value is truth
