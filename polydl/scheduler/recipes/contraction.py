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

from math import prod

from polydl.dsl.function import StatementDef
from polydl.dsl.tensor import Layout, TensorRole, numbers
from polydl.ir.expr import Load
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.bindings import Parallel, Unroll, Vectorize
from polydl.scheduler.loops import Fuse, Reorder, Split
from polydl.scheduler.packing import Pack
from polydl.scheduler.partition import IndexSetSplit, Separate
from polydl.scheduler.recipes.common import attempt, copies, extent, loops_of, reads
from polydl.scheduler.recipes.generic import vectorise
from polydl.scheduler.recipes.locality import rows_of_a_core
from polydl.scheduler.recipes.movement import transpose_tiles
from polydl.scheduler.recipes.operands import (
    MacroTiles,
    lines_together,
    macro_tiles,
    pack_constants,
    pack_operands,
    pack_rows,
    read_ahead,
    row_band,
    storage_block,
    strided_tiles,
)
from polydl.scheduler.recipes.products import Contraction, axis_extent, uses_load
from polydl.scheduler.recipes.tiles import RegisterTile, choose_tile
from polydl.scheduler.schedule import Schedule
from polydl.scheduler.storage import Local, SetLayout
from polydl.targets import Target
from polydl.vocabulary import Memory

__all__ = ["schedule_contraction"]

_MOST_UNROLLED = 384  # multiply-adds spelled out in one tile
_MOST_PARTS = 12  # nests of steps that one is cut into, of some KB each: four kinds of edges by three taps


