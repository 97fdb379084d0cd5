"""Buffers as one-dimensional where that makes their addresses affine.

before:  for z in 0..3136: y[z // 56, z % 56] = x[z // 56, z % 56, c]      (y: 56 x 56, x: 56 x 56 x 16)
after:   for z in 0..3136: y[z] = x[16*z + c]

Collapsed loops and blocked layouts leave quotients and remainders in subscripts that the strides of the buffer put
together again. Only buffers that lose some of them are changed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod

from polydl.dtypes import INDEX
from polydl.ir.expr import Binary, Const, Expr, Load, map_children, walk
from polydl.ir.kernel import Alloc, Buffer, Kernel, Memory, Prefetch, Stmt, Store
from polydl.ir.rewrite import loads, map_expressions, map_stmts, walk_stmts
from polydl.ir.simplify import simplify_kernel

__all__ = ["flat_index", "flatten"]


def flatten(kernel: Kernel) -> Kernel:
    """Kernel → kernel with fewer quotients and remainders in subscripts."""
    allocated = [s.buffer for s in walk_stmts(kernel.body) if isinstance(s, Alloc)]
    names = Counter([*(p.buffer.name for p in kernel.params), *(b.name for b in allocated)])
    before = _divisions(kernel)
    chosen = {
        b.name: b
        for b in (*(p.buffer for p in kernel.params), *allocated)
        if names[b.name] == 1 and before[b.name] and _has_strides(b)
    }
    if not chosen:
        return kernel
    result = _flattened(kernel, chosen)
    after = _divisions(result)
    useful = {name: b for name, b in chosen.items() if after[name] < before[name]}
    if not useful:
        return kernel
    return result if useful == chosen else _flattened(kernel, useful)


def flat_index(buffer: Buffer, index: tuple[Expr, ...]) -> Expr:
    """The element number, row-major, of a subscript of a buffer whose inner extents are numbers."""
    total = index[-1]
    size = 1
    for subscript, extent in zip(index[-2::-1], buffer.shape[:0:-1], strict=True):
        size *= int(extent.value) if isinstance(extent, Const) else 0
        total = total + subscript * size
    return total


def _has_strides(b: Buffer) -> bool:
    return (
        b.memory is not Memory.REGISTER
        and len(b.shape) > 1
        and all(isinstance(n, Const) for n in b.shape[1:])
    )


def _divisions(kernel: Kernel) -> Counter[str]:
    """How many quotients and remainders the subscripts of each buffer hold."""
    found: Counter[str] = Counter()

    def count(name: str, index: tuple[Expr, ...]) -> None:
        found[name] += sum(
            isinstance(x, Binary) and x.op in ("floordiv", "mod") for i in index for x in walk(i)
        )

    for load in loads(kernel.body):
        count(load.buffer, load.index)
    for s in walk_stmts(kernel.body):
        if isinstance(s, Store):
            count(s.buffer, s.index)
    return found


def _flattened(kernel: Kernel, chosen: dict[str, Buffer]) -> Kernel:
    def shape(b: Buffer) -> Buffer:
        if b.name not in chosen:
            return b
        inner = prod(int(n.value) for n in b.shape[1:] if isinstance(n, Const))
        first = b.shape[0]
        total = Const(int(first.value) * inner, INDEX) if isinstance(first, Const) else first * inner
        return replace(b, shape=(total,))

    def index(name: str, subscripts: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return (flat_index(chosen[name], subscripts),) if name in chosen else subscripts

    def expr(e: Expr) -> Expr:
        e = map_children(e, expr)
        return replace(e, index=index(e.buffer, e.index)) if isinstance(e, Load) else e

    def stmt(s: Stmt) -> Stmt:
        match s:
            case Store(buffer=b, index=i) | Prefetch(buffer=b, index=i):
                return replace(s, index=index(b, i))
            case Alloc(buffer=b):
                return replace(s, buffer=shape(b))
            case _:
                return s

    body = map_stmts(map_expressions(kernel.body, expr), stmt)
    params = tuple(replace(p, buffer=shape(p.buffer)) for p in kernel.params)
    return simplify_kernel(replace(kernel, params=params, body=body))
