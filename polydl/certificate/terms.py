"""The formulas of a certificate: integer terms with floor divisions, and conditions on them, read from text.

    term       i + 4*floor((j - 1)/4) - (k mod 8) + 3
    condition  0 <= i < N and not (i <= j or (i mod 2) = 1)

Every operation is exact. Nothing here knows isl or the schedule tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar, assert_never

from polydl.errors import InvalidProgram

__all__ = [
    "Compare",
    "Condition",
    "Every",
    "Floor",
    "Form",
    "Some",
    "Term",
    "combined",
    "negated",
    "read_condition",
    "read_term",
]

Form = dict[str, int]
"""A linear form over integer variables: coefficients by name, the constant at ""."""


@dataclass(frozen=True, slots=True)
class Floor:
    """`floor(inner / divisor)`, divisor >= 1."""

    inner: Term
    divisor: int


@dataclass(frozen=True, slots=True)
class Term:
    """`constant + sum of factor * atom`; an atom is a name or a floor division."""

    parts: tuple[tuple[str | Floor, int], ...]
    constant: int = 0

    def plus(self, other: Term, factor: int = 1) -> Term:
        total = dict(self.parts)
        for atom, c in other.parts:
            total[atom] = total.get(atom, 0) + factor * c
        return Term(tuple((a, c) for a, c in total.items() if c), self.constant + factor * other.constant)


@dataclass(frozen=True, slots=True)
class Compare:
    """`term = 0` if `equal`, else `term >= 0`."""

    term: Term
    equal: bool


@dataclass(frozen=True, slots=True)
class Every:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple[Condition, ...]


T = TypeVar("T")
Condition = Compare | Every | Some

_ONE: Final = Term((), 1)
_DEEPEST: Final = 200


def combined(forms: Mapping[str, int], other: Mapping[str, int], factor: int = 1) -> Form:
    """`forms + factor * other`."""
    total = dict(forms)
    for name, c in other.items():
        value = total.get(name, 0) + factor * c
        if value:
            total[name] = value
        else:
            total.pop(name, None)
    return total


def negated(condition: Condition) -> Condition:
    """What holds exactly where the condition does not."""
    match condition:
        case Every(parts):
            return Some(tuple(map(negated, parts)))
        case Some(parts):
            return Every(tuple(map(negated, parts)))
        case Compare(term, equal):
            below = Compare(Term(()).plus(term, -1).plus(_ONE, -1), False)
            return Some((Compare(term.plus(_ONE, -1), False), below)) if equal else below
        case _:
            assert_never(condition)


def read_term(text: str) -> Term:
    """The term that `text` spells. InvalidProgram where it spells none."""
    return _Reader(text).whole(_Reader.term)


def read_condition(text: str) -> Condition:
    """The condition that `text` spells; nothing at all is always true. InvalidProgram where it spells none."""
    return _Reader(text).whole(_Reader.condition) if text.strip() else Every(())


_TOKEN: Final = re.compile(r"\s*(?:(\d+)|([A-Za-z_][\w.]*)|(<=|>=|!=|[-+*/()<>=]))")
_RELATIONS: Final = ("<=", ">=", "<", ">", "=", "!=")
_WORDS: Final = frozenset({"and", "or", "not", "mod", "floor", "true", "false"})


class _Mismatch(Exception):
    """The text is not what was tried; something else may be."""


class _Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.at, self.depth = text, list[str](), 0, 0
        position = 0
        while text[position:].strip():
            found = _TOKEN.match(text, position)
            if found is None:
                self.refuse()
            self.tokens.append(next(g for g in found.groups() if g is not None))
            position = found.end()

    def refuse(self) -> NoReturn:
        raise InvalidProgram(f"'{self.text[:200]}' is no formula of a certificate")

    def whole(self, read: Callable[[_Reader], T]) -> T:
        try:
            result = read(self)
        except _Mismatch:
            self.refuse()
        if self.at != len(self.tokens):
            self.refuse()
        return result

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *expected: str) -> str:
        token = self.peek()
        if not token or (expected and token not in expected):
            raise _Mismatch
        self.at += 1
        return token

    def number(self) -> int:
        token = self.take()
        if not token.isdigit() or len(token) > 30:
            raise _Mismatch
        return int(token)

    # ---- conditions --------------------------------------------------------------------------------------------------

    def condition(self) -> Condition:
        parts = [self.conjunction()]
        while self.peek() == "or":
            self.take()
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def conjunction(self) -> Condition:
        parts = [self.literal()]
        while self.peek() == "and":
            self.take()
            parts.append(self.literal())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def literal(self) -> Condition:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.refuse()
        try:
            if self.peek() == "not":
                self.take()
                return negated(self.literal())
            if self.peek() in ("true", "false"):
                return Every(()) if self.take() == "true" else Some(())
            start = self.at
            try:
                return self.comparison()
            except _Mismatch:
                self.at = start
            self.take("(")
            inside = self.condition()
            self.take(")")
            return inside
        finally:
            self.depth -= 1

    def comparison(self) -> Condition:
        left, parts = self.term(), list[Condition]()
        while self.peek() in _RELATIONS:
            relation, right = self.take(), self.term()
            apart = right.plus(left, -1)
            match relation:
                case "<=" | "<":
                    parts.append(Compare(apart.plus(_ONE, -1 if relation == "<" else 0), False))
                case ">=" | ">":
                    turned = left.plus(right, -1)
                    parts.append(Compare(turned.plus(_ONE, -1 if relation == ">" else 0), False))
                case "=":
                    parts.append(Compare(apart, True))
                case _:
                    parts.append(negated(Compare(apart, True)))
            left = right
        if not parts:
            raise _Mismatch
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    # ---- terms -------------------------------------------------------------------------------------------------------

    def term(self) -> Term:
        total = Term(())
        sign = -1 if self.peek() == "-" else 1
        if sign < 0:
            self.take()
        total = total.plus(self.product(), sign)
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            total = total.plus(self.product(), sign)
        return total

    def product(self) -> Term:
        result = self.factor()
        while self.peek() == "*":
            self.take()
            other = self.factor()
            if not result.parts:
                result, other = other, result
            if other.parts:
                raise _Mismatch
            result = Term(()).plus(result, other.constant)
        return result

    def factor(self) -> Term:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.refuse()
        token = self.peek()
        if token.isdigit():
            result = Term((), self.number())
        elif token == "floor":
            self.take()
            self.take("(")
            inner = self.term() if self.peek() != "(" else self.dividend()
            self.take("/")
            divisor = self.number()
            self.take(")")
            result = self.floor(inner, divisor)
        elif token == "(":
            self.take()
            result = self.term()
            self.take(")")
        elif token and (token[0].isalpha() or token[0] == "_") and token not in _WORDS:
            self.take()
            result = Term(((token, 1),))
        else:
            raise _Mismatch
        if self.peek() == "mod":
            self.take()
            modulus = self.number()
            result = result.plus(self.floor(result, modulus), -modulus)
        self.depth -= 1
        return result

    def dividend(self) -> Term:
        self.take("(")
        inner = self.term()
        self.take(")")
        return inner

    def floor(self, inner: Term, divisor: int) -> Term:
        if divisor < 1:
            self.refuse()
        if not inner.parts:
            return Term((), inner.constant // divisor)
        return Term(((Floor(inner, divisor), 1),))
