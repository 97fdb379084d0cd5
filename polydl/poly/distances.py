"""How far apart dependent instances are along a loop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import islpy

from polydl.poly.affine import Affine
from polydl.poly.isl import guarded, map_of
from polydl.poly.model import Dependence, Scop
from polydl.poly.paths import Path, common_coordinates, paths
from polydl.poly.sets import header, primed, relation_text, restrict
from polydl.poly.tree import Member, Tree

__all__ = ["Distance", "distances"]


class Distance(NamedTuple):
    """The least and the greatest difference sink - source of a dependence along a loop; None where unbounded."""

    dependence: Dependence
    low: int | None
    high: int | None


@guarded
def distances(scop: Scop, tree: Tree, dependences: Iterable[Dependence], loop: str) -> tuple[Distance, ...]:
    """The distance along `loop` of each dependence that reaches it: of its pairs equal in all loops outside."""
    listed: dict[str, list[Path]] = {}
    for path in paths(scop, tree):
        listed.setdefault(path.statement, []).append(path)
    found = []
    for dependence in dependences:
        spans = [
            span
            for p in listed.get(dependence.source, ())
            for q in listed.get(dependence.sink, ())
            if (span := _span(scop, dependence, p, q, loop)) is not None
        ]
        if spans:
            lows, highs = [s[0] for s in spans], [s[1] for s in spans]
            low = None if None in lows else min(x for x in lows if x is not None)
            high = None if None in highs else max(x for x in highs if x is not None)
            found.append(Distance(dependence, low, high))
    return tuple(found)


def _span(
    scop: Scop, dependence: Dependence, p: Path, q: Path, loop: str
) -> tuple[int | None, int | None] | None:
    """Least and greatest difference along the loop on two paths; None where no pair reaches it."""
    source, sink = scop.statement(dependence.source), scop.statement(dependence.sink)
    outputs = tuple(f"{i}'" for i in sink.iterators)
    equal: list[str] = []
    difference: Affine | None = None
    for d in range(common_coordinates(p, q)):
        coordinate = p.coordinates[d]
        if isinstance(coordinate, Member):
            apart = primed(q.exprs[d], sink.iterators) - p.exprs[d]
            if coordinate.name == loop:
                difference = apart
                break
            equal.append(f"{apart} = 0")
    if difference is None:
        return None
    pairs = map_of(dependence.relation).intersect_domain(restrict(scop, source, p.conditions))
    pairs = pairs.intersect_range(restrict(scop, sink, q.conditions))
    if equal:
        text = relation_text(
            scop.parameters, source.name, source.iterators, sink.name, outputs, " and ".join(equal)
        )
        pairs = pairs.intersect(map_of(text))
    if pairs.is_empty():
        return None
    pair = f"[{source.name}[{', '.join(source.iterators)}] -> {sink.name}[{', '.join(outputs)}]]"
    value = map_of(f"{header(scop.parameters)}{{ {pair} -> [{difference}] }}")
    image = pairs.wrap().apply(value)
    return _number(image.dim_min_val(0)), _number(image.dim_max_val(0))


def _number(value: islpy.Val) -> int | None:
    return int(value.to_python()) if value.is_int() else None
