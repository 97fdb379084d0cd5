"""The terms of a sum as statements of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from polydl.dsl.function import Computation, Function
from polydl.dsl.polyhedral import loads
from polydl.errors import NotApplicable
from polydl.ir.expr import Binary, Expr, Unary
from polydl.poly.tree import Band, Filter, Tree, map_tree
from polydl.scheduler.compute import fresh_name
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.targets import Target

__all__ = ["SplitSum"]


@dataclass(frozen=True, slots=True, repr=False)
class SplitSum(Transform):
    """Add the terms of a sum one by one, each in a statement of its own, which run one after the other.

    rewrite:  y[i] += f(i, k) + g(i, k)  ->  y[i] += f(i, k);  y[i] += g(i, k)
    A product that is added at once is one multiply-add. The first term keeps the name of the statement.
    legal if: the sum may be reassociated and its terms do not read what is summed up (checked here)
    """

    statement: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function = schedule.function
        c = function.computation(self.statement)
        r = c.reduction
        if r is None or r.op != "add" or r.init is not None or c.also:
            raise NotApplicable(f"{c.name} adds nothing to what is there already")
        if not schedule.reassociate:
            raise NotApplicable(f"{c.name} may not be reassociated", why="the schedule's policy forbids it")
        if any(load.buffer == c.target for load in loads(c.value)):
            raise NotApplicable(f"{c.name} reads its own result", why="its terms would see each other")
        terms = list(_terms(c.value))
        if len(terms) < 2:
            raise NotApplicable(f"{c.name} adds only one term")
        split = [replace(c, value=terms[0])]
        for term in terms[1:]:
            name = fresh_name(_with(function, c.name, split), f"{c.name}_term")
            split.append(replace(c, name=name, value=term))
        new = _with(function, c.name, split)
        names = tuple(x.name for x in split[1:])
        if new.order is not None:
            new = replace(new, order=_beside(new.order, c.name, names))
        return Rewritten(_beside(schedule.tree, c.name, names), new)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        for c in schedule.function.computations:
            if c.reduction is not None and len(list(_terms(c.value))) > 1:
                yield cls(c.name)


def _terms(e: Expr, minus: bool = False) -> Iterator[Expr]:
    match e:
        case Binary(op="add" | "sub" as op, a=a, b=b) if e.dtype.is_float:
            yield from _terms(a, minus)
            yield from _terms(b, minus != (op == "sub"))
        case _:
            yield Unary("neg", e) if minus else e


def _with(function: Function, name: str, instead: list[Computation]) -> Function:
    computations = tuple(x for c in function.computations for x in (instead if c.name == name else (c,)))
    return replace(function, computations=computations)


def _beside(tree: Tree, statement: str, new: tuple[str, ...]) -> Tree:
    """The tree with new statements wherever one is, at the same times."""

    def step(node: Tree) -> Tree:
        match node:
            case Band(members=members, child=child):
                grown = tuple(
                    replace(m, exprs=(*m.exprs, *((n, e) for s, e in m.exprs if s == statement for n in new)))
                    for m in members
                )
                return Band(grown, child)
            case Filter(selections=selections, child=child):
                more = (replace(s, statement=n) for s in selections if s.statement == statement for n in new)
                return Filter((*selections, *more), child)
            case _:
                return node

    return map_tree(tree, step)
