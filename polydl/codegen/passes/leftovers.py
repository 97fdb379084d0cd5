"""Leftovers of a reduction over lanes join the vector accumulators of the loop in front of them.

before:  acc[0:16] = -0.0
         for k in 0..K // 16: acc[0:16] = acc[0:16] + A[i, 16*k : 16*k+16]
         if 0 < K // 16: S[i] = S[i] + reduce_add(acc[0:16])
         if K % 16 > 0: S[i] = S[i] + reduce_add(select(0:16 < K % 16, A[i, …], -0.0))
after:   acc[0:16] = -0.0
         for k in 0..K // 16: acc[0:16] = acc[0:16] + A[i, 16*k : 16*k+16]
         if K % 16 > 0: acc[0:16] = acc[0:16] + select(0:16 < K % 16, A[i, …], -0.0)
         if 0 < K // 16 or K % 16 > 0: S[i] = S[i] + reduce_add(acc[0:16])

The lanes are combined once. Part of `accumulate`, which makes the accumulators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from polydl.dtypes import INDEX
from polydl.ir.expr import Binary, Const, Expr, Load, Ramp, ReduceLanes, and_, or_
from polydl.ir.kernel import Alloc, Block, If, Stmt, Store
from polydl.ir.rewrite import block, loads

__all__ = ["Sum", "Update", "join_leftovers", "update_of"]


@dataclass(frozen=True, slots=True)
class Update:
    """`buffer[index] = buffer[index] op reduce(vector)`."""

    store: Store
    op: str
    reduce: str
    vector: Expr


def update_of(s: Store) -> Update | None:
    """The store as a reduction over lanes into its place; None if it is none."""
    match s.value:
        case Binary(op=op, a=Load() as old, b=ReduceLanes(op=reduce, operand=vector)):
            same = old.buffer == s.buffer and old.index == s.index and old.mask is None and s.mask is None
            if same and (op == reduce or (op == "sub" and reduce == "add")):
                return Update(s, op, reduce, vector)
    return None


@dataclass(frozen=True, slots=True)
class Sum:
    """Accumulators `name[0..count, lanes]` of the place that `first` updates.

    `some`: the condition that anything has been accumulated, None where that is certain.
    """

    name: str
    first: Update
    count: int
    some: Expr | None

    def takes(self, update: Update) -> bool:
        """Whether an update is of the same place, by the same operation on as many lanes."""
        mine, vector = self.first, self.first.vector
        return (
            (update.store.buffer, update.store.index) == (mine.store.buffer, mine.store.index)
            and update.reduce == mine.reduce
            and (update.vector.lanes, update.vector.dtype) == (vector.lanes, vector.dtype)
        )

    def part(self, k: int) -> tuple[Expr, ...]:
        """The subscripts of the k-th accumulator."""
        return Const(k, INDEX), Ramp(Const(0, INDEX), 1, self.first.vector.lanes)

    def accumulated(self, update: Update, k: int) -> Store:
        """An update of the place as one of the k-th accumulator."""
        where = self.part(k)
        op = "sub" if update.op == "sub" else update.reduce
        return Store(self.name, where, Binary(op, self._load(k), update.vector))

    def finish(self) -> Stmt:
        """The accumulators combined into the place."""
        place, reduce = self.first.store, self.first.reduce
        total: Expr = self._load(0)
        for k in range(1, self.count):
            total = Binary(reduce, total, self._load(k))
        old = Load(place.buffer, place.index, self.first.vector.dtype)
        store = Store(place.buffer, place.index, Binary(reduce, old, ReduceLanes(reduce, total)))
        return store if self.some is None else If(self.some, store)

    def _load(self, k: int) -> Load:
        return Load(self.name, self.part(k), self.first.vector.dtype)


def join_leftovers(s: Block, sums: dict[str, Sum]) -> Stmt:
    """The block with leftovers moved to the accumulators in front of them; their entries in `sums` follow."""
    done: list[Stmt] = []
    for x in s.stmts:
        around = _accumulators(done[-1], sums) if done else []
        joined = _joined(x, around) if around else None
        if joined is None:
            done.append(x)
            continue
        leftover, conditions = joined
        for name, some in conditions.items():
            old = sums[name].some
            if old is not None:
                sums[name] = replace(sums[name], some=None if some is None else or_(old, some))
        done[-1] = _with_leftover(done[-1], leftover, {a.name: a for a in around}, sums)
    return s if len(done) == len(s.stmts) else block(done)


def _accumulators(s: Stmt, sums: Mapping[str, Sum]) -> list[Sum]:
    """The accumulators that are finished at the end of a statement, the outermost first."""
    found: list[Sum] = []
    while isinstance(s, Alloc) and s.buffer.name in sums and isinstance(s.body, Block):
        made = sums[s.buffer.name]
        if s.body.stmts[-1] != made.finish():
            break
        found.append(made)
        s = s.body.stmts[-2]
    return found


def _joined(s: Stmt, around: Sequence[Sum]) -> tuple[Stmt, dict[str, Expr | None]] | None:
    """A statement that does nothing but update places of accumulators, spelled with those, and the conditions (None:
    always) under which it updates each; None if it does anything else."""
    places = {a.first.store.buffer for a in around}
    conditions: dict[str, Expr | None] = {}
    turns: dict[str, int] = {}

    def visit(s: Stmt, under: Expr | None) -> Stmt | None:
        match s:
            case Block(stmts=stmts):
                inner = [visit(x, under) for x in stmts]
                return block(x for x in inner if x is not None) if None not in inner else None
            case If(cond=cond, then=then, otherwise=None) if not _reads(cond, places):
                body = visit(then, cond if under is None else and_(under, cond))
                return None if body is None else If(cond, body)
            case Store():
                update = update_of(s)
                made = next((a for a in around if update is not None and a.takes(update)), None)
                if update is None or made is None or _reads(update.vector, places):
                    return None
                k = turns.get(made.name, 0)
                turns[made.name] = k + 1
                before = conditions.get(made.name, under)
                if before is None or under is None:
                    conditions[made.name] = None
                else:
                    conditions[made.name] = before if before == under else or_(before, under)
                return made.accumulated(update, k % made.count)
            case _:
                return None

    spelled = visit(s, None)
    return None if spelled is None or not conditions else (spelled, conditions)


def _reads(e: Expr, buffers: set[str]) -> bool:
    return any(x.buffer in buffers for x in loads(e))


def _with_leftover(s: Stmt, leftover: Stmt, around: Mapping[str, Sum], sums: Mapping[str, Sum]) -> Stmt:
    """The statement with `leftover` between the loop inside of all accumulators and what finishes them."""
    if not (isinstance(s, Alloc) and s.buffer.name in around and isinstance(s.body, Block)):
        return block([s, leftover])
    *start, inner, _ = s.body.stmts
    inner = _with_leftover(inner, leftover, around, sums)
    return Alloc(s.buffer, block([*start, inner, sums[s.buffer.name].finish()]))
