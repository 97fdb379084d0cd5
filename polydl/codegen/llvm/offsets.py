"""Subscripts as affine forms over SSA values, kept symbolic until an address or a number is needed.

`const + sum coefficient * value + lane * (0, 1, …, lanes-1)`. Keeping the form lets all accesses that differ by
a constant share one pointer and carry the constant in the instruction, and tells unit-stride from strided accesses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from polydl.codegen.llvm.builder import FunctionBuilder
from polydl.codegen.llvm.values import Value, integer
from polydl.dtypes import I64

__all__ = ["Affine", "Offsets"]

_LIMIT: Final = 1 << 62  # ranges are believed only where the arithmetic cannot have wrapped


@dataclass(slots=True, eq=False)
class Affine:
    """A 64-bit integer, or a vector of them (`lanes` > 1). `terms` maps a value's name to (value, coefficient)."""

    const: int = 0
    terms: dict[str, tuple[Value, int]] = field(default_factory=dict)
    lane: int = 0
    lanes: int = 1

    @property
    def is_vector_sum(self) -> bool:
        """Whether some term is itself a vector that is not a ramp."""
        return any(v.lanes > 1 for v, _ in self.terms.values())

    @property
    def is_constant(self) -> bool:
        return not self.terms and self.lane == 0


class Offsets:
    """Arithmetic on affine forms."""

    def __init__(self, builder: FunctionBuilder) -> None:
        self.b = builder

    def of(self, value: Value) -> Affine:
        if value.constant is not None and value.lanes == 1:
            return Affine(int(value.constant))
        return Affine(0, {value.text: (value, 1)}, 0, value.lanes)

    def add(self, a: Affine, b: Affine, factor: int = 1) -> Affine:
        """`a + factor * b`."""
        terms = dict(a.terms)
        for name, (value, coefficient) in b.terms.items():
            total = coefficient * factor + (terms[name][1] if name in terms else 0)
            if total:
                terms[name] = (value, total)
            else:
                terms.pop(name, None)
        return Affine(a.const + factor * b.const, terms, a.lane + factor * b.lane, max(a.lanes, b.lanes))

    def scale(self, a: Affine, factor: int) -> Affine:
        return self.add(Affine(lanes=a.lanes), a, factor)

    def times(self, a: Affine, factor: Value) -> Affine | None:
        """`a * factor` for a scalar factor that is no constant; None where `a` has lanes of its own."""
        if a.lanes > 1:
            return None
        result = Affine(lanes=a.lanes)
        if a.const:
            result = self.add(result, self.of(factor), a.const)
        for value, coefficient in a.terms.values():
            product = self.b.pure(f"mul i64 {value.text}, {factor.text}", (value, factor), I64)
            _multiply_ranges(product, value, factor)
            result = self.add(result, self.of(product), coefficient)
        return result

    def range(self, a: Affine) -> tuple[int, int] | None:
        """Inclusive bounds over all lanes, or None where unknown (or so large that arithmetic may wrap)."""
        low = high = a.const
        if a.lane:
            span = a.lane * (a.lanes - 1)
            low, high = low + min(0, span), high + max(0, span)
        for value, coefficient in a.terms.values():
            if value.low is None or value.high is None:
                return None
            first, last = coefficient * value.low, coefficient * value.high
            low, high = low + min(first, last), high + max(first, last)
        return (low, high) if low > -_LIMIT and high < _LIMIT else None

    def divide(self, a: Affine, divisor: int) -> tuple[Affine, Affine] | None:
        """(quotient, remainder) of floor division by a positive constant where both are affine, else None."""
        multiple, rest = Affine(a.const // divisor, lanes=a.lanes), Affine(a.const % divisor, lanes=a.lanes)
        if a.lane % divisor == 0:
            multiple.lane = a.lane // divisor
        else:
            rest.lane = a.lane
        for name, (value, coefficient) in a.terms.items():
            if coefficient % divisor == 0:
                multiple.terms[name] = (value, coefficient // divisor)
            else:
                rest.terms[name] = (value, coefficient)
        bounds = self.range(rest)
        if bounds is None or self.range(a) is None or bounds[0] // divisor != bounds[1] // divisor:
            return None
        shift = bounds[0] // divisor
        return self.add(multiple, Affine(shift)), self.add(rest, Affine(-shift * divisor))

    def value(self, a: Affine) -> Value:
        """The number itself, summed from the outermost loop inwards."""
        total: Value | None = None
        for value, coefficient in _outermost_first(a):
            term = value
            if coefficient != 1:
                factor = self.b.splat(integer(coefficient), value.lanes)
                term = self._op("mul", value, factor)
            total = term if total is None else self._op("add", total, term)
        if a.lanes > 1:
            base = self.b.iota(a.lanes, a.lane) if a.lane else None
            if base is not None:
                total = base if total is None else self._op("add", total, base)
        if total is None:
            return self.b.splat(integer(a.const), a.lanes)
        result = self.b.splat(total, a.lanes)
        if a.const:
            result = self._op("add", result, integer(a.const))
        bounds = self.range(a)
        if bounds is not None and a.lanes == 1:
            result.low, result.high = bounds
        return result

    def bytes(self, a: Affine, size: int) -> list[Value]:
        """The varying part of `a * size` as byte offsets to be added one after the other, outermost first."""
        parts = []
        for value, coefficient in _outermost_first(a):
            factor = coefficient * size
            parts.append(value if factor == 1 else self._op("mul", value, integer(factor)))
        return parts

    def _op(self, opcode: str, a: Value, b: Value) -> Value:
        lanes = max(a.lanes, b.lanes)
        a, b = self.b.splat(a, lanes), self.b.splat(b, lanes)
        return self.b.pure(f"{opcode} {a.type} {a.text}, {b.text}", (a, b), I64, lanes)


def _outermost_first(a: Affine) -> list[tuple[Value, int]]:
    return sorted(a.terms.values(), key=lambda term: (term[0].lanes, term[0].depth))


def _multiply_ranges(product: Value, a: Value, b: Value) -> None:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return
    corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    product.low, product.high = min(corners), max(corners)
