"""The body of a VECTOR loop for all lanes at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import assert_never

from polydl.dtypes import BOOL, INDEX, DType
from polydl.ir.expr import (
    Binary,
    Broadcast,
    Call,
    Const,
    Expr,
    Load,
    Ramp,
    ReduceLanes,
    Select,
    Var,
    and_,
    map_children,
    not_,
    walk,
)
from polydl.ir.kernel import Alloc, Barrier, Block, Check, For, If, Let, Prefetch, Stmt, Store
from polydl.ir.rewrite import all_expressions, block, loads, walk_stmts
from polydl.ir.semantics import limits
from polydl.ir.simplify import linear

__all__ = ["Lanes", "NotVectorisable", "identity"]

_REDUCTIONS = frozenset({"add", "mul", "min", "max", "and", "or"})


class NotVectorisable(Exception):
    """The body has no spelling with vectors; never leaves the pass."""


def identity(op: str, dtype: DType) -> Const:
    """The neutral element of a reduction operator."""
    if op in ("and", "or"):
        return Const(op == "and", BOOL)
    if op in ("add", "mul"):
        if dtype.is_float:
            return Const(-0.0 if op == "add" else 1.0, dtype)  # x + 0.0 would turn -0.0 into 0.0
        return Const(0 if op == "add" else 1, dtype)
    if dtype.is_float:
        return Const(math.inf if op == "min" else -math.inf, dtype)
    low, high = limits(dtype)
    return Const(high if op == "min" else low, dtype)


class Lanes:
    """Rewrites statements over `var` for the lanes `ramp` (a vector of `width` values of `var`), in a loop that owns
    some buffers."""

    def __init__(self, var: str, ramp: Ramp, width: int, owned: tuple[str, ...] = ()) -> None:
        self.var = var
        self.owned = owned
        self.width = width
        self.bindings: dict[str, Expr] = {var: ramp}
        self.private: set[str] = set()  # buffers with one copy per lane
        self.tail: Expr | None = None

    # ---- expressions -----------------------------------------------------------------------------

    def varies(self, e: Expr) -> bool:
        """Whether lanes may have different values of `e`."""
        return any(
            (isinstance(x, Var) and x.name in self.bindings)
            or (isinstance(x, Load) and x.buffer in self.private)
            for x in walk(e)
        )

    def expr(self, e: Expr, mask: Expr | None) -> Expr:
        """`e` for all lanes; loads happen in the lanes of `mask` only."""
        match e:
            case Var(name=name):
                return self.bindings.get(name, e)
            case Load(buffer=buffer, index=index, mask=own):
                new = tuple(self.expr(i, mask) for i in index)
                if buffer in self.private:
                    new = (*new, self._lane_numbers())
                inner = None if own is None else self.expr(own, mask)
                return replace(e, index=new, mask=self._load_mask(_both(mask, inner), new))
            case Select(cond=cond, a=a, b=b) if self.varies(cond):
                test = self.expr(cond, mask)
                return Select(test, self.expr(a, _both(mask, test)), self.expr(b, _both(mask, not_(test))))
            case Ramp() | Broadcast() | ReduceLanes():
                if self.varies(e):
                    raise NotVectorisable
                return e
            case _:
                return map_children(e, lambda x: self.expr(x, mask))

    def _load_mask(self, mask: Expr | None, index: tuple[Expr, ...]) -> Expr | None:
        """The mask of a load: where all lanes read one element, whether any lane does."""
        if mask is None or mask.lanes == 1 or any(i.lanes > 1 for i in index):
            return mask
        return None if mask is self.tail else ReduceLanes("or", mask)

    def _lane_numbers(self) -> Expr:
        return Ramp(Const(0, INDEX), 1, self.width)

    # ---- statements ------------------------------------------------------------------------------

    def stmt(self, s: Stmt, mask: Expr | None) -> Stmt:
        """`s` for all lanes of `mask` (None: all), at least one of which is set."""
        self._refuse_recurrences(s)
        self.tail = mask
        return self._stmt(s, mask)

    def _stmt(self, s: Stmt, mask: Expr | None) -> Stmt:
        match s:
            case Block(stmts=stmts):
                return block([self._stmt(x, mask) for x in stmts])
            case For(lower=lower, upper=upper, body=body):
                if self.varies(lower) or self.varies(upper):
                    raise NotVectorisable
                return replace(s, body=self._stmt(body, mask), owned=())  # not when lanes run at once
            case If(cond=cond, then=then, otherwise=otherwise):
                if not self.varies(cond):
                    other = None if otherwise is None else self._stmt(otherwise, mask)
                    return If(cond, self._stmt(then, mask), other)
                test = self.expr(cond, mask)
                first = self._stmt(then, _both(mask, test))
                if otherwise is None:
                    return first
                if {x.buffer for x in walk_stmts(then) if isinstance(x, Store)} & {
                    x.buffer for x in loads(cond)
                }:
                    raise NotVectorisable  # the branch would change its own condition
                return block((first, self._stmt(otherwise, _both(mask, not_(test)))))
            case Let(var=var, value=value, body=body):
                if not self.varies(value):
                    return Let(var, value, self._stmt(body, mask))
                vector = self.expr(value, mask)
                if vector.lanes == 1:
                    vector = Broadcast(vector, self.width)
                self.bindings[var] = Var(var, value.dtype, self.width)
                result = Let(var, vector, self._stmt(body, mask))
                del self.bindings[var]
                return result
            case Store():
                return self._store(s, mask)
            case Alloc(buffer=buffer, body=body):
                self.private.add(buffer.name)
                shape = (*buffer.shape, Const(self.width, INDEX))
                return Alloc(replace(buffer, shape=shape), self._stmt(body, mask))
            case Check(cond=cond):
                test = self.expr(cond, mask)
                if mask is not None:
                    test = Binary("or", not_(mask), test)
                return replace(s, cond=ReduceLanes("and", test) if test.lanes > 1 else test)
            case Prefetch(index=index):
                ramps = {name: e for name, e in self.bindings.items() if isinstance(e, Ramp)}
                first = replace(s, index=_of_lane(index, {name: e.base for name, e in ramps.items()}))
                if not s.write:
                    return first  # what is read in order: the next vector brings the rest
                # A vector that starts inside a line ends in the next one, and an update waits for both.
                ends = {name: e.base + e.stride * (e.lanes - 1) for name, e in ramps.items()}
                return block((first, replace(s, index=_of_lane(index, ends))))
            case Barrier():
                raise NotVectorisable
            case _:
                assert_never(s)

    def _store(self, s: Store, mask: Expr | None) -> Stmt:
        own = None if s.mask is None else self.expr(s.mask, mask)
        if any(self.varies(i) for i in s.index) or s.buffer in self.private:
            if _update(s) is not None and s.buffer not in self.private and not self._distinct(s.index):
                raise NotVectorisable  # lanes that update one element would lose all updates but the last
            index = tuple(self.expr(i, mask) for i in s.index)
            if s.buffer in self.private:
                index = (*index, self._lane_numbers())
            return Store(s.buffer, index, self.expr(s.value, _both(mask, own)), _both(mask, own))
        return self._reduction(s, _both(mask, own))

    def _distinct(self, index: tuple[Expr, ...]) -> bool:
        """Whether lanes certainly have different subscripts: one of them moves by the same step from lane to lane."""
        others = [name for name in self.bindings if name != self.var]
        forms = [f for f in (linear(i, list(self.bindings)) for i in index) if f is not None]
        return any(f.coefficient(self.var) != 0 and not any(map(f.coefficient, others)) for f in forms)

    def _reduction(self, s: Store, mask: Expr | None) -> Stmt:
        """`x = x op f(v)` for an `x` common to all lanes."""
        found = _update(s)
        if found is None or self.varies(found[1]) is False:
            raise NotVectorisable
        op, term = found
        reduce = "add" if op == "sub" else op
        vector = self.expr(term, mask)
        if mask is not None:
            vector = Select(mask, vector, identity(reduce, vector.dtype))
        old = Load(s.buffer, s.index, s.value.dtype)
        store = Store(s.buffer, s.index, Binary(op, old, ReduceLanes(reduce, vector)))
        # Where no lane runs, the place may not exist, or be another thread's.
        return store if mask is None or mask is self.tail else If(ReduceLanes("or", mask), store)

    def _refuse_recurrences(self, s: Stmt) -> None:
        """A location common to all lanes may only be updated by reductions, and not be read otherwise."""
        private = {x.buffer.name for x in walk_stmts(s) if isinstance(x, Alloc)}
        for store in walk_stmts(s):
            if (
                not isinstance(store, Store)
                or store.buffer in private
                or any(self._may_vary(i, s) for i in store.index)
            ):
                continue
            updates = [x for x in walk_stmts(s) if isinstance(x, Store) and x.buffer == store.buffer]
            reads = [e for e in all_expressions(s) if isinstance(e, Load) and e.buffer == store.buffer]
            if store.buffer in self.owned:
                reads = [e for e in reads if any(e.index == x.index for x in updates)]
            if any(_update(x) is None for x in updates) or len(reads) != len(updates):
                raise NotVectorisable
            if len({_family(x) for x in updates}) != 1:
                raise NotVectorisable  # x += a; x *= b does not commute over lanes

    def _may_vary(self, e: Expr, s: Stmt) -> bool:
        """`varies`, counting the Lets of `s` whose values vary."""
        names = set(self.bindings)
        for x in walk_stmts(s):
            if isinstance(x, Let) and any(isinstance(v, Var) and v.name in names for v in walk(x.value)):
                names.add(x.var)
        return any(isinstance(v, Var) and v.name in names for v in walk(e))


def _both(a: Expr | None, b: Expr | None) -> Expr | None:
    return b if a is None else a if b is None else and_(a, b)


def _family(s: Store) -> str:
    found = _update(s)
    return "" if found is None else "add" if found[0] == "sub" else found[0]


def _update(s: Store) -> tuple[str, Expr] | None:
    """(op, term) where the statement is `x = x op term`."""
    old = Load(s.buffer, s.index, s.value.dtype)
    match s.value:
        case Binary(op=op, a=a, b=b) if op in _REDUCTIONS and a == old:
            return op, b
        case Binary(op=op, a=a, b=b) if op in _REDUCTIONS and b == old:
            return op, a
        case Binary(op="sub", a=a, b=b) if a == old:
            return "sub", b
        case Call(function="fma", operands=(x, y, c)) if c == old:
            return "add", x * y
        case _:
            return None


def _of_lane(index: tuple[Expr, ...], values: dict[str, Expr]) -> tuple[Expr, ...]:
    """Subscripts in the lane in which variables have these values."""

    def scalar(e: Expr) -> Expr:
        return values.get(e.name, e) if isinstance(e, Var) else map_children(e, scalar)

    return tuple(map(scalar, index))
