"""Tiles whose rows lie contiguously in memory and whose columns become vectors: transposed in registers.

before:  for u in 0..16 unroll: for t in 0..16 vector: y[u, t] = f(x[t, u])
after:   alloc R[16, 16] in registers:
           for t in 0..16 unroll: for u in 0..16 vector: R[t, u] = x[t, u]
           for u in 0..16 unroll: for t in 0..16 vector: y[u, t] = f(R[t, u])

The lanes of `x[t, u]` are a stride apart, one cache line each; its neighbours in the unrolled loop read the same
lines. All rows are read whole first, and nothing but what the loops read; reading a column of `R` is shuffles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from polydl.codegen.passes.flatten import flat_index
from polydl.codegen.passes.walk import certain_loads
from polydl.dtypes import BOOL, INDEX
from polydl.ir.expr import Const, Expr, Load, Var, map_children, substitute
from polydl.ir.kernel import Alloc, Binding, Block, Buffer, For, Kernel, Memory, Stmt, Store
from polydl.ir.rewrite import block, free_variables, fresh_name, map_stmts, stores, walk_stmts
from polydl.ir.simplify import linear
from polydl.targets import Target

__all__ = ["Transpose"]


@dataclass(frozen=True, slots=True)
class Transpose:
    """Kernel → kernel where unrolled tiles of strided vector loads are read row by row."""

    target: Target

    def __call__(self, kernel: Kernel) -> Kernel:
        allocated = {s.buffer.name: s.buffer for s in walk_stmts(kernel.body) if isinstance(s, Alloc)}
        buffers = {p.buffer.name: p.buffer for p in kernel.params} | allocated
        taken = set(buffers)

        def visit(s: Stmt) -> Stmt:
            tile = self._tile(s)
            return s if tile is None else _transposed(tile, buffers, taken)

        return replace(kernel, body=map_stmts(kernel.body, visit))

    def _tile(self, s: Stmt) -> _Tile | None:
        """The tile that `s` is: an unrolled loop of a constant number of steps around a vector loop of stores."""
        match s:
            case For(u, Const(value=first), Const(value=last), For() as inner, Binding.UNROLL, 1):
                lanes, length = inner.var, inner.length
                if inner.binding is not Binding.VECTOR or length is None:
                    return None
                body = inner.body.stmts if isinstance(inner.body, Block) else (inner.body,)
                if not all(isinstance(x, Store) for x in body) or u in free_variables(inner.upper):
                    return None
                most = self.target.lanes(
                    max((x.value.dtype.bytes for x in body if isinstance(x, Store)), default=1)
                )
                width = int(last) - int(first)
                if length <= most and 1 < width <= most:
                    return _Tile(s, inner, u, lanes, int(first), width, length)
        return None


@dataclass(frozen=True, slots=True)
class _Tile:
    outer: For
    inner: For
    row: str  # the unrolled loop's variable: the position in a row
    lane: str  # the vector loop's variable: the number of a row
    first: int
    width: int
    height: int


def _transposed(tile: _Tile, buffers: Mapping[str, Buffer], taken: set[str]) -> Stmt:
    written = {x.buffer for x in stores(tile.inner)}
    wanted = [
        x
        for x in dict.fromkeys(certain_loads(tile.inner))
        if x.buffer not in written and _turns(x, buffers[x.buffer], tile)
    ]
    result: Stmt = tile.outer
    for load in wanted:
        name = fresh_name(f"{load.buffer}.rows", taken)
        taken.add(name)
        result = _with_rows(result, tile, load, name)
    return result


def _turns(load: Load, buffer: Buffer, tile: _Tile) -> bool:
    """Whether lanes are a stride apart and unrolled steps are neighbours in memory."""
    if buffer.memory is Memory.REGISTER or buffer.dtype == BOOL or not load.index:
        return False
    if not all(isinstance(n, Const) for n in buffer.shape[1:]):
        return _crosses_rows(load, tile)
    form = linear(flat_index(buffer, load.index), (tile.row, tile.lane))
    return form is not None and form.coefficient(tile.row) == 1 and form.coefficient(tile.lane) not in (0, 1)


def _crosses_rows(load: Load, tile: _Tile) -> bool:
    """Whether unrolled steps move the last subscript alone and lanes others alone, whatever the extents are."""
    forms = [linear(i, (tile.row, tile.lane)) for i in load.index]
    steps = [(f.coefficient(tile.row), f.coefficient(tile.lane)) for f in forms if f is not None]
    if len(steps) < len(forms) or steps[-1] != (1, 0):
        return False
    return all(step == 0 for step, _ in steps[:-1]) and any(lane != 0 for _, lane in steps[:-1])


def _with_rows(s: Stmt, tile: _Tile, load: Load, name: str) -> Stmt:
    """`s` with `load` replaced by a read of the register tile `name`, which is filled first."""
    row, position = f"{name}.t", f"{name}.u"
    here = {tile.lane: Var(row), tile.row: Var(position) + tile.first}
    source = Load(load.buffer, tuple(substitute(i, here) for i in load.index), load.dtype)
    zero, width = Const(0, INDEX), Const(tile.width, INDEX)
    fill = Store(name, (Var(row), Var(position)), source)
    along = For(position, zero, width, fill, Binding.VECTOR, 1, tile.width)
    rows = For(row, zero, tile.inner.upper, along, Binding.UNROLL)
    column = Load(name, (Var(tile.lane), Var(tile.row) - tile.first), load.dtype)

    def redirect(e: Expr) -> Expr:
        return column if e == load else map_children(e, redirect)

    def visit(x: Stmt) -> Stmt:
        return (
            replace(x, value=redirect(x.value))
            if isinstance(x, Store) and not x.buffer.startswith(name)
            else x
        )

    height = 1 << (tile.height - 1).bit_length()  # a column is read as a whole vector, also of the last rows
    shape = (Const(height, INDEX), width)
    return Alloc(Buffer(name, load.dtype, shape, Memory.REGISTER), block([rows, map_stmts(s, visit)]))
