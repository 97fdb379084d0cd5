"""Sharing the iterations of parallel loops among the threads of the region.

before:  for i in 0..N parallel: for j in 0..M parallel: S        after:  for p in NM·t/T .. NM·(t+1)/T:
                                                                              let i = p / M, j = p % M in S
before:  for i in 0..N parallel: for j in 0..i: S                 after:  for r in 0..⌈(N-t)/T⌉: let i = r·T + t in …
Ranges are contiguous, as neighbouring iterations share lines, unless iterations have more and more, or less and less,
to do (`trend`): then threads take turns.
The kernel afterwards is what one thread runs: it has two more sizes, `thread` (its number t) and `threads` (T). What
stands outside of parallel loops and has an effect is done by thread 0. Synchronisation is not invented here:
only explicit barriers order one thread's work after another's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from polydl.codegen.passes.trend import uneven
from polydl.codegen.passes.walk import contains, has_binding
from polydl.ir.expr import Const, Expr, Var, as_expr, eq, maximum, minimum
from polydl.ir.kernel import Alloc, Barrier, Binding, Block, For, If, Kernel, Let, Prefetch, Stmt, Store
from polydl.ir.rewrite import block, free_variables, map_stmts, map_substatements, substatements
from polydl.ir.simplify import simplify

__all__ = ["THREAD", "THREADS", "distribute", "shared_buffers"]

THREAD, THREADS = Var("thread"), Var("threads")


def distribute(kernel: Kernel) -> Kernel:
    """The part of one thread; adds the sizes `thread` and `threads`."""
    return replace(kernel, sizes=(*kernel.sizes, THREAD.name, THREADS.name), body=_share(kernel.body))


def shared_buffers(kernel: Kernel) -> frozenset[str]:
    """Local buffers allocated around parallel loops or barriers: all threads see the same one.

    Inside of a parallel loop each iteration has its own, whatever it holds: loops in it are not shared among threads.
    """

    def visit(s: Stmt) -> Iterator[str]:
        if isinstance(s, For) and s.binding == Binding.PARALLEL:
            return
        if isinstance(s, Alloc) and not _serial(s.body):
            yield s.buffer.name
        for inner in substatements(s):
            yield from visit(inner)

    return frozenset(visit(kernel.body))


def _serial(s: Stmt) -> bool:
    return not has_binding(s, Binding.PARALLEL) and not contains(s, Barrier)


def _share(s: Stmt) -> Stmt:
    if _serial(s):
        return _on_first_thread(s)
    if isinstance(s, For) and s.binding == Binding.PARALLEL:
        return _split(s)
    if isinstance(s, Block):
        result: list[Stmt] = []
        run: list[Stmt] = []
        for stmt in s.stmts:
            if _serial(stmt) and _effects(stmt):
                run.append(stmt)
                continue
            if run:
                result.append(_on_first_thread(block(run)))
                run = []
            result.append(_share(stmt))
        if run:
            result.append(_on_first_thread(block(run)))
        return block(result)
    return map_substatements(s, _share)


def _effects(s: Stmt) -> bool:
    """Whether `s` writes. What does not (checks) is done by all threads, which then agree on the outcome."""
    return contains(s, Store, Prefetch)


def _on_first_thread(s: Stmt) -> Stmt:
    return If(eq(THREAD, 0), s) if _effects(s) else s


def _split(s: For) -> Stmt:
    """The perfect nest of parallel loops headed by `s`, as one range that is cut into equal parts."""
    nest = [s]
    while True:
        inner = nest[-1].body
        if not (isinstance(inner, For) and inner.binding == Binding.PARALLEL):
            break
        if (free_variables(inner.lower) | free_variables(inner.upper)) & {loop.var for loop in nest}:
            break
        nest.append(inner)
    body = map_stmts(nest[-1].body, _sequential)
    trips = [_trips(loop) for loop in nest]
    total = trips[0]
    for count in trips[1:]:
        total = total * count
    first, last = simplify(total * THREAD // THREADS), simplify(total * (THREAD + 1) // THREADS)
    if len(nest) == 1 and uneven(s):
        turn = Var(f"{s.var}.turn")
        rounds = simplify((total - THREAD + THREADS - 1) // THREADS)
        here = simplify(s.lower + (turn * THREADS + THREAD) * s.step)
        return For(turn.name, as_expr(0), rounds, Let(s.var, here, body))
    if len(nest) == 1:
        begin = simplify(s.lower + first * s.step)
        end = s.lower + last * s.step
        upper = simplify(end if s.step == 1 else minimum(end, s.upper))
        return For(s.var, begin, upper, body, Binding.SEQUENTIAL, s.step)
    position = Var(".".join(loop.var for loop in nest))
    rest: Expr = position
    values = []
    for loop, count in zip(reversed(nest), reversed(trips), strict=True):
        here = rest if loop is nest[0] else rest % count
        values.append((loop.var, simplify(loop.lower + here * loop.step)))
        rest = rest // count
    for var, value in values:
        body = Let(var, value, body)
    return For(position.name, first, last, body)


def _trips(loop: For) -> Expr:
    count = simplify((loop.upper - loop.lower + (loop.step - 1)) // loop.step)
    return count if isinstance(count, Const) else maximum(count, 0)


def _sequential(s: Stmt) -> Stmt:
    return (
        replace(s, binding=Binding.SEQUENTIAL) if isinstance(s, For) and s.binding == Binding.PARALLEL else s
    )
