"""How much work a function is: arithmetic operations and the least traffic with memory. For rooflines and reports."""

from __future__ import annotations

from math import prod

from polydl.dsl.function import Function, StatementDef
from polydl.dsl.polyhedral import to_affine
from polydl.dsl.tensor import TensorRole
from polydl.ir.expr import Binary, Call, Load, Select, Unary, walk
from polydl.scheduler.structure import interval

__all__ = ["flops", "traffic"]


def flops(function: Function) -> int:
    """Arithmetic operations: each point of each statement counts its operators (a function call as one)."""
    return sum(_points(s) * _operations(s) for s in function.statements())


def _points(s: StatementDef) -> int:
    """Points of the axes' box; 0 for symbolic axes."""
    ranges: dict[str, tuple[int, int]] = {}
    for a in s.axes:
        lower, upper = to_affine(a.lower), to_affine(a.upper)
        low = interval(lower, ranges) if lower is not None else None
        high = interval(upper, ranges) if upper is not None else None
        if low is None or high is None:
            return 0
        ranges[a.name] = (low[0], high[1] - 1)
    return prod(max(0, b - a + 1) for a, b in ranges.values())


def _operations(s: StatementDef) -> int:
    """Operators of the value outside of subscripts, and the combination of a reduction."""
    subscripts = {
        id(x) for load in walk(s.value) if isinstance(load, Load) for i in load.index for x in walk(i)
    }
    counted = sum(
        1 for x in walk(s.value) if isinstance(x, Binary | Unary | Call | Select) and id(x) not in subscripts
    )
    return counted + (s.op is not None)


def traffic(function: Function) -> int:
    """Bytes of all inputs, constants and outputs, each moved once; 0 where a shape is symbolic."""
    total = 0
    for t in function.of_role(TensorRole.INPUT, TensorRole.CONSTANT, TensorRole.OUTPUT, TensorRole.INOUT):
        sizes = [to_affine(e) for e in t.shape]
        if any(e is None or not e.is_constant for e in sizes):
            return 0
        total += prod(e.constant for e in sizes if e is not None) * t.dtype.bytes
    return total
