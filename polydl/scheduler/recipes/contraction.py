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

from polydl.dsl.function import Axis, Computation, Function, StatementDef
from polydl.dsl.tensor import Layout, TensorRole, numbers
from polydl.ir.expr import Binary, Const, Expr, Load, Var, as_expr
from polydl.scheduler.bindings import Parallel, Unroll, Vectorize
from polydl.scheduler.compute import Accumulate
from polydl.scheduler.loops import Fuse, Reorder, Split
from polydl.scheduler.packing import Pack
from polydl.scheduler.partition import Separate
from polydl.scheduler.recipes.common import attempt, copies, loops_of, reads, stride, uses
from polydl.scheduler.recipes.generic import vectorise
from polydl.scheduler.recipes.tiles import RegisterTile, choose_tile
from polydl.scheduler.schedule import Schedule
from polydl.scheduler.storage import Local, SetLayout
from polydl.targets import Target
from polydl.vocabulary import Memory

__all__ = ["Contraction", "find_contraction", "schedule_contraction"]


_MOST_UNROLLED = 384  # multiply-adds spelled out in one tile
_LINE = 64  # bytes
_LEAST_LANES = 4  # shorter vectors do not pay for the tile around them


@dataclass(frozen=True, slots=True)
class Contraction:
    """A reduction whose result one element-wise statement consumes; axis names are those of the reduction."""

    update: StatementDef
    init: StatementDef | None
    epilogue: StatementDef | None
    outer: tuple[str, ...]  # output axes in order
    reduced: tuple[str, ...]
    vector: str
    pixels: tuple[
        str, ...
    ]  # along which the vector operand is reused, innermost first; none where domains are ragged


def is_window_reduction(c: Computation) -> bool:
    """Whether a computation reduces loads (a pool) or products of them (a contraction)."""
    products = isinstance(c.value, Binary) and c.value.op == "mul"
    return c.reduction is not None and (products or isinstance(c.value, Load))


def accumulate_all(schedule: Schedule) -> Schedule:
    """Window reductions that cannot keep their accumulators in registers as they are get a temporary to reduce into."""
    for c in schedule.function.computations:
        if not is_window_reduction(c) or len(c.axes) == len(c.reduction.axes if c.reduction else ()):
            continue
        found = find_contraction(schedule.function, c.name)
        if found is None or found.epilogue is None:
            changed = attempt(schedule, Accumulate(c.name))
            name = (
                next(
                    (
                        x.name
                        for x in changed.function.computations
                        if x not in schedule.function.computations
                    ),
                    "",
                )
                if changed
                else ""
            )
            if changed is not None and find_contraction(changed.function, name) is not None:
                schedule = changed
    return schedule


def find_contraction(function: Function, name: str) -> Contraction | None:
    """The contraction that computation `name` is, or None where it is none."""
    computation = function.computation(name)
    r = computation.reduction
    if r is None or r.init is None:
        return None
    ragged = bool(computation.conditions)
    if not all(any(uses(e, a) for a in r.axes) for e in computation.conditions):
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
        readers = [
            s
            for s in statements.values()
            if s.name != name and any(x.buffer == target.name for x in reads(s))
        ]
        if len(readers) != 1 or readers[0].op is not None or readers[0].conditions:
            return None
        epilogue = readers[0]
        same_box = [(a.lower, a.upper) for a in epilogue.axes] == [
            (a.lower, a.upper) for a in computation.axes if a.name not in r.axes
        ]
        mine = [x for x in reads(epilogue) if x.buffer == target.name]
        if not same_box or not all(_is_point(x.index, epilogue.axes) for x in mine):
            return None
    vector = _vector_axis(function, update, epilogue, outer)
    if vector is None or _axis_extent(update, vector) < _LEAST_LANES:
        return None
    if isinstance(computation.value, Load) and _reduces_rows(function, computation.value, vector, r.axes):
        return None
    reuse = [
        a
        for a in outer
        if a != vector and any(not uses_load(x, a) for x in reads(update) if uses_load(x, vector))
    ]
    if not reuse:
        reuse = [a for a in outer if a != vector and any(not uses_load(x, a) for x in reads(update))]
    return Contraction(
        update, init, epilogue, outer, r.axes, vector, () if ragged else tuple(reversed(reuse))
    )


