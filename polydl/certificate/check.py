"""The checker: whether a certificate proves what it says, by adding up inequalities with exact numbers.

A claim is proven by showing that sets of integer points are empty. A witness of that is one of

    {"sum": {label: factor}}                       the rows times these factors add up to a negative constant that must
                                                   be >= 0; factors of inequalities are not negative
    {"cut": {label: factor}, "then": witness}      the sum has whole coefficients; divided by their greatest common
                                                   divisor and rounded down it still holds for whole numbers, and is
                                                   the row `cut N` from here on
    {"split": label, "cases": [witness, …]}        one for each alternative of a choice
    {"branch": {variable: factor}, "below": witness, "above": witness}
                                                   a form is <= -1 or >= 0: rows `branch N`

The checker trusts nothing in the certificate but its statement of the program. The claims are its own (`claims.py`);
a claim that the certificate leaves out is missing, and one that it marks open is not certified.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Any, Final

from polydl.certificate.claims import Claim, claims
from polydl.certificate.region import Region, Row
from polydl.certificate.statement import read_program
from polydl.certificate.terms import Form, combined
from polydl.errors import InvalidProgram

__all__ = ["Report", "check_certificate", "goals"]

FORMAT: Final = "polydl certificate 1"
_DEEPEST: Final = 100
_NUMBER: Final = re.compile(r"-?\d{1,300}(/\d{1,300})?")
_LARGEST: Final = 200_000_000  # characters


@dataclass(frozen=True, slots=True)
class Report:
    """What the checker found; true as a condition where every claim is proven.

    `claims`: how many there are; `wrong`: those whose witness is missing or does not hold, each with the reason;
    `open`: those that the certificate itself leaves unproven.
    """

    claims: int
    wrong: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.wrong and not self.open

    def __str__(self) -> str:
        if self:
            return f"certified: {self.claims} claims proven"
        lines = [f"not certified: {len(self.wrong)} of {self.claims} claims wrong, {len(self.open)} open"]
        return "\n  ".join([*lines, *self.wrong, *(f"{name}: left open" for name in self.open)])


class _Wrong(Exception):
    """A witness does not hold."""


def check_certificate(text: str) -> Report:
    """Check a certificate as `Schedule.certificate` writes it. Never raises for what the text says."""
    try:
        if len(text) > _LARGEST:
            return Report(0, (f"the certificate has more than {_LARGEST} characters",))
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            return Report(0, (f"this is not a '{FORMAT}'",))
        listed = list(claims(read_program(data["program"])))
        proofs, given = list(data["proofs"]), dict(data["claims"])
    except (InvalidProgram, KeyError, TypeError, ValueError, RecursionError) as error:
        return Report(0, (f"the certificate cannot be read: {type(error).__name__} {error}",))
    wrong, left = [], []
    for claim in listed:
        entries = given.get(claim.name)
        if entries is None:
            wrong.append(f"{claim.name}: no witness")
        elif entries == "open":
            left.append(claim.name)
        else:
            try:
                _check(claim, entries, proofs)
            except _Wrong as reason:
                wrong.append(f"{claim.name}: {reason}")
            except (
                InvalidProgram,
                KeyError,
                IndexError,
                TypeError,
                ValueError,
                AttributeError,
                ZeroDivisionError,
            ) as e:
                wrong.append(f"{claim.name}: the witness cannot be read ({type(e).__name__})")
    return Report(len(listed), tuple(wrong), tuple(left))


def goals(claim: Claim, k: int, region: Region) -> tuple[dict[str, Region], Region]:
    """What must be empty at level `k` of a claim, given the points equal before; and the points equal there too."""
    level, wanted = claim.levels[k], dict[str, Region]()
    if level.ordered:
        wanted["below"] = region.copy()
        wanted["below"].add(f"level {k} below", False, combined({"": -1}, level.difference, -1))
    if level.apart:
        wanted["above"] = region.copy()
        wanted["above"].add(f"level {k} above", False, combined(level.difference, {"": -1}))
    equal = region.copy()
    equal.add(f"level {k}", True, level.difference)
    return wanted, equal


def _check(claim: Claim, entries: Any, proofs: list[Any]) -> None:
    """One entry for each level, and {"empty": proof} where nothing is left."""
    region = claim.region
    for k in range(len(claim.levels)):
        entry = entries[k]
        if "empty" in entry:
            _empty(region, proofs[entry["empty"]], 0)
            return
        wanted, region = goals(claim, k, region)
        for side, goal in wanted.items():
            _empty(goal, proofs[entry[side]], 0)
    if claim.last:
        _empty(region, proofs[entries[len(claim.levels)]["empty"]], 0)


def _empty(region: Region, witness: Any, depth: int) -> None:
    """Returns where the witness shows that the region has no integer point."""
    if depth > _DEEPEST:
        raise _Wrong("a witness is nested too deeply")
    if region.absurd:
        return
    match witness:
        case {"sum": dict(factors)}:
            total = _sum(region, factors)
            if set(total) - {""} or total.get("", 0) >= 0:
                raise _Wrong("the rows do not add up to a contradiction")
        case {"cut": dict(factors), "then": then}:
            total = _sum(region, factors)
            rounded = rounded_down(total)
            if rounded is None:
                raise _Wrong("a cut has coefficients that are not whole")
            smaller = region.copy()
            smaller.add(f"cut {depth}", False, rounded)
            _empty(smaller, then, depth + 1)
        case {"split": str(label), "cases": list(cases)}:
            if label not in region.choices or len(cases) != len(region.choices[label].alternatives):
                raise _Wrong(f"there is no choice '{label}' with {len(cases)} alternatives")
            for k, case in enumerate(cases):
                _empty(region.chosen(label, k), case, depth + 1)
        case {"branch": dict(form), "below": below, "above": above}:
            whole = {str(n): _whole(c) for n, c in form.items()}
            for side, sign, constant in ((below, -1, -1), (above, 1, 0)):
                smaller = region.copy()
                smaller.add(f"branch {depth}", False, combined({"": constant}, whole, sign))
                _empty(smaller, side, depth + 1)
        case _:
            raise _Wrong("a witness is of no known kind")


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Wrong("a coefficient is not a whole number")
    return value


def _sum(region: Region, factors: dict[Any, Any]) -> dict[str, Fraction]:
    """The rows times their factors, added up: a form that is >= 0 on the region."""
    total: dict[str, Fraction] = {}
    for label, text in factors.items():
        row: Row | None = region.rows.get(label)
        if row is None:
            raise _Wrong(f"there is no row '{label}'")
        if isinstance(text, str) and not _NUMBER.fullmatch(text):
            raise _Wrong("a factor is not a fraction")
        factor = Fraction(text) if isinstance(text, str) else Fraction(_whole(text))
        if factor < 0 and not row.equal:
            raise _Wrong(f"the inequality '{label}' is turned around")
        for name, c in row.form.items():
            total[name] = total.get(name, Fraction(0)) + factor * c
    return {n: c for n, c in total.items() if c}


def rounded_down(total: dict[str, Fraction]) -> Form | None:
    """A form that is >= 0, divided by the divisor of its coefficients, its constant rounded down; None if not whole."""
    if any(c.denominator != 1 for n, c in total.items() if n):
        return None
    divisor = gcd(*(int(c) for n, c in total.items() if n)) or 1
    constant = total.get("", Fraction(0)) / divisor
    whole = {n: int(c) // divisor for n, c in total.items() if n}
    return {**whole, "": constant.numerator // constant.denominator}
