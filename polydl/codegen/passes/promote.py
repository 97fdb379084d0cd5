"""Places that a loop keeps updating, held in registers while it runs.

before:  for k in 0..K: { C[i, j:j+8] = C[i, j:j+8] + …; C[i+1, j:j+8] = C[i+1, j:j+8] + … }
after:   if 0 < K: r[0] = C[i, j:j+8]; r[1] = C[i+1, j:j+8]
         for k in 0..K: { r[0] = r[0] + …; r[1] = r[1] + … }
         if 0 < K: C[i, j:j+8] = r[0]; C[i+1, j:j+8] = r[1]

The back end's compiler does that itself for one place; rows of a symbolic length it cannot tell apart, while the loop
IR can: their subscripts differ by a constant. Nor does it hold what is masked, as pieces of vectors at an edge are:

before:  for k in 0..K: { if n > 8: C[i, 8:16] = C[i, 8:16] where v < n + … where v < n }
after:   if 0 < K: { if n > 8: r[0] = C[i, 8:16] where v < n }
         for k in 0..K: { if n > 8: r[0] = r[0] + … }
         if 0 < K: { if n > 8: C[i, 8:16] = r[0] where v < n }

So are places that straight-line code outside of loops updates more than once under a mask: to load what a masked store
has just written takes many cycles.

Only loops whose body is straight-line code are touched (innermost ones, after unrolling), but for conditions that stay
the same in the loop, and only where every access to the buffer in it is such a place, or the loop owns the buffer: then
its other reads are of other cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from polydl.codegen.passes.walk import buffer_names, contains, first_lane, memory_types
from polydl.dtypes import INDEX, DType
from polydl.ir.expr import Const, Expr, Load, Ramp, ReduceLanes, children, transform
from polydl.ir.kernel import (
    Alloc,
    Barrier,
    Binding,
    Block,
    Buffer,
    Check,
    For,
    If,
    Kernel,
    Let,
    Memory,
    Prefetch,
    Stmt,
    Store,
)
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


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a buffer is updated, and when: conditions that hold in all iterations or none, and lanes."""

    index: Index
    conditions: tuple[Expr, ...]
    mask: Expr | None

    def guarded(self, s: Stmt) -> Stmt:
        return _guarded(self.conditions, s)


def promote(kernel: Kernel) -> Kernel:
    """Kernel → kernel whose innermost loops update registers."""
    types, taken = memory_types(kernel), buffer_names(kernel)

    def visit(s: Stmt) -> Stmt:
        return _loop(s, types, taken) if isinstance(s, For) else s

    body = map_stmts(kernel.body, visit)
    return replace(
        kernel, body=map_stmts(body, lambda s: _block(s, types, taken) if isinstance(s, Block) else s)
    )


def _block(s: Block, types: dict[str, DType], taken: set[str]) -> Stmt:
    """Statements one after the other that update masked places more than once, on registers."""
    straight = _straight(s, (), bound_names(s))
    masked = [] if straight is None else [x for x in stores(s) if x.mask is not None and x.buffer in types]
    again = {x.buffer for x in masked if sum(x.index == y.index for y in masked) > 1}
    result: Stmt = s
    for buffer in sorted(again):
        places = _places(s, (), straight or [], buffer, bound_names(s))
        if places is not None and len(places) <= _MOST and all(p.mask is not None for p in places):
            if result is s:
                result = _grouped(s, straight or [], buffer)
            result = _promoted(result, buffer, places, types[buffer], taken)
    return result


def _loop(s: For, types: dict[str, DType], taken: set[str]) -> Stmt:
    if s.binding is not Binding.SEQUENTIAL:
        return s
    moving = bound_names(s.body) | {s.var}
    straight = _straight(s.body, (), moving)
    result: Stmt = s
    for buffer in dict.fromkeys(x.buffer for x in stores(s.body)) if straight is not None else ():
        places = _places(s.body, s.owned, straight or [], buffer, moving) if buffer in types else None
        if places is not None and (
            _LEAST <= len(places) <= _MOST or any(p.conditions or p.mask is not None for p in places)
        ):
            if result is s:
                result = replace(s, body=_grouped(s.body, straight or [], buffer))
            result = _promoted(result, buffer, places, types[buffer], taken)
    return result if result is s else If(s.lower < s.upper, result)


def _grouped(s: Stmt, straight: list[tuple[tuple[Expr, ...], Stmt]], buffer: str) -> Stmt:
    """`s` with what has the same conditions together, tested once; itself where that may change what is read.

    Places of `buffer`, which are apart, wait for their own earlier values alone where nothing else is stored.
    """
    groups: dict[tuple[Expr, ...], list[Stmt]] = {}
    for conditions, x in straight:
        if not isinstance(x, Store) or x.buffer != buffer:
            return s
        if any(y.index != x.index and y.index in _stored(s, buffer) for y in loads(x, buffer)):
            return s
        groups.setdefault(conditions, []).append(x)
    if len(groups) < 2:
        return s
    return block(_guarded(conditions, block(inside)) for conditions, inside in groups.items())


