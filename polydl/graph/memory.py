"""The arena: one block of memory in which every intermediate value has a fixed place.

Buffers that live at the same time do not overlap. Places are found greedily, largest buffer first, each at the lowest
offset that fits; the result is mostly at or near the lower bound, the largest sum of buffers alive at one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from polydl.errors import InvalidProgram
from polydl.graph.groups import Group
from polydl.graph.ir import Graph
from polydl.graph.placement import ALIGNMENT, Layouts, resolve, storage_bytes

__all__ = ["Buffer", "Location", "MemoryPlan", "Where", "lower_bound", "place_buffers", "plan_memory"]


class Where(str, Enum):
    INPUT = "input"
    OUTPUT = "output"
    ARENA = "arena"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a value is stored: input or output number `index`, or `offset` bytes into the arena."""

    where: Where
    index: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Buffer:
    """`bytes` that must keep their contents from step `first` to step `last`, both included."""

    name: str
    bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """`locations` of every run-time value; the arena has `bytes`, and no plan could need fewer than `lower_bound`."""

    locations: Mapping[str, Location]
    bytes: int
    lower_bound: int


def plan_memory(graph: Graph, groups: Sequence[Group], layouts: Layouts) -> MemoryPlan:
    """Places for all values that leave a group; `groups` in the order in which they run."""
    locations = {v: Location(Where.INPUT, k) for k, v in enumerate(graph.inputs)}
    locations |= {v: Location(Where.OUTPUT, k) for k, v in enumerate(graph.outputs) if v not in locations}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    made = {o for g in groups for o in g.outputs}
    for step, g in enumerate(groups):
        for v in (*g.inputs, *g.outputs):
            if v in made or v in graph.inputs:
                base, _ = resolve(v, layouts.slices)
                first.setdefault(base, step)
                last[base] = step
    buffers = [
        Buffer(v, storage_bytes(graph.values[v], layouts.of(v)), first[v], last[v])
        for v in first
        if v not in locations
    ]
    offsets = place_buffers(buffers)
    for v in made:
        base, offset = resolve(v, layouts.slices)
        place = (
            locations[base]
            if base in locations and base not in offsets
            else Location(Where.ARENA, 0, offsets[base])
        )
        if offset and place.where is not Where.ARENA:
            raise InvalidProgram(f"value '{v}' would lie inside the {place.where.value} '{base}'")
        locations[v] = Location(place.where, place.index, place.offset + offset)
    size = max((offsets[b.name] + _rounded(b.bytes) for b in buffers), default=0)
    return MemoryPlan(locations, size, lower_bound(buffers))


def place_buffers(buffers: Sequence[Buffer]) -> dict[str, int]:
    """An offset, a multiple of 64, for each buffer; buffers whose lifetimes meet do not overlap."""
    placed: list[tuple[int, int, Buffer]] = []  # (begin, end, buffer), sorted by begin
    result: dict[str, int] = {}
    for b in sorted(buffers, key=lambda b: (-b.bytes, b.first, b.name)):
        size = _rounded(b.bytes)
        best: tuple[int, int] | None = None  # (room left over, offset)
        end = 0
        for begin, finish, other in placed:
            if other.last < b.first or b.last < other.first:
                continue
            gap = begin - end
            if gap >= size and (best is None or gap - size < best[0]):
                best = (gap - size, end)
            end = max(end, finish)
        offset = best[1] if best is not None else end
        result[b.name] = offset
        placed.append((offset, offset + size, b))
        placed.sort(key=lambda p: p[0])
    return result


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """The largest sum of sizes alive at one step."""
    changes: dict[int, int] = {}
    for b in buffers:
        changes[b.first] = changes.get(b.first, 0) + _rounded(b.bytes)
        changes[b.last + 1] = changes.get(b.last + 1, 0) - _rounded(b.bytes)
    alive = most = 0
    for step in sorted(changes):
        alive += changes[step]
        most = max(most, alive)
    return most


def _rounded(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT
