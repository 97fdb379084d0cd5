"""A part of a program on a copy of a tensor, in another order of its dimensions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, replace

from polydl.dsl.function import Axis, Computation, Function
from polydl.dsl.tensor import Tensor, TensorRole
from polydl.errors import NotApplicable
from polydl.ir.expr import Expr, Load, transform
from polydl.poly.affine import Affine, dim
from polydl.poly.tree import Filter, Selection, Tree, statements_below
from polydl.poly.tree import Sequence as SequenceNode
from polydl.scheduler.compute import fresh_name, with_temporary
from polydl.scheduler.meaning import nest_of
from polydl.scheduler.redirection import original_order
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import normalise

__all__ = ["CopyInOut"]


@dataclass(frozen=True, slots=True, repr=False)
class CopyInOut(Transform):
    """Let the top-level part that holds a statement work on a copy of a tensor, its dimensions in another order.

    rewrite:  part using T[i, j]  ->  P[x1, x0] = T[x0, x1];  part using P[j, i];  T[x0, x1] = P[x1, x0]
    Dimension `d` of the copy is dimension `order[d]` of T. The copies are the computations `P_in` and `P_out`; there is
    no copy back where the part does not store to T, and none before where `loaded` is false. A part is a nest of the
    original order; of a reduction, with the one that stores its first values.
    legal if: the results are the same values; without a copy before, the part must store to an element before it is
    read, and to all elements if any (the judge compares)
    """

    tensor: str
    statement: str
    order: tuple[int, ...]
    loaded: bool = True
    name: str = ""

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function = schedule.function
        tensor = function.tensor(self.tensor)
        if sorted(self.order) != list(range(tensor.rank)):
            raise NotApplicable(
                f"{list(self.order)} is no order of the {tensor.rank} dimensions of {self.tensor}",
                next=f"name each of 0 to {tensor.rank - 1} once" if tensor.rank else "",
            )
        order = original_order(function)
        part = _part(order, self.statement, function)
        users = {s.name for s in schedule.scop.statements if any(a.tensor == self.tensor for a in s.accesses)}
        here = users & set(part)
        if not here:
            raise NotApplicable(f"the part of {self.statement} does not use {self.tensor}")
        name = fresh_name(function, self.name or f"{self.tensor}_copy")
        copy = _copy(tensor, name, self.order)
        changed = tuple(_redirected(c, here, self.tensor, name, self.order) for c in function.computations)
        stored = any(
            here & {c.name, f"{c.name}_init"} and self.tensor in _targets(c) for c in function.computations
        )
        before = (_between(f"{name}_in", copy, tensor, self.order, inwards=True),) if self.loaded else ()
        after = (_between(f"{name}_out", copy, tensor, self.order, inwards=False),) if stored else ()
        if not before and not after:
            raise NotApplicable(
                f"the part of {self.statement} does not store to {self.tensor}",
                why="without a copy before, nobody would write the copy",
            )
        tree = _around(schedule.tree, here, before, after)
        new = replace(
            function,
            computations=(*before, *changed, *after),
            tensors=with_temporary(function.tensors, copy),
            order=_around(order, part, before, after),
        )
        return Rewritten(tree, new)


def _part(order: Tree, statement: str, function: Function) -> tuple[str, ...]:
    """The statements of the top-level part of an order that holds one of them.

    The first value of a reduction and its updates are of one part, which has what stands between them too.
    """
    nests = order.children if isinstance(order, SequenceNode) else (order,)
    place = {s: k for k, nest in enumerate(nests) for s in statements_below(nest)}
    if statement not in place:
        raise NotApplicable(f"there is no statement '{statement}'")
    first = last = place[statement]
    reductions = [
        (place[c.name], place[i]) for c in function.computations if (i := f"{c.name}_init") in place
    ]
    while True:
        reached = [k for pair in reductions if any(first <= k <= last for k in pair) for k in pair]
        if not reached or (first <= min(reached) and max(reached) <= last):
            return tuple(s for s, k in place.items() if first <= k <= last)
        first, last = min(first, *reached), max(last, *reached)


def _copy(tensor: Tensor, name: str, order: tuple[int, ...]) -> Tensor:
    lower = tuple(tensor.lower[d] for d in order) if tensor.lower else ()
    return Tensor(name, tensor.dtype, tuple(tensor.shape[d] for d in order), TensorRole.TEMPORARY, lower)


def _between(
    name: str, copy: Tensor, tensor: Tensor, order: tuple[int, ...], *, inwards: bool
) -> Computation:
    """The computation that copies all elements, to the copy or back."""
    axes = tuple(
        Axis(f"x{k}", low, low + extent)
        for k, (low, extent) in enumerate(zip(tensor.origin, tensor.shape, strict=True))
    )
    here = tuple(a.var for a in axes)
    there = tuple(here[d] for d in order)
    if inwards:
        return Computation(name, axes, (), copy.name, there, tensor[here])
    return Computation(name, axes, (), tensor.name, here, copy[there])


def _targets(c: Computation) -> Collection[str]:
    return (c.target, *(x.target for x in c.also))


def _redirected(
    c: Computation, here: Set[str], tensor: str, name: str, order: tuple[int, ...]
) -> Computation:
    """The computation with its accesses to the tensor going to the copy, if its statements are of the part."""
    if not here & {c.name, f"{c.name}_init"}:
        return c

    def place(target: str, index: tuple[Expr, ...]) -> tuple[str, tuple[Expr, ...]]:
        index = tuple(transform(e, moved) for e in index)
        return (name, tuple(index[d] for d in order)) if target == tensor else (target, index)

    def moved(e: Expr) -> Expr:
        if isinstance(e, Load) and e.buffer == tensor:
            return Load(name, tuple(e.index[d] for d in order), e.dtype)
        return e

    def value(e: Expr | None) -> Expr | None:
        return None if e is None else transform(e, moved)

    target, index = place(c.target, c.index)
    also = []
    for x in c.also:
        t, i = place(x.target, x.index)
        also.append(replace(x, target=t, index=i, value=transform(x.value, moved), init=value(x.init)))
    reduction = None if c.reduction is None else replace(c.reduction, init=value(c.reduction.init))
    return replace(
        c,
        conditions=tuple(transform(e, moved) for e in c.conditions),
        target=target,
        index=index,
        value=transform(c.value, moved),
        reduction=reduction,
        also=tuple(also),
    )


def _around(
    tree: Tree, part: Collection[str], before: tuple[Computation, ...], after: tuple[Computation, ...]
) -> Tree:
    """The tree with computations right before the first top-level nest of a part, and behind the last."""
    nests: tuple[Filter, ...]
    if isinstance(tree, SequenceNode):
        nests = tree.children
    else:
        nests = (Filter(tuple(map(Selection, statements_below(tree))), tree),)
    mine = [k for k, f in enumerate(nests) if set(part) & set(statements_below(f))]
    first, last = mine[0], mine[-1] + 1
    taken = tree

    def alone(computations: tuple[Computation, ...]) -> Iterator[Filter]:
        nonlocal taken
        for c in computations:
            loops: list[tuple[str, Affine]] = [(f"{c.name}.{a.name}", dim(a.name)) for a in c.axes]
            yield Filter((Selection(c.name),), nest_of(taken, c.name, loops))

    return normalise(
        SequenceNode((*nests[:first], *alone(before), *nests[first:last], *alone(after), *nests[last:]))
    )
