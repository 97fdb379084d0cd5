"""Operands of a contraction in the order in which its loops read them.

Constants are stored so at build time. Others are packed while the nest runs where each packed element is read often
enough: the vector operand in panels as wide as the register tile, the pixel operand in panels as high as it.
Panels that come from far away are asked for before they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, gcd, prod

from polydl.dsl.tensor import Layout, Tensor, TensorRole, numbers
from polydl.ir.expr import Binary, Const, Expr, Load, Var, as_expr
from polydl.scheduler.packing import Pack
from polydl.scheduler.prefetch import ReadAhead
from polydl.scheduler.recipes.common import attempt, copies, reads, stride, uses
from polydl.scheduler.recipes.locality import plane_suffices
from polydl.scheduler.recipes.products import LINE, Contraction, axis_extent, uses_load
from polydl.scheduler.recipes.tiles import RegisterTile
from polydl.scheduler.schedule import Schedule
from polydl.scheduler.storage import SetLayout
from polydl.targets import Target

__all__ = [
    "MacroTiles", "lines_together", "macro_tiles", "pack_constants", "pack_operands", "pack_rows", "read_ahead",
    "row_band", "storage_block", "strided_tiles",
]  # fmt: skip

_REUSES = 4  # of a packed element, below which packing does not pay
# Tiles of vectors from which on pixels with gaps between them are packed. Measured on Zen 5, 1x1 convolutions with
# stride 2: with 4 and 8 tiles packing costs 10 and 8 % of the time, with 16 nothing either way, with 32 it gains 6 to
# 8 %, with 64 it gains 1 to 4 % on one core and 12 % on two.
_STRIDED_REUSES = 32
_PAGE = 4096  # bytes
_BALANCE = 0.8  # of the work of cores that share bands of rows, at least
_PAGES = 96  # whose addresses the first level of the processor's table holds (both Zen 5 and Golden Cove)
# Measured on Zen 5, one thread: resnet50 takes 2.7 % less time with 4096 bytes, 1 % more than that with 2048, the same
# with 8192; resnet18 1.7 %, mobilenet_v2 up to 4.4 %.
_AHEAD = 4096  # bytes
# Tiles of pixels for one panel, above which asking costs as much as waiting: products of 56 and 73 tiles on weights
# that are still in the second-level cache take 3 to 4 % more time with it.
_WAITS = 32


@dataclass(frozen=True, slots=True)
class MacroTiles:
    """Extents of the outer tiles: `vector` along the vector axis, `pixels` along the first pixel axis; and whether a
    tile's part of the pixel operand is packed."""

    vector: int
    pixels: int
    packs_pixels: bool


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
            depth, block_size = _depth(load.index[k], c), _reductionstorage_block(schedule, c, load.index[k])
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


def _reductionstorage_block(schedule: Schedule, c: Contraction, e: Expr) -> int:
    """The block in which some operand stores the reduction axis that `e` is; 1 where there is none."""
    if not (isinstance(e, Var) and e.name in c.reduced):
        return 1
    return max((storage_block(schedule, x, e.name) for x in reads(c.update)), default=1)


def _depth(e: Expr, c: Contraction) -> int:
    """How deep in the nest the innermost loop is that moves a subscript; loops that run once move nothing."""
    order = [a for a in (*c.outer, *c.reduced) if axis_extent(c.update, a) > 1]
    return max((order.index(a) + 1 for a in order if uses(e, a)), default=0)


