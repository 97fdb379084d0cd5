"""Full tiles: the condition, over a statement's iterators, that all points of an instance's tile exist."""

from __future__ import annotations

import re
from dataclasses import dataclass

import islpy

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine, dim
from polydl.poly.isl import guarded, map_of
from polydl.poly.model import Scop
from polydl.poly.sets import header, restrict

__all__ = ["TileSide", "full_tiles"]

_TIMES = re.compile(r"\b(\d+)([A-Za-z_])")


@dataclass(frozen=True, slots=True)
class TileSide:
    """One side of a tile: `size` consecutive values, aligned, of `coordinate`, found by varying `iterator`, which the
    coordinate has with coefficient 1 or -1: of `j` itself, of `-j`, or of a skewed `j + 2*t`."""

    iterator: str
    coordinate: Affine
    size: int

    @property
    def number(self) -> Affine:
        """Which tile an instance is in, along this side."""
        return self.coordinate // self.size


@guarded
def full_tiles(scop: Scop, name: str, sides: tuple[TileSide, ...], conditions: tuple[str, ...] = ()) -> str:
    """isl text of the condition that every point of the instance's tile is in the domain and meets `conditions` (isl
    text over the iterators); "" where that is always so.

    The iterators of the sides vary in a tile, the other iterators are fixed. The condition is over the numbers of
    tiles, spelled as `Affine` spells them. NotApplicable where it needs more than that, or no tile is full.
    """
    statement = scop.statement(name)
    side_of = {side.iterator: side for side in sides}
    places = [f"tile{k}_" for k in range(len(statement.iterators))]
    inside = []
    for iterator, place in zip(statement.iterators, places, strict=True):
        side = side_of.get(iterator)
        if side is None:
            inside.append(f"{iterator} = {place}")
        else:
            first = f"{side.size}*{place}"
            inside.append(f"{first} <= {side.coordinate} < {first} + {side.size}")
    head = header(scop.parameters)
    points = map_of(
        f"{head}{{ [{', '.join(places)}] -> {name}[{', '.join(statement.iterators)}] : {' and '.join(inside)} }}"
    )  # Tile -> Statement
    domain = restrict(scop, statement, conditions)
    some = points.intersect_range(domain).domain().coalesce()
    outside = domain.complement()
    if scop.context:
        outside = outside.intersect_params(restrict(scop, statement, ()).params())
    lacking = points.intersect_range(outside).domain().compute_divs()
    full = some.subtract(lacking).coalesce()
    if full.is_empty():
        raise NotApplicable(f"no tile of {name} is full")
    shown = full.gist(some).coalesce()
    if shown.plain_is_universe():
        return ""
    return _condition(shown, statement.iterators, places, side_of)


def _condition(
    shown: islpy.Set, iterators: tuple[str, ...], places: list[str], side_of: dict[str, TileSide]
) -> str:
    """The constraints of a set of tiles, over the iterators of the points in them."""
    text = str(shown)
    body = text[text.index("{") + 1 : text.rindex("}")]
    parts = []
    for piece in body.split(";"):
        listed, _, constraints = piece.partition(":")
        if re.search(r"exists|mod|floor", constraints):
            raise NotApplicable("the condition of a full tile is no conjunction of affine inequalities")
        values = listed.strip().removeprefix("[").removesuffix("]").split(",")
        fixed = [  # isl lists the value of a dimension that has one alone: `[x, 1]`, `[x, y = x]`
            f"{place} = {value.split('=')[-1].strip()}"
            for place, value in zip(places, values, strict=True)
            if value.strip() != place
        ]
        parts.append(" and ".join(x for x in (*fixed, constraints.strip()) if x) or "1 = 1")
    condition = _TIMES.sub(r"\1*\2", " or ".join(f"({x})" for x in parts))
    for iterator, place in zip(iterators, places, strict=True):
        side = side_of.get(iterator)
        value = dim(iterator) if side is None else side.number
        condition = re.sub(rf"\b{place}(?!\w)", str(value), condition)
    return condition
