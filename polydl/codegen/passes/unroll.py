"""Spelling out UNROLL loops.

before:  for i in 0..2 unroll: S(i)              after:  S(0); S(1)
before:  for i in 0..n unroll: S(i), n <= 2      after:  if 0 < n: { S(0); if 1 < n: S(1) }
Loops too long to be spelled out, or of unbounded length, become sequential.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from polydl.ir.expr import Const, Expr
from polydl.ir.kernel import (
    Alloc,
    Barrier,
    Binding,
    Block,
    Check,
    For,
    If,
    Kernel,
    Let,
    Prefetch,
    Stmt,
    Store,
)
from polydl.ir.rewrite import block, map_substatements, substitute_stmt, walk_stmts
from polydl.ir.simplify import Range, bounds, simplify

__all__ = ["Unroll"]

# Stores after unrolling one nest. A register tile has some tens; the largest sensible body (28 accumulators by 16
# unrolled reduction steps) about 450. Beyond some thousand the code leaves the 32 KB instruction cache.
_MOST_STORES: Final = 2048


@dataclass(frozen=True, slots=True)
class Unroll:
    """Kernel → kernel without UNROLL loops."""

    most_stores: int = _MOST_STORES

    def __call__(self, kernel: Kernel) -> Kernel:
        ranges = {size: Range(0, None) for size in kernel.sizes}
        return replace(kernel, body=self._stmt(kernel.body, ranges))

    def _stmt(self, s: Stmt, ranges: dict[str, Range]) -> Stmt:
        match s:
            case For():
                inner = ranges | {s.var: _iterations(s, ranges)}
                return self._loop(replace(s, body=self._stmt(s.body, inner)), ranges)
            case Let(var=var, value=value, body=body):
                known = bounds(value, ranges) if value.dtype.is_integer else Range(None, None)
                return Let(var, value, self._stmt(body, ranges | {var: known}))
            case Block() | If() | Alloc():
                return map_substatements(s, lambda x: self._stmt(x, ranges))
            case Store() | Barrier() | Check() | Prefetch():
                return s

    def _loop(self, s: For, ranges: dict[str, Range]) -> Stmt:
        if s.binding != Binding.UNROLL:
            return s
        distance = bounds(s.upper - s.lower, ranges)
        if distance.high is None:
            return replace(s, binding=Binding.SEQUENTIAL)
        trips = -(-distance.high // s.step)
        if trips * _size(s.body) > self.most_stores:
            return replace(s, binding=Binding.SEQUENTIAL)
        exact = distance.low == distance.high
        result: Stmt = Block(())
        for k in reversed(range(trips)):
            here = _shift(s.lower, k * s.step)
            copy = substitute_stmt(s.body, {s.var: here})
            result = block((copy, result))
            if not exact:
                result = If(here < s.upper, result)
        return result


def _shift(lower: Expr, distance: int) -> Expr:
    if isinstance(lower, Const):
        return Const(int(lower.value) + distance, lower.dtype)
    return simplify(lower + distance)


def _size(s: Stmt) -> int:
    return max(1, sum(isinstance(x, Store) for x in walk_stmts(s)))


def _iterations(s: For, ranges: dict[str, Range]) -> Range:
    low, high = bounds(s.lower, ranges).low, bounds(s.upper, ranges).high
    return Range(low, None if high is None else high - 1)