def macro_tiles(
    schedule: Schedule, c: Contraction, tile: RegisterTile, lanes: int, steps: int, target: Target
) -> MacroTiles | None:
    """The outer tiles where operands are worth packing.

    Worth it: a product of two run-time operands, the vector operand read again for many pixel tiles and not yet lying
    as it is read; or pixels whose lines collide, read again for many vectors. A block of the pixel operand should stay
    in half of the second-level cache.
    """
    operands = reads(c.update)
    vector = [x for x in operands if uses_load(x, c.vector)]
    if not c.pixels or len(operands) != 2 or len(vector) != 1:
        return None
    pixels = axis_extent(c.update, c.pixels[0])
    width = lanes * tile.vectors
    blocks = -(-axis_extent(c.update, c.vector) // width)
    size = schedule.function.tensor(c.update.target).dtype.bytes
    if schedule.function.tensor(vector[0].buffer).role is TensorRole.CONSTANT:
        together = lines_together(schedule, c, target)
        if blocks < _REUSES or together is None or tile.columns <= together:
            return None
    elif pixels < _REUSES * tile.columns or steps * width * size < target.l1d_bytes // 2:
        return None
    rows = max(1, target.l2_bytes // 2 // (steps * size) // tile.columns) * tile.columns
    limit = max(1, target.l3_bytes // 4 // (steps * size * width)) if rows < pixels else blocks
    chunks = target.cores * -(-blocks // (target.cores * limit))
    panels = _tiles_each(axis_extent(c.update, c.vector), width, chunks)
    tiles = _tiles_each(pixels, tile.columns, -(-pixels // rows))
    if panels is None or tiles is None:
        return None
    return MacroTiles(panels * width, tiles * tile.columns, blocks >= _REUSES)


def _tiles_each(extent: int, tile: int, parts: int) -> int | None:
    """How many tiles each of at least `parts` parts of an extent takes, so that none has a partial tile alone: loops
    that run over full tiles elsewhere would have nothing to do there, and registers no common shape."""
    tiles = -(-extent // tile)
    for count in range(parts, tiles + 1):
        each = -(-tiles // count)
        if extent % tile == 0 or (tiles - 1) % each:
            return each
    return None


def lines_together(schedule: Schedule, c: Contraction, target: Target) -> int | None:
    """How many pixels' lines the first-level cache holds at once; None where they do not meet in the same sets.

    The set is chosen by the address within a page; a set holds as many lines as there are pages in the cache.
    """
    found: list[int] = []
    for load in reads(c.update):
        if uses_load(load, c.vector) or not c.pixels:
            continue
        tensor = schedule.function.tensor(load.buffer)
        step = stride(tensor, load.index, c.pixels[0])
        if step and any(stride(tensor, load.index, a) == 1 for a in c.reduced):
            apart = gcd(step * tensor.dtype.bytes, _PAGE)
            if apart > LINE:
                found.append(_PAGE // apart * max(1, target.l1d_bytes // _PAGE))
    return min(found, default=None)


def pack_operands(
    schedule: Schedule, c: Contraction, vector: tuple[str, int], pixels: tuple[str, int], macro: MacroTiles
) -> Schedule:
    """The operands that do not lie as they are read packed into panels: each inside a loop, so and so wide."""
    for load in reads(c.update):
        tensor = schedule.function.tensor(load.buffer)
        if uses_load(load, c.vector):
            axis, (loop, width) = c.vector, vector
            if tensor.role is TensorRole.CONSTANT:
                continue  # stored in panels at build time
        else:
            axis, (loop, width) = c.pixels[0], pixels
            if not macro.packs_pixels:
                continue
        along = [k for k, i in enumerate(load.index) if uses(i, axis)]
        layout = _panels(tensor, along[0], width) if len(along) == 1 else None
        schedule = schedule.apply(Pack(tensor.name, loop, c.update.name, layout))
    return schedule


def strided_tiles(schedule: Schedule, c: Contraction, tile: RegisterTile, lanes: int) -> dict[str, Layout]:
    """Pixel operands of which only every s-th neighbour is read, with the layout to pack each in: tile by tile.

    Each tile reads the lines of what it skips as well, for each tile of vectors again. Neighbours that lie in lines of
    their own (a blocked layout) skip whole lines.
    """
    if -(-axis_extent(c.update, c.vector) // (lanes * tile.vectors)) < _STRIDED_REUSES or not c.pixels:
        return {}
    sizes = dict(zip(c.pixels, (tile.columns, tile.rows), strict=False))
    found: dict[str, Layout] = {}
    for load in _pixel_operands(schedule, c):
        tensor = schedule.function.tensor(load.buffer)
        step = stride(tensor, load.index, c.pixels[0])
        if step is None or step < 2 or step * tensor.dtype.bytes >= LINE:
            continue
        layout = _tiles(c, load, sizes, {})
        if layout is not None:
            found[tensor.name] = layout
    return found


def row_band(
    schedule: Schedule, c: Contraction, tile: RegisterTile, lanes: int, target: Target
) -> int | None:
    """How many rows of pixels to pack together: those of a plain image whose channels lie pages apart; None: none.

    A tile of pixels reads a few neighbours in each channel. Where these are on more pages than the processor keeps the
    addresses of, each is looked up again for every tile, and nothing is fetched ahead, for that stays within a page.
    The bands are about as many for each core, and stay in its second-level cache while all vectors read them.
    """
    if len(c.pixels) < 2 or -(-axis_extent(c.update, c.vector) // (lanes * tile.vectors)) < 2:
        return None
    pixels, rows = c.pixels[0], axis_extent(c.update, c.pixels[1])
    if not plane_suffices(schedule, c, target):
        return None
    for load in _pixel_operands(schedule, c):
        tensor = schedule.function.tensor(load.buffer)
        size = tensor.dtype.bytes
        step = stride(tensor, load.index, pixels)
        moving = [a for a in c.reduced if axis_extent(c.update, a) > 1]
        if not step or step * size >= LINE or len(moving) != 1 or _tiles(c, load, {}, {}) is None:
            continue
        count = axis_extent(c.update, moving[0])
        apart = min((stride(tensor, load.index, moving[0]) or 0) * size, _PAGE)
        if count * apart <= _PAGES * _PAGE:
            continue
        inner = (a for a in c.outer[c.outer.index(c.vector) + 1 :] if a != c.pixels[1] and uses_load(load, a))
        row = count * prod(axis_extent(c.update, a) for a in inner) * size
        bands = [r for r in range(tile.rows, rows + 1, tile.rows) if rows % r == 0]
        fitting = [r for r in bands if r * row <= target.l2_bytes // 8] or bands[:1]
        shared = [(rows // r / target.cores / ceil(rows // r / target.cores), r) for r in fitting]
        balance, band = max(shared, default=(0.0, 0))
        return band if balance >= _BALANCE else None
    return None


def pack_rows(schedule: Schedule, c: Contraction, loop: str, tile: RegisterTile, band: int) -> Schedule:
    """The pixel operand packed inside `loop`, a band of rows at a time, register tile by register tile."""
    columns, rows = c.pixels[:2]
    inside = dict.fromkeys(c.outer[: c.outer.index(c.vector)], 1) | {rows: band}
    for load in _pixel_operands(schedule, c):
        layout = _tiles(c, load, {columns: tile.columns, rows: tile.rows}, inside)
        if layout is not None:
            schedule = schedule.apply(Pack(load.buffer, loop, c.update.name, layout))
    return schedule


def _pixel_operands(schedule: Schedule, c: Contraction) -> list[Load]:
    """The loads of what is computed at run time and does not vary along the vectors."""
    return [
        load
        for load in reads(c.update)
        if schedule.function.tensor(load.buffer).role is not TensorRole.CONSTANT
        and not uses_load(load, c.vector)
    ]


def _tiles(c: Contraction, load: Load, sizes: dict[str, int], inside: dict[str, int]) -> Layout | None:
    """The pixels a load reads, tile by tile, each tile in the order of the reduction; None where windows overlap.

    `inside` are the axes of which a packed copy holds only so many neighbours.
    """
    dims = tuple(f"d{k}" for k in range(len(load.index)))
    first: list[tuple[Expr, int]] = []
    middle: list[tuple[Expr, int]] = []
    last: list[tuple[Expr, int]] = []
    for d, e in zip(dims, load.index, strict=True):
        axes = [a for a in (*c.outer, *c.reduced) if uses(e, a) and axis_extent(c.update, a) > 1]
        if len(axes) > 1:
            return None
        count = inside.get(axes[0], axis_extent(c.update, axes[0])) if axes else 1
        size = min(sizes.get(axes[0], 1), count) if axes else 1
        if axes and axes[0] in c.pixels:
            first.append((Var(d) // size, -(-count // size)))
            last.append((Var(d) % size, size))
        else:
            middle.append((Var(d), count))
    index, shape = zip(*first, *middle, *last, strict=True)
    return Layout(dims, index, tuple(as_expr(n) for n in shape))


def read_ahead(schedule: Schedule, c: Contraction, tile: RegisterTile, loop: str, target: Target) -> Schedule:
    """Constants stored in panels asked for ahead inside the reduction loop `loop`.

    A network has used other weights since: what the first-level cache does not hold comes from far away when its first
    tile of pixels reads it. Where a panel is used for few tiles, that wait is a part of the time.
    """
    sizes = dict(zip(c.pixels, (tile.columns, tile.rows), strict=False))
    for load in reads(c.update):
        tensor = schedule.function.tensor(load.buffer)
        constant = tensor.role is TensorRole.CONSTANT and uses_load(load, c.vector)
        again = [a for a in c.outer if not uses_load(load, a)]
        tiles = prod(-(-axis_extent(c.update, a) // sizes.get(a, 1)) for a in again)
        if not constant or tiles > _WAITS:
            continue
        if prod(tensor.extents) * tensor.dtype.bytes <= target.l1d_bytes:
            continue
        row = numbers(tensor.storage.shape)[-1] * tensor.dtype.bytes
        for name in copies(schedule, loop):
            ahead = ReadAhead(tensor.name, name, max(1, _AHEAD // row))
            schedule = attempt(schedule, ahead) or schedule
    return schedule


def _panels(tensor: Tensor, v: int, width: int) -> Layout:
    """Dimension `v` in panels of `width`, inside of which its neighbours are adjacent."""
    dims = tuple(f"d{k}" for k in range(tensor.rank))
    rest = tuple(Var(d) for k, d in enumerate(dims) if k != v)
    extents = tensor.extents
    shape = (-(-extents[v] // width), *(n for k, n in enumerate(extents) if k != v), width)
    index = (Var(dims[v]) // width, *rest, Var(dims[v]) % width)
    return Layout(dims, index, tuple(map(as_expr, shape)))


def storage_block(schedule: Schedule, load: Load, axis: str) -> int:
    """The size of the blocks in which `load`'s tensor stores neighbours along `axis`; 1 where it has none."""
    for e in schedule.function.tensor(load.buffer).storage.apply(load.index):
        match e:
            case Binary(op="mod", a=a, b=Const(value=size)) if uses(a, axis):
                return int(size)
            case _:
                continue
    return 1
