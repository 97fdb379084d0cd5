"""Index maps known at build time, written as few quasi-affine pieces.

A map sends each output position to an input position, or to None (outside). `segments` cuts its domain into runs on
which it is `(a*o + b) // c`; a tensor is then filled by one computation per box of runs, and every subscript is affine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from polydl.dsl import FunctionBuilder, Tensor
from polydl.ir.expr import Expr, ExprLike, as_expr

__all__ = ["Segment", "copy_pieces", "identity_segments", "segments"]

Form = tuple[int, int, int]
"""(a, b, c) stands for `(a*o + b) // c`."""


@dataclass(frozen=True, slots=True)
class Segment:
    """On `lower <= o < upper` the map is `form`, or None."""

    lower: int
    upper: int
    form: Form | None

    def index(self, o: Expr) -> Expr:
        """The input position of output position `o`."""
        if self.form is None:
            raise ValueError("the segment maps nowhere")
        a, b, c = self.form
        scaled: Expr = as_expr(0) if a == 0 else o if a == 1 else o * a
        shifted = as_expr(b) if a == 0 else scaled + b if b else scaled
        return shifted if c == 1 else shifted // c


def segments(
    mapping: Sequence[int | None], lower: int = 0, hints: Sequence[Form] = ()
) -> tuple[Segment, ...]:
    """The map of positions `lower, lower + 1, …` cut greedily into longest runs of one affine form or hint."""
    result = []
    start, end = 0, len(mapping)
    while start < end:
        best: tuple[int, Form | None] = (start, None)
        for form in _candidates(mapping, start, lower, hints):
            stop = start
            while stop < end and mapping[stop] == _apply(form, stop + lower):
                stop += 1
            if stop > best[0]:
                best = (stop, form)
        result.append(Segment(start + lower, best[0] + lower, best[1]))
        start = best[0]
    return tuple(result)


def _candidates(
    mapping: Sequence[int | None], start: int, lower: int, hints: Sequence[Form]
) -> list[Form | None]:
    first = mapping[start]
    if first is None:
        return [None]
    following = mapping[start + 1] if start + 1 < len(mapping) else first
    slopes = dict.fromkeys([0 if following is None else following - first, 0])
    affine: list[Form | None] = [(a, first - a * (start + lower), 1) for a in slopes]
    return [*affine, *hints]


def _apply(form: Form | None, o: int) -> int | None:
    return None if form is None else (form[0] * o + form[1]) // form[2]


def identity_segments(extent: int, before: int = 0, after: int = 0) -> tuple[Segment, ...]:
    """Positions -before … extent + after: the tensor's own inside, None outside."""
    parts = ((-before, 0, None), (0, extent, (1, 0, 1)), (extent, extent + after, None))
    return tuple(Segment(lo, hi, form) for lo, hi, form in parts if lo < hi)


def copy_pieces(
    b: FunctionBuilder,
    into: Tensor,
    source: Tensor,
    maps: Sequence[Sequence[Segment]],
    outside: ExprLike | None = None,
) -> Tensor:
    """Fill `into` from `source` along one segmented map per dimension; positions that map nowhere get `outside`."""
    rank = len(maps)
    inner = [[s for s in m if s.form is not None] for m in maps]
    for box in product(*inner):
        b.compute(
            f"{into.name}_copy",
            {f"i{d}": (s.lower, s.upper) for d, s in enumerate(box)},
            lambda *i, box=box: source[tuple(s.index(v) for s, v in zip(box, i, strict=True))],
            into=into,
        )
    if outside is None:
        return into
    whole = [(min(s.lower for s in m), max(s.upper for s in m)) if m else (0, 0) for m in maps]
    for d in range(
        rank
    ):  # slabs that do not overlap: inside before dimension d, outside at d, anything after it
        for slab in (s for s in maps[d] if s.form is None):
            for before in product(*inner[:d]):
                ranges = [*((s.lower, s.upper) for s in before), (slab.lower, slab.upper), *whole[d + 1 :]]
                b.compute(
                    f"{into.name}_edge",
                    {f"i{k}": r for k, r in enumerate(ranges)},
                    lambda *i: outside,
                    into=into,
                )
    return into
