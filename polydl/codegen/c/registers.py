"""Register buffers as variables.

before:  alloc acc: register f32[14, 32], accessed at [0, 0:16], [0, 16:32], [1, 0:16], …
after:   f32x16 acc_0_0, acc_0_16, acc_1_0, …

A buffer whose accesses all have constant subscripts is split into the largest ranges that some access covers as a
whole; each becomes a variable, which the compiler keeps in a register. Any other buffer stays an array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from polydl.codegen.c.memory import Register
from polydl.ir.expr import Const, Expr, Load
from polydl.ir.kernel import Buffer, Prefetch, Stmt, Store
from polydl.ir.rewrite import all_expressions, walk_stmts

__all__ = ["registers_of"]


def registers_of(
    buffer: Buffer,
    body: Stmt,
    locate: Callable[[tuple[Expr, ...]], tuple[int, int] | None],
    padded: int | None,
) -> Mapping[int, Register] | None:
    """The variables of `buffer` by the offsets of their elements, named after its subscripts; None where it must be an
    array. `locate` gives the constant offset of a subscript and the lanes it means."""
    ranges: set[tuple[int, int]] = set()
    for index in _subscripts(buffer.name, body):
        found = locate(index)
        if found is None:
            return None
        ranges.add(found)
    result: dict[int, Register] = {}
    end = -1
    largest: list[tuple[int, int]] = []
    for first, lanes in sorted(ranges, key=lambda r: (r[0], -r[1])):
        if first >= end:
            largest.append((first, lanes))
            end = first + lanes
        elif first + lanes > end:
            return None  # overlaps without being contained
    for first, lanes in largest:
        register = Register(_name(buffer, first, lanes, padded), first, lanes)
        result |= {first + k: register for k in range(lanes)}
    return result


def _subscripts(name: str, body: Stmt) -> Iterator[tuple[Expr, ...]]:
    for e in all_expressions(body):
        if isinstance(e, Load) and e.buffer == name:
            yield e.index
    for s in walk_stmts(body):
        if isinstance(s, Store | Prefetch) and s.buffer == name:
            yield s.index


def _name(buffer: Buffer, offset: int, lanes: int, padded: int | None) -> str:
    """The buffer's name with the subscripts of the first element, without those that are always the same."""
    extents = [int(x.value) for x in buffer.shape if isinstance(x, Const)]
    if extents and padded is not None:
        extents[-1] = padded
    parts: list[str] = []
    for k, extent in reversed(list(enumerate(extents))):
        offset, here = divmod(offset, extent)
        whole = k == len(extents) - 1 and lanes == extent
        if extent > 1 and not whole:
            parts.append(str(here))
    return "_".join([buffer.name, *reversed(parts)])
