"""Memory traffic: how many lines each level of the memory brings in, from the footprints of loops.

For a level of some capacity, the nest is walked from the outside. Where everything that one iteration of a loop
touches fits, what neighbouring iterations share is still there, and the whole loop brings in each line it touches
once; where it does not fit, every iteration pays for itself. Elements next to each other in the last dimension share
lines; a walk along any other dimension takes a line for each element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

from polydl.dsl.polyhedral import from_affine
from polydl.dsl.tensor import Tensor
from polydl.ir.expr import Const
from polydl.poly.affine import Affine, FloorDiv, Mod
from polydl.poly.model import Access, AccessKind
from polydl.poly.paths import Position
from polydl.scheduler.automatic.extents import Loop
from polydl.scheduler.recipes.common import stride
from polydl.vocabulary import Binding

__all__ = ["Level", "Reference", "Walk", "lines_brought"]

_BLOCK: Final = 8  # tiles from this size on have numbers that choose among copies of local storage
# Bytes between accesses that count as one stream. Panels of gemm's packed operand, 128 bytes wide, ran at 31 ms where
# blocks read in place took 48 ms; the panels had been counted as out of order.
_NEAR: Final = 256
_SHARE: Final = 0.75  # of a cache that one working set may count on


@dataclass(frozen=True, slots=True)
class Level:
    """A level of memory: what it holds, and the cycles of bringing a line into it: in order, and out of order.

    `unhidden`: the share of the first that remains however many rows of a tensor are streamed at a time.
    """

    bytes: float
    streamed: float
    scattered: float
    unhidden: float

    def cost(self, streams: float) -> float:
        """Cycles of a line of one of several streams."""
        return self.streamed * (self.unhidden + (1.0 - self.unhidden) / streams)


@dataclass(frozen=True, slots=True)
class Reference:
    """An access of a statement: `subscripts[d]` as coefficients of axes, without what is constant.

    `around`: so many coordinates are outside of the tensor's storage; each of their iterations uses the same memory.
    `rows[d]`: elements from one index of dimension d to the next in row-major storage, 0 where a size decides.
    """

    tensor: str
    element: int  # bytes
    subscripts: tuple[tuple[tuple[str, int], ...], ...]
    constants: tuple[int, ...]
    written: bool
    near: frozenset[str] = frozenset()  # axes with neighbours close together in the tensor's own layout
    around: int = 0
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Walk:
    """The way to one statement: its coordinates (loops, places in sequences) and its references."""

    coordinates: tuple[Loop | Position, ...]
    references: tuple[Reference, ...]


def reference(access: Access, tensor: Tensor, around: int = 0) -> Reference:
    """An access as the model sees it; a data-dependent subscript counts as the same everywhere."""
    subscripts, constants = [], []
    for e in access.subscripts:
        subscripts.append(_coefficients(e) if e is not None else ())
        constants.append(e.constant if e is not None else 0)
    written = access.kind is not AccessKind.READ
    return Reference(
        access.tensor,
        tensor.dtype.bytes,
        tuple(subscripts),
        tuple(constants),
        written,
        _near(access, tensor),
        around,
        _rows(tensor),
    )


def _rows(tensor: Tensor) -> tuple[int, ...]:
    found: list[int] = []
    step = 1
    for extent in reversed(tensor.shape):
        found.append(step)
        step *= int(extent.value) if isinstance(extent, Const) else 0
    return tuple(reversed(found))


def _near(access: Access, tensor: Tensor) -> frozenset[str]:
    """The axes whose neighbours are close together: panels of packed operands, rows of few elements."""
    subscripts = [e for e in access.subscripts if e is not None]
    if len(subscripts) < len(access.subscripts):
        return frozenset()
    index = tuple(map(from_affine, subscripts))
    steps = {axis: stride(tensor, index, axis) for e in subscripts for axis in e.names()}
    return frozenset(
        axis for axis, n in steps.items() if n is not None and abs(n) * tensor.dtype.bytes <= _NEAR
    )


def _coefficients(e: Affine) -> tuple[tuple[str, int], ...]:
    found: list[tuple[str, int]] = []
    for atom, c in e.terms:
        match atom:
            case FloorDiv(_, size) if size >= _BLOCK:
                continue  # the number of a block: local storage, which the next block uses again
            case FloorDiv(dividend) | Mod(dividend):
                found += [(name, c) for name in sorted(dividend.names())]
            case _:
                found.append((atom, c))
    return tuple(found)


def lines_brought(
    walks: Sequence[Walk], level: Level, line: int, depth: int = 0, times: float = 1.0
) -> float:
    """The cycles of bringing lines into a level, for all walks from coordinate `depth` on, `times` over."""
    capacity = _SHARE * level.bytes
    return _visit(walks, level, line, depth, times, capacity)


def _visit(
    walks: Sequence[Walk], level: Level, line: int, depth: int, times: float, capacity: float
) -> float:
    here = [w for w in walks if depth < len(w.coordinates)]
    if not here:
        return _cycles(walks, depth, level, line) * times
    first = here[0].coordinates[depth]
    if isinstance(first, Position):
        if _bytes(walks, depth, line) <= capacity:
            return _cycles(walks, depth, level, line) * times
        groups: dict[int, list[Walk]] = {}
        for w in here:
            place = w.coordinates[depth]
            groups.setdefault(place.index if isinstance(place, Position) else 0, []).append(w)
        return sum(_visit(g, level, line, depth + 1, times, capacity) for g in groups.values())
    if _bytes(walks, depth + 1, line) <= capacity:
        return _cycles(walks, depth, level, line) * times
    trips = max(c.trips for w in here if isinstance(c := w.coordinates[depth], Loop))
    return _visit(walks, level, line, depth + 1, times * trips, capacity)


@dataclass(slots=True)
class _Region:
    """A box of elements of a tensor, as what several references touch together.

    `contiguous`: whether the reference that touches most of it, `most` elements, goes along its lines.
    `streams`: how many of its rows are read or written in turns.
    """

    low: list[float]
    high: list[float]
    element: int
    written: bool
    contiguous: bool
    most: float
    rows: tuple[int, ...]
    streams: float

    def lines(self, line: int) -> float:
        """Rows shorter than a line share it with their neighbours, also where only a part of each is touched."""
        widths = [high - low + 1 for low, high in zip(self.low, self.high, strict=True)]
        if not widths:
            return 1.0
        ways = [
            prod(widths[:d]) * max(1.0, widths[d] * step * self.element / line)
            for d, step in enumerate(self.rows)
            if step
        ]
        return min(ways)


def _regions(walks: Sequence[Walk], depth: int) -> list[_Region]:
    """What the loops from `depth` on touch: boxes, those with the same place in the outer loops united."""
    found: dict[tuple[str, tuple[frozenset[tuple[int, float]], ...]], _Region] = {}
    for w in walks:
        for r in w.references:
            width, outside, last = _moves(w, depth, r.around)
            signs, low, high = [], [], []
            for terms, start in zip(r.subscripts, r.constants, strict=True):
                spread = [c * width.get(axis, 0.0) for axis, c in terms]
                low.append(start + sum(x for x in spread if x < 0))
                high.append(start + sum(x for x in spread if x > 0))
                signs.append(
                    frozenset((d, c * step) for axis, c in terms for d, step in outside.get(axis, ()))
                )
            leading = (axis for terms in r.subscripts[:-1] for axis, _ in terms)
            ordered = not last or last in r.near or last not in leading
            key = r.tensor, tuple(signs)
            old = found.get(key)
            count = prod(b - a + 1 for a, b in zip(low, high, strict=True))
            streams = _streams(w, r, last)
            if old is None:
                found[key] = _Region(low, high, r.element, r.written, ordered, count, r.rows, streams)
            else:
                old.streams = max(old.streams, streams)
                old.low = [min(a, b) for a, b in zip(old.low, low, strict=True)]
                old.high = [max(a, b) for a, b in zip(old.high, high, strict=True)]
                old.written = old.written or r.written
                if count >= old.most:
                    old.contiguous = ordered and (old.contiguous or count > old.most)
                    old.most = count
    return list(found.values())


def _streams(walk: Walk, r: Reference, last: str) -> float:
    """How many rows of a tensor are gone along at a time: copies in unrolled loops of one that the innermost running
    loop, over axis `last`, goes along."""
    if not r.subscripts or all(axis != last for axis, _ in r.subscripts[-1]):
        return 1.0
    leading = {axis for terms in r.subscripts[:-1] for axis, _ in terms}
    loops = (c for c in walk.coordinates if isinstance(c, Loop) and c.member.binding is Binding.UNROLL)
    return prod(c.trips for c in loops if c.axis in leading)


def _moves(
    walk: Walk, depth: int, around: int
) -> tuple[dict[str, float], dict[str, list[tuple[int, float]]], str]:
    """How far the loops from `depth` on move each axis, where those before stand, and the axis of the innermost loop.

    The first `around` coordinates are left out: they are outside of the storage and choose no memory.
    """
    width: dict[str, float] = {}
    outside: dict[str, list[tuple[int, float]]] = {}
    last = ""
    for d, c in enumerate(walk.coordinates):
        if not isinstance(c, Loop) or not c.axis:
            continue
        if d >= depth and c.member.binding in (Binding.SEQUENTIAL, Binding.PARALLEL):
            last = c.axis
        if d >= max(depth, around):
            width[c.axis] = width.get(c.axis, 0.0) + max(0.0, c.trips * c.share - 1) * c.step
        elif d >= around:
            outside.setdefault(c.axis, []).append((d, c.step))
    return width, outside, last


def _bytes(walks: Sequence[Walk], depth: int, line: int) -> float:
    return sum(r.lines(line) for r in _regions(walks, depth)) * line


def _cycles(walks: Sequence[Walk], depth: int, level: Level, line: int) -> float:
    """Stored lines come in and go out again."""
    total = 0.0
    for r in _regions(walks, depth):
        cost = level.cost(r.streams) if r.contiguous else level.scattered
        total += r.lines(line) * cost * (2.0 if r.written else 1.0)
    return total