def _stored(s: Stmt, buffer: str) -> set[Index]:
    return {x.index for x in stores(s, buffer)}


def _guarded(conditions: tuple[Expr, ...], s: Stmt) -> Stmt:
    for condition in reversed(conditions):
        s = If(condition, s)
    return s


def _straight(
    s: Stmt, conditions: tuple[Expr, ...], moving: frozenset[str]
) -> list[tuple[tuple[Expr, ...], Stmt]] | None:
    """The statements one after the other, each with the conditions around it; None unless these stay the same."""
    match s:
        case If(cond, then, None) if not (free_variables(cond) & moving or loads(cond)):
            return _straight(then, (*conditions, cond), moving)
        case Block(stmts):
            parts = [_straight(x, conditions, moving) for x in stmts]
            return [y for x in parts if x is not None for y in x] if None not in parts else None
        case Let(body=body) if not contains(body, If):
            return [(conditions, s)] if not contains(body, For, Alloc, Barrier, Check) else None
        case Store() | Prefetch():
            return [(conditions, s)]
        case _:
            return None


def _places(
    s: Stmt,
    owned: tuple[str, ...],
    straight: list[tuple[tuple[Expr, ...], Stmt]],
    buffer: str,
    moving: frozenset[str],
) -> list[_Place] | None:
    """All accesses to a buffer in `s`; None unless they stay the same and never overlap."""
    stored = _stored(s, buffer)
    found: dict[Index, _Place] = {}
    for conditions, statement in straight:
        accesses: list[Store | Load] = [*stores(statement, buffer), *loads(statement, buffer)]
        for x in accesses:
            if x.index in stored:
                place = _Place(x.index, conditions, x.mask)
                if x.mask is not None and isinstance(x, Load) and not _only_updates(statement, x):
                    return None
                if found.setdefault(x.index, place) != place:
                    return None
            elif buffer not in owned:
                return None
    for place in found.values():
        fixed = (*place.index, *([] if place.mask is None else [place.mask]))
        if any(free_variables(e) & moving or loads(e) for e in fixed):
            return None
    lanes = {_lanes(p) for p in found}
    if len(lanes) != 1 or lanes == {0}:
        return None
    places = list(found)
    apart = all(_apart(a, b) for k, a in enumerate(places) for b in places[:k])
    return list(found.values()) if apart else None


def _only_updates(s: Stmt, old: Load) -> bool:
    """Whether a masked value goes nowhere but, lane by lane, back to its own place: in memory the lanes left out read
    as 0, in a register they hold anything."""
    back = isinstance(s, Store) and s.buffer == old.buffer and s.index == old.index
    return back and isinstance(s, Store) and old not in _joined(s.value)


def _joined(e: Expr) -> list[Load]:
    """The loads of which other lanes are made, or subscripts."""
    match e:
        case ReduceLanes():
            return loads(e)
        case Load(index=index):
            return [x for i in index for x in loads(i)]
        case _:
            return [x for child in children(e) for x in _joined(child)]


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


def _promoted(current: Stmt, buffer: str, places: list[_Place], dtype: DType, taken: set[str]) -> Stmt:
    """`current` (the statements, perhaps already wrapped) with the places in a register buffer."""
    lanes = _lanes(places[0].index)
    name = fresh_name(f"{buffer}.kept", taken)
    taken.add(name)
    column: Expr = Ramp(Const(0, INDEX), 1, lanes) if lanes > 1 else Const(0, INDEX)
    kept: dict[Index, Index] = {p.index: (Const(k, INDEX), column) for k, p in enumerate(places)}

    def load(e: Expr) -> Expr:
        here = isinstance(e, Load) and e.buffer == buffer and e.index in kept
        return Load(name, kept[e.index], e.dtype) if here and isinstance(e, Load) else e

    def statement(s: Stmt) -> Stmt:
        here = isinstance(s, Store) and s.buffer == buffer
        return Store(name, kept[s.index], s.value) if here and isinstance(s, Store) else s

    start = [p.guarded(Store(name, kept[p.index], Load(buffer, p.index, dtype, p.mask))) for p in places]
    finish = [p.guarded(Store(buffer, p.index, Load(name, kept[p.index], dtype), p.mask)) for p in places]
    body = map_stmts(map_expressions(current, lambda e: transform(e, load)), statement)
    registers = Buffer(name, dtype, (Const(len(places), INDEX), Const(lanes, INDEX)), Memory.REGISTER)
    return Alloc(registers, block([*start, body, *finish]))
