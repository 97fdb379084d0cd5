"""Exact linear programming: numbers that add inequalities up to a contradiction, or a point that satisfies them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from polydl.certificate.terms import Form

__all__ = ["contradiction"]


def contradiction(
    forms: Sequence[Form],
) -> tuple[dict[int, Fraction], None] | tuple[None, dict[str, Fraction]]:
    """For inequalities `form >= 0`: factors >= 0 by number with which they add up to -1, or a point that meets them.

    The first phase of the simplex method on the factors: one equation for each variable and one for the constant;
    Bland's rule, so that it ends. Where no factors exist, the equations' prices are the point.
    """
    names = sorted({n for f in forms for n in f if n})
    height, width = len(names) + 1, len(forms)
    # Columns: the factors, then one artificial variable for each equation. Signs such that the right side is >= 0.
    rows: list[list[Fraction]] = []
    for r, name in enumerate([*names, ""]):
        sign = -1 if not name else 1
        row = [Fraction(sign * f.get(name, 0)) for f in forms]
        row += [Fraction(int(k == r)) for k in range(height)]
        rows.append([*row, Fraction(int(not name))])
    basis = [width + r for r in range(height)]
    # Reduced costs of minimising the sum of the artificial variables; the last entry is minus that sum.
    cost = [-sum((row[c] for row in rows), Fraction(0)) for c in range(width)]
    cost += [Fraction(0)] * height + [-Fraction(1)]
    while True:
        column = next((c for c in range(width) if cost[c] < 0), None)
        if column is None:
            break
        _, _, leaving = min(
            (row[-1] / row[column], basis[r], r) for r, row in enumerate(rows) if row[column] > 0
        )
        _pivot(rows, cost, leaving, column)
        basis[leaving] = column
    if cost[-1] == 0:
        return {b: rows[r][-1] for r, b in enumerate(basis) if b < width and rows[r][-1]}, None
    prices = [1 - cost[width + r] for r in range(height)]
    # prices . column <= 0 for every form, with the constant's sign turned: the point is the prices by the last one.
    return None, {name: -prices[r] / prices[-1] for r, name in enumerate(names)}


def _pivot(rows: list[list[Fraction]], cost: list[Fraction], r: int, column: int) -> None:
    pivot = rows[r][column]
    rows[r] = pivoted = [x / pivot if x else x for x in rows[r]]
    used = [(k, x) for k, x in enumerate(pivoted) if x]
    for other in [*(row for n, row in enumerate(rows) if n != r), cost]:
        factor = other[column]
        if factor:
            for k, x in used:
                other[k] -= factor * x
