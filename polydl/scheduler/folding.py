"""Less storage for temporary tensors: array contraction and storage folding.

What is legal depends on the order: a sliding window is right only where producer and consumer run together. So where
the original order of the program does not allow it, the order of the schedule, which the judge has found equal to it,
becomes the original order of the function with less storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from polydl.dsl.function import Computation
from polydl.dsl.tensor import Tensor, TensorRole
from polydl.errors import NotApplicable
from polydl.ir.expr import Expr, Load, as_expr, transform
from polydl.poly.tree import Allocate, Band, Filter, Mark, Tree, map_tree
from polydl.scheduler.redirection import changed_values
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["Contract", "Fold"]

Index = Callable[[tuple[Expr, ...]], tuple[Expr, ...]]


@dataclass(frozen=True, slots=True, repr=False)
class Contract(Transform):
    """Drop dimensions of a temporary tensor: one place for all elements that differ only there (array contraction).

    rewrite:  for i: t[i] = f(i); x[i] = t[i]  ->  for i: t = f(i); x[i] = t      for Contract("t", (0,))
    The inverse of `Expand`. Threads must not share the place: `Local` gives each its own.
    legal if: every read sees the write that it saw before, in the order of the schedule (the judge compares the sources
    of all reads), and no two iterations that may run at the same time use one place
    """

    tensor: str
    axes: tuple[int, ...]

    def rewrite(self, schedule: Schedule) -> Rewritten:
        tensor = _temporary(schedule, self.tensor)
        if (
            not self.axes
            or len(set(self.axes)) != len(self.axes)
            or not set(self.axes) <= set(range(tensor.rank))
        ):
            raise NotApplicable(
                f"{self.tensor} has no dimensions {', '.join(map(str, self.axes))} to drop",
                next=f"name some of its dimensions 0 to {tensor.rank - 1}",
            )
        smaller = replace(tensor, shape=self._kept(tensor.shape), lower=self._kept(tensor.lower))
        return _stored(schedule, smaller, self._kept)

    def _kept(self, index: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return tuple(e for k, e in enumerate(index) if k not in self.axes)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Each dimension of each temporary, and all of them together."""
        for t in schedule.function.of_role(TensorRole.TEMPORARY):
            yield from (cls(t.name, (k,)) for k in range(t.rank))
            if t.rank > 1:
                yield cls(t.name, tuple(range(t.rank)))


@dataclass(frozen=True, slots=True, repr=False)
class Fold(Transform):
    """Keep only `size` elements of one dimension of a temporary tensor at a time: a sliding window, a ring of buffers.

    rewrite:  t[i] = f(i); x[i] = t[i] + t[i - 2]  ->  t[i mod 3] = f(i); x[i] = t[i mod 3] + t[(i - 2) mod 3]
              for Fold("t", 0, 3)
    legal if: every read sees the write that it saw before, in the order of the schedule (the judge compares the sources
    of all reads), and no two iterations that may run at the same time use one place
    """

    tensor: str
    axis: int
    size: int

    def rewrite(self, schedule: Schedule) -> Rewritten:
        tensor = _temporary(schedule, self.tensor)
        if not 0 <= self.axis < tensor.rank:
            raise NotApplicable(f"{self.tensor} has no dimension {self.axis}")
        if self.size < 1:
            raise NotApplicable(
                f"{self.tensor} cannot be folded to {self.size} elements", next="use a positive size"
            )
        shape, lower = list(tensor.shape), list(tensor.lower)
        shape[self.axis] = as_expr(self.size)
        if lower:
            lower[self.axis] = as_expr(0)
        return _stored(schedule, replace(tensor, shape=tuple(shape), lower=tuple(lower)), self._folded)

    def _folded(self, index: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return tuple(e % self.size if k == self.axis else e for k, e in enumerate(index))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """A few elements of each dimension of each temporary."""
        for t in schedule.function.of_role(TensorRole.TEMPORARY):
            yield from (cls(t.name, k, size) for k in range(t.rank) for size in (2, 3, 4))


def _temporary(schedule: Schedule, name: str) -> Tensor:
    tensor = schedule.function.tensor(name)
    if tensor.role is not TensorRole.TEMPORARY:
        raise NotApplicable(f"{name} is not a temporary tensor", why="its storage belongs to the caller")
    if tensor.layout is not None:
        raise NotApplicable(
            f"{name} has a layout of its own", next="set the layout after its storage has shrunk"
        )
    return tensor


def _stored(schedule: Schedule, tensor: Tensor, index: Index) -> Rewritten:
    """The function with the subscripts of a tensor changed, in its original order if that will do."""
    function = schedule.function
    computations = tuple(_redirected(c, tensor.name, index) for c in function.computations)
    smaller = replace(function, computations=computations).with_tensor(tensor)
    if changed_values(function, smaller) is not None:
        smaller = replace(smaller, order=_in_order(schedule.tree))
    return Rewritten(schedule.tree, smaller)


def _redirected(c: Computation, tensor: str, index: Index) -> Computation:
    def moved(e: Expr) -> Expr:
        return replace(e, index=index(e.index)) if isinstance(e, Load) and e.buffer == tensor else e

    reduction = c.reduction
    if reduction is not None and reduction.init is not None:
        reduction = replace(reduction, init=transform(reduction.init, moved))
    place = index(c.index) if c.target == tensor else c.index
    return replace(c, index=place, value=transform(c.value, moved), reduction=reduction)


def _in_order(tree: Tree) -> Tree:
    """The order of a schedule as an original order: loops are sequential, storage is everywhere."""

    def step(node: Tree) -> Tree:
        match node:
            case Band(members=members, child=child):
                return Band(tuple(replace(m, binding=Binding.SEQUENTIAL) for m in members), child)
            case Allocate(child=child) | Mark(child=child):
                return child
            case Filter(selections=selections) if any(s.condition for s in selections):
                raise NotApplicable(
                    "the schedule has split the instances of a statement, and its order is needed for less storage",
                    next="use less storage before separating or splitting index sets",
                )
            case _:
                return node

    return map_tree(tree, step)
