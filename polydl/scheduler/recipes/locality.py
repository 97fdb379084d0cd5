"""Which core computes what, so that it finds what it reads in its own caches.

What another core has just written lies in that core's caches, from where each line takes far longer than one from the
next level. Images go from one operator to the next: where each core computes the same rows of all of them, it reads
lines of others only at the edges of its rows. Had it some filters, it would read half of every image, or more, from
others.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

from polydl.dsl.tensor import TensorRole
from polydl.ir.expr import Binary
from polydl.scheduler.loops import Reorder, Split
from polydl.scheduler.recipes.common import attempt, extent, leaves_blocks, loops_of, reads, uses
from polydl.scheduler.recipes.products import LINE, Contraction, axis_extent, uses_load
from polydl.scheduler.recipes.tiles import RegisterTile
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["plane_suffices", "rows_first", "rows_of_a_core"]

# Elements of constants for one of an image, above which cores share the filters: each would read all of them. A strided
# 3x3 convolution of 256 channels of 28x28 pixels has three, and takes 0.85 of the time with rows shared.
_MOST_CONSTANTS = 5
# Of each channel for each core. 1x1 convolutions with results of 14x14 pixels take a third longer on two cores where
# these share rows.
_LEAST_LINES = 16


def rows_of_a_core(schedule: Schedule, c: Contraction, tile: RegisterTile, target: Target) -> int | None:
    """How many rows of pixels one core, or a group of cores, computes all filters of; None where that is not to be.

    Measured on two cores of a Xeon, in turns, against filters split between them: densenet121 takes 0.84 to 0.87 of the
    time, mobilenet_v2 0.91, resnet50 and resnet18 0.94.
    """
    pictures = prod(axis_extent(c.update, a) for a in c.outer[: c.outer.index(c.vector)])
    if target.cores < 2 or len(c.pixels) < 2 or pictures % target.cores == 0:
        return None
    constants = images = 0
    in_blocks = False
    for load in reads(c.update):
        tensor = schedule.function.tensor(load.buffer)
        if tensor.role is TensorRole.CONSTANT:
            constants += prod(tensor.extents)
        else:
            images += prod(tensor.extents)
            in_blocks = in_blocks or tensor.layout is not None
    if constants > _MOST_CONSTANTS * images:
        return None
    if _leaves_in_planes(schedule, c):
        # Cores that share rows meet in a line of each plane. What they gain is another's channels, where any are read.
        apart = all(uses_load(x, c.vector) for x in reads(c.update))
        if apart or not (in_blocks or plane_suffices(schedule, c, target)):
            return None
    rows = axis_extent(c.update, c.pixels[1])
    for groups in range(target.cores, 1, -1):
        if target.cores % groups == 0 and rows % (groups * tile.rows) == 0:
            return rows // groups
    return None


def plane_suffices(schedule: Schedule, c: Contraction, target: Target) -> bool:
    """Whether each core's rows of a channel are many lines beside the one that it shares with another core."""
    plane = axis_extent(c.update, c.pixels[0]) * axis_extent(c.update, c.pixels[1])
    size = plane * schedule.function.tensor(c.update.target).dtype.bytes
    return target.cores == 1 or size >= _LEAST_LINES * LINE * target.cores


def _leaves_in_planes(schedule: Schedule, c: Contraction) -> bool:
    """Whether the result is copied out of its blocks of channels right away."""
    function, made = schedule.function, (c.epilogue or c.update).target
    return any(leaves_blocks(function, made, s.target, s.value) for s in function.statements())


def rows_first(schedule: Schedule, loops: list[str], target: Target) -> tuple[Schedule, list[str]]:
    """A nest that makes an image in blocks of channels with its rows shared out before the blocks.

    before:  band(…, c.o, h, …)
    after:   band(h.o, …, c.o, h.i, …)      h.o: one for each core
    The schedule and the names of the outermost loops then; as given where there is no such image, or more than one, or
    where those who read it here are not shared out by rows.
    """
    if target.cores < 2 or any(schedule.member(x).binding is Binding.PARALLEL for x in loops):
        return schedule, loops
    inside = {s for s, _ in schedule.member(loops[0]).exprs}
    rows = {_row_loop(schedule, s, loops) for s in inside}
    (row,) = rows if len(rows) == 1 else ("",)
    count = extent(schedule, row) if row else None
    pictures = prod(extent(schedule, x) or 1 for x in loops[: loops.index(row) - 1]) if row else 1
    if count is None or count % target.cores or pictures % target.cores == 0:
        return schedule, loops
    order = (f"{row}.o", *(f"{x}.i" if x == row else x for x in loops))
    changed = attempt(schedule, Split(row, count // target.cores), Reorder(order))
    return (schedule, loops) if changed is None else (changed, list(order))


def _row_loop(schedule: Schedule, name: str, loops: list[str]) -> str:
    """The loop over rows right inside the one over blocks of channels; "" where there are no such loops."""
    statement = schedule.statement(name)
    storage = schedule.function.tensor(statement.target).storage.apply(statement.index)
    for block, rows in pairwise(storage[:-1]):
        if isinstance(block, Binary) and block.op == "floordiv":
            for outer, inner in pairwise(loops):
                here, there = (schedule.member(x).expr(name).names() for x in (outer, inner))
                if any(uses(block, str(a)) for a in here) and any(uses(rows, str(a)) for a in there):
                    along = next(
                        k for k, e in enumerate(statement.index) if any(uses(e, str(a)) for a in there)
                    )
                    return inner if _read_by_rows(schedule, statement.target, along) else ""
    return ""


def _read_by_rows(schedule: Schedule, made: str, along: int) -> bool:
    """Whether a tensor is read here, always with an outermost loop that moves its subscript `along`."""
    found = [
        (s.name, x.index[along])
        for s in schedule.function.statements()
        for x in reads(s)
        if x.buffer == made and s.target != made
    ]
    for name, subscript in found:
        loop = next((x for x in loops_of(schedule, name) if extent(schedule, x) != 1), "")
        if not loop or not any(uses(subscript, str(a)) for a in schedule.member(loop).expr(name).names()):
            return False
    return bool(found)
