"""Prefetches of what a statement's accesses touch some iterations of a loop later.

before:  for k in 0..K: s = s + B[k, j]                       with B to be prefetched 8 iterations of k ahead
after:   for k in 0..K: { prefetch B[min(k + 8, K - 1), j]; s = s + B[k, j] }
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from polydl.ir.expr import Expr, Load, Var, as_expr, maximum, minimum, substitute, walk
from polydl.ir.kernel import Block, Kernel, Prefetch, Stmt, Store
from polydl.ir.rewrite import block, map_stmts

__all__ = ["merged", "prefetches"]


def prefetches(
    stores: Sequence[Store],
    wanted: Iterable[tuple[str, str, int]],
    shapes: Mapping[str, Sequence[Expr]],
    steps: Mapping[str, int],
) -> list[Prefetch]:
    """The prefetches for `(buffer, loop, distance)`; `steps` says how far apart the iterations of each loop are.

    A subscript that leaves the buffer is replaced by its first or last one. Accesses that the loop does not move, and
    those at subscripts read from memory, have none.
    """
    found: dict[Prefetch, None] = {}
    for buffer, loop, distance in wanted:
        later = {loop: Var(loop) + distance * steps.get(loop, 1)}
        for index, write in _accesses(stores, buffer):
            moved = tuple(substitute(e, later) for e in index)
            if moved != index and not any(isinstance(x, Load) for e in index for x in walk(e)):
                inside = tuple(
                    maximum(minimum(e, extent - 1), as_expr(0))
                    for e, extent in zip(moved, shapes[buffer], strict=True)
                )
                found[Prefetch(buffer, inside, write)] = None
    return list(found)


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
