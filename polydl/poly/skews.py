"""Skews: the least multiples of outer time coordinates, and delays of statements, that turn all distances forward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import islpy

from polydl.poly.affine import Affine
from polydl.poly.isl import guarded, map_of, thread_context
from polydl.poly.model import Dependence, Scop
from polydl.poly.sets import header, primed, restrict

__all__ = ["Skewing", "least_skew"]

_MOST = 4  # of a factor


class Skewing(NamedTuple):
    """`factors[k]` times outer coordinate k is added for every statement, `delays[s]` for statement s."""

    factors: tuple[int, ...]
    delays: dict[str, int]


@guarded
def least_skew(
    scop: Scop,
    dependences: Iterable[Dependence],
    coordinate: Mapping[str, Affine],
    outer: Sequence[Mapping[str, Affine]],
) -> Skewing | None:
    """The skewing of a time coordinate (by statement) with the least factors such that no dependence between these
    statements goes backwards along it, whatever it does along the `outer` coordinates; None if no small one does.

    A loop over the result may be exchanged with loops over the outer coordinates, where those are alike.
    """
    steps = [
        (d.source, d.sink, _steps(scop, d, (coordinate, *outer)))
        for d in dependences
        if d.source in coordinate and d.sink in coordinate
    ]
    for factors in _factors(len(outer)):
        least = [(source, sink, _least(step, (1, *factors))) for source, sink, step in steps]
        bounded = [(source, sink, low) for source, sink, low in least if low is not None]
        if len(bounded) == len(least):
            delays = _delays(list(coordinate), bounded)
            if delays is not None:
                return Skewing(factors, delays)
    return None


def _steps(scop: Scop, d: Dependence, coordinates: Sequence[Mapping[str, Affine]]) -> islpy.Set:
    """How far a dependence goes along each coordinate.  # { [differences] }"""
    source, sink = scop.statement(d.source), scop.statement(d.sink)
    outputs = tuple(f"{i}'" for i in sink.iterators)
    apart = [str(primed(c[d.sink], sink.iterators) - c[d.source]) for c in coordinates]
    pair = f"[{source.name}[{', '.join(source.iterators)}] -> {sink.name}[{', '.join(outputs)}]]"
    difference = map_of(f"{header(scop.parameters)}{{ {pair} -> [{', '.join(apart)}] }}")
    pairs = map_of(d.relation).intersect_domain(restrict(scop, source, ()))
    found = pairs.wrap().apply(difference)
    return found.project_out(islpy.dim_type.param, 0, found.dim(islpy.dim_type.param)).coalesce()


def _least(steps: islpy.Set, weights: tuple[int, ...]) -> int | None:
    """The least weighted sum of the differences; None if there is none."""
    if steps.is_empty():
        return 0
    terms = " + ".join(f"{w}*d{k}" for k, w in enumerate(weights))
    names = ", ".join(f"d{k}" for k in range(len(weights)))
    value = steps.min_val(islpy.Aff.read_from_str(thread_context(), f"{{ [{names}] -> [{terms}] }}"))
    return int(value.to_python()) if value.is_int() else None


def _factors(count: int) -> Iterator[tuple[int, ...]]:
    """Small multiples of each coordinate, simple ones first: of the outermost one alone, then of others too."""

    def of_sum(total: int, rest: int) -> Iterator[tuple[int, ...]]:
        if rest == 0:
            if total == 0:
                yield ()
            return
        for first in range(total, -1, -1):
            for others in of_sum(total - first, rest - 1):
                yield (first, *others)

    for inner in range(_MOST + 1 if count > 1 else 1):
        for others in of_sum(inner, count - 1):
            for first in range(_MOST + 1):
                yield (first, *others)


def _delays(names: list[str], least: list[tuple[str, str, int]]) -> dict[str, int] | None:
    """The least non-negative delays with which every sink is not before its source; None if there are none."""
    delays = dict.fromkeys(names, 0)
    for _ in range(len(names) + 1):
        changed = False
        for source, sink, low in least:
            needed = delays[source] - low
            if delays[sink] < needed:
                delays[sink] = needed
                changed = True
        if not changed:
            return delays
    return None
