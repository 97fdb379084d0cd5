"""Places that a loop keeps updating, held in registers while it runs.

before:  for k in 0..K: { C[i, j:j+8] = C[i, j:j+8] + …; C[i+1, j:j+8] = C[i+1, j:j+8] + … }
after:   if 0 < K: r[0] = C[i, j:j+8]; r[1] = C[i+1, j:j+8]
         for k in 0..K: { r[0] = r[0] + …; r[1] = r[1] + … }
         if 0 < K: C[i, j:j+8] = r[0]; C[i+1, j:j+8] = r[1]

The back end's compiler does that itself for one place; rows of a symbolic length it cannot tell apart, while the loop
IR can: their subscripts differ by a constant. Only loops whose body is straight-line code are touched (innermost ones,
after unrolling), and only where every access to the buffer in it is such a place, or the loop owns the buffer: then
its other reads are of other cells.
"""

from __future__ import annotations

from dataclasses import replace

from polydl.codegen.passes.walk import buffer_names, first_lane, is_straight, memory_types
from polydl.dtypes import INDEX, DType
from polydl.ir.expr import Const, Expr, Load, Ramp, transform
from polydl.ir.kernel import Alloc, Binding, Buffer, For, If, Kernel, Memory, Stmt, Store
from polydl.ir.rewrite import (
    block,
    bound_names,
    free_variables,
    fresh_name,
    loads,
    map_expressions,
    map_stmts,
    stores,
)
from polydl.ir.simplify import simplify

__all__ = ["promote"]

_LEAST = 2  # places: one is left to the compiler of the back end
_MOST = 64  # more than any register file holds
Index = tuple[Expr, ...]


def promote(kernel: Kernel) -> Kernel:
    """Kernel → kernel whose innermost loops update registers."""
    types, taken = memory_types(kernel), buffer_names(kernel)

    def visit(s: Stmt) -> Stmt:
        return _loop(s, types, taken) if isinstance(s, For) and is_straight(s) else s

    return replace(kernel, body=map_stmts(kernel.body, visit))


def _loop(s: For, types: dict[str, DType], taken: set[str]) -> Stmt:
    if s.binding is not Binding.SEQUENTIAL:
        return s
    moving = bound_names(s.body) | {s.var}
    result: Stmt = s
    for buffer in dict.fromkeys(x.buffer for x in stores(s.body)):
        places = _places(s, buffer, moving) if buffer in types else None
        if places is not None and _LEAST <= len(places) <= _MOST:
            result = _promoted(result, s, buffer, places, types[buffer], taken)
    return result


def _places(s: For, buffer: str, moving: frozenset[str]) -> list[Index] | None:
    """The subscripts of all accesses to a buffer; None unless they stay the same in the loop and never overlap."""
    body = s.body
    accesses: list[Store | Load] = [*stores(body, buffer), *loads(body, buffer)]
    if buffer in s.owned:
        stored = {x.index for x in stores(body, buffer)}
        accesses = [x for x in accesses if x.index in stored]
    if any(x.mask is not None for x in accesses):
        return None
    places = list(dict.fromkeys(x.index for x in accesses))
    if any(free_variables(e) & moving or loads(e) for place in places for e in place):
        return None
    if {x.index for x in stores(body, buffer)} != set(places):
        return None
    lanes = {_lanes(p) for p in places}
    if len(lanes) != 1 or lanes == {0}:
        return None
    apart = all(_apart(a, b) for k, a in enumerate(places) for b in places[:k])
    return places if apart else None


def _lanes(place: Index) -> int:
    """The lanes of an access that is contiguous along its last subscript; 0 for any other."""
    if any(e.lanes != 1 for e in place[:-1]):
        return 0
    first = first_lane(place[-1]) if place else None
    return 1 if not place else 0 if first is None else place[-1].lanes


def _apart(a: Index, b: Index) -> bool:
    """Whether two places have no cell in common: some subscript differs by a constant of at least the lanes."""
    for x, y in zip(a, b, strict=True):
        first, other = first_lane(x), first_lane(y)
        difference = None if first is None or other is None else simplify(first - other)
        if isinstance(difference, Const) and abs(int(difference.value)) >= x.lanes:
            return True
    return False


def _promoted(
    current: Stmt, loop: For, buffer: str, places: list[Index], dtype: DType, taken: set[str]
) -> Stmt:
    """`current` (the loop, perhaps already wrapped) with the places in a register buffer."""
    lanes = _lanes(places[0])
    name = fresh_name(f"{buffer}.kept", taken)
    taken.add(name)
    column: Expr = Ramp(Const(0, INDEX), 1, lanes) if lanes > 1 else Const(0, INDEX)
    kept: dict[Index, Index] = {p: (Const(k, INDEX), column) for k, p in enumerate(places)}

    def load(e: Expr) -> Expr:
        here = isinstance(e, Load) and e.buffer == buffer and e.index in kept
        return Load(name, kept[e.index], e.dtype) if here and isinstance(e, Load) else e

    def statement(s: Stmt) -> Stmt:
        here = isinstance(s, Store) and s.buffer == buffer
        return Store(name, kept[s.index], s.value) if here and isinstance(s, Store) else s

    start = block(Store(name, r, Load(buffer, p, dtype)) for p, r in kept.items())
    finish = block(Store(buffer, p, Load(name, r, dtype)) for p, r in kept.items())
    body = map_stmts(map_expressions(current, lambda e: transform(e, load)), statement)
    registers = Buffer(name, dtype, (Const(len(places), INDEX), Const(lanes, INDEX)), Memory.REGISTER)
    return Alloc(registers, If(loop.lower < loop.upper, block([start, body, finish])))
