"""Generic traversal and rewriting of statements: the only place that knows which parts every statement has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from polydl.errors import InvalidProgram
from polydl.ir.expr import Expr, Load, Var, map_children, substitute, walk
from polydl.ir.kernel import (
    Alloc,
    Barrier,
    Block,
    Buffer,
    Check,
    For,
    If,
    Let,
    Prefetch,
    Stmt,
    Store,
)  # fmt: skip

__all__ = [
    "EMPTY", "all_expressions", "block", "bound_names", "expressions", "free_variables", "fresh_name", "loads", "loops",
    "map_buffers", "map_expressions", "map_stmts", "map_substatements", "rename_buffers", "rename_variables", "stores",
    "substatements", "substitute_stmt", "walk_stmts",
]  # fmt: skip

EMPTY = Block(())


def block(stmts: Iterable[Stmt]) -> Stmt:
    """The statements in order, nested blocks flattened; a single statement stays itself."""
    flat: list[Stmt] = []
    for s in stmts:
        flat += s.stmts if isinstance(s, Block) else (s,)
    return flat[0] if len(flat) == 1 else Block(tuple(flat))


def substatements(s: Stmt) -> tuple[Stmt, ...]:
    """The statements directly inside `s`, in order."""
    match s:
        case Block(stmts):
            return stmts
        case For(body=body) | Let(body=body) | Alloc(body=body):
            return (body,)
        case If(_, then, otherwise):
            return (then,) if otherwise is None else (then, otherwise)
        case Store() | Barrier() | Check() | Prefetch():
            return ()
        case _:
            assert_never(s)


def expressions(s: Stmt) -> tuple[Expr, ...]:
    """The expressions directly in `s` (not in statements inside it), in evaluation order."""
    match s:
        case For(lower=lower, upper=upper):
            return (lower, upper)
        case If(cond=cond) | Check(cond=cond):
            return (cond,)
        case Let(value=value):
            return (value,)
        case Store(_, index, value, mask):
            return (*index, value) if mask is None else (*index, value, mask)
        case Alloc(buffer=buffer):
            return buffer.shape
        case Prefetch(index=index):
            return index
        case Block() | Barrier():
            return ()
        case _:
            assert_never(s)


def walk_stmts(s: Stmt) -> Iterator[Stmt]:
    """`s` and all statements inside it, parents first."""
    yield s
    for inner in substatements(s):
        yield from walk_stmts(inner)


def all_expressions(s: Stmt) -> Iterator[Expr]:
    """Every subexpression of every statement in `s`, parents first."""
    for inner in walk_stmts(s):
        for e in expressions(inner):
            yield from walk(e)


def map_substatements(s: Stmt, f: Callable[[Stmt], Stmt]) -> Stmt:
    """`s` with `f` applied to the statements directly inside it; `s` itself where nothing changed."""
    match s:
        case Block(stmts):
            new = tuple([f(x) for x in stmts])
            return s if all(x is y for x, y in zip(new, stmts, strict=True)) else Block(new)
        case For(body=body) | Let(body=body) | Alloc(body=body):
            changed = f(body)
            return s if changed is body else replace(s, body=changed)
        case If(cond, then, otherwise):
            then2, otherwise2 = f(then), None if otherwise is None else f(otherwise)
            return s if then2 is then and otherwise2 is otherwise else If(cond, then2, otherwise2)
        case Store() | Barrier() | Check() | Prefetch():
            return s
        case _:
            assert_never(s)


def map_stmts(s: Stmt, f: Callable[[Stmt], Stmt]) -> Stmt:
    """`f` applied bottom-up to every statement of `s`."""
    return f(map_substatements(s, lambda x: map_stmts(x, f)))


def map_expressions(s: Stmt, f: Callable[[Expr], Expr]) -> Stmt:
    """`f` applied to every whole expression (subscript, value, mask, bound, condition, …) of every statement in `s`."""
    s = map_substatements(s, lambda x: map_expressions(x, f))
    match s:
        case For(lower=lower, upper=upper):
            return replace(s, lower=f(lower), upper=f(upper))
        case If(cond, then, otherwise):
            return If(f(cond), then, otherwise)
        case Check(cond, code, message):
            return Check(f(cond), code, message)
        case Let(var, value, body):
            return Let(var, f(value), body)
        case Store(buffer, index, value, mask):
            return Store(buffer, tuple([f(i) for i in index]), f(value), None if mask is None else f(mask))
        case Alloc(buffer, body):
            return Alloc(replace(buffer, shape=tuple([f(x) for x in buffer.shape])), body)
        case Prefetch(buffer, index, write):
            return Prefetch(buffer, tuple([f(i) for i in index]), write)
        case Block() | Barrier():
            return s
        case _:
            assert_never(s)


def bound_names(s: Stmt) -> frozenset[str]:
    """The variables that loops and Lets in `s` define."""
    return frozenset(x.var for x in walk_stmts(s) if isinstance(x, For | Let))


def free_variables(x: Stmt | Expr) -> frozenset[str]:
    """The variables that `x` reads and does not define itself."""
    if isinstance(x, For):
        return _names(x.lower, x.upper) | (free_variables(x.body) - {x.var})
    if isinstance(x, Let):
        return _names(x.value) | (free_variables(x.body) - {x.var})
    if isinstance(x, Block | If | Store | Alloc | Barrier | Check | Prefetch):
        return _names(*expressions(x)).union(*map(free_variables, substatements(x)))
    return _names(x)


def _names(*exprs: Expr) -> frozenset[str]:
    return frozenset(v.name for e in exprs for v in walk(e) if isinstance(v, Var))


def substitute_stmt(s: Stmt, bindings: Mapping[str, Expr]) -> Stmt:
    """`s` with free variables replaced simultaneously; InvalidProgram where `s` would capture a variable of a value."""
    captured = bound_names(s) & _names(*bindings.values())
    if captured:
        raise InvalidProgram(
            f"substitution would capture {', '.join(sorted(captured))}",
            why="a loop or Let inside the statement defines the name again",
            next="rename it first (rename_variables)",
        )
    return _substitute(s, dict(bindings))


def _substitute(s: Stmt, bindings: dict[str, Expr]) -> Stmt:
    if not bindings:
        return s
    match s:
        case For(var=var, lower=lower, upper=upper, body=body):
            inner = {k: v for k, v in bindings.items() if k != var}
            return replace(
                s,
                lower=substitute(lower, bindings),
                upper=substitute(upper, bindings),
                body=_substitute(body, inner),
            )
        case Let(var, value, body):
            inner = {k: v for k, v in bindings.items() if k != var}
            return Let(var, substitute(value, bindings), _substitute(body, inner))
        case Block(stmts):
            return Block(tuple([_substitute(x, bindings) for x in stmts]))
        case If(cond, then, otherwise):
            changed = None if otherwise is None else _substitute(otherwise, bindings)
            return If(substitute(cond, bindings), _substitute(then, bindings), changed)
        case Alloc(buffer, body):
            shape = tuple([substitute(x, bindings) for x in buffer.shape])
            return Alloc(replace(buffer, shape=shape), _substitute(body, bindings))
        case Store() | Barrier() | Check() | Prefetch():
            return map_expressions(s, lambda e: substitute(e, bindings))
        case _:
            assert_never(s)


def rename_variables(s: Stmt, names: Mapping[str, str]) -> Stmt:
    """`s` with variables renamed, where they are defined and where they are read."""

    def rename(e: Expr) -> Expr:
        if isinstance(e, Var):
            return Var(names.get(e.name, e.name), e.dtype, e.lanes)
        return map_children(e, rename)

    def rename_binder(x: Stmt) -> Stmt:
        return replace(x, var=names.get(x.var, x.var)) if isinstance(x, For | Let) else x

    return map_stmts(map_expressions(s, rename), rename_binder)


def rename_buffers(s: Stmt, names: Mapping[str, str]) -> Stmt:
    """`s` with buffers renamed, where they are allocated and where they are used."""

    def rename_loads(e: Expr) -> Expr:
        e = map_children(e, rename_loads)
        return replace(e, buffer=names.get(e.buffer, e.buffer)) if isinstance(e, Load) else e

    def rename_uses(x: Stmt) -> Stmt:
        if isinstance(x, Alloc):
            return Alloc(replace(x.buffer, name=names.get(x.buffer.name, x.buffer.name)), x.body)
        return replace(x, buffer=names.get(x.buffer, x.buffer)) if isinstance(x, Store | Prefetch) else x

    return map_stmts(map_expressions(s, rename_loads), rename_uses)


def map_buffers(s: Stmt, f: Callable[[Buffer], Buffer]) -> Stmt:
    """`f` applied to every buffer that `s` allocates."""
    return map_stmts(s, lambda x: Alloc(f(x.buffer), x.body) if isinstance(x, Alloc) else x)


def loads(x: Stmt | Expr, buffer: str | None = None) -> list[Load]:
    """All loads in `x` (of one buffer), outermost first."""
    if isinstance(x, Block | For | If | Let | Store | Alloc | Barrier | Check | Prefetch):
        found = all_expressions(x)
    else:
        found = walk(x)
    return [e for e in found if isinstance(e, Load) and buffer in (None, e.buffer)]


def stores(s: Stmt, buffer: str | None = None) -> list[Store]:
    """All stores in `s` (to one buffer), in order."""
    return [x for x in walk_stmts(s) if isinstance(x, Store) and buffer in (None, x.buffer)]


def loops(s: Stmt) -> list[For]:
    """All loops in `s`, outer before inner."""
    return [x for x in walk_stmts(s) if isinstance(x, For)]


def fresh_name(base: str, taken: Collection[str]) -> str:
    """`base`, or `base_2`, `base_3`, …: the first that is not taken."""
    name, n = base, 2
    while name in taken:
        name, n = f"{base}_{n}", n + 1
    return name
