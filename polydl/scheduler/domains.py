"""Iteration domains written another way: the same points, the axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polydl.dsl.function import Axis, Computation, Function
from polydl.dsl.polyhedral import from_affine, scop_of
from polydl.errors import NotApplicable
from polydl.ir.expr import Expr, Var
from polydl.ir.expr import walk as walk_expr
from polydl.poly.affine import Affine, dim
from polydl.poly.model import Scop
from polydl.poly.projection import image, same_domain

__all__ = ["kept_axes_first", "names_in"]


def names_in(e: Expr) -> frozenset[str]:
    """The variables of an expression."""
    return frozenset(x.name for x in walk_expr(e) if isinstance(x, Var))


def kept_axes_first(scop: Scop, function: Function, c: Computation) -> Computation:
    """A reduction over the same points in which no bound of what is kept depends on what is reduced.

    `for i < n: for k < i: y[k] += …` becomes `for k < n - 1: for k < i < n: …`. NotApplicable where the domain is not
    one of affine bounds.
    """
    reduced = set(c.reduction.axes) if c.reduction is not None else set()
    if not any(names_in(e) & reduced for a in c.axes if a.name not in reduced for e in (a.lower, a.upper)):
        return c
    order = sorted((a.name for a in c.axes), key=lambda name: name in reduced)  # stable
    axes: list[Axis] = []
    conditions: list[Expr] = []
    for k, name in enumerate(order):
        known = order[: k + 1]
        lower, upper = _bounds(name, image(scop, c.name, tuple(map(dim, known)), tuple(known)))
        if not lower or not upper:
            raise NotApplicable(f"axis {name} of {c.name} has no affine bounds")
        axes.append(Axis(name, from_affine(lower[0]), from_affine(upper[0] + 1)))
        conditions += [axes[-1].var >= from_affine(e) for e in lower[1:]]
        conditions += [axes[-1].var <= from_affine(e) for e in upper[1:]]
    new = replace(c, axes=tuple(axes), conditions=tuple(conditions))
    changed = scop_of(replace(function, computations=(new,), order=None))
    if not same_domain(scop, changed, c.name):
        raise NotApplicable(f"the domain of {c.name} is none of affine bounds along {', '.join(order)}")
    return new


def _bounds(name: str, constraints: Sequence[Affine]) -> tuple[list[Affine], list[Affine]]:
    """The least and greatest values of a name that expressions, none of them negative, allow."""
    lower, upper = [], []
    for e in constraints:
        match dict(e.terms).get(name):
            case 1:
                lower.append(dim(name) - e)
            case -1:
                upper.append(dim(name) + e)
            case _:
                pass
    return lower, upper
