"""Sets of integer points as labelled linear constraints: what a claim says is empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, assert_never

from polydl.certificate.terms import Compare, Condition, Every, Floor, Form, Some, Term, combined
from polydl.errors import InvalidProgram

__all__ = ["Choice", "Region", "Row"]


class Row(NamedTuple):
    """`form = 0` if `equal`, else `form >= 0`."""

    equal: bool
    form: Form


class Choice(NamedTuple):
    """At least one of the alternatives holds, where names mean these variables."""

    alternatives: tuple[Condition, ...]
    names: Mapping[str, str]


@dataclass(slots=True)
class Region:
    """The integer points that satisfy every row and every choice. Rows and choices are known by their labels.

    A floor division is a variable of its own, named by its text and bounded by two rows; such a variable exists for
    every point, so that adding it takes nothing away. `absurd`: some row is false without looking at any variable.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    absurd: bool = False

    def copy(self) -> Region:
        return Region(dict(self.rows), dict(self.choices), self.absurd)

    def add(self, label: str, equal: bool, form: Form) -> None:
        """One more constraint. A label stands for one constraint only."""
        if set(form) <= {""}:
            value = form.get("", 0)
            self.absurd = self.absurd or (value != 0 if equal else value < 0)
            return
        if label in self.rows:
            raise InvalidProgram(f"two constraints of a claim are called '{label}'")
        self.rows[label] = Row(equal, form)

    def form(self, term: Term, names: Mapping[str, str]) -> Form:
        """The term as a linear form over the variables; its floor divisions become variables of the region."""
        total: Form = {"": term.constant} if term.constant else {}
        for atom, c in term.parts:
            if isinstance(atom, Floor):
                total = combined(total, {self._quotient(atom, names): 1}, c)
            elif atom in names:
                total = combined(total, {names[atom]: 1}, c)
            else:
                raise InvalidProgram(f"a formula of the certificate uses the unknown name '{atom}'")
        return total

    def _quotient(self, atom: Floor, names: Mapping[str, str]) -> str:
        inner = self.form(atom.inner, names)
        name = f"floor(({_text(inner)})/{atom.divisor})"
        if f"{name} from below" not in self.rows:
            rest = combined(inner, {name: 1}, -atom.divisor)
            self.rows[f"{name} from below"] = Row(False, rest)
            above = combined({"": atom.divisor - 1}, rest, -1)
            self.rows[f"{name} from above"] = Row(False, above)
        return name

    def require(self, label: str, condition: Condition, names: Mapping[str, str]) -> None:
        """Only the points that satisfy the condition. The parts of a conjunction are labelled `label.0`, …"""
        match condition:
            case Compare(term, equal):
                self.add(label, equal, self.form(term, names))
            case Every(parts):
                for k, part in enumerate(parts):
                    self.require(f"{label}.{k}", part, names)
            case Some(()):
                self.absurd = True
            case Some((only,)):
                self.require(label, only, names)
            case Some(parts):
                for part in parts:
                    self._name_quotients(part, names)
                self.choices[label] = Choice(parts, names)
            case _:
                assert_never(condition)

    def _name_quotients(self, condition: Condition, names: Mapping[str, str]) -> None:
        match condition:
            case Compare(term):
                self.form(term, names)
            case Every(parts) | Some(parts):
                for part in parts:
                    self._name_quotients(part, names)
            case _:
                assert_never(condition)

    def chosen(self, label: str, k: int) -> Region:
        """The points where alternative `k` of a choice holds."""
        region = self.copy()
        choice = region.choices.pop(label)
        region.require(f"{label}|{k}", choice.alternatives[k], choice.names)
        return region


def _text(form: Form) -> str:
    named = [f"{c}*{n}" if c != 1 else n for n, c in sorted(form.items()) if n]
    return " + ".join([*named, *([str(form[""])] if form.get("") or not named else [])])
