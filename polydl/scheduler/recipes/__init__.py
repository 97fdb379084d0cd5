"""Recipes: good default schedules, written with public transformations only, each step passed by the judge."""

from __future__ import annotations

from polydl.dsl.function import Function
from polydl.errors import IllegalSchedule, NotApplicable, PolyhedralBlowup
from polydl.scheduler.recipes.contraction import schedule_contraction
from polydl.scheduler.recipes.generic import (
    fuse_neighbours,
    inline_all,
    keep_in_registers,
    parallelise,
    place_locals,
    privatise_rows,
    vectorise,
    vectors_inside,
)
from polydl.scheduler.recipes.movement import transpose_tiles
from polydl.scheduler.recipes.products import (
    Contraction,
    accumulate_all,
    find_contraction,
    is_window_reduction,
)
from polydl.scheduler.recipes.siblings import fuse_siblings
from polydl.scheduler.recipes.written import schedule_as_written
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["default_schedule", "schedule_as_written"]


def default_schedule(function: Function, target: Target, *, reassociate: bool = True) -> Schedule:
    """A good legal schedule of `function` for `target`, without search."""
    schedule = accumulate_all(inline_all(Schedule.of(function, reassociate=reassociate)))
    tiled = [c.update.name for c in _contractions(schedule)]
    schedule = privatise_rows(schedule, target, keep=tiled)
    done: set[str] = set()
    for c in (c for c in _contractions(schedule) if c.update.name in tiled):
        try:
            schedule = schedule_contraction(schedule, c, target)
        except (NotApplicable, IllegalSchedule, PolyhedralBlowup):
            continue
        done |= {s.name for s in (c.init, c.update, c.epilogue) if s is not None}
    schedule = fuse_siblings(schedule, done & set(tiled), target)
    others = [s.name for s in schedule.function.statements() if s.name not in done]
    schedule = vectors_inside(schedule, others, target)
    schedule = fuse_neighbours(schedule, keep_apart=done)
    schedule = place_locals(schedule)
    rest = [s.name for s in schedule.function.statements() if s.name not in done]
    for name in rest:
        schedule = transpose_tiles(schedule, name, target)
    schedule = keep_in_registers(vectorise(schedule, rest, target))
    return parallelise(schedule, target)


def _contractions(schedule: Schedule) -> list[Contraction]:
    """The sums of products of the function, and other window reductions that a register tile suits."""
    found = []
    for computation in schedule.function.computations:
        if not is_window_reduction(computation):
            continue
        c = find_contraction(schedule.function, computation.name)
        if c is not None:
            found.append(c)
    return found
