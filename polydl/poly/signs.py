"""The sign table: judging a dependence by intervals of its distances, without isl.

A dependence is read once into `Piece`s: under each, source and sink iterators are affine in free names plus bounded
`offsets`. The time differences along a schedule are then sums of intervals; floor divisions add one bounded variable
each (`floor((x + d)/T) - floor(x/T)` lies between `floor(d/T)` and `ceil(d/T)`). A "yes" is a proof; anything else
means "ask isl".
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import inf
from typing import Any, Union

import islpy

from polydl.poly.affine import Affine, FloorDiv, Mod, dim
from polydl.poly.isl import map_of
from polydl.vocabulary import Binding

__all__ = ["Meeting", "End", "Piece", "pieces", "surely_legal", "surely_together"]

End = str  # what follows the shared loops: "before", "after" (sequence or textual order), "same" leaf and statement


@dataclass(frozen=True, slots=True)
class Meeting:
    """The loops that a source and a sink share, outermost first, and which comes first after them."""

    source: tuple[Affine, ...]
    sink: tuple[Affine, ...]
    bindings: tuple[Binding, ...]
    end: End


Interval = tuple[float, float]
Key = Union[str, "Quotient"]


@dataclass(frozen=True, slots=True)
class Quotient:
    """The variable `floor((base + shift) / divisor) - floor(base / divisor)`."""

    base: Affine
    divisor: int
    shift: Shifted


@dataclass(frozen=True, slots=True)
class Shifted:
    """`constant + Σ coefficient · variable`."""

    terms: tuple[tuple[Key, int], ...]
    constant: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One convex part of a dependence: what its iterators are, and the range of each offset that this uses.

    `values` maps source iterators `i` and sink iterators `i'` to expressions over source iterators, parameters and
    offsets; an offset is named `+i`.
    """

    values: tuple[tuple[str, Affine], ...]
    offsets: tuple[tuple[str, Interval], ...]


@lru_cache(maxsize=4096)
def pieces(relation: str, source: tuple[str, ...], sink: tuple[str, ...]) -> tuple[Piece, ...]:
    """The convex parts of a dependence relation between statements with these iterators."""
    listed = map_of(relation).get_basic_map_list()
    return tuple(_piece(listed.get_at(k), source, sink) for k in range(listed.n_basic_map()))


def _piece(part: islpy.BasicMap, source: tuple[str, ...], sink: tuple[str, ...]) -> Piece:
    names = [f"{i}'" for i in sink] + list(source)
    parameters = [part.get_dim_name(islpy.dim_type.param, k) for k in range(part.dim(islpy.dim_type.param))]
    kinds = islpy.dim_type
    matrix = part.equalities_matrix(kinds.out, kinds.in_, kinds.param, kinds.cst, kinds.div)
    width = len(names) + len(parameters) + 1
    rows = []
    for r in range(matrix.rows()):
        row = [Fraction(matrix.get_element_val(r, c).to_python()) for c in range(matrix.cols())]
        if not any(row[width:]):
            rows.append(row[:width])
    solved = _reduce(rows, len(names))
    values: dict[str, Affine] = {}
    for pivot, row in solved.items():
        others = [-c for k, c in enumerate(row) if k != pivot]
        if all(c.denominator == 1 for c in others):
            labels = [n for k, n in enumerate([*names, *parameters]) if k != pivot]
            terms = {label: int(c) for label, c in zip(labels, others[:-1], strict=True)}
            values[names[pivot]] = Affine.of(terms, int(others[-1]))
    offsets: list[tuple[str, Interval]] = []
    free = [k for k, i in enumerate(sink) if f"{i}'" not in values]
    common = _common(source, sink)
    distances = _distances(part, common) if any(k < common for k in free) else None
    for k in free:
        offset = f"+{sink[k]}"
        base = dim(offset)
        if distances is not None and k < common:
            base = base + values.get(sink[k], dim(sink[k]))
            offsets.append((offset, (_number(distances.dim_min_val(k)), _number(distances.dim_max_val(k)))))
        else:
            offsets.append((offset, (-inf, inf)))
        values[f"{sink[k]}'"] = base
    # Solved rows may mention free sink iterators: replace those too.
    late = {f"{sink[k]}'": values[f"{sink[k]}'"] for k in free}
    final = {name: value.substitute(late) for name, value in values.items()}
    return Piece(tuple(final.items()), tuple(offsets))


def _common(source: tuple[str, ...], sink: tuple[str, ...]) -> int:
    """How many iterators, from the first on, both ends have under one name: those of the loops that they are both in,
    whose distances are known even where the two are different statements."""
    return next(
        (k for k, (a, b) in enumerate(zip(source, sink, strict=False)) if a != b), min(len(source), len(sink))
    )


def _distances(part: islpy.BasicMap, common: int) -> islpy.Set:
    """The differences sink - source of the first iterators."""
    for kind in (islpy.dim_type.in_, islpy.dim_type.out):
        part = part.project_out(kind, common, part.dim(kind) - common).set_tuple_name(kind, "_")
    return islpy.Set.from_basic_set(part.deltas())


def _number(value: islpy.Val) -> float:
    if value.is_int():
        return int(value.to_python())
    return inf if value.is_infty() else -inf


def _reduce(rows: list[list[Fraction]], pivots: int) -> dict[int, list[Fraction]]:
    """Reduced row echelon form with pivots among the first columns: pivot column -> row with 1 there."""
    solved: dict[int, list[Fraction]] = {}
    for row in rows:
        for pivot, other in solved.items():
            if row[pivot]:
                factor = row[pivot]
                row = [a - factor * b for a, b in zip(row, other, strict=True)]
        column = next((k for k in range(pivots) if row[k]), None)
        if column is None:
            continue
        row = [a / row[column] for a in row]
        for pivot, other in solved.items():
            if other[column]:
                factor = other[column]
                solved[pivot] = [a - factor * b for a, b in zip(other, row, strict=True)]
        solved[column] = row
    return solved


