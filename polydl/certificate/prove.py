"""Finding witnesses for the claims. What is found is checked by `check.py` like any other certificate.

Equations are used up first; what is left goes to linear programming. Where the rational shadow is not empty, a row is
rounded, a choice that the point misses is split, or the space is branched at a fraction, within a budget: beyond it, or
where the point is a real counter-example, the claim stays open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import gcd
from typing import Any, Final

from polydl.certificate.check import FORMAT, goals
from polydl.certificate.claims import Claim, claims
from polydl.certificate.region import Choice, Region
from polydl.certificate.simplex import contradiction
from polydl.certificate.statement import read_program
from polydl.certificate.terms import Compare, Condition, Every, Form, Some, combined

__all__ = ["certificate_text", "refute"]

_DEEPEST: Final = 12
_FILTER: Final = re.compile(r"(source |sink )taken ")
_WANTED: Final = ("level ", "outside")
_INNER: Final = re.compile(r"floor\(\((.*)\)/(\d+)\)$")
_NAME: Final = re.compile(r"[A-Za-z_][\w.]*")
_CANDIDATES: Final = 12  # forms tried before branching at one
_NODES: Final = 60  # linear programs for one set

Witness = dict[str, Any]
Factors = dict[str, Fraction]


def certificate_text(program: dict[str, Any]) -> str:
    """The certificate of a stated program (see `statement.py`): JSON with a witness for each claim, or "open"."""
    writer = _Writer()
    written = {claim.name: writer.claim(claim) for claim in claims(read_program(program))}
    proofs = list(writer.proofs)
    head = json.dumps({"format": FORMAT, "program": program})[:-1]
    lines = [f"{json.dumps(name)}: {json.dumps(entries)}" for name, entries in written.items()]
    parts = [head, ',\n"proofs": [\n', ",\n".join(proofs), '],\n"claims": {\n', ",\n".join(lines), "}}\n"]
    return "".join(parts)


class _Writer:
    """The witnesses found so far, each written once."""

    def __init__(self) -> None:
        self.proofs: dict[str, int] = {}
        self.known: dict[object, Any] = {}

    def claim(self, claim: Claim) -> list[dict[str, int]] | str:
        """The entries of a claim; what holds without the conditions of filters is found once for all paths."""
        bare = _without_filters(claim.region)
        key = (
            frozenset((n, r.equal, tuple(sorted(r.form.items()))) for n, r in bare.rows.items()),
            _levels(claim),
        )
        if key not in self.known:
            self.known[key] = self._entries(claim._replace(region=bare))
        found = self.known[key]
        if found is None:
            found = self._entries(claim)
        return "open" if found is None else found

    def _entries(self, claim: Claim) -> list[dict[str, int]] | None:
        entries: list[dict[str, int]] = []
        region = claim.region
        for k in range(len(claim.levels)):
            wanted, equal = goals(claim, k, region)
            entry: dict[str, int] = {}
            for side, goal in wanted.items():
                witness = refute(goal)
                if witness is None:
                    return None
                entry[side] = self._number(witness)
            entries.append(entry)
            region = equal
            if not claim.last and k + 1 < len(claim.levels):
                nothing = refute(region, 1)
                if nothing is not None:
                    return [*entries, {"empty": self._number(nothing)}]
        if claim.last:
            witness = refute(region)
            if witness is None:
                return None
            entries.append({"empty": self._number(witness)})
        return entries

    def _number(self, witness: Witness) -> int:
        return self.proofs.setdefault(json.dumps(witness), len(self.proofs))


def _levels(claim: Claim) -> object:
    return tuple((tuple(sorted(d.items())), o, a) for d, o, a in claim.levels), claim.last


def _without_filters(region: Region) -> Region:
    """The region without what comes from the filters of paths."""
    rows = {n: r for n, r in region.rows.items() if not _FILTER.match(n)}
    return Region(rows, {n: c for n, c in region.choices.items() if not _FILTER.match(n)})


# ---- one set ---------------------------------------------------------------------------------------------------------


def refute(region: Region, nodes: int = _NODES) -> Witness | None:
    """A witness that the region has no integer point; None where none is found."""
    return _Search(nodes).empty(region, 0)


@dataclass(frozen=True, slots=True)
class _Fact:
    """A form that is >= 0 (= 0 if `equal`): the sum of rows times their factors."""

    form: Form
    factors: Factors
    equal: bool = False

    def plus(self, other: _Fact, factor: int, scale: int = 1) -> _Fact:
        """`scale * this + factor * other`."""
        form = {n: scale * c for n, c in self.form.items()} if scale != 1 else self.form
        factors = {n: scale * c for n, c in self.factors.items()} if scale != 1 else dict(self.factors)
        for name, c in other.factors.items():
            value = factors.get(name, Fraction(0)) + factor * c
            if value:
                factors[name] = value
            else:
                factors.pop(name, None)
        return _Fact(combined(form, other.form, factor), factors, self.equal)


class _Search:
    def __init__(self, nodes: int) -> None:
        self.left = nodes

    def empty(self, region: Region, depth: int) -> Witness | None:
        if region.absurd:
            return {"sum": {}}
        if depth > _DEEPEST or self.left <= 0:
            return None
        self.left -= 1
        solved, facts, broken = _without_equations(region)
        if broken is not None:
            return self._from_equation(broken, region, depth)
        reduced = _strongest(facts)
        by_form = {_direction(f.form, 1): f for f in reduced}
        for fact in reduced:
            other = by_form.get(_direction(fact.form, -1))
            if other is not None and fact.form.get("", 0) + other.form.get("", 0) < 0:
                return {"sum": _written(fact.plus(other, 1).factors)}
        factors, point = contradiction([f.form for f in reduced])
        if factors is not None:
            total: Factors = {}
            for k, c in factors.items():
                for name, value in reduced[k].factors.items():
                    total[name] = total.get(name, Fraction(0)) + c * value
            return {"sum": _written({n: c for n, c in total.items() if c})}
        if point is None or self.left <= 0:
            return None
        return self._further(region, reduced, _completed(point, solved), depth)

    def _from_equation(self, broken: _Fact, region: Region, depth: int) -> Witness | None:
        """A constant that should be zero, or whole coefficients with a divisor that the constant has not."""
        value = broken.form.get("", 0)
        if set(broken.form) <= {""}:
            sign = -1 if value > 0 else 1
            return {"sum": _written({n: sign * c for n, c in broken.factors.items()})}
        turned = {n: -c for n, c in broken.factors.items()}
        return {
            "cut": _written(broken.factors),
            "then": {"cut": _written(turned), "then": {"sum": {f"cut {depth}": 1, f"cut {depth + 1}": 1}}},
        }

    def _further(
        self, region: Region, facts: list[_Fact], point: dict[str, Fraction], depth: int
    ) -> Witness | None:
        """The rational points are not empty: round, split or branch."""
        for fact in facts:
            divisor = gcd(*(c for n, c in fact.form.items() if n))
            constant = fact.form.get("", 0)
            if divisor > 1 and constant % divisor:
                rounded = {**{n: c // divisor for n, c in fact.form.items() if n}, "": constant // divisor}
                if _value(rounded, point) < 0:
                    smaller = region.copy()
                    smaller.add(f"cut {depth}", False, rounded)
                    then = self.empty(smaller, depth + 1)
                    return None if then is None else {"cut": _written(fact.factors), "then": then}
        for label, choice in region.choices.items():
            if not any(_holds(c, choice, region, point) for c in choice.alternatives):
                cases = []
                for k in range(len(choice.alternatives)):
                    case = self.empty(region.chosen(label, k), depth + 1)
                    if case is None:
                        return None
                    cases.append(case)
                return {"split": label, "cases": cases}
        form = self._parting(region, point, depth)
        if form is None:
            return None  # a counter-example, or no way to go on
        sides = []
        for side in _sides(region, form, depth):
            witness = self.empty(side, depth + 1)
            if witness is None:
                return None
            sides.append(witness)
        return {"branch": form, "below": sides[0], "above": sides[1]}

    def _parting(self, region: Region, point: dict[str, Fraction], depth: int) -> Form | None:
        """A form to branch at: below 0 or not, the point being between -1 and 0.

        Differences of two quotients of similar terms come first: they are nearly known.
        One that leaves a side empty at once is best.
        """
        wanted = {n for label, row in region.rows.items() if label.startswith(_WANTED) for n in row.form}
        pairs = [_Pair(a, b, wanted) for a, b in combinations(sorted(n for n in point if "/" in n), 2)]
        forms = [p.form for p in sorted(pairs, key=lambda p: p.rank) if p.form]
        forms += [{name: 1} for name in sorted(point)]
        values = [_value(form, point) for form in forms]
        parting = [
            combined(form, {"": -(value.numerator // value.denominator) - 1})
            for form, value in zip(forms, values, strict=True)
            if value.denominator != 1
        ]
        for form in parting[:_CANDIDATES]:
            if any(_Search(1).empty(side, depth) is not None for side in _sides(region, form, depth)):
                return form
        return parting[0] if parting else None


class _Pair:
    """Two quotients, the divisor of one a multiple of the other's, and how soon to branch at their difference."""

    def __init__(self, first: str, second: str, wanted: set[str]) -> None:
        (one, a), (two, b) = (_INNER.findall(n)[0] for n in (first, second))
        large, small = (first, second) if int(a) >= int(b) else (second, first)
        factor, rest = divmod(max(int(a), int(b)), min(int(a), int(b)))
        self.form: Form = {} if rest else {large: factor, small: -1}
        similar = set(_NAME.findall(one)) == set(_NAME.findall(two))
        self.rank = (not similar, not {first, second} <= wanted, factor, first, second)


