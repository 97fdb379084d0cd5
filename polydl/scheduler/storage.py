"""Transformations of storage: where a tensor lives, its layout, and packed copies."""

from __future__ import annotations

from dataclasses import dataclass, replace

from polydl.dsl.tensor import Layout, TensorRole
from polydl.errors import NotApplicable
from polydl.poly.tree import Allocate, Band
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, replace_at
from polydl.vocabulary import Memory

__all__ = ["Local", "SetLayout"]


@dataclass(frozen=True, slots=True)
class Local(Transform):
    """Give a temporary tensor fresh storage in each iteration of a loop; only the part an iteration touches is kept.

    rewrite:  band(i, j, child) -> band(i, allocate(T), band(j, child))   for Local("T", "i")
    legal if: T is accessed below only, and each of its elements within one iteration of the loops around
    """

    tensor: str
    loop: str
    memory: Memory = Memory.LOCAL

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if schedule.function.tensor(self.tensor).role is not TensorRole.TEMPORARY:
            raise NotApplicable(f"{self.tensor} is not a temporary tensor", why="its storage belongs to the caller")
        path, band, k = band_of(schedule.tree, self.loop)
        rest = Band(band.members[k + 1 :], band.child) if band.members[k + 1 :] else band.child
        new = Band(band.members[: k + 1], Allocate(self.tensor, self.memory, rest))
        return Rewritten(replace_at(schedule.tree, path, new))


@dataclass(frozen=True, slots=True)
class SetLayout(Transform):
    """Store a tensor another way. For inputs, outputs and constants this changes the function's interface.

    legal if: the layout is injective (it is checked on the tensor's box)
    """

    tensor: str
    layout: Layout

    def rewrite(self, schedule: Schedule) -> Rewritten:
        tensor = schedule.function.tensor(self.tensor)
        if len(self.layout.dims) != tensor.rank:
            raise NotApplicable(f"{self.tensor} has {tensor.rank} dimensions, the layout is for {len(self.layout.dims)}")
        check_injective(schedule, replace(tensor, layout=self.layout))
        return Rewritten(schedule.tree, schedule.function.with_tensor(replace(tensor, layout=self.layout)))
