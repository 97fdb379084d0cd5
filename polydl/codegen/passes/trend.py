"""Whether the iterations of a loop differ in work all along its range, as those of a triangle do.

    for i: for j in 0..i                                     one more iteration of j for each of i: yes
    for i: for j in max(0, 32*i - T)..min(32, 32*i + N)      32 iterations of j but at both ends: no

The trip count of a loop inside is the least difference of an upper and a lower bound. Each difference moves by its
slope in one iteration of the loop around. One that does not move, a tile's width, is reached by the others within
width/slope iterations: a triangle where those are many, an end of the range where they are few.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Final

from polydl.ir.expr import Binary, Const, Expr, Var
from polydl.ir.kernel import For
from polydl.ir.rewrite import free_variables, walk_stmts
from polydl.ir.simplify import simplify

__all__ = ["uneven"]

# Iterations until a tile is whole that still count as an end: tiles of time and space need one or two, triangles as
# many as the loop has. Contiguous ranges lose at most half the work of so many iterations.
_END: Final = 4


def uneven(loop: For) -> bool:
    """Whether a loop inside of `loop` has more and more, or less and less, iterations over its range."""
    return any(_trend(inner, loop.var) for inner in walk_stmts(loop.body) if isinstance(inner, For))


def _trend(inner: For, var: str) -> bool:
    bounds = product(_bounds(inner.upper, "min"), _bounds(inner.lower, "max"))
    counts = [simplify(upper - lower) for upper, lower in bounds]
    slopes = [abs(slope) for count in counts if (slope := _slope(count, var))]
    width = min((count.value for count in counts if isinstance(count, Const)), default=None)
    return any(width is None or width > _END * slope for slope in slopes)


def _bounds(e: Expr, combined: str) -> list[Expr]:
    """The expressions whose least (`combined` "min") or greatest ("max") `e` is; a constant that keeps them from
    crossing, as in max(i, 0) of an upper bound, is none of them."""
    if not isinstance(e, Binary) or e.op not in ("min", "max"):
        return [e]
    both = [*_bounds(e.a, combined), *_bounds(e.b, combined)]
    return both if e.op == combined else [x for x in both if not isinstance(x, Const)]


def _slope(e: Expr, var: str) -> Fraction:
    """By how much `e` changes in one iteration of `var`, on average; 0 where it comes back, as i % 4 does."""
    match e:
        case Var(name=name):
            return Fraction(name == var)
        case Binary(op="add", a=a, b=b):
            return _slope(a, var) + _slope(b, var)
        case Binary(op="sub", a=a, b=b):
            return _slope(a, var) - _slope(b, var)
        case (
            Binary(op="mul", a=a, b=Const(value=int(factor)))
            | Binary(op="mul", a=Const(value=int(factor)), b=a)
        ):
            return _slope(a, var) * factor
        case Binary(op="floordiv", a=a, b=Const(value=int(divisor))) if divisor > 0:
            return _slope(a, var) / divisor
        case Binary(op="mul", a=a, b=b) if var in free_variables(a) or var in free_variables(b):
            return Fraction(1)  # by a size that is not known: it grows
        case _:
            return Fraction(0)