def _sides(region: Region, form: Form, depth: int) -> list[Region]:
    """Where the form is <= -1, and where it is >= 0."""
    below, above = region.copy(), region.copy()
    below.add(f"branch {depth}", False, combined({"": -1}, form, -1))
    above.add(f"branch {depth}", False, form)
    return [below, above]


def _without_equations(region: Region) -> tuple[list[tuple[str, _Fact]], list[_Fact], _Fact | None]:
    """Equations solved one after the other, the other rows without the solved variables, and a broken equation."""
    equations = [_Fact(r.form, {n: Fraction(1)}, True) for n, r in region.rows.items() if r.equal]
    facts = [_Fact(r.form, {n: Fraction(1)}) for n, r in region.rows.items() if not r.equal]
    solved: list[tuple[str, _Fact]] = []
    while equations:
        # Units first: they keep whole numbers whole.
        equations.sort(key=lambda f: (min((abs(c) for n, c in f.form.items() if n), default=0), len(f.form)))
        chosen = equations.pop(0)
        named = [(abs(c), n) for n, c in chosen.form.items() if n]
        constant = chosen.form.get("", 0)
        divisor = gcd(*(c for c, _ in named)) if named else 0
        if (not named and constant) or (divisor and constant % divisor):
            scaled = {n: c / divisor for n, c in chosen.factors.items()} if divisor else chosen.factors
            return solved, facts, _Fact(chosen.form, scaled, True)
        if not named:
            continue
        if divisor > 1:
            form = {n: c // divisor for n, c in chosen.form.items()}
            chosen = _Fact(form, {n: c / divisor for n, c in chosen.factors.items()}, True)
            named = [(c // divisor, n) for c, n in named]
        pivot = min(named)[1]
        solved.append((pivot, chosen))
        equations = [_eliminated(f, pivot, chosen) for f in equations]
        facts = [_eliminated(f, pivot, chosen) for f in facts]
    return solved, facts, None


def _eliminated(fact: _Fact, name: str, equation: _Fact) -> _Fact:
    """A positive multiple of the fact plus a multiple of the equation, without the variable."""
    here = fact.form.get(name, 0)
    if not here:
        return fact
    there = equation.form[name]
    divisor = gcd(here, there)
    scale, factor = abs(there) // divisor, -here * (1 if there > 0 else -1) // divisor
    return fact.plus(equation, factor, scale)


def _strongest(facts: Iterable[_Fact]) -> list[_Fact]:
    """Of the facts with equal coefficients the one with the least constant; without those that are always true."""
    best: dict[object, _Fact] = {}
    for fact in facts:
        key = _direction(fact.form, 1)
        constant = fact.form.get("", 0)
        if not key and constant >= 0:
            continue
        if key not in best or constant < best[key].form.get("", 0):
            best[key] = fact
    return list(best.values())


def _direction(form: Form, sign: int) -> tuple[tuple[str, int], ...]:
    """The coefficients without the constant."""
    return tuple(sorted((n, sign * c) for n, c in form.items() if n))


def _completed(point: dict[str, Fraction], solved: list[tuple[str, _Fact]]) -> dict[str, Fraction]:
    """The point with the variables that equations give."""
    full = dict(point)
    for name, equation in reversed(solved):
        others = {n: c for n, c in equation.form.items() if n != name}
        for n in others:
            if n:
                full.setdefault(n, Fraction(0))
        full[name] = -_value(others, full) / equation.form[name]
    return full


def _value(form: Form, point: dict[str, Fraction]) -> Fraction:
    return sum((c * (point.get(n, Fraction(0)) if n else Fraction(1)) for n, c in form.items()), Fraction(0))


def _holds(condition: Condition, choice: Choice, region: Region, point: dict[str, Fraction]) -> bool:
    match condition:
        case Compare(term, equal):
            value = _value(region.form(term, choice.names), point)
            return value == 0 if equal else value >= 0
        case Every(parts):
            return all(_holds(c, choice, region, point) for c in parts)
        case Some(parts):
            return any(_holds(c, choice, region, point) for c in parts)


def _written(factors: Factors) -> dict[str, int | str]:
    return {n: c.numerator if c.denominator == 1 else str(c) for n, c in factors.items()}
