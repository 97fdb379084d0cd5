"""Prefetches of what a statement's accesses touch some iterations of a loop later.

before:  for k in 0..K: s = s + B[k, j]                       with B to be prefetched 8 iterations of k ahead
after:   for k in 0..K: { prefetch B[min(k + 8, K - 1), j]; s = s + B[k, j] }
or, 8 rows of storage ahead of B[J, K, 16]:
before:  for k in 0..K: s = s + B[j, k, l]
after:   for k in 0..K: { prefetch B[0, min(j*K + k + 8, J*K - 1), l]; s = s + B[j, k, l] }
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from polydl.ir.expr import Expr, Load, Var, as_expr, maximum, minimum, substitute, walk
from polydl.ir.kernel import Block, Kernel, Prefetch, Stmt, Store
from polydl.ir.rewrite import block, map_stmts
from polydl.scheduler.prefetch import Ahead

__all__ = ["merged", "prefetches"]


def prefetches(
    stores: Sequence[Store],
    wanted: Iterable[Ahead],
    shapes: Mapping[str, Sequence[Expr]],
    steps: Mapping[str, int],
) -> list[Prefetch]:
    """The prefetches that are wanted; `steps` says how far apart the iterations of each loop are.

    A place outside of the buffer is replaced by its first or last one. Accesses that the loop does not move, and
    those at subscripts read from memory, have none.
    """
    found: dict[Prefetch, None] = {}
    for ahead in wanted:
        shape = shapes[ahead.tensor]
        for index, write in _accesses(stores, ahead.tensor):
            if any(isinstance(x, Load) for e in index for x in walk(e)):
                continue
            if ahead.loop is None:
                place = _further_on(index, shape, ahead.distance)
            else:
                later = {ahead.loop: Var(ahead.loop) + ahead.distance * steps.get(ahead.loop, 1)}
                moved = tuple(substitute(e, later) for e in index)
                if moved == index:
                    continue
                place = tuple(
                    maximum(minimum(e, extent - 1), as_expr(0))
                    for e, extent in zip(moved, shape, strict=True)
                )
            found[Prefetch(ahead.tensor, place, write)] = None
    return list(found)


def _further_on(index: tuple[Expr, ...], shape: Sequence[Expr], rows: int) -> tuple[Expr, ...]:
    """The subscripts `rows` rows of storage later, or in the last row; a buffer of one dimension has rows of 1.

    Rows are counted by the last subscript but one alone, so that it may be larger than its extent: never the place.
    """
    outer = max(len(index) - 1, 1)
    row, count = as_expr(0), as_expr(1)
    for e, extent in zip(index[:outer], shape[:outer], strict=True):
        row, count = row * extent + e, count * extent
    zeros = (as_expr(0),) * (outer - 1)
    return (*zeros, minimum(row + rows, count - 1), *index[outer:])


def _accesses(stores: Sequence[Store], buffer: str) -> Iterator[tuple[tuple[Expr, ...], bool]]:
    for s in stores:
        if s.buffer == buffer:
            yield s.index, True
        for e in (x for i in (*s.index, s.value) for x in walk(i)):
            if isinstance(e, Load) and e.buffer == buffer:
                yield e.index, False


def merged(kernel: Kernel) -> Kernel:
    """Kernel → kernel where straight-line code asks for each place once; after loops have been spelled out."""

    def visit(s: Stmt) -> Stmt:
        if not isinstance(s, Block):
            return s
        seen: set[tuple[str, tuple[Expr, ...]]] = set()
        kept = []
        for x in s.stmts:
            if isinstance(x, Prefetch):
                if (x.buffer, x.index) in seen:
                    continue
                seen.add((x.buffer, x.index))
            kept.append(x)
        return block(kept)

    return replace(kernel, body=map_stmts(kernel.body, visit))
