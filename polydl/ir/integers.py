"""Operators on integers in linear form: division, extrema and comparisons, decided by intervals where they can be."""

from __future__ import annotations

from math import gcd
from typing import Final

from polydl.ir.affine import Linear, LinearSpace
from polydl.ir.expr import Binary, Const, Expr
from polydl.ir.nodes import literal_of
from polydl.ir.semantics import apply_binary, constant, wrap

__all__ = ["SWAPPED", "compare", "integer_binary"]

SWAPPED: Final = {"gt": "lt", "ge": "le"}
_MIRRORED: Final = {"lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}


def integer_binary(space: LinearSpace, op: str, a: Linear, b: Linear) -> Linear:
    """`a op b` for every operator but the comparisons."""
    match op:
        case "add":
            return space.add(a, b)
        case "sub":
            return space.add(a, b, -1)
        case "mul":
            return space.mul(a, b)
    lanes = max(a.lanes, b.lanes)
    if not a.terms and not b.terms:
        literals = (Const(wrap(x.const, x.dtype), x.dtype) for x in (a, b))
        value = apply_binary(op, *map(constant, literals))
        return space.constant(int(value), a.dtype, lanes)
    (alow, ahigh, aexact), (blow, bhigh, bexact) = space.interval(a), space.interval(b)
    low: int | None = None
    high: int | None = None
    match op:
        case "floordiv" | "mod" | "div" if not b.terms and (op != "div" or (alow >= 0 and b.const >= 0)):
            k = wrap(b.const, b.dtype)
            if k == 0:
                return space.constant(0, a.dtype, lanes)
            if k > 0:
                result = space.mod(a, k) if op == "mod" else space.floordiv(a, k)
                return Linear(result.const, result.terms, result.dtype, lanes)
        case "floordiv" | "mod" | "div" if alow >= 0 and blow > 0:
            if ahigh < blow:
                return (
                    Linear(a.const, a.terms, a.dtype, lanes)
                    if op == "mod"
                    else space.constant(0, a.dtype, lanes)
                )
            low, high = 0, min(ahigh, bhigh - 1) if op == "mod" else ahigh // blow
        case "min" | "max":
            difference = space.add(a, b, -1)
            gap = space.exact_bounds(difference) if aexact and bexact else (alow - bhigh, ahigh - blow)
            if gap[1] <= 0 or gap[0] >= 0:
                x = a if (gap[1] <= 0) == (op == "min") else b
                return Linear(x.const, x.terms, x.dtype, lanes)
            choose = min if op == "min" else max
            low, high = choose(alow, blow), choose(ahigh, bhigh)
            return _extremum(space, op, a, b, low, high)
    node = space.binary(op, space.rebuild(a), space.rebuild(b))
    return space.atom(node, a.dtype, low, high)


def _extremum(space: LinearSpace, op: str, a: Linear, b: Linear, low: int, high: int) -> Linear:
    """min or max as a chain that starts with the smallest key and ends with the constant, each operand once."""
    operands: dict[int, Expr] = {}
    for x in (a, b):
        rest = space.rebuild(x)
        while isinstance(rest, Binary) and rest.op == op:
            operands[id(rest.b)] = rest.b
            rest = rest.a
        operands[id(rest)] = rest
    ordered = sorted(operands.values(), key=lambda e: (literal_of(e) is not None, space.key(e)))
    literals = [x for x in map(literal_of, ordered) if x is not None]
    choose = min if op == "min" else max
    if len(literals) > 1:
        best = choose(int(c.value) for c in literals)
        ordered = [
            *ordered[: -len(literals)],
            space.fit(space.literal(best, a.dtype), max(a.lanes, b.lanes)),
        ]
    chain = ordered[0]
    for operand in ordered[1:]:
        chain = space.binary(op, chain, operand)
    return space.atom(chain, a.dtype, low, high)


def compare(space: LinearSpace, op: str, a: Linear, b: Linear) -> Expr:
    """`a op b` for a comparison: decided by intervals, else with common terms cancelled."""
    lanes = max(a.lanes, b.lanes)
    original = space.binary(op, space.rebuild(a), space.rebuild(b))
    if op in SWAPPED:
        op, a, b = SWAPPED[op], b, a
    (alow, ahigh, aexact), (blow, bhigh, bexact) = space.interval(a), space.interval(b)
    exact = aexact and bexact
    difference = space.add(a, b, -1)
    low, high = space.exact_bounds(difference) if exact else (alow - bhigh, ahigh - blow)
    decided = _decide(op, low, high)
    if decided is None and exact and difference.terms:
        content = gcd(*difference.terms.values())
        if op in ("eq", "ne") and difference.const % content:
            decided = op == "ne"
    if decided is not None:
        return space.fit(space.truth(decided), lanes)
    if exact:
        reduced = _reduced_comparison(space, op, difference, content)
        if reduced is not None:
            return space.fit(reduced, lanes)
    return original


def _reduced_comparison(space: LinearSpace, op: str, d: Linear, content: int) -> Expr | None:
    """`d op 0` as `positive terms op negative terms + constant`, divided by the content of the terms."""
    limit = -(d.const // content) if op == "lt" else -d.const // content
    left = Linear(0, {t: c // content for t, c in d.terms.items() if c > 0}, d.dtype)
    right = Linear(limit, {t: -c // content for t, c in d.terms.items() if c < 0}, d.dtype)
    if not left.terms:
        op, left, right = _MIRRORED[op], Linear(0, right.terms, d.dtype), Linear(-limit, {}, d.dtype)
    elif limit < 0 and right.terms:
        left, right = Linear(-limit, left.terms, d.dtype), Linear(0, right.terms, d.dtype)
    for side in (left, right):
        if not space.interval(side).exact:
            return None
        side.lanes = max((space.lanes_of(atom) for atom, _ in space.atoms(side)), default=1)
    return space.binary(op, space.rebuild(left), space.rebuild(right))


def _decide(op: str, low: int, high: int) -> bool | None:
    """The truth of `d op 0` for `low <= d <= high`, where it is settled."""
    match op:
        case "lt":
            return True if high < 0 else False if low >= 0 else None
        case "le":
            return True if high <= 0 else False if low > 0 else None
        case _:
            equal = True if low == high == 0 else False if low > 0 or high < 0 else None
            return equal if equal is None or op == "eq" else not equal
