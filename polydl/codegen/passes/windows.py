"""Neighbours along a row read once: a window of registers that slides along it.

before:  for k in 0..K: B[8*k+1 : 8*k+9] = f(A[8*k : 8*k+8], A[8*k+1 : 8*k+9], A[8*k+2 : 8*k+10])
after:   if 0 < K:
           w[0:8] = A[0:8]
           for k in 0..K-1: { w[8:16] = A[8*k+8 : 8*k+16];  B[…] = f(w[0:8], w[1:9], w[2:10]);  w[0:8] = w[8:16] }
           B[…] = f(A[…], A[…], A[…])   at k = K-1

Where vectors are as long as lines of the cache, a vector that does not begin on one takes two of them, and what is
loaded again and again is most of a stencil's work: a row of a seven-point stencil in the first cache took 2.7 ns for
each vector of eight, 1.5 with a window (Zen 5). Reading the window at a shifted place is one shuffle.

The window is loaded ahead of its uses, so only buffers that the loop does not store to have one, and the last iteration
reads what it reads: nothing outside of what the loop accesses is touched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from polydl.codegen.passes.walk import buffer_names, certain_loads, first_lane, is_straight, memory_types
from polydl.dtypes import INDEX, DType
from polydl.ir.expr import Const, Expr, Load, Ramp, substitute, transform
from polydl.ir.kernel import Alloc, Binding, Buffer, For, If, Kernel, Memory, Stmt, Store
from polydl.ir.rewrite import (
    block,
    bound_names,
    free_variables,
    fresh_name,
    map_expressions,
    map_stmts,
    stores,
    substitute_stmt,
)
from polydl.ir.simplify import linear, simplify
from polydl.targets import Target

__all__ = ["Windows"]

_ELEMENTS: Final = (4, 8)  # bytes that one instruction shifts from one vector into another
# Vectors carried from one iteration to the next, of all windows of a loop. Loops over several rows at once need a
# pointer for each, and with four windows LLVM kept those of a five-point stencil in memory: 155 ms instead of 138.
_MOST: Final = 2


@dataclass(frozen=True, slots=True)
class _Window:
    """Loads of one row: `places` is the distance of each, in elements, from the first; `advance` that of iterations."""

    first: Load
    places: dict[Load, int]
    lanes: int
    advance: int

    @property
    def vectors(self) -> int:
        return -(-max(self.places.values()) // self.lanes) + 1

    @property
    def carried(self) -> int:
        """Vectors that the next iteration has already."""
        return max(0, self.vectors - self.advance // self.lanes)

    @property
    def pays(self) -> bool:
        """Whether some vectors are loaded in several positions, and fewer loads are left."""
        return any(x % self.lanes for x in self.places.values()) and self.carried > 0

    def at(self, vector: int) -> Load:
        """The load of a vector of the window."""
        return replace(self.first, index=_moved(self.first, vector * self.lanes))


@dataclass(frozen=True, slots=True)
class Windows:
    """Kernel → kernel whose innermost loops load each vector of a row once."""

    target: Target

    def __call__(self, kernel: Kernel) -> Kernel:
        if self.target.vector_bytes < self.target.line_bytes:
            return kernel
        types, taken = memory_types(kernel), buffer_names(kernel)

        def visit(s: Stmt) -> Stmt:
            return self._loop(s, types, taken) if isinstance(s, For) and is_straight(s) else s

        return replace(kernel, body=map_stmts(kernel.body, visit))

    def _loop(self, s: For, types: dict[str, DType], taken: set[str]) -> Stmt:
        if s.binding is not Binding.SEQUENTIAL or s.instruction:
            return s
        changed = {x.buffer for x in stores(s.body)}
        windows = _windows(s, {b for b in types if b not in changed}, self.target)
        if not windows or sum(w.carried for w in windows) > _MOST:
            return s
        last = simplify(s.lower + (s.upper - 1 - s.lower) // s.step * s.step)
        start: list[Stmt] = []
        ahead: list[Stmt] = []
        slide: list[Stmt] = []
        here: dict[Load, Load] = {}
        buffers: list[Buffer] = []
        for w in windows:
            name = fresh_name(f"{w.first.buffer}.window", taken)
            taken.add(name)
            for k in range(w.vectors):
                load = w.at(k)
                if k < w.carried:
                    begin = replace(load, index=tuple(_at(i, s.var, s.lower) for i in load.index))
                    start.append(Store(name, _part(k * w.lanes, w.lanes), begin))
                    again = Load(name, _part((k + w.vectors - w.carried) * w.lanes, w.lanes), load.dtype)
                    slide.append(Store(name, _part(k * w.lanes, w.lanes), again))
                else:
                    ahead.append(Store(name, _part(k * w.lanes, w.lanes), load))
            here |= {e: Load(name, _part(d, w.lanes), e.dtype) for e, d in w.places.items()}
            shape = (Const(w.vectors * w.lanes, INDEX),)
            buffers.append(Buffer(name, types[w.first.buffer], shape, Memory.REGISTER))

        def redirect(e: Expr) -> Expr:
            return here.get(e, e) if isinstance(e, Load) else e

        body = map_expressions(s.body, lambda e: transform(e, redirect))
        loop = replace(s, upper=last, body=block([*ahead, body, *slide]), owned=())
        result: Stmt = block([*start, loop])
        for buffer in buffers:
            result = Alloc(buffer, result)
        return If(s.lower < s.upper, block([result, substitute_stmt(s.body, {s.var: last})]))


def _windows(s: For, buffers: set[str], target: Target) -> list[_Window]:
    """The rows that the loop reads in several positions, each a vector or less from another: rows of an array that is
    flat are as far apart as they are long."""
    moving = bound_names(s.body)
    rows: list[dict[Load, int]] = []
    for e in dict.fromkeys(certain_loads(s.body)):
        if e.buffer not in buffers or not _qualifies(e, s, moving, target):
            continue
        for row in rows:
            distance = _distance(next(iter(row)), e)
            if distance is not None and any(abs(distance - d) <= e.lanes for d in row.values()):
                row[e] = distance
                break
        else:
            rows.append({e: 0})
    found = []
    for row in rows:
        first = min(row, key=lambda e: row[e])
        places = {e: d - row[first] for e, d in row.items()}
        w = _Window(first, places, first.index[-1].lanes, _advance(first, s))
        if w.pays:
            found.append(w)
    return found


def _qualifies(e: Load, s: For, moving: frozenset[str], target: Target) -> bool:
    """Whether a load is a whole vector of neighbours that the next iteration moves by whole vectors."""
    if not e.index or any(i.lanes > 1 for i in e.index[:-1]):
        return False
    lanes = e.index[-1].lanes
    if lanes != target.lanes(e.dtype.bytes) or e.dtype.bytes not in _ELEMENTS:
        return False
    if any(free_variables(i) & moving for i in e.index) or first_lane(e.index[-1]) is None:
        return False
    if any(s.var in free_variables(i) for i in e.index[:-1]):
        return False
    advance = _advance(e, s)
    return advance > 0 and advance % lanes == 0


def _advance(e: Load, s: For) -> int:
    """Elements by which an iteration of the loop moves a load; 0 where that is not known."""
    first = first_lane(e.index[-1])
    form = None if first is None else linear(first, (s.var,))
    return 0 if form is None else form.coefficient(s.var) * s.step


def _distance(a: Load, b: Load) -> int | None:
    """Elements from one load to another of the same row; None where they are of different rows."""
    if a.buffer != b.buffer or a.index[-1].lanes != b.index[-1].lanes:
        return None
    first, second = first_lane(a.index[-1]), first_lane(b.index[-1])
    if first is None or second is None:
        return None
    apart = [simplify(y - x) for x, y in zip((*a.index[:-1], first), (*b.index[:-1], second), strict=True)]
    if not all(isinstance(x, Const) for x in apart):
        return None
    numbers = [int(x.value) for x in apart if isinstance(x, Const)]
    return None if any(numbers[:-1]) else numbers[-1]


def _moved(e: Load, by: int) -> tuple[Expr, ...]:
    first = first_lane(e.index[-1])
    base = e.index[-1] if first is None else Ramp(simplify(first + by), 1, e.index[-1].lanes)
    return (*e.index[:-1], base)


def _part(start: int, lanes: int) -> tuple[Expr, ...]:
    return (Ramp(Const(start, INDEX), 1, lanes),)


def _at(e: Expr, var: str, value: Expr) -> Expr:
    """A subscript at one iteration."""
    return Ramp(simplify(substitute(e.base, {var: value})), e.stride, e.lanes) if isinstance(e, Ramp) else e
