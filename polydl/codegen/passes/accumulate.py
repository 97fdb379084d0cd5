"""Vector accumulators for reductions over lanes inside a loop.

before:  for k in 0..K: S[i] = S[i] + reduce_add(A[i, 16*k : 16*k+16])
after:   acc[0:16] = -0.0
         for k in 0..K: acc[0:16] = acc[0:16] + A[i, 16*k : 16*k+16]
         S[i] = S[i] + reduce_add(acc[0:16])

The lanes are combined once, after the loop, instead of in every iteration. The order of the reduction was free already.
Runs after vectorisation and unrolling, innermost loops first, so that an accumulator moves out as far as it can. What
is left over of the loop and follows it joins its accumulators (`leftovers`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from polydl.codegen.passes.lanes import identity
from polydl.codegen.passes.leftovers import Sum, Update, join_leftovers, update_of
from polydl.codegen.passes.walk import contains
from polydl.dtypes import INDEX
from polydl.ir.expr import Broadcast, Const, Expr
from polydl.ir.kernel import Alloc, Barrier, Binding, Block, Buffer, For, Kernel, Let, Memory, Stmt, Store
from polydl.ir.rewrite import (
    block,
    bound_names,
    free_variables,
    fresh_name,
    loads,
    map_stmts,
    stores,
    substatements,
    walk_stmts,
)
from polydl.ir.simplify import simplify

__all__ = ["accumulate"]

# Accumulators of one place in one loop: enough to cover the latency of an addition (4 cycles, two per cycle).
_MOST: Final = 8


def accumulate(kernel: Kernel) -> Kernel:
    """Kernel → kernel where loops keep partial results of lane reductions in vectors."""
    taken = {p.buffer.name for p in kernel.params}
    taken |= {s.buffer.name for s in walk_stmts(kernel.body) if isinstance(s, Alloc)}

    sums: dict[str, Sum] = {}

    def visit(s: Stmt) -> Stmt:
        match s:
            case For(binding=binding) if binding != Binding.PARALLEL:
                return _loop(s, taken, sums)
            case Block():
                return join_leftovers(s, sums)
            case _:
                return s

    return replace(kernel, body=map_stmts(kernel.body, visit))


def _loop(s: For, taken: set[str], sums: dict[str, Sum]) -> Stmt:
    """`s` with the accumulators of all the places it reduces into, which are added to `sums`."""
    found = [update for store in _certain(s.body) if (update := update_of(store)) is not None]
    if not found or contains(s.body, Barrier):
        return s
    inner = bound_names(s.body) | {s.var}
    private = {x.buffer.name for x in walk_stmts(s.body) if isinstance(x, Alloc)}
    groups: dict[tuple[str, tuple[Expr, ...]], list[Update]] = {}
    for update in found:
        store = update.store
        invariant = not any(free_variables(i) & inner or loads(i) for i in store.index)
        if invariant and store.buffer not in private:
            groups.setdefault((store.buffer, store.index), []).append(update)
    result: Stmt = s
    for (buffer, index), updates in groups.items():
        family = {u.reduce for u in updates}
        shapes = {(u.vector.lanes, u.vector.dtype) for u in updates}
        if len(family) == 1 and len(shapes) == 1 and _only_updated(s, buffer, index, updates):
            result = _hoist(result, s, updates, taken, sums)
    return result


def _certain(s: Stmt) -> Iterator[Store]:
    """The stores that every execution of `s` performs: the place they write certainly exists."""
    match s:
        case Store():
            yield s
        case For(lower=Const(value=low), upper=Const(value=high), body=body) if low < high:
            yield from _certain(body)
        case Block() | Let() | Alloc():
            for inner in substatements(s):
                yield from _certain(inner)


def _only_updated(s: For, buffer: str, index: tuple[Expr, ...], updates: list[Update]) -> bool:
    """Whether no other statement touches the place."""
    mine = [id(u.store) for u in updates]
    for store in stores(s.body, buffer):
        if id(store) not in mine and not _distinct(store.index, index):
            return False
    if buffer in s.owned:
        return True
    reads = [e for e in loads(s.body, buffer) if not _distinct(e.index, index)]
    return len(reads) == len(updates)


def _distinct(a: tuple[Expr, ...], b: tuple[Expr, ...]) -> bool:
    """Whether two subscripts differ by a constant in some dimension."""
    for x, y in zip(a, b, strict=True):
        difference = simplify(x - y)
        if isinstance(difference, Const) and difference.value != 0:
            return True
    return False


def _hoist(current: Stmt, loop: For, updates: list[Update], taken: set[str], sums: dict[str, Sum]) -> Stmt:
    """`current` (the loop, perhaps already wrapped) with these updates moved into accumulators."""
    first = updates[0]
    lanes, dtype = first.vector.lanes, first.vector.dtype
    count = min(len(updates), _MOST)
    name = fresh_name(f"{first.store.buffer}.lanes", taken)
    taken.add(name)
    sums[name] = made = Sum(name, first, count, loop.lower < loop.upper if _may_be_empty(loop) else None)
    targets = {id(u.store): (u, k % count) for k, u in enumerate(updates)}

    def spell(s: Stmt) -> Stmt:
        if not isinstance(s, Store) or id(s) not in targets:
            return s
        return made.accumulated(*targets[id(s)])

    neutral = Broadcast(identity(first.reduce, dtype), lanes)
    start = [Store(name, made.part(k), neutral) for k in range(count)]
    buffer = Buffer(name, dtype, (Const(count, INDEX), Const(lanes, INDEX)), Memory.REGISTER)
    return Alloc(buffer, block([*start, map_stmts(current, spell), made.finish()]))


def _may_be_empty(loop: For) -> bool:
    match loop:
        case For(lower=Const(value=low), upper=Const(value=high)):
            return low >= high
        case _:
            return True