def schedule_contraction(schedule: Schedule, c: Contraction, target: Target) -> Schedule:
    """The contraction's nest as in the picture above; NotApplicable or IllegalSchedule where it does not fit."""
    dtype = schedule.function.tensor(c.update.target).dtype
    lanes = target.lanes(dtype.bytes)
    width = axis_extent(c.update, c.vector)
    vectors = max(1, width // lanes)
    columns_axis = c.pixels[0] if c.pixels else None
    rows_axis = c.pixels[1] if len(c.pixels) > 1 else None
    columns = axis_extent(c.update, columns_axis) if columns_axis else 1
    rows = axis_extent(c.update, rows_axis) if rows_axis else 1
    steps = prod(axis_extent(c.update, a) for a in c.reduced)
    shared = any(not uses_load(x, c.vector) for x in reads(c.update))
    if not c.pixels:
        vectors = 1
    tile = choose_tile(rows, columns, vectors, steps, target) if shared else _streaming_tile(columns, target)
    macro = macro_tiles(schedule, c, tile, lanes, steps, target)
    together = lines_together(schedule, c, target)
    if shared and together is not None and not (macro and macro.packs_pixels):
        tile = choose_tile(rows, columns, vectors, steps, target, most=together)
        macro = macro_tiles(schedule, c, tile, lanes, steps, target)
    schedule = pack_constants(schedule, c, min(tile.vectors, vectors) * lanes if width >= lanes else lanes)
    if c.epilogue is not None:
        schedule = _blocked_accumulator(schedule, c, lanes)
    # windows that overlap from pixel to pixel (depthwise) share their loads once all steps are spelled out
    unroll_steps = (
        bool(c.pixels) and not c.ragged and not shared and steps * tile.columns * tile.rows <= _MOST_UNROLLED
    )
    return _tile_nest(schedule, c, tile, lanes, columns_axis, rows_axis, macro, target, unroll_steps)


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
    schedule: Schedule,
    c: Contraction,
    tile: RegisterTile,
    lanes: int,
    columns: str | None,
    rows: str | None,
    macro: MacroTiles | None,
    target: Target,
    unroll_steps: bool = False,
) -> Schedule:
    factors = {c.vector: tile.vectors * lanes}
    band = row_band(schedule, c, tile, lanes, target) if macro is None else None
    strided = strided_tiles(schedule, c, tile, lanes) if macro is None and band is None else {}
    own = band
    if macro is None and band is None and not strided:
        own = rows_of_a_core(schedule, c, tile, target)
    sizes = {c.vector: macro.vector, c.pixels[0]: macro.pixels} if macro is not None else {}
    if own is not None and rows is not None:
        sizes = {rows: own}
    if columns is not None and (tile.columns > 1 or macro is not None):
        factors[columns] = tile.columns
    if rows is not None and tile.rows > 1:
        factors[rows] = tile.rows
    order = [
        *(a for a in c.outer if a not in (columns, rows)),
        *(a for a in (rows, columns) if a is not None),
    ]
    heads: list[list[str]] = []  # per statement the outer loops
    unrolled: list[str] = []
    vectors: list[str] = []
    innermost = ""
    taps: list[str] = []  # loops over reduced axes in conditions on the rows
    for s in (c.init, c.update, c.epilogue):
        if s is None:
            continue
        loops = loops_of(schedule, s.name)
        reduced: list[str] = []
        if s is c.update:
            schedule, reduced = _reduction_loops(schedule, c, loops[len(c.outer) :])
            innermost = reduced[-1]
            taps = [x for a, x in zip(c.reduced, loops[len(c.outer) :], strict=True) if a in c.ragged]
        loop = dict(zip(c.outer, loops, strict=False))
        schedule = schedule.apply(*(Split(loop[a], size) for a, size in sizes.items()))
        blocks = [f"{loop[a]}.o" for a in sizes]
        loop |= {a: f"{loop[a]}.i" for a in sizes}
        outer = blocks + [f"{loop[a]}.o" if a in factors else loop[a] for a in order]
        points = [f"{loop[a]}.i" for a in (rows, columns) if a in factors]
        splits = [Split(loop[a], f) for a, f in factors.items()]
        lane = f"{loop[c.vector]}.i"
        if tile.vectors > 1:
            splits.append(Split(lane, lanes))
            points.append(f"{lane}.o")
            lane = f"{lane}.i"
        schedule = schedule.apply(*splits, Reorder((*outer, *reduced, *points, lane)))
        heads.append(outer)
        unrolled += points
        if s is c.update and unroll_steps:
            unrolled += reduced
        vectors.append(lane)
    for level in range(len(heads[0])):
        if len(heads) > 1:
            schedule = schedule.apply(Fuse(tuple(h[level] for h in heads)))
    before = {s.name for s in schedule.function.statements()}
    position = order.index(c.vector)
    levels = [(loop, a, sizes.get(a)) for loop, a in zip(heads[0], sizes, strict=False)]
    levels += [(loop, a, factors.get(a)) for loop, a in zip(heads[0][len(sizes) :], order, strict=True)]
    if band is not None:
        if c.epilogue is not None:
            schedule = _staged_copy(schedule, c.epilogue, c.outer, levels, target) or schedule
        schedule = pack_rows(schedule, c, heads[0][position], tile, band)
    for name, layout in strided.items() if position else ():
        schedule = attempt(schedule, Pack(name, heads[0][position - 1], c.update.name, layout)) or schedule
    if macro is not None:
        # A panel used up at once is packed when its turn comes; not where the last one is narrower than the others:
        # a loop with a copy in it cannot be separated from its partial iterations.
        width = axis_extent(c.update, c.vector)
        once = macro.pixels >= axis_extent(c.update, c.pixels[0]) and width % factors[c.vector] == 0
        panels, tiles = heads[0][2 if once else 0], heads[0][1]
        schedule = pack_operands(schedule, c, (panels, factors[c.vector]), (tiles, tile.columns), macro)
    for name, axis in zip(heads[0][len(sizes) :], order, strict=True):
        if axis in factors:
            for copy in copies(schedule, name):
                schedule = attempt(schedule, Separate(copy)) or schedule
    if rows in c.ragged and rows in factors:
        schedule = _separate_rows(schedule, heads[0][-2], taps)
    tensor = schedule.function.tensor(c.update.target)
    if tensor.role is TensorRole.TEMPORARY:
        schedule = schedule.apply(Local(tensor.name, tuple(copies(schedule, heads[0][-1])), Memory.REGISTER))
    for name in unrolled:
        schedule = schedule.apply(*(Unroll(n) for n in copies(schedule, name)))
    for name in vectors:
        schedule = schedule.apply(*(Vectorize(n) for n in copies(schedule, name)))
    packed = [s.name for s in schedule.function.statements() if s.name not in before]
    for name in packed:
        schedule = transpose_tiles(schedule, name, target)
    schedule = vectorise(schedule, packed, target)
    shared = heads[0][:1] if macro is not None else heads[0][:-1] or heads[0]
    if band is not None:
        shared = heads[0][: position + 1]
    elif macro is None:
        for name in packed:
            shared += [x for x in loops_of(schedule, name)[position:] if extent(schedule, x) != 1][:1]
    for name in shared:
        for copy in copies(schedule, name):
            schedule = attempt(schedule, Parallel(copy)) or schedule
    schedule = read_ahead(schedule, c, tile, innermost, target) if innermost else schedule
    if macro is None and band is None and c.epilogue is not None:
        schedule = _staged_copy(schedule, c.epilogue, c.outer, levels, target) or schedule
    return schedule


