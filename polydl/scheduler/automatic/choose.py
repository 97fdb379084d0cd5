"""Automatic scheduling without search.

    for each order (as written, and isl's): for each top-level nest: the strategy with the least predicted time
    the order with the least sum, unless the original one is predicted nearly as fast

Every step is a public transformation that passed the judge, so the result has a trace that can be replayed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

from polydl import poly
from polydl.dsl.function import Function
from polydl.dsl.tensor import Tensor, TensorRole
from polydl.errors import IllegalSchedule, NotApplicable, PolyhedralBlowup, UsageError
from polydl.ir.expr import Const
from polydl.poly.tree import Allocate, members, statements_below, walk
from polydl.scheduler.automatic.blocked import blocked
from polydl.scheduler.automatic.columns import column_panels
from polydl.scheduler.automatic.contractions import contractions
from polydl.scheduler.automatic.distribution import distributed_loops
from polydl.scheduler.automatic.orders import orders
from polydl.scheduler.automatic.outer_vectors import outer_vectors
from polydl.scheduler.automatic.plain import plain_loops
from polydl.scheduler.automatic.predict import least_time, predicted_time
from polydl.scheduler.automatic.ready import ready_updates
from polydl.scheduler.automatic.register_tiles import register_tiles
from polydl.scheduler.automatic.splitting import split_loops
from polydl.scheduler.automatic.stencils import stencils
from polydl.scheduler.automatic.strategy import Part, Strategy, parts
from polydl.scheduler.automatic.streams import row_streams
from polydl.scheduler.automatic.wavefronts import wavefronts
from polydl.scheduler.bindings import Sequential
from polydl.scheduler.recipes import default_schedule, schedule_as_written
from polydl.scheduler.recipes.common import attempt
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target, parse
from polydl.vocabulary import Binding

__all__ = ["STRATEGIES", "candidates", "optimize"]

STRATEGIES: Final[tuple[Strategy, ...]] = (
    plain_loops,
    distributed_loops,
    contractions,
    register_tiles,
    row_streams,
    outer_vectors,
    blocked,
    ready_updates,
    column_panels,
    split_loops,
    stencils,
    wavefronts,
)

_MARGIN: Final = (
    0.9  # a candidate must be predicted to take less than this share of the original order's time
)
# Threads must win so much of the time on one core: they have to be woken, and where the memory is what limits, they win
# nothing. Measured on gemver: predicted 0.95, 3.1 ms instead of 2.2.
_SHARED: Final = 0.9
_ENOUGH: Final = 2.2  # times the least possible: nothing better is looked for
_OPERATIONS: Final = 20_000_000  # of isl's scheduler, for one variant


def optimize(
    function: Function,
    target: Target | str = "native",
    *,
    reassociate: bool = True,
    operations: int = _OPERATIONS,
) -> Schedule:
    """A good legal schedule of `function` for `target`, never one predicted slower than its original order.

    `operations` bounds isl's scheduler for each variant; one that needs more is left out.
    """
    target = parse(target) if isinstance(target, str) else target
    for given, kind in ((function, Function), (target, Target)):
        if not isinstance(given, kind):
            raise UsageError(
                f"optimize() is given a {type(given).__name__} instead of a {kind.__name__}",
                next="give FunctionBuilder(…).build(…), or the `function` of captured loops, and a target's name",
            )
    if function.order is None:
        best = default_schedule(function, target, reassociate=reassociate)
    else:
        best = schedule_as_written(function, target, reassociate=reassociate)
    plain = Schedule.of(function, reassociate=reassociate)
    best = _shared_or_not(plain, best, target)
    better = [best]  # each than those before it
    least = _MARGIN * predicted_time(best, target)
    enough = _ENOUGH * least_time(best, target, [s.name for s in function.statements()])
    for candidate in candidates(function, target, reassociate=reassociate, operations=operations):
        if not _modest(candidate, function):
            continue
        time = predicted_time(candidate, target)
        if time < least:
            better.append(candidate)
            least = time
        if time <= enough:
            break
    while len(better) > 1 and not _has_loops(better[-1]):
        better.pop()
    return _shared_or_not(plain, better[-1], target)


def _has_loops(schedule: Schedule) -> bool:
    """Whether isl finds the loops of an order within its budget; of one in a hundred of random programs it did not."""
    try:
        poly.generate(schedule.scop, schedule.tree)
    except PolyhedralBlowup:
        return False
    return True


def _shared_or_not(plain: Schedule, best: Schedule, target: Target) -> Schedule:
    """The schedule, or the same on one core where threads win too little."""
    if _SHARED * predicted_time(best, replace(target, cores=1)) > predicted_time(best, target):
        return best
    return _on_one_core(plain, best) or best


def _modest(schedule: Schedule, original: Function) -> bool:
    """Whether temporary storage grows no faster with the sizes than the tensors of the program do: what fits the
    memory should still fit it. Storage inside of loops is as large as a tile."""
    inside = {node.tensor for node in walk(schedule.tree) if isinstance(node, Allocate)}
    most = max(map(_symbolic_extents, original.tensors), default=0)
    temporaries = schedule.function.of_role(TensorRole.TEMPORARY)
    return all(_symbolic_extents(t) <= most for t in temporaries if t.name not in inside)


def _symbolic_extents(tensor: Tensor) -> int:
    return sum(not isinstance(e, Const) for e in tensor.shape)


def candidates(
    function: Function, target: Target, *, reassociate: bool = True, operations: int = _OPERATIONS
) -> Iterator[Schedule]:
    """A legal schedule for each order, every nest by the strategy that is predicted to suit it best."""
    plain = Schedule.of(function, reassociate=reassociate)
    for schedule, bands in orders(plain, operations):
        for part in parts(schedule.tree, bands):
            if not any(members(part.subtree(schedule.tree))):
                continue  # single instances: there is nothing to choose
            schedule = _best(schedule, part, target)
        yield schedule


def _best(schedule: Schedule, part: Part, target: Target) -> Schedule:
    """The schedule with one part as the best strategy has it."""
    others = set(statements_below(schedule.tree)) - set(part.statements)
    best, least = schedule, _time(schedule, others, target)
    enough = _ENOUGH * least_time(schedule, target, part.statements)
    for strategy in STRATEGIES:
        if least <= enough:
            break
        for candidate in _proposals(strategy, schedule, part, target):
            time = _time(candidate, others, target)
            if time < least:
                best, least = candidate, time
    if _SHARED * _time(best, others, replace(target, cores=1)) > least:
        return best
    return _on_one_core(schedule, best) or best


def _on_one_core(before: Schedule, after: Schedule) -> Schedule | None:
    """`after` without the parallel loops that it has and `before` has not; None if there are none."""
    had = set(_parallel(before))
    shared = [name for name in _parallel(after) if name not in had]
    return attempt(after, *map(Sequential, shared)) if shared else None


def _parallel(schedule: Schedule) -> Iterator[str]:
    return (m.name for m in members(schedule.tree) if m.binding is Binding.PARALLEL)


def _time(schedule: Schedule, others: Collection[str], target: Target) -> float:
    """The predicted time of all but other parts: of a part with the copies and the like that a strategy has added."""
    return predicted_time(schedule, target, set(statements_below(schedule.tree)) - set(others))


def _proposals(strategy: Strategy, schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    try:
        yield from strategy(schedule, part, target)
    except (NotApplicable, IllegalSchedule, PolyhedralBlowup):
        return
