"""Packed copies: a tile of a tensor copied into storage of its own, in the order the inner loops read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from polydl.dsl.function import Axis, Computation, Function
from polydl.dsl.polyhedral import from_affine, loads
from polydl.dsl.tensor import Layout, Tensor, TensorRole
from polydl.errors import NotApplicable
from polydl.ir.expr import Const, Expr, Load, Var, as_expr, transform
from polydl.poly.affine import Affine, dim
from polydl.poly.tree import Allocate
from polydl.scheduler.compute import fresh_name, with_temporary
from polydl.scheduler.nests import Nest, Place, insert, place_of, window
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.vocabulary import Memory

__all__ = ["Pack", "redirected", "tile_axes", "with_computation"]


@dataclass(frozen=True, slots=True, repr=False)
class Pack(Transform):
    """Copy what one iteration of a loop reads of a tensor into fresh local storage, and read it from there.

    rewrite:  band(…, L, rest)  ->  band(…, L, allocate(P, sequence(copy P[L…, x] = T[x], rest reading P)))
    The copy is an ordinary computation whose domain includes the tile coordinates; `layout` (over T's dimensions) is
    the order of the copy. Its loops are named `P.x0`, `P.x1`, ….
    legal if: T is not written between the copy and its reads (the judge sees the copy as any other statement); the
    reader itself may not store to T (checked here)
    """

    tensor: str
    loop: str
    statement: str
    layout: Layout | None = None
    memory: Memory = Memory.LOCAL
    name: str = ""

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function, tree = schedule.function, schedule.tree
        reader = function.computation(self.statement)
        reads = [x for x in dict.fromkeys(loads(reader.value)) if x.buffer == self.tensor]
        if not reads:
            raise NotApplicable(f"{self.statement} does not read {self.tensor}")
        if reader.target == self.tensor:
            raise NotApplicable(
                f"{self.statement} stores to {self.tensor} itself",
                why="a copy would not see what it has stored before",
            )
        place = place_of(tree, self.loop, self.statement)
        coordinates = [f"t{i}" for i in range(len(place.around))]
        box = window(schedule, self.statement, reads, place, coordinates)
        name = fresh_name(function, self.name or f"{self.tensor}_packed")
        tensor = function.tensor(self.tensor)
        copy, packed = _copy(tensor, name, tile_axes(schedule, place, coordinates), box, self.layout)
        changed = redirected(reader, self.tensor, name, place)
        new = with_computation(function, reader.name, (copy, changed), packed)
        nest = Nest(
            name,
            tuple(map(dim, coordinates)),
            tuple((f"{name}.{a.name}", dim(a.name)) for a in copy.axes[len(coordinates) :]),
        )
        return Rewritten(insert(tree, self.loop, [nest], lambda node: Allocate(name, self.memory, node)), new)


def tile_axes(schedule: Schedule, place: Place, names: Sequence[str]) -> list[Axis]:
    """The coordinates of the loops around a place as axes; NotApplicable where their extents are symbolic."""
    axes = []
    for name, m in zip(names, place.around, strict=True):
        span = schedule.member_range(m.name)
        if span is None:
            raise NotApplicable(
                f"the extent of loop {m.name} is symbolic",
                next="choose a loop inside loops of constant extent",
            )
        axes.append(Axis(name, as_expr(span[0]), as_expr(span[1] + 1)))
    return axes


def redirected(reader: Computation, tensor: str, new: str, place: Place) -> Computation:
    """The computation with its reads of `tensor` going to the part of `new` that belongs to its tile."""
    prefix = tuple(from_affine(e) for e in place.exprs)

    def redirect(e: Expr) -> Expr:
        return Load(new, (*prefix, *e.index), e.dtype) if isinstance(e, Load) and e.buffer == tensor else e

    return replace(reader, value=transform(reader.value, redirect))


def with_computation(
    function: Function, name: str, instead: Sequence[Computation], tensor: Tensor
) -> Function:
    """The function with one computation replaced by several, and a temporary more."""
    computations = [x for c in function.computations for x in (instead if c.name == name else (c,))]
    return replace(
        function, computations=tuple(computations), tensors=with_temporary(function.tensors, tensor)
    )


def _copy(
    tensor: Tensor, name: str, prefix: list[Axis], window: list[tuple[Affine, int]], layout: Layout | None
) -> tuple[Computation, Tensor]:
    """The copying computation `P[t…, x…] = T[x…]` and the tensor P."""
    axes, conditions = [], []
    for k, (base, extent) in enumerate(window):
        x = Axis(f"x{k}", from_affine(base), from_affine(base + extent))
        axes.append(x)
        low, upper = tensor.origin[k], tensor.shape[k] + tensor.origin[k]
        conditions += [
            x.var >= low,
            x.var < (Const(upper.value, low.dtype) if isinstance(upper, Const) else upper),
        ]
    counts = tuple(as_expr(int(a.upper.value) - int(a.lower.value)) for a in prefix)  # type: ignore[union-attr]
    shape = (*counts, *tensor.shape)
    lower = (*(a.lower for a in prefix), *tensor.origin)
    storage: Layout | None = None
    if layout is not None:
        dims = tuple(f"t{i}" for i in range(len(prefix)))
        storage = Layout(
            (*dims, *layout.dims), (*(Var(d) for d in dims), *layout.index), (*counts, *layout.shape)
        )
    packed = Tensor(name, tensor.dtype, shape, TensorRole.TEMPORARY, lower, storage)
    variables = (*(a.var for a in prefix), *(a.var for a in axes))
    value = tensor[tuple(a.var for a in axes)]
    return Computation(name, (*prefix, *axes), tuple(conditions), name, variables, value), packed