def _separate_rows(schedule: Schedule, rows: str, taps: list[str]) -> Schedule:
    """The steps in which every row of a register tile takes part apart from the others.

    before:  band(…, h.o, band(c.o, r, …, h.i))
    after:   band(…, h.o, band(c.o, sequence(r = 0: where all of h.i takes part: band(…, h.i), else: band(…, h.i'), …)))
    Loops over the `taps` on which it depends who takes part are cut at each of them: for one tap that is one tile, and
    its condition is asked once, outside of the steps. Their order stays, in which the constants lie in memory.
    Large windows stay whole: there would be more code than a cache of instructions holds, and much to be judged.
    """
    parts = sum(extent(schedule, copy) or 1 for tap in taps for copy in copies(schedule, tap))
    if parts > _MOST_PARTS:
        return schedule
    for tap in taps:
        for copy in copies(schedule, tap):
            first, last = schedule.member_range(copy) or (0, 0)
            for at in range(last, first, -1):
                schedule = schedule.apply(IndexSetSplit(copy, at))
        for copy in copies(schedule, tap):
            schedule = attempt(schedule, SeparateTiles((rows,), copy)) or schedule
    return schedule


def _staged_copy(
    schedule: Schedule,
    epilogue: StatementDef,
    axes: tuple[str, ...],
    levels: list[tuple[str, str, int | None]],
    target: Target,
) -> Schedule | None:
    """The copy of a result into another layout made tile by tile, while the tile is in the first-level cache.

    before:  band(n, k.o, h, …) computes T;  band(i0, i1, i2, i3) copies T
    after:   band(n, k.o, h, allocate T, sequence(… computes T, band(i1.i, i3) copies T))
    `levels` are the outer loops in order, each with its axis and how much of that one iteration takes. None where
    nothing copies the result, or not so.
    """
    tensor = schedule.function.tensor(epilogue.target)
    readers = [s for s in schedule.function.statements() if any(x.buffer == tensor.name for x in reads(s))]
    own_place = epilogue.index == tuple(a.var for a in epilogue.axes)  # groups store at g*K + k
    if tensor.role is not TensorRole.TEMPORARY or len(readers) != 1 or not own_place:
        return None
    (copy,) = readers
    if not isinstance(copy.value, Load) or copy.value.index != tuple(a.var for a in copy.axes):
        return None
    inner = loops_of(schedule, copy.name)
    loops = dict(zip(axes, inner, strict=True))
    size = prod(tensor.extents) * tensor.dtype.bytes
    fused = ""
    for name, axis, factor in levels:
        loop = loops[axis]
        first, split = (f"{loop}.o", [Split(loop, factor)]) if factor is not None else (loop, [])
        rest = [f"{x}.i" if x == loop else x for x in inner if x != loop or split]
        changed = attempt(schedule, *split, Reorder((first, *rest)), Fuse((name, first)))
        if changed is None:
            break
        schedule, fused, inner = changed, name, rest
        loops[axis] = f"{loop}.i" if split else loop
        size //= extent(schedule, name) or 1
        if size <= target.l1d_bytes // 2:
            break
    return attempt(schedule, Local(tensor.name, (fused,))) if fused else None


def _reduction_loops(schedule: Schedule, c: Contraction, loops: list[str]) -> tuple[Schedule, list[str]]:
    """The reduction loops in the order in which operands lie in memory: blocks outermost, then inside of them."""
    outer: list[str] = []
    inner: list[str] = []
    for axis, loop in zip(c.reduced, loops, strict=True):
        block = max((storage_block(schedule, x, axis) for x in reads(c.update)), default=1)
        if 1 < block < axis_extent(c.update, axis):
            schedule = schedule.apply(Split(loop, block))
            outer.append(f"{loop}.o")
            inner.append(f"{loop}.i")
        elif block > 1:
            inner.append(loop)
        else:
            outer.append(loop)
    return schedule, outer + inner
