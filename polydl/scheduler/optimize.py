"""Automatic scheduling without search: a handful of candidate orders, of which a cost model picks one.

    original order, vectors and threads where the judge allows them      (always a candidate; nothing slower is taken)
    isl's order, its nests distributed; sums of products in register tiles, cut for the second-level cache
    isl's order, permutable bands tiled and their tiles run as wavefronts on all cores

Every step is a public transformation that passed the judge, so the result has a trace that can be replayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from polydl.dsl.function import Function
from polydl.errors import IllegalSchedule, InvalidProgram, NotApplicable, PolyhedralBlowup
from polydl.poly.affine_schedule import AffineSchedule, SchedulerOptions, affine_schedule
from polydl.poly.tree import Band, Tree, walk
from polydl.poly.treetext import format_tree
from polydl.scheduler.affine_order import AffineOrder
from polydl.scheduler.bindings import Parallel
from polydl.scheduler.loops import Reorder, Tile
from polydl.scheduler.motion import Skew
from polydl.scheduler.predict import predicted_time
from polydl.scheduler.recipes import default_schedule, schedule_as_written
from polydl.scheduler.recipes.common import attempt
from polydl.scheduler.recipes.written import _innermost, _parallel, _vectorised
from polydl.scheduler.register_tiles import register_tile
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["candidates", "optimize"]

_MARGIN: Final = (
    0.9  # a candidate must be predicted to take less than this share of the original order's time
)
_OPERATIONS: Final = 20_000_000  # of isl's scheduler, for one variant
_WAVEFRONT: Final = (8, 64, 64)  # sizes of tiles: times, then space


def optimize(
    function: Function, target: Target, *, reassociate: bool = True, operations: int = _OPERATIONS
) -> Schedule:
    """A good legal schedule of `function` for `target`, never one predicted slower than its original order.

    `operations` bounds isl's scheduler for each variant; one that needs more is left out.
    """
    if function.order is None:
        best = default_schedule(function, target, reassociate=reassociate)
    else:
        best = schedule_as_written(function, target, reassociate=reassociate)
    least = _MARGIN * predicted_time(best, target)
    for candidate in candidates(function, target, reassociate=reassociate, operations=operations):
        time = predicted_time(candidate, target)
        if time < least:
            best, least = candidate, time
    return best


def candidates(
    function: Function, target: Target, *, reassociate: bool = True, operations: int = _OPERATIONS
) -> Iterator[Schedule]:
    """Legal schedules of the function in isl's orders."""
    plain = Schedule.of(function, reassociate=reassociate)
    for options in (SchedulerOptions("min"), SchedulerOptions("moderate")):
        try:
            order = affine_schedule(
                plain.scop, plain.dependences, options, reassociate=reassociate, operations=operations
            )
        except (NotApplicable, PolyhedralBlowup, InvalidProgram):
            continue
        schedule = attempt(plain, AffineOrder(format_tree(order.tree)))
        if schedule is None:
            continue
        try:
            yield _nests(schedule, target)
            if target.cores > 1:
                wavefronts = _wavefronts(schedule, order)
                if wavefronts is not None:
                    yield wavefronts
        except (NotApplicable, IllegalSchedule, PolyhedralBlowup):
            continue


def _nests(schedule: Schedule, target: Target) -> Schedule:
    """Register tiles where they apply, vectors elsewhere, and the outermost loops without dependences parallel."""
    for names in [tuple(m.name for m in band.members) for band in _innermost(schedule.tree)]:
        tiled = register_tile(schedule, names, target)
        schedule = _vectorised(schedule, names, target) if tiled is None else tiled
    return _parallel(schedule)


def _wavefronts(schedule: Schedule, order: AffineSchedule) -> Schedule | None:
    """The outermost permutable bands in which every loop carries something, tiled, diagonals of tiles in parallel."""
    changed = None
    for facts in order.bands:
        if facts.permutable and len(facts.loops) > 1 and not any(facts.coincident):
            loops = _together(schedule.tree, facts.loops)
            if len(loops) < 2:
                continue
            sizes = (*_WAVEFRONT[:1], *_WAVEFRONT[1:2] * (len(loops) - 1))
            first, second = f"{loops[0]}.o", f"{loops[1]}.o"
            tiled = attempt(
                changed or schedule,
                Tile(loops, sizes),
                Skew(first, second, 1),
                Reorder((second, first)),
                Parallel(first),
            )
            changed = tiled or changed
    return changed


def _together(tree: Tree, loops: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the loops that are in one band, outermost of a nest, as the first of them is."""
    for node in walk(tree):
        if isinstance(node, Band) and node.members[0].name in loops:
            inside = [m.name for m in node.members]
            return tuple(n for n in loops if n in inside)
    return ()
