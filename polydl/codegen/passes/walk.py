"""Questions about statements that several passes ask."""

from __future__ import annotations

from collections.abc import Iterator

from polydl.dtypes import DType
from polydl.ir.expr import Binary, Expr, Load, Ramp, Select, children, walk
from polydl.ir.kernel import Alloc, Barrier, Binding, Buffer, Check, For, If, Kernel, Memory, Stmt, Store
from polydl.ir.rewrite import loads, stores, walk_stmts

__all__ = [
    "buffer_names",
    "certain_loads",
    "contains",
    "first_lane",
    "has_binding",
    "is_straight",
    "memory_types",
    "subscript_lanes",
]


def contains(s: Stmt, *kinds: type) -> bool:
    """Whether `s` is or holds a statement of one of the classes."""
    return any(isinstance(x, kinds) for x in walk_stmts(s))


def has_binding(s: Stmt, binding: Binding) -> bool:
    """Whether `s` is or holds a loop with that binding."""
    return any(isinstance(x, For) and x.binding == binding for x in walk_stmts(s))


def is_straight(loop: For) -> bool:
    """Whether the body is stores alone, one after the other."""
    return not contains(loop.body, For, If, Alloc, Barrier, Check)


def buffer_names(kernel: Kernel) -> set[str]:
    """The names of the parameters and of everything allocated."""
    return {p.buffer.name for p in kernel.params} | {b.name for b in _local(kernel)}


def memory_types(kernel: Kernel) -> dict[str, DType]:
    """The element types of the buffers that are in memory, by name."""
    types = {p.buffer.name: p.buffer.dtype for p in kernel.params}
    return types | {b.name: b.dtype for b in _local(kernel) if b.memory is not Memory.REGISTER}


def _local(kernel: Kernel) -> list[Buffer]:
    return [s.buffer for s in walk_stmts(kernel.body) if isinstance(s, Alloc)]


def _last_subscripts(s: Stmt) -> Iterator[tuple[str, Expr]]:
    for load in loads(s):
        if load.index:
            yield load.buffer, load.index[-1]
    for store in walk_stmts(s):
        if isinstance(store, Store) and store.index:
            yield store.buffer, store.index[-1]


def subscript_lanes(s: Stmt) -> dict[str, int]:
    """The widest ramp in a last subscript of each buffer."""
    widest: dict[str, int] = {}
    for buffer, subscript in _last_subscripts(s):
        for e in walk(subscript):
            if isinstance(e, Ramp):
                widest[buffer] = max(widest.get(buffer, 1), e.lanes)
    return widest


def first_lane(e: Expr) -> Expr | None:
    """The first of the neighbours that a subscript selects; None where they are not neighbours."""
    match e:
        case Ramp(base=base, stride=1):
            return base
        case Binary(op="add", a=a, b=b) if a.lanes == 1 or b.lanes == 1:
            left, right = first_lane(a), first_lane(b)
            return None if left is None or right is None else left + right
        case Binary(op="sub", a=a, b=b) if b.lanes == 1:
            left = first_lane(a)
            return None if left is None else left - b
        case _:
            return e if e.lanes == 1 else None


def certain_loads(s: Stmt) -> list[Load]:
    """The loads of stored values that happen in every lane and step: not the arms of selections, nothing masked or
    data-dependent."""
    found: list[Load] = []

    def visit(e: Expr) -> None:
        match e:
            case Load(index=index, mask=mask):
                if mask is None and not any(loads(i) for i in index):
                    found.append(e)
            case Select(cond=cond):
                visit(cond)
            case _:
                for x in children(e):
                    visit(x)

    for store in stores(s):
        visit(store.value)
    return found
