"""Spelling VECTOR loops with explicit vectors.

before:  for v in 0..32 vector(32): C[i, v] = C[i, v] + a * B[k, v]
after:   C[i, 0:16]  = C[i, 0:16]  + a * B[k, 0:16]
         C[i, 16:32] = C[i, 16:32] + a * B[k, 16:32]

The loop is cut into pieces of the machine's width, each of which turns `v` into a ramp. What stands under a
condition on `v` is masked. `x = x op f(v)` with `x` the same for all lanes combines the lanes first. A body that
has no such spelling (a loop whose bounds depend on `v`, a recurrence) runs sequentially.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, assert_never

from polydl.codegen.passes.lanes import Lanes, NotVectorisable
from polydl.dtypes import BOOL, INDEX
from polydl.ir.expr import Cast, Const, Expr, Load, Ramp, Var
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
from polydl.ir.rewrite import all_expressions, block, map_substatements, substitute_stmt, walk_stmts
from polydl.ir.simplify import Range, bounds
from polydl.targets import Target

__all__ = ["Vectorize"]

# Pieces spelled one after the other; more become a loop over pieces. A 4 x 64 tile is four pieces of 16.
_MOST_PIECES: Final = 8


@dataclass(frozen=True, slots=True)
class Vectorize:
    """Kernel → kernel without VECTOR loops."""

    target: Target
    most_pieces: int = _MOST_PIECES

    def __call__(self, kernel: Kernel) -> Kernel:
        ranges = {size: Range(0, None) for size in kernel.sizes}
        return replace(kernel, body=self._stmt(kernel.body, ranges))

    def _stmt(self, s: Stmt, ranges: dict[str, Range]) -> Stmt:
        match s:
            case For(binding=Binding.VECTOR):
                # An inner vector loop of a vector loop: the outer one wins, lanes do not nest.
                return self._loop(replace(s, body=_sequential(s.body)), ranges)
            case For(var=var, lower=lower, upper=upper):
                low, high = bounds(lower, ranges).low, bounds(upper, ranges).high
                inner = ranges | {var: Range(low, None if high is None else high - 1)}
                return replace(s, body=self._stmt(s.body, inner))
            case Block() | If() | Alloc() | Let():
                return map_substatements(s, lambda x: self._stmt(x, ranges))
            case Store() | Barrier() | Check() | Prefetch():
                return s
            case _:
                assert_never(s)

    def _loop(self, s: For, ranges: dict[str, Range]) -> Stmt:
        sequential = replace(s, binding=Binding.SEQUENTIAL, length=None)
        if s.step != 1 or not (isinstance(s.lower, Const) and s.lower.value == 0):
            return sequential
        most = bounds(s.upper, ranges).high
        length = min(x for x in (s.length, most) if x is not None) if (s.length or most) else None
        if length is None or length <= 0:
            return sequential
        width = min(self.target.lanes(_widest_element(s.body, self.target)), _power_of_two_above(length))
        try:
            return self._cut(s, sequential, length, width)
        except NotVectorisable:
            return sequential

    def _cut(self, s: For, sequential: For, length: int, width: int) -> Stmt:
        """The pieces of a loop over at most `length` lanes."""
        constant = isinstance(s.upper, Const)
        if constant:
            return self._pieces(s, length, width)
        if not self.target.masked_vectors:
            # Without cheap masks: vectors for the full length, scalars for what the planned lanes exceed.
            return If(s.upper >= length, self._pieces(s, length, width), sequential)
        result: list[Stmt] = []
        for base in range(0, length, width):
            piece = self._piece(s, Const(base, INDEX), width, s.upper)
            result.append(If(s.upper > base, piece))
        return block(result)

    def _pieces(self, s: For, length: int, width: int) -> Stmt:
        """All of a constant number of lanes."""
        full, rest = divmod(length, width)
        result: list[Stmt] = []
        if full > self.most_pieces:
            start = f"{s.var}.v"
            body = self._piece(s, Var(start), width, None)
            result.append(
                For(start, Const(0, INDEX), Const(full * width, INDEX), body, Binding.SEQUENTIAL, width)
            )
        else:
            result += [self._piece(s, Const(k * width, INDEX), width, None) for k in range(full)]
        base = full * width
        if rest and self.target.masked_vectors and rest & (rest - 1):
            result.append(self._piece(s, Const(base, INDEX), _power_of_two_above(rest), Const(length, INDEX)))
            return block(result)
        while rest:  # in powers of two: 7 lanes are 4 + 2 + 1
            part = 1 << (rest.bit_length() - 1)
            result.append(self._piece(s, Const(base, INDEX), part, None))
            base, rest = base + part, rest - part
        return block(result)

    def _piece(self, s: For, base: Expr, width: int, upper: Expr | None) -> Stmt:
        """Lanes base … base + width - 1, of which those below `upper` run."""
        if width == 1:
            return substitute_stmt(s.body, {s.var: base})
        lanes = Ramp(base, 1, width)
        mask = None if upper is None else lanes < upper
        return Lanes(s.var, lanes, width, s.owned).stmt(s.body, mask)


def _sequential(s: Stmt) -> Stmt:
    if isinstance(s, For):
        binding = Binding.SEQUENTIAL if s.binding == Binding.VECTOR else s.binding
        return replace(s, body=_sequential(s.body), binding=binding)
    return map_substatements(s, _sequential)


def _widest_element(body: Stmt, target: Target) -> int:
    """Bytes of the widest element that the body computes with. Subscript arithmetic does not count: it is scalar but
    for gathers."""
    widest = 1
    for e in all_expressions(body):
        if isinstance(e, Load | Cast) and not (isinstance(e, Cast) and e.dtype == INDEX):
            widest = max(widest, e.dtype.bytes)
    for s in walk_stmts(body):
        if isinstance(s, Store) and s.value.dtype != BOOL:
            widest = max(widest, s.value.dtype.bytes)
    return min(widest, target.vector_bytes)


def _power_of_two_above(n: int) -> int:
    return 1 << (n - 1).bit_length()