def _reduces_rows(function: Function, load: Load, vector: str, reduced: tuple[str, ...]) -> bool:
    """Whether a reduction runs along memory and lanes along `vector` would lie in lines of their own."""
    tensor = function.tensor(load.buffer)
    step = stride(tensor, load.index, vector)
    apart = step is None or abs(step) * tensor.dtype.bytes > _LINE
    return apart and any(stride(tensor, load.index, a) == 1 for a in reduced)


def _is_point(index: tuple[Expr, ...], axes: tuple[Axis, ...]) -> bool:
    """Whether subscripts are the axes themselves; the only value of an axis of extent 1 will do for it."""
    return len(index) == len(axes) and all(
        i == a.var
        or (i == a.lower and isinstance(a.lower, Const) and a.upper == as_expr(int(a.lower.value) + 1))
        for i, a in zip(index, axes, strict=True)
    )


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
        outer: list[tuple[int, Expr, int]] = []
        inner: list[tuple[int, Expr, int]] = []
        for k in (k for k in range(tensor.rank) if k != v):
            depth, block_size = _depth(load.index[k], c), _reduction_block(schedule, c, load.index[k])
            if 1 < block_size < extents[k]:
                outer.append((depth, Var(dims[k]) // block_size, -(-extents[k] // block_size)))
                inner.append((depth, Var(dims[k]) % block_size, block_size))
            else:
                (inner if block_size > 1 else outer).append((depth, Var(dims[k]), extents[k]))
        rest = [*sorted(outer, key=lambda t: t[0]), *sorted(inner, key=lambda t: t[0])]
        index = (Var(dims[v]) // block, *(e for _, e, _ in rest), Var(dims[v]) % block)
        shape = (-(-extents[v] // block), *(n for _, _, n in rest), block)
        layout = Layout(dims, index, tuple(as_expr(n) for n in shape))
        schedule = schedule.apply(SetLayout(tensor.name, layout))
    return schedule


def _reduction_block(schedule: Schedule, c: Contraction, e: Expr) -> int:
    """The block in which some operand stores the reduction axis that `e` is; 1 where there is none."""
    if not (isinstance(e, Var) and e.name in c.reduced):
        return 1
    return max((_block(schedule, x, e.name) for x in reads(c.update)), default=1)


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
    if not c.pixels:
        vectors = 1
    tile = choose_tile(rows, columns, vectors, steps, target) if shared else _streaming_tile(columns, target)
    schedule = pack_constants(schedule, c, min(tile.vectors, vectors) * lanes if width >= lanes else lanes)
    if c.epilogue is not None:
        schedule = _blocked_accumulator(schedule, c, lanes)
    macro = _macro_tiles(schedule, c, tile, lanes, steps, target)
    # windows that overlap from pixel to pixel (depthwise) share their loads once all steps are spelled out
    unroll_steps = bool(c.pixels) and not shared and steps * tile.columns * tile.rows <= _MOST_UNROLLED
    return _tile_nest(schedule, c, tile, lanes, columns_axis, rows_axis, macro, target, unroll_steps)


def _macro_tiles(
    schedule: Schedule, c: Contraction, tile: RegisterTile, lanes: int, steps: int, target: Target
) -> dict[str, int]:
    """Sizes of the outer tiles along the vector and the first pixel axis where operands are worth packing, else none.

    Worth it: a product of two run-time operands, the vector operand read again for many pixel tiles and not yet lying
    as it is read. A block of the pixel operand should stay in half of the second-level cache.
    """
    operands = reads(c.update)
    vector = [x for x in operands if uses_load(x, c.vector)]
    if not c.pixels or len(operands) != 2 or len(vector) != 1:
        return {}
    if schedule.function.tensor(vector[0].buffer).role is TensorRole.CONSTANT:
        return {}
    pixels = _axis_extent(c.update, c.pixels[0])
    size = schedule.function.tensor(c.update.target).dtype.bytes
    if pixels < 4 * tile.columns or steps * lanes * tile.vectors * size < target.l1d_bytes // 2:
        return {}
    rows = max(1, target.l2_bytes // 2 // (steps * size) // tile.columns) * tile.columns
    width = lanes * tile.vectors
    blocks = -(-_axis_extent(c.update, c.vector) // width)
    limit = max(1, target.l3_bytes // 4 // (steps * size * width)) if rows < pixels else blocks
    chunks = target.cores * -(-blocks // (target.cores * limit))
    return {c.vector: -(-blocks // chunks) * width, c.pixels[0]: rows}


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
    macro: dict[str, int],
    target: Target,
    unroll_steps: bool = False,
) -> Schedule:
    factors = {c.vector: tile.vectors * lanes}
    if columns is not None and (tile.columns > 1 or macro):
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
    for s in (c.init, c.update, c.epilogue):
        if s is None:
            continue
        loops = loops_of(schedule, s.name)
        reduced: list[str] = []
        if s is c.update:
            schedule, reduced = _reduction_loops(schedule, c, loops[len(c.outer) :])
        loop = dict(zip(c.outer, loops, strict=False))
        schedule = schedule.apply(*(Split(loop[a], size) for a, size in macro.items()))
        blocks = [f"{loop[a]}.o" for a in macro]
        loop |= {a: f"{loop[a]}.i" for a in macro}
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
    if macro:
        once = macro[c.pixels[0]] >= _axis_extent(c.update, c.pixels[0])
        before = {s.name for s in schedule.function.statements()}
        schedule = _pack_operands(schedule, c, heads[0][2 if once else 0], heads[0][1], factors[c.vector])
    for name, axis in zip(heads[0][len(macro) :], order, strict=True):
        if axis in factors:
            for copy in copies(schedule, name):
                schedule = attempt(schedule, Separate(copy)) or schedule
    tensor = schedule.function.tensor(c.update.target)
    if tensor.role is TensorRole.TEMPORARY:
        schedule = schedule.apply(Local(tensor.name, tuple(copies(schedule, heads[0][-1])), Memory.REGISTER))
    for name in unrolled:
        schedule = schedule.apply(*(Unroll(n) for n in copies(schedule, name)))
    for name in vectors:
        schedule = schedule.apply(*(Vectorize(n) for n in copies(schedule, name)))
    if macro:
        packed = [s.name for s in schedule.function.statements() if s.name not in before]
        schedule = vectorise(schedule, packed, target)
    for name in heads[0][:1] if macro else heads[0][:-1] or heads[0]:
        for copy in copies(schedule, name):
            schedule = attempt(schedule, Parallel(copy)) or schedule
    return schedule


def _pack_operands(schedule: Schedule, c: Contraction, panels: str, rows: str, width: int) -> Schedule:
    """Both operands packed: the vector operand in panels of `width` inside loop `panels`, the other inside `rows`."""
    for load in reads(c.update):
        tensor = schedule.function.tensor(load.buffer)
        along = [k for k, i in enumerate(load.index) if uses(i, c.vector)]
        if len(along) == 1:
            dims = tuple(f"d{k}" for k in range(tensor.rank))
            v = along[0]
            rest = tuple(Var(d) for k, d in enumerate(dims) if k != v)
            extents = tensor.extents
            shape = (-(-extents[v] // width), *(n for k, n in enumerate(extents) if k != v), width)
            layout = Layout(
                dims, (Var(dims[v]) // width, *rest, Var(dims[v]) % width), tuple(map(as_expr, shape))
            )
            schedule = schedule.apply(Pack(tensor.name, panels, c.update.name, layout))
        else:
            schedule = schedule.apply(Pack(tensor.name, rows, c.update.name))
    return schedule


def _reduction_loops(schedule: Schedule, c: Contraction, loops: list[str]) -> tuple[Schedule, list[str]]:
    """The reduction loops in the order in which operands lie in memory: blocks outermost, then inside of them."""
    outer: list[str] = []
    inner: list[str] = []
    for axis, loop in zip(c.reduced, loops, strict=True):
        block = max((_block(schedule, x, axis) for x in reads(c.update)), default=1)
        if 1 < block < _axis_extent(c.update, axis):
            schedule = schedule.apply(Split(loop, block))
            outer.append(f"{loop}.o")
            inner.append(f"{loop}.i")
        elif block > 1:
            inner.append(loop)
        else:
            outer.append(loop)
    return schedule, outer + inner


def _block(schedule: Schedule, load: Load, axis: str) -> int:
    """The size of the blocks in which `load`'s tensor stores neighbours along `axis`; 1 where it has none."""
    for e in schedule.function.tensor(load.buffer).storage.apply(load.index):
        match e:
            case Binary(op="mod", a=a, b=Const(value=size)) if uses(a, axis):
                return int(size)
            case _:
                continue
    return 1
