"""How far loops run, with every symbolic size at a typical value: what the cost model counts with.

A loop of a schedule moves one axis of a statement: `i` all of it, `floor(i/8)` in steps of 8, `i mod 8` inside a tile,
and `t + i` the axis that loops further out have not fixed yet. The product of all trip counts is the number of
instances of the statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import floor
from typing import Final

from polydl.dsl.function import StatementDef
from polydl.dsl.polyhedral import to_affine
from polydl.ir.expr import Binary, Expr, Var
from polydl.poly.affine import Affine, Atom, FloorDiv, Mod, dim
from polydl.poly.model import Scop
from polydl.poly.paths import Path
from polydl.poly.tree import Member

__all__ = ["Loop", "axis_extents", "loops_on", "typical_sizes"]

# Of a size that is an extent of tensors of this rank: arrays of some tens of megabytes, lines that fit the first cache.
_BY_RANK: Final = {1: 2000.0, 2: 1200.0, 3: 150.0}
_OTHERWISE: Final = 500.0  # of a size that is the extent of no tensor (numbers of steps), or of ranks beyond


@lru_cache(maxsize=64)
def typical_sizes(
    scop: Scop, temporary: frozenset[str] = frozenset(), conditions: tuple[Expr, ...] = ()
) -> Mapping[str, float]:
    """A typical value of each symbolic size: the more dimensions its tensors have, the smaller.

    `temporary` tensors say nothing of sizes: transformations make them, with dimensions for tiles and windows. Where
    `conditions` say that a size is a sum of others, its value is: no domain has instances at sizes that break one.
    """
    sizes = dict.fromkeys(scop.parameters, (_OTHERWISE, 0))
    for name, box in scop.tensors:
        if name in temporary:
            continue
        rank = len(box.upper)
        for size in {n for e in box.upper for n in e.names()}:
            if size in sizes and rank > sizes[size][1]:
                sizes[size] = (_BY_RANK.get(rank, 50.0), rank)
    found = {name: value for name, (value, _) in sizes.items()}
    for c in conditions:
        match c:
            case Binary(op="eq", a=Var(name=name), b=b) if name in found and (e := to_affine(b)) is not None:
                found[name] = _value(e, found)
            case _:
                continue
    return found


def axis_extents(s: StatementDef, sizes: Mapping[str, float]) -> dict[str, float]:
    """The mean number of values of each axis, outer axes at their mean."""
    here = dict(sizes)
    extents = {}
    limits = [x for c in s.conditions for x in _limits(c)]
    for a in s.axes:
        lower, upper = to_affine(a.lower), to_affine(a.upper)
        low = 0.0 if lower is None else _value(lower, here)
        high = low + _OTHERWISE if upper is None else _value(upper, here)
        for e in limits:  # e >= 0
            coefficient = dict(e.terms).get(a.name)
            if coefficient in (1, -1) and e.names() <= {a.name, *here}:
                end = _value(e - dim(a.name) * coefficient, here)
                low, high = (max(low, -end), high) if coefficient == 1 else (low, min(high, end + 1))
        extents[a.name] = max(1.0, high - low)
        here[a.name] = low + (extents[a.name] - 1) / 2
    return extents


def _limits(condition: Expr) -> list[Affine]:
    """Affine expressions that a condition keeps from being negative, where it is a comparison."""
    match condition:
        case Binary(op="and", a=a, b=b):
            return [*_limits(a), *_limits(b)]
        case Binary(op="lt" | "le" | "gt" | "ge" as op, a=a, b=b):
            left, right = to_affine(a), to_affine(b)
            if left is None or right is None:
                return []
            difference = right - left if op in ("lt", "le") else left - right
            return [difference - (1 if op in ("lt", "gt") else 0)]
        case _:
            return []


def _value(e: Affine, at: Mapping[str, float]) -> float:
    total = float(e.constant)
    for atom, c in e.terms:
        match atom:
            case FloorDiv(dividend, divisor):
                total += c * floor(_value(dividend, at) / divisor)
            case Mod(_, modulus):
                total += c * (modulus - 1) / 2
            case _:
                total += c * at.get(atom, _OTHERWISE)
    return total


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop as one statement sees it: the axis it moves ("" for none), by how much, and how often.

    `share`: of its trips, those that one iteration of the loops around runs on average.
    """

    member: Member
    axis: str
    trips: float
    step: float
    sign: int = 1
    share: float = 1.0


def loops_on(path: Path, extents: Mapping[str, float]) -> tuple[Loop | None, ...]:
    """The loop of each coordinate of a path, None for a place in a sequence.

    A diagonal `a + b` around a loop over `a` moves b.
    """
    left = dict(extents)
    found: list[Loop | None] = []
    for k, c in enumerate(path.coordinates):
        if isinstance(c, Member):
            e = path.exprs[k]
            inside = {x.terms[0][0] for x in path.exprs[k + 1 :] if len(x.terms) == 1}
            own = tuple(t for t in e.terms if t[0] not in inside)
            loop = _loop(c, own if len(e.terms) > 1 and own else e.terms, left)
            found.append(replace(loop, share=_share(e, path.exprs[:k])))
        else:
            found.append(None)
    return tuple(found)


def _share(e: Affine, around: Iterable[Affine]) -> float:
    """A half across a diamond, which lines of both directions bound: `(i + t) mod W` where a loop around counts
    `floor((-i + t)/W)`."""
    for atom, _ in e.terms:
        if isinstance(atom, Mod):
            for other, _ in (term for x in around for term in x.terms):
                if isinstance(other, FloorDiv) and other.divisor == atom.modulus:
                    opposite = dict(other.dividend.terms)
                    if any(opposite.get(n) == -c for n, c in atom.dividend.terms):
                        return 0.5
    return 1.0


def _loop(m: Member, terms: Iterable[tuple[Atom, int]], left: dict[str, float]) -> Loop:
    """The loop, and what it leaves of each axis to loops inside it."""
    best = Loop(m, "", 1.0, 1.0)
    for atom, c in terms:
        match atom:
            case FloorDiv(dividend, size) | Mod(dividend, size):
                axis, sign, unit = _moved(dividend, left)
                units = left.get(axis, 1.0) / unit  # tiles of tiles: the loop counts whole inner ones
                tiles = isinstance(atom, FloorDiv)
                trips = max(1.0, units / size) if tiles else min(max(1.0, units), float(size))
                found = Loop(m, axis, trips, unit * (size if tiles else 1), sign * (1 if c > 0 else -1))
            case _ if atom in left:
                found = Loop(m, atom, left[atom], 1.0, 1 if c > 0 else -1)
            case _:
                continue
        if found.trips >= best.trips:
            best = found
    if best.axis:
        left[best.axis] = max(1.0, left[best.axis] / best.trips)
    return best


def _moved(e: Affine, left: Mapping[str, float]) -> tuple[str, int, float]:
    """The axis with most values left in an expression, the sign with which it is there, and by how much it moves when
    the expression does by one: 32 for floor(i/32)."""
    best, most, direction, step = "", 0.0, 1, 1.0
    for atom, c in e.terms:
        axis, sign, unit = _moved(atom.dividend, left) if isinstance(atom, FloorDiv | Mod) else (atom, 1, 1.0)
        if left.get(axis, 0.0) > most:
            best, most, direction = axis, left[axis], sign * (1 if c > 0 else -1)
            step = unit * (atom.divisor if isinstance(atom, FloorDiv) else 1)
    return best, direction, step
