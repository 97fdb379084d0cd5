"""Expansion and contraction of temporary tensors: a place for each iteration, or one place for several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from polydl import poly
from polydl.dsl.function import Computation
from polydl.dsl.polyhedral import from_affine
from polydl.dsl.tensor import Layout, Tensor, TensorRole
from polydl.errors import NotApplicable
from polydl.ir.expr import Const, Expr, Load, Var, transform
from polydl.poly.affine import Affine
from polydl.poly.tree import members
from polydl.scheduler.compute import fresh_name, with_temporary
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.targets import Target

__all__ = ["Expand"]


@dataclass(frozen=True, slots=True, repr=False)
class Expand(Transform):
    """Give a temporary tensor a place for each iteration of some loops: array (or scalar) expansion.

    rewrite:  for i: t = f(i); x[i] = t  ->  for i: t[i] = f(i); x[i] = t[i]      for Expand("t", ("i",))
    The new dimensions come first, in the order of the loops; their extents may be symbolic. The dependences that there
    were only because iterations shared one place are gone. Where the tensor is used outside of the loops too, what is
    inside gets a tensor of its own, `t_x`.
    legal if: every read sees the write that it saw before, one of the same iteration of the loops (the judge compares
    the sources of all reads)
    """

    tensor: str
    loops: tuple[str, ...]

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function = schedule.function
        tensor = function.tensor(self.tensor)
        if tensor.role is not TensorRole.TEMPORARY:
            raise NotApplicable(
                f"{self.tensor} is not a temporary tensor", why="its storage belongs to the caller"
            )
        if not self.loops or len(set(self.loops)) != len(self.loops):
            raise NotApplicable("expansion needs distinct loop names")
        exprs = [dict(schedule.member(name).exprs) for name in self.loops]
        users = {s.name for s in schedule.scop.statements if any(a.tensor == self.tensor for a in s.accesses)}
        inside = {s for s in users if all(s in e for e in exprs)}
        if not inside:
            raise NotApplicable(f"nothing inside loops {', '.join(self.loops)} uses {self.tensor}")
        prefix = {s: tuple(e[s] for e in exprs) for s in inside}
        name = self.tensor if inside == users else fresh_name(function, f"{self.tensor}_x")
        new = replace(_grown(schedule, tensor, self.loops, exprs, inside), name=name)
        changed = tuple(_redirected(c, self.tensor, name, prefix) for c in function.computations)
        if name == self.tensor:
            tensors = tuple(new if t.name == name else t for t in function.tensors)
        else:
            tensors = with_temporary(function.tensors, new)
        return Rewritten(schedule.tree, replace(function, computations=changed, tensors=tensors))

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Each temporary over the loops around all its users that do not choose its element yet, outermost first."""
        for t in schedule.function.of_role(TensorRole.TEMPORARY):
            accesses = {
                s.name: [a for a in s.accesses if a.tensor == t.name] for s in schedule.scop.statements
            }
            users = {s for s, listed in accesses.items() if listed}
            chosen: list[str] = []
            for m in members(schedule.tree):
                if users and users <= {s for s, _ in m.exprs} and not _chooses(m.exprs, accesses):
                    chosen.append(m.name)
                    yield cls(t.name, tuple(chosen))


def _chooses(exprs: Sequence[tuple[str, Affine]], accesses: Mapping[str, Sequence[poly.Access]]) -> bool:
    """Whether a loop's coordinate occurs in the subscripts of an access."""
    return any(
        e.names() & x.names() for s, e in exprs for a in accesses[s] for x in a.subscripts if x is not None
    )


def _grown(
    schedule: Schedule,
    tensor: Tensor,
    loops: Sequence[str],
    exprs: Sequence[Mapping[str, Affine]],
    users: set[str],
) -> Tensor:
    """The tensor with one more leading dimension for each loop."""
    lower, shape = [], []
    for name, of in zip(loops, exprs, strict=True):
        ends = poly.span(schedule.scop, tuple((s, of[s]) for s in sorted(users)))
        if ends is None:
            raise NotApplicable(
                f"the range of loop {name} over what uses {tensor.name} is no expression of the sizes",
                next="expand over a loop that begins and ends at one affine expression",
            )
        lower.append(from_affine(ends[0]))
        shape.append(from_affine(ends[1] - ends[0] + 1))
    storage: Layout | None = None
    if tensor.layout is not None:
        taken = set(tensor.layout.dims)
        dims = [n for n in (f"x{k}" for k in range(len(loops) + len(taken))) if n not in taken][: len(loops)]
        first = tuple(Var(d) - low for d, low in zip(dims, lower, strict=True))
        storage = Layout(
            (*dims, *tensor.layout.dims), (*first, *tensor.layout.index), (*shape, *tensor.layout.shape)
        )
    origin = (*lower, *tensor.origin)
    if all(isinstance(e, Const) and not e.value for e in origin):
        origin = ()
    return replace(tensor, shape=(*shape, *tensor.shape), lower=origin, layout=storage)


def _redirected(
    c: Computation, tensor: str, name: str, prefix: Mapping[str, tuple[Affine, ...]]
) -> Computation:
    """The computation with its accesses to `tensor` going to the places of their iteration in `name`."""

    def moved(e: Expr, statement: str) -> Expr:
        if isinstance(e, Load) and e.buffer == tensor and statement in prefix:
            return Load(name, (*map(from_affine, prefix[statement]), *e.index), e.dtype)
        return e

    reduction, start = c.reduction, f"{c.name}_init"
    if reduction is not None and reduction.init is not None:
        reduction = replace(reduction, init=transform(reduction.init, lambda e: moved(e, start)))
    value = transform(c.value, lambda e: moved(e, c.name))
    target, index = c.target, c.index
    if target == tensor and c.name in prefix:
        first = prefix[c.name]
        if reduction is not None and reduction.init is not None and prefix.get(start) != first:
            raise NotApplicable(
                f"the initial value and the terms of {c.name} are not computed in the same iterations",
                why="they would be stored at different places",
            )
        names = {n for e in first for n in e.names()}
        if reduction is not None:
            reduction = replace(reduction, axes=tuple(a for a in reduction.axes if a not in names))
        target, index = name, (*map(from_affine, first), *index)
    elif target == tensor and start in prefix:
        raise NotApplicable(f"only the initial value of {c.name} is computed inside the loops")
    return replace(c, target=target, index=index, value=value, reduction=reduction)
