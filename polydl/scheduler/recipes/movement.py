"""The recipe for element-wise statements that read along another axis than they write: layouts and transpositions.

    band(…, u.o, …, t.o, …, u.i unrolled, t.i vector)   y[…, u, t] = f(x[…, t, u])

`t` is contiguous in the target and becomes the vector, `u` is contiguous in what is read. A tile of both touches every
cache line once and whole; code generation reads it row by row and transposes it in registers.
"""

from __future__ import annotations

from dataclasses import dataclass

from polydl.dsl.function import StatementDef
from polydl.ir.expr import Load, walk
from polydl.poly.affine import Affine, Mod
from polydl.poly.tree import Band, Member
from polydl.scheduler.bindings import Unroll, Vectorize
from polydl.scheduler.loops import Reorder, Split
from polydl.scheduler.partition import Separate
from polydl.scheduler.recipes.common import attempt, copies, extent, innermost_band, reads, run, stride
from polydl.scheduler.recipes.generic import collapse_contiguous
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["transpose_tiles"]

_LARGEST_BODY = 48  # nodes of a statement that is still spelled out for every step of a tile


@dataclass(frozen=True, slots=True)
class _Tile:
    """The loops of a tile and how many iterations of each belong to it."""

    lane: str
    lanes: int
    step: str
    steps: int


def transpose_tiles(schedule: Schedule, name: str, target: Target) -> Schedule:
    """The schedule with a register tile for statement `name` where it turns data; as it is where it does not."""
    statement = schedule.statement(name)
    band = innermost_band(schedule.tree, name)
    if band is None or statement.op is not None or not _alone(band, name):
        return schedule
    collapsed = collapse_contiguous(schedule, statement, band)
    band = innermost_band(collapsed.tree, name) or band
    if sum(1 for _ in walk(statement.value)) > _LARGEST_BODY:
        return schedule
    tile = _choose(collapsed, statement, band, target)
    if tile is None:
        return schedule
    return _tiled(collapsed, tile, [m.name for m in band.members]) or schedule


def _alone(band: Band, name: str) -> bool:
    """Whether the band's loops are sequential and run this statement only."""
    return all(m.binding is Binding.SEQUENTIAL and [s for s, _ in m.exprs] == [name] for m in band.members)


def _choose(schedule: Schedule, statement: StatementDef, band: Band, target: Target) -> _Tile | None:
    loads = [x for x in reads(statement) if not any(isinstance(e, Load) for i in x.index for e in walk(i))]
    lanes = target.lanes(
        max([schedule.function.tensor(statement.target).dtype.bytes, *(x.dtype.bytes for x in loads)])
    )
    for t in band.members:
        across = [x for x in loads if _along(schedule, statement, x, t) not in (0, 1)]
        if _target_step(schedule, statement, t) != 1 or not across:
            continue
        best: _Tile | None = None
        for u in band.members:
            turned = [x for x in across if _along(schedule, statement, x, u) == 1]
            if u is t or not turned:
                continue
            height = min([lanes, _extent(schedule, t), *_runs(schedule, statement, t, loads)])
            width = min([lanes, _extent(schedule, u), *_runs(schedule, statement, u, turned)])
            if min(height, width) > 1 and (best is None or width > best.steps):
                best = _Tile(t.name, height, u.name, width)
        if best is not None:
            return best
    return None


def _extent(schedule: Schedule, m: Member) -> int:
    return extent(schedule, m.name) or 1


def _axis(statement: StatementDef, m: Member) -> str | None:
    """The axis that moves fastest along a loop of one axis, of a part of one, or of several collapsed ones."""
    terms = m.expr(statement.name).terms
    match terms:
        case ((Mod(Affine(terms=((str(axis), 1),), constant=0)), 1),):
            return axis
        case _ if terms and all(isinstance(atom, str) for atom, _ in terms):
            return str(min(terms, key=lambda term: term[1])[0])
        case _:
            return None


def _along(schedule: Schedule, statement: StatementDef, load: Load, m: Member) -> int | None:
    axis = _axis(statement, m)
    return None if axis is None else stride(schedule.function.tensor(load.buffer), load.index, axis)


def _target_step(schedule: Schedule, statement: StatementDef, m: Member) -> int | None:
    axis = _axis(statement, m)
    return None if axis is None else stride(schedule.function.tensor(statement.target), statement.index, axis)


def _runs(schedule: Schedule, statement: StatementDef, m: Member, loads: list[Load]) -> list[int]:
    """After how many iterations of the loop a block of some layout ends."""
    axis = _axis(statement, m) or ""
    places = [(statement.target, statement.index), *((x.buffer, x.index) for x in loads)]
    found = [run(schedule.function.tensor(b), index, axis) for b, index in places]
    return [n for n in found if n is not None]


def _tiled(schedule: Schedule, tile: _Tile, loops: list[str]) -> Schedule | None:
    splits, blocks, points = [], [], []
    outer = list(loops)  # blocks keep their loops' places: the order in which the target is stored, mostly
    for name, size in ((tile.step, tile.steps), (tile.lane, tile.lanes)):
        if extent(schedule, name) == size:
            outer.remove(name)
            points.append(name)
        else:
            splits.append(Split(name, size))
            blocks.append(f"{name}.o")
            outer[outer.index(name)] = f"{name}.o"
            points.append(f"{name}.i")
    result = attempt(schedule, *splits, Reorder((*outer, *points)))
    if result is None:
        return None
    for block in blocks:
        for name in copies(result, block):
            result = attempt(result, Separate(name)) or result
    steps = [Unroll(name) for name in copies(result, points[0])]
    vectors = [Vectorize(name) for name in copies(result, points[1])]
    return attempt(result, *steps, *vectors)
