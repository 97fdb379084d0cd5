"""The orders that automatic scheduling starts from: as written, with temporaries that have a place for each
iteration and neighbouring nests in one, and what isl's scheduler makes of the dependences."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

from polydl.errors import InvalidProgram, NotApplicable, PolyhedralBlowup
from polydl.poly.affine_schedule import BandFacts, SchedulerOptions, affine_schedule
from polydl.poly.treetext import format_tree
from polydl.scheduler.affine_order import AffineOrder
from polydl.scheduler.automatic.distribution import private_places
from polydl.scheduler.automatic.point_places import point_places
from polydl.scheduler.automatic.sharing import share_passes
from polydl.scheduler.recipes.common import attempt
from polydl.scheduler.schedule import Schedule

__all__ = ["orders"]

_VARIANTS: Final = (SchedulerOptions("min"), SchedulerOptions("moderate"))


def orders(plain: Schedule, operations: int) -> Iterator[tuple[Schedule, tuple[BandFacts, ...]]]:
    """Legal orders with what isl says of their bands, the one as written first.

    `operations` bounds isl's scheduler for each; an order that needs more is left out.
    """
    private = private_places(plain)
    yield private, ()
    seen = {private}
    shared = share_passes(private)
    if shared not in seen:
        seen.add(shared)
        yield shared, ()
    pointwise = point_places(plain)
    starts = (private,) if pointwise.function == private.function else (private, pointwise)
    for start, options in product(starts, _VARIANTS):
        try:
            order = affine_schedule(
                start.scop,
                start.dependences,
                options,
                reassociate=plain.reassociate,
                operations=operations,
            )
        except (NotApplicable, PolyhedralBlowup, InvalidProgram):
            continue
        found = attempt(start, AffineOrder(format_tree(order.tree)))
        if found is not None and all(found.tree != s.tree for s in seen):
            seen.add(found)
            yield found, order.bands
