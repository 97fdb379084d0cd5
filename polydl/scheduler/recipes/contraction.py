"""The recipe for contractions: sums of products such as convolutions and matrix products, found by their affine form.

    band(outer…, v.o, q.o, p.o)
      allocate acc in registers
      sequence
        acc = init             over the register tile
        acc += x * w           over (reduction…, register tile)
        y = epilogue(acc)      over the register tile

`v` is the output axis that is contiguous in storage and becomes vectors; `p` (and `q`) are "pixel" axes along which
the vector operand is reused; the register tile is `q.i × p.i × v.i`, unrolled.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from polydl.dsl.function import Function, StatementDef
from polydl.dsl.tensor import Layout, TensorRole, numbers
from polydl.ir.expr import Const, Expr, Load, Var
from polydl.poly.tree import members
from polydl.scheduler.loops import Fuse, Parallel, Reorder, Split, Unroll, Vectorize
from polydl.scheduler.partition import Separate
from polydl.scheduler.recipes.common import attempt, extent, loops_of, reads, stride, uses
from polydl.scheduler.recipes.tiles import RegisterTile, choose_tile
from polydl.scheduler.schedule import Schedule, Transform
from polydl.scheduler.storage import Local, SetLayout
from polydl.targets import Target
from polydl.vocabulary import Memory

__all__ = ["Contraction", "find_contraction", "schedule_contraction"]


@dataclass(frozen=True, slots=True)
class Contraction:
    """A reduction whose result one element-wise statement consumes; axis names are those of the reduction."""

    update: StatementDef
    init: StatementDef | None
    epilogue: StatementDef | None
    outer: tuple[str, ...]  # output axes in order
    reduced: tuple[str, ...]
    vector: str
    pixels: tuple[str, ...]  # along which the vector operand is reused, innermost first


def find_contraction(function: Function, name: str) -> Contraction | None:
    """The contraction that computation `name` is, or None where it is none."""
    computation = function.computation(name)
    r = computation.reduction
    if r is None or r.init is None or computation.conditions:
        return None
    statements = {s.name: s for s in function.statements()}
    update, init = statements[name], statements.get(f"{name}_init")
    outer = tuple(a.name for a in computation.axes if a.name not in r.axes)
    if computation.index != tuple(Var(a) for a in outer) or not outer:
        return None
    if not all(isinstance(a.lower, Const) and isinstance(a.upper, Const) for a in computation.axes):
        return None
    target = function.tensor(computation.target)
    epilogue = None
    if target.role is TensorRole.TEMPORARY:
        readers = [s for s in statements.values() if s.name != name and any(x.buffer == target.name for x in reads(s))]
        if len(readers) != 1 or readers[0].op is not None or readers[0].conditions:
            return None
        epilogue = readers[0]
        wanted = tuple(Var(a.name) for a in epilogue.axes)
        same_box = [(a.lower, a.upper) for a in epilogue.axes] == [
            (a.lower, a.upper) for a in computation.axes if a.name not in r.axes
        ]
        if not same_box or any(x.buffer == target.name and x.index != wanted for x in reads(epilogue)):
            return None
    vector = _vector_axis(function, update, epilogue, outer)
    if vector is None:
        return None
    reuse = [a for a in outer if a != vector and any(not uses_load(x, a) for x in reads(update) if uses_load(x, vector))]
    if not reuse:
        reuse = [a for a in outer if a != vector and any(not uses_load(x, a) for x in reads(update))]
    return Contraction(update, init, epilogue, outer, r.axes, vector, tuple(reversed(reuse)))


def uses_load(load: Load, axis: str) -> bool:
    return any(uses(i, axis) for i in load.index)


def _vector_axis(
    function: Function, update: StatementDef, epilogue: StatementDef | None, outer: tuple[str, ...]
) -> str | None:
    """The output axis whose neighbours are adjacent in the stored result."""
    last = epilogue or update
    names = dict(zip((a.name for a in last.axes), outer, strict=True)) if epilogue else {a: a for a in outer}
    tensor = function.tensor(last.target)
    for a in reversed(last.axes):
        if a.name in names and stride(tensor, last.index, a.name) == 1:
            return names[a.name]
    return None


def _axis_extent(s: StatementDef, name: str) -> int:
    a = next(a for a in s.axes if a.name == name)
    low, high = numbers((a.lower, a.upper))
    return high - low


def pack_constants(schedule: Schedule, c: Contraction, block: int) -> Schedule:
    """Constants that vary along the vector axis stored with `block` neighbours along it innermost.

    Dimensions are stored in the order in which the loops read them: vector blocks, other axes, reduction axes, lanes.
    """
    for load in reads(c.update):
        tensor = schedule.function.tensor(load.buffer)
        if tensor.role is not TensorRole.CONSTANT or tensor.layout is not None:
            continue
        along = [k for k, i in enumerate(load.index) if uses(i, c.vector)]
        if len(along) != 1:
            continue
        dims = tuple(f"d{k}" for k in range(tensor.rank))
        extents = tensor.extents
        v = along[0]
        rest = sorted((k for k in range(tensor.rank) if k != v), key=lambda k: _depth(load.index[k], c))
        index: list[Expr] = [Var(dims[v]) // block, *(Var(dims[k]) for k in rest), Var(dims[v]) % block]
        shape = [-(-extents[v] // block), *(extents[k] for k in rest), block]
        layout = Layout(dims, tuple(index), tuple(Const(s, Var("").dtype) for s in shape))
        schedule = schedule.apply(SetLayout(tensor.name, layout))
    return schedule


def _depth(e: Expr, c: Contraction) -> int:
    order = [*c.outer, *c.reduced]
    return max((order.index(a) + 1 for a in order if uses(e, a)), default=0)


def schedule_contraction(schedule: Schedule, c: Contraction, target: Target) -> Schedule:
    """The contraction's nest as in the picture above; NotApplicable or IllegalSchedule where it does not fit."""
    dtype = schedule.function.tensor(c.update.target).dtype
    lanes = target.lanes(dtype.bytes)
    width = _axis_extent(c.update, c.vector)
    vectors = max(1, width // lanes)
    columns_axis = c.pixels[0] if c.pixels else None
    rows_axis = c.pixels[1] if len(c.pixels) > 1 else None
    columns = _axis_extent(c.update, columns_axis) if columns_axis else 1
    rows = _axis_extent(c.update, rows_axis) if rows_axis else 1
    steps = prod(_axis_extent(c.update, a) for a in c.reduced)
    shared = any(not uses_load(x, c.vector) for x in reads(c.update))
    tile = choose_tile(rows, columns, vectors, steps, target) if shared else _streaming_tile(columns, target)
    schedule = pack_constants(schedule, c, min(tile.vectors, vectors) * lanes if width >= lanes else lanes)
    if c.epilogue is not None:
        schedule = _blocked_accumulator(schedule, c, lanes)
    return _tile_nest(schedule, c, tile, lanes, columns_axis, rows_axis)


def _streaming_tile(columns: int, target: Target) -> RegisterTile:
    """Where every operand varies along the vectors (depthwise): one vector, a row of pixels."""
    limit = max(1, (target.vector_registers - 4) // 2)
    pieces = -(-columns // limit)
    return RegisterTile(1, -(-columns // pieces), 1)


def _blocked_accumulator(schedule: Schedule, c: Contraction, lanes: int) -> Schedule:
    tensor = schedule.function.tensor(c.update.target)
    axis = c.outer.index(c.vector)
    layout = Layout.blocked(tensor.extents, axis, lanes, numbers(tensor.origin))
    return schedule.apply(SetLayout(tensor.name, layout))


def _tile_nest(
    schedule: Schedule, c: Contraction, tile: RegisterTile, lanes: int, columns: str | None, rows: str | None
) -> Schedule:
    statements = [s for s in (c.init, c.update, c.epilogue) if s is not None]
    factors = {c.vector: tile.vectors * lanes}
    if columns is not None and tile.columns > 1:
        factors[columns] = tile.columns
    if rows is not None and tile.rows > 1:
        factors[rows] = tile.rows
    shared_order = [a for a in c.outer if a != c.vector and a != columns and a != rows]
    order = [*shared_order, c.vector, *(a for a in (rows, columns) if a is not None)]
    heads: list[list[str]] = []
    for s in statements:
        loop = dict(zip(c.outer, loops_of(schedule, s.name), strict=False))
        reduced = dict(zip(c.reduced, loops_of(schedule, s.name)[len(c.outer) :], strict=False))
        transforms: list[Transform] = [Split(loop[a], f) for a, f in factors.items()]
        transforms.append(Split(f"{loop[c.vector]}.i", lanes))
        outer = [f"{loop[a]}.o" if a in factors else loop[a] for a in order]
        point = [f"{loop[a]}.i" for a in (rows, columns) if a in factors]
        point += [f"{loop[c.vector]}.i.o", f"{loop[c.vector]}.i.i"]
        middle = list(reduced.values()) if s is c.update else []
        transforms.append(Reorder((*outer, *middle, *point)))
        schedule = schedule.apply(*transforms)
        heads.append(outer)
    names = heads[0]
    for level in range(len(names)):
        if len(heads) > 1:
            schedule = schedule.apply(Fuse(tuple(h[level] for h in heads)))
    first = heads[0]
    tiled = [n for n, a in zip(first, order, strict=True) if a in factors]
    for name in tiled:
        schedule = attempt(schedule, Separate(name)) or schedule
    schedule = _allocate(schedule, c, first[-1])
    schedule = _bind_points(schedule, lanes)
    return _parallelise(schedule, first)


def _allocate(schedule: Schedule, c: Contraction, innermost: str) -> Schedule:
    """The accumulators in registers, in every copy of the tile that separation has made."""
    tensor = schedule.function.tensor(c.update.target)
    if tensor.role is not TensorRole.TEMPORARY:
        return schedule
    copies = [m.name for m in members(schedule.tree) if m.name.split(".tail")[0] == innermost]
    return schedule.apply(*(Local(tensor.name, name, Memory.REGISTER) for name in copies))


def _bind_points(schedule: Schedule, lanes: int) -> Schedule:
    """Point loops unrolled, the innermost one vectorised."""
    for m in list(members(schedule.tree)):
        base = m.name.split(".tail")[0]
        if base.endswith(".i.i"):
            schedule = schedule.apply(Vectorize(m.name))
        elif base.endswith(".i") or base.endswith(".i.o"):
            schedule = schedule.apply(Unroll(m.name))
    return schedule


def _parallelise(schedule: Schedule, outer: list[str]) -> Schedule:
    for name in outer[:-1] or outer:
        changed = attempt(schedule, Parallel(name))
        if changed is None or (extent(schedule, name) or 2) < 1:
            break
        schedule = changed
    return schedule


