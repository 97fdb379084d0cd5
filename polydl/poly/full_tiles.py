"""Full tiles: the condition, over a statement's iterators, that all points of an instance's tile exist."""

from __future__ import annotations

import re

import islpy

from polydl.errors import NotApplicable
from polydl.poly.affine import dim
from polydl.poly.isl import guarded, map_of
from polydl.poly.model import Scop
from polydl.poly.sets import header, restrict

__all__ = ["full_tiles"]

_TIMES = re.compile(r"\b(\d+)([A-Za-z_])")


@guarded
def full_tiles(scop: Scop, name: str, sizes: tuple[tuple[str, int], ...]) -> str:
    """isl text of the condition that every point of the instance's tile is in the domain; "" where that is always so.

    A tile is `size` consecutive values, aligned, of each of the iterators in `sizes`, the other iterators fixed. The
    condition is over `floor(i/size)`, spelled as `Affine` spells it. NotApplicable where it needs more than that, or
    no tile is full.
    """
    statement = scop.statement(name)
    tiled = dict(sizes)
    places = [f"tile{k}_" for k in range(len(statement.iterators))]
    inside = [
        f"{tiled[i]}*{t} <= {i} < {tiled[i]}*{t} + {tiled[i]}" if i in tiled else f"{i} = {t}"
        for i, t in zip(statement.iterators, places, strict=True)
    ]
    head = header(scop.parameters)
    points = map_of(
        f"{head}{{ [{', '.join(places)}] -> {name}[{', '.join(statement.iterators)}] : {' and '.join(inside)} }}"
    )  # Tile -> Statement
    domain = restrict(scop, statement, ())
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
    return _condition(shown, statement.iterators, places, tiled)


def _condition(shown: islpy.Set, iterators: tuple[str, ...], places: list[str], tiled: dict[str, int]) -> str:
    """The constraints of a set of tiles, over the iterators of the points in them."""
    text = str(shown)
    body = text[text.index("{") + 1 : text.rindex("}")]
    parts = []
    for piece in body.split(";"):
        listed, _, constraints = piece.partition(":")
        if listed.strip() != f"[{', '.join(places)}]" or re.search(r"exists|mod|floor", constraints):
            raise NotApplicable("the condition of a full tile is no conjunction of affine inequalities")
        parts.append(f"({constraints.strip()})" if constraints.strip() else "1 = 1")
    condition = _TIMES.sub(r"\1*\2", " or ".join(parts))
    for iterator, place in zip(iterators, places, strict=True):
        value = dim(iterator) // tiled[iterator] if iterator in tiled else dim(iterator)
        condition = re.sub(rf"\b{place}(?!\w)", str(value), condition)
    return condition
