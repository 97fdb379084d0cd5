"""Quasi-affine integer expressions: what schedules, subscripts and loop bounds are made of.

An `Affine` is `constant + sum of coefficient * atom`; an atom is the name of a dimension or parameter, or a floor
division or modulus of another `Affine` by a positive constant. Values are immutable, hashable and canonical (atoms
sorted, no zero coefficients), and print in isl's syntax; `parse(str(a)) == a`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from polydl.errors import InvalidProgram

__all__ = ["Affine", "Atom", "FloorDiv", "Mod", "constant", "dim", "parse"]


@dataclass(frozen=True, slots=True)
class FloorDiv:
    """`floor(dividend / divisor)`, divisor > 1."""

    dividend: Affine
    divisor: int

    def __str__(self) -> str:
        return f"floor(({self.dividend})/{self.divisor})"


@dataclass(frozen=True, slots=True)
class Mod:
    """`dividend - modulus * floor(dividend / modulus)`, modulus > 1."""

    dividend: Affine
    modulus: int

    def __str__(self) -> str:
        return f"(({self.dividend}) mod {self.modulus})"


Atom = str | FloorDiv | Mod


@dataclass(frozen=True, slots=True)
class Affine:
    """`constant + Σ coefficient · atom`."""

    terms: tuple[tuple[Atom, int], ...]
    constant: int = 0

    @staticmethod
    def of(coefficients: Mapping[Atom, int], constant: int = 0) -> Affine:
        """The canonical expression with these coefficients."""
        terms = [(atom, c) for atom, c in coefficients.items() if c != 0]
        return Affine(tuple(sorted(terms, key=lambda t: str(t[0]))), constant)

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.constant + other)
        total = dict(self.terms)
        for atom, c in other.terms:
            total[atom] = total.get(atom, 0) + c
        return Affine.of(total, self.constant + other.constant)

    def __neg__(self) -> Affine:
        return self * -1

    def __sub__(self, other: Affine | int) -> Affine:
        return self + (-other)

    def __mul__(self, factor: int) -> Affine:
        return Affine.of({a: c * factor for a, c in self.terms}, self.constant * factor)

    def __floordiv__(self, divisor: int) -> Affine:
        if divisor <= 0:
            raise InvalidProgram(f"division of ({self}) by {divisor}", why="divisors are positive constants")
        if all(c % divisor == 0 for _, c in self.terms):
            return Affine(tuple((a, c // divisor) for a, c in self.terms), self.constant // divisor)
        return Affine(((FloorDiv(self, divisor), 1),))

    def __mod__(self, modulus: int) -> Affine:
        if modulus <= 0:
            raise InvalidProgram(f"({self}) modulo {modulus}", why="moduli are positive constants")
        if all(c % modulus == 0 for _, c in self.terms):
            return Affine((), self.constant % modulus)
        return Affine(((Mod(self, modulus), 1),))

    @property
    def is_constant(self) -> bool:
        return not self.terms

    def names(self) -> frozenset[str]:
        """All dimension and parameter names that occur."""
        return frozenset(_names(self))

    def substitute(self, bindings: Mapping[str, Affine]) -> Affine:
        """The expression with names replaced simultaneously."""
        result = Affine((), self.constant)
        for atom, c in self.terms:
            match atom:
                case FloorDiv(dividend, divisor):
                    value = dividend.substitute(bindings) // divisor
                case Mod(dividend, modulus):
                    value = dividend.substitute(bindings) % modulus
                case _:
                    value = bindings.get(atom, Affine(((atom, 1),)))
            result = result + value * c
        return result

    def evaluate(self, values: Mapping[str, int]) -> int:
        """The number the expression has at `values`."""
        total = self.constant
        for atom, c in self.terms:
            match atom:
                case FloorDiv(dividend, divisor):
                    total += c * (dividend.evaluate(values) // divisor)
                case Mod(dividend, modulus):
                    total += c * (dividend.evaluate(values) % modulus)
                case _:
                    total += c * values[atom]
        return total

    def __str__(self) -> str:
        if not self.terms:
            return str(self.constant)
        parts = []
        for atom, c in self.terms:
            sign = "-" if c < 0 else "+"
            parts.append(f"{sign} {atom}" if abs(c) == 1 else f"{sign} {abs(c)}*{atom}")
        if self.constant:
            parts.append(f"{'-' if self.constant < 0 else '+'} {abs(self.constant)}")
        text = " ".join(parts)
        return text[2:] if text.startswith("+ ") else "-" + text[2:]


def dim(name: str) -> Affine:
    """The expression that is just this dimension or parameter."""
    return Affine(((name, 1),))


def constant(value: int) -> Affine:
    return Affine((), value)


def _names(e: Affine) -> Iterator[str]:
    for atom, _ in e.terms:
        match atom:
            case FloorDiv(dividend) | Mod(dividend):
                yield from _names(dividend)
            case _:
                yield atom


_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z_][\w.']*)|(.))")


def parse(text: str) -> Affine:
    """The expression that `text` (as printed by `str`) spells."""
    tokens = [next(g for g in m.groups() if g is not None) for m in _TOKEN.finditer(text.rstrip())]
    position = 0

    def peek() -> str:
        return tokens[position] if position < len(tokens) else ""

    def take(expected: str | None = None) -> str:
        nonlocal position
        token = peek()
        if not token or (expected is not None and token != expected):
            raise InvalidProgram(
                f"cannot parse the affine expression '{text}'", where=f"at '{token or 'end'}'"
            )
        position += 1
        return token

    def whole() -> int:
        token = take()
        if not token.isdigit():
            raise InvalidProgram(f"'{text}' is not affine", why="divisors and moduli are positive constants")
        return int(token)

    def total() -> Affine:
        negative = peek() == "-"
        if negative:
            take()
        result = -product() if negative else product()
        while peek() in ("+", "-"):
            result = result + product() if take() == "+" else result - product()
        return result

    def product() -> Affine:
        result = factor()
        while peek() == "*":
            take()
            other = factor()
            if result.is_constant:
                result = other * result.constant
            elif other.is_constant:
                result = result * other.constant
            else:
                raise InvalidProgram(f"'{text}' is not affine", why="it multiplies two dimensions")
        return result

    def factor() -> Affine:
        token = take()
        if token.isdigit():
            return constant(int(token))
        if token == "floor":
            take("(")
            take("(")
            inner = total()
            take(")")
            take("/")
            divisor = whole()
            take(")")
            return inner // divisor
        if token == "(":
            inner = total()
            if peek() == "mod":
                take()
                inner = inner % whole()
            take(")")
            return inner
        if token[0].isalpha() or token[0] == "_":
            return dim(token)
        raise InvalidProgram(f"cannot parse the affine expression '{text}'", where=f"at '{token}'")

    result = total()
    if position != len(tokens):
        raise InvalidProgram(f"cannot parse the affine expression '{text}'", where=f"at '{peek()}'")
    return result