class _Table:
    """The intervals known under one piece while walking down the shared loops."""

    def __init__(self, piece: Piece) -> None:
        self.values = dict(piece.values)
        self.ranges: dict[Key, Interval] = dict(piece.offsets)

    def difference(self, source: Affine, sink: Affine, iterators: tuple[str, ...]) -> dict[Key, int] | None:
        """sink - source as coefficients of variables ("" is the constant); None where it depends on more."""
        total: dict[Key, int] = {}
        names: dict[str | FloorDiv, int] = {}
        self._add(sink.substitute({i: dim(f"{i}'") for i in iterators}), 1, names, total)
        self._add(source, -1, names, total)
        if any(names.values()):
            return None
        return {k: c for k, c in total.items() if c}

    def _add(
        self, expr: Affine, factor: int, names: dict[str | FloorDiv, int], total: dict[Key, int]
    ) -> None:
        """Add `factor · expr`: base atoms to `names`, variables to `total`."""
        total[""] = total.get("", 0) + factor * expr.constant
        for atom, c in expr.terms:
            if isinstance(atom, str):
                value = self.values.get(atom)
                if value is None:
                    where: dict[Any, int] = total if atom.startswith("+") else names
                    where[atom] = where.get(atom, 0) + factor * c
                else:
                    self._add_plain(value, factor * c, names, total)
            elif isinstance(atom, Mod):
                self._add(atom.dividend, factor * c, names, total)
                self._add_quotient(atom.dividend, atom.modulus, -factor * c * atom.modulus, names, total)
            else:
                self._add_quotient(atom.dividend, atom.divisor, factor * c, names, total)

    @staticmethod
    def _add_plain(
        value: Affine, factor: int, names: dict[str | FloorDiv, int], total: dict[Key, int]
    ) -> None:
        total[""] = total.get("", 0) + factor * value.constant
        for atom, c in value.terms:
            where: dict[Any, int] = total if isinstance(atom, str) and atom.startswith("+") else names
            where[atom] = where.get(atom, 0) + factor * c

    def _add_quotient(
        self,
        dividend: Affine,
        divisor: int,
        factor: int,
        names: dict[str | FloorDiv, int],
        total: dict[Key, int],
    ) -> None:
        inner: dict[str | FloorDiv, int] = {}
        moved: dict[Key, int] = {}
        self._add(dividend, 1, inner, moved)
        base = Affine.of(inner)  # type: ignore[arg-type]
        # Multiples of the divisor leave the floor exactly.
        if base.terms and all(c % divisor == 0 for _, c in base.terms):
            for atom, c in base.terms:
                names[atom] = names.get(atom, 0) + factor * (c // divisor)  # type: ignore[index,arg-type]
            base = Affine(())
        shift = Shifted(
            tuple(sorted(((k, c) for k, c in moved.items() if c and k != ""), key=str)), moved.get("", 0)
        )
        if base.terms:
            quotient = FloorDiv(base, divisor)
            names[quotient] = names.get(quotient, 0) + factor
        low, high = self.range({**dict(shift.terms), "": shift.constant})
        low = low if low == -inf else low // divisor
        high = high if high == inf else (-((-high) // divisor) if base.terms else high // divisor)
        if low == high:
            total[""] = total.get("", 0) + factor * int(low)
            return
        key = Quotient(base, divisor, shift)
        if key not in self.ranges:
            self.ranges[key] = (low, high)
        total[key] = total.get(key, 0) + factor

    def range(self, terms: dict[Key, int]) -> Interval:
        low = high = 0.0
        for key, c in terms.items():
            a, b = (1.0, 1.0) if key == "" else self.ranges[key]
            low += c * a if c > 0 else c * b
            high += c * b if c > 0 else c * a
        return low, high

    def pin(self, terms: dict[Key, int], at_low: bool) -> None:
        """The sum is known to be at its smallest (or largest) value: so is every term."""
        for key, c in terms.items():
            if key != "":
                low, high = self.ranges[key]
                end = low if (c > 0) == at_low else high
                self.ranges[key] = (end, end)


@lru_cache(maxsize=16384)
def surely_legal(piece: Piece, iterators: tuple[str, ...], meeting: Meeting, free: bool, lanes: bool) -> bool:
    """Whether the schedule is proven to respect one piece of a dependence.

    `iterators` are the sink's; `free`: the order does not matter, only concurrency; `lanes`: nor do vector loops.
    """
    table = _Table(piece)
    for source, sink, binding in zip(meeting.source, meeting.sink, meeting.bindings, strict=True):
        terms = table.difference(source, sink, iterators)
        if terms is None:
            return False
        low, high = table.range(terms)
        concurrent = binding is Binding.PARALLEL or (binding is Binding.VECTOR and not lanes)
        if concurrent and not low == high == 0:
            return False
        if low > 0 or (free and high < 0):
            return True
        if low < 0 and not free:
            return False
        if low == 0:
            table.pin(terms, at_low=True)
        elif high == 0:
            table.pin(terms, at_low=False)
    return free or meeting.end != "after"


@lru_cache(maxsize=16384)
def surely_together(piece: Piece, iterators: tuple[str, ...], meeting: Meeting) -> bool:
    """Whether source and sink are proven to be equal in all shared loops."""
    table = _Table(piece)
    for source, sink in zip(meeting.source, meeting.sink, strict=True):
        terms = table.difference(source, sink, iterators)
        if terms is None or table.range(terms) != (0, 0):
            return False
    return True
