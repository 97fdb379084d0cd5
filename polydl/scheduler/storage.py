"""Transformations of storage: where a tensor lives, its layout, and packed copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from polydl import poly
from polydl.dsl.polyhedral import condition_text, to_affine
from polydl.dsl.tensor import Layout, Tensor, TensorRole
from polydl.errors import NotApplicable
from polydl.ir.expr import Expr, Var, and_
from polydl.poly.affine import Affine, dim
from polydl.poly.tree import Allocate, Band, Member, Tree, map_tree, members, walk
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, replace_at
from polydl.targets import Target
from polydl.vocabulary import Binding, Memory

__all__ = ["Local", "SetLayout", "SetMemory"]


@dataclass(frozen=True, slots=True, repr=False)
class Local(Transform):
    """Give a temporary tensor fresh storage in each iteration of a loop; only the part an iteration touches is kept.

    rewrite:  band(i, j, child) -> band(i, allocate(T), band(j, child))   for Local("T", ("i",))
    Several loops are named where separation has made several branches that all need their own.
    legal if: T is accessed below only, and each of its elements within one iteration of the loops around
    """

    tensor: str
    loops: tuple[str, ...]
    memory: Memory = Memory.LOCAL

    def rewrite(self, schedule: Schedule) -> Rewritten:
        if schedule.function.tensor(self.tensor).role is not TensorRole.TEMPORARY:
            raise NotApplicable(
                f"{self.tensor} is not a temporary tensor", why="its storage belongs to the caller"
            )
        tree = schedule.tree
        if any(isinstance(node, Allocate) and node.tensor == self.tensor for node in walk(tree)):
            raise NotApplicable(f"{self.tensor} is local already")
        users = {s.name for s in schedule.scop.statements if any(a.tensor == self.tensor for a in s.accesses)}
        if not self.loops:
            raise NotApplicable(f"no loop is given in which {self.tensor} would be local")
        for loop in self.loops:
            path, band, k = band_of(tree, loop)
            if not users & {s for s, _ in band.members[k].exprs}:
                raise NotApplicable(f"nothing inside loop {loop} uses {self.tensor}")
            rest = Band(band.members[k + 1 :], band.child) if band.members[k + 1 :] else band.child
            new = Band(band.members[: k + 1], Allocate(self.tensor, self.memory, rest))
            tree = replace_at(tree, path, new)
        if schedule.function.sizes or len(self.loops) > 1:
            poly.footprint(schedule.scop, tree, self.tensor)  # NotApplicable where it has no constant size
        return Rewritten(tree)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Every temporary at every loop around all its users."""
        for t in schedule.function.of_role(TensorRole.TEMPORARY):
            users = {s.name for s in schedule.scop.statements if any(a.tensor == t.name for a in s.accesses)}
            for m in members(schedule.tree):
                if users and users <= {s for s, _ in m.exprs}:
                    yield cls(t.name, (m.name,))


@dataclass(frozen=True, slots=True, repr=False)
class SetMemory(Transform):
    """Keep a local tensor in another memory.

    rewrite:  allocate(T, local, …) -> allocate(T, register, …)
    legal if: always; registers need subscripts that are constants once loops are spelled out (checked here)
    """

    tensor: str
    memory: Memory

    def rewrite(self, schedule: Schedule) -> Rewritten:
        here = [
            node for node in walk(schedule.tree) if isinstance(node, Allocate) and node.tensor == self.tensor
        ]
        if not here:
            raise NotApplicable(f"{self.tensor} is not local", next=f"Local('{self.tensor}', …) first")
        if self.memory is Memory.REGISTER:
            running = _running_subscript(schedule, self.tensor)
            if running:
                raise NotApplicable(
                    f"loop {running} counts the elements of {self.tensor} while it runs",
                    why="registers cannot be addressed by a value of run time",
                    next=f"Unroll('{running}') or Vectorize('{running}') first",
                )

        def change(node: Tree) -> Tree:
            return replace(node, memory=self.memory) if node in here and isinstance(node, Allocate) else node

        return Rewritten(map_tree(schedule.tree, change))


def _running_subscript(schedule: Schedule, tensor: str) -> str:
    """A loop inside the tensor's allocation, neither unrolled nor lanes, that a subscript depends on; "" if none."""
    for path in poly.paths(schedule.scop, schedule.tree):
        accesses = [a for a in schedule.scop.statement(path.statement).accesses if a.tensor == tensor]
        for depth, node in path.allocations:
            if node.tensor != tensor:
                continue
            known, running = list(path.exprs[:depth]), []
            for loop, e in zip(path.coordinates[depth:], path.exprs[depth:], strict=True):
                if isinstance(loop, Member) and loop.binding not in (Binding.UNROLL, Binding.VECTOR):
                    running.append((loop.name, e))
                else:
                    known.append(e)
            for subscript in (e for a in accesses for e in a.subscripts if e is not None):
                if not _follows(schedule, subscript, known):
                    return next((name for name, e in running if e.names() & subscript.names()), running[0][0])
    return ""


def _follows(schedule: Schedule, e: Affine, known: list[Affine]) -> bool:
    """Whether the values of `known` determine that of `e`."""
    sizes = schedule.function.sizes
    names = sorted({n for x in (e, *known) for n in x.names()} - set(sizes))
    other = {n: dim(f"{n}'") for n in names}
    conditions = [f"{x} = {x.substitute(other)}" for x in known]
    different = poly.set_text(
        sizes, "R", (*names, *(f"{n}'" for n in names)), (*conditions, f"{e} != {e.substitute(other)}")
    )
    return poly.is_empty(different)


@dataclass(frozen=True, slots=True, repr=False)
class SetLayout(Transform):
    """Store a tensor another way. For inputs, outputs and constants this changes the function's interface.

    legal if: the layout is injective (it is checked on the tensor's box)
    """

    tensor: str
    layout: Layout

    def rewrite(self, schedule: Schedule) -> Rewritten:
        tensor = schedule.function.tensor(self.tensor)
        if len(self.layout.dims) != tensor.rank:
            raise NotApplicable(
                f"{self.tensor} has {tensor.rank} dimensions, the layout is for {len(self.layout.dims)}"
            )
        check_injective(schedule, replace(tensor, layout=self.layout))
        return Rewritten(schedule.tree, schedule.function.with_tensor(replace(tensor, layout=self.layout)))


def check_injective(schedule: Schedule, tensor: Tensor) -> None:
    """NotApplicable unless the tensor's layout gives every element of its box a place of its own."""
    dims = tensor.storage.dims
    primed = [f"{d}p" for d in dims]
    sizes = schedule.function.sizes
    here = tensor.storage.apply([Var(d) for d in dims])
    there = tensor.storage.apply([Var(d) for d in primed])
    conditions = [_equal(a, b, tensor) for a, b in zip(here, there, strict=True)]
    for names in (dims, primed):
        for name, low, size in zip(names, tensor.origin, tensor.shape, strict=True):
            conditions.append(condition_text(and_(Var(name) >= low, Var(name) < low + size)))
    different = " or ".join(f"{a} != {b}" for a, b in zip(dims, primed, strict=True))
    if dims and not poly.is_empty(poly.set_text(sizes, "L", (*dims, *primed), (*conditions, different))):
        raise NotApplicable(f"the layout puts two elements of {tensor.name} in one place")


def _equal(a: Expr, b: Expr, tensor: Tensor) -> str:
    left, right = to_affine(a), to_affine(b)
    if left is None or right is None:
        raise NotApplicable(f"the layout of {tensor.name} is not affine")
    return f"{left} = {right}"
