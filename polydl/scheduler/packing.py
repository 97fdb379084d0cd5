"""Packed copies: a tile of a tensor copied into storage of its own, in the order the inner loops read it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from polydl import poly
from polydl.dsl.function import Axis, Computation, Function
from polydl.dsl.polyhedral import from_affine, loads, to_affine
from polydl.dsl.tensor import Layout, Tensor, TensorRole, numbers
from polydl.errors import NotApplicable
from polydl.ir.expr import (
    Binary,
    Cast,
    Const,
    Expr,
    Load,
    Unary,
    Var,
    as_expr,
    children,
    map_children,
    transform,
    walk,
)
from polydl.poly.affine import dim
from polydl.poly.projection import image
from polydl.poly.tree import Allocate
from polydl.scheduler.compute import fresh_name, with_temporary
from polydl.scheduler.meaning import site_of_copy, with_copy_before
from polydl.scheduler.nests import Nest, Place, Window, insert, place_of, window
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.vocabulary import Memory

__all__ = ["Pack", "count_of", "redirected", "tile_axes", "with_computation"]


@dataclass(frozen=True, slots=True, repr=False)
class Pack(Transform):
    """Copy what one iteration of a loop reads of a tensor into fresh local storage, and read it from there.

    rewrite:  band(…, L, rest)  ->  band(…, L, allocate(P, sequence(copy P[L…, x] = T[x], rest reading P)))
    The copy is an ordinary computation whose domain includes the tile coordinates; `layout` (over T's dimensions) is
    the order of the copy. Where only every s-th subscript of a dimension is read, the copy has those alone, side by
    side: `P[x] = T[s * x + r]`, and the layout counts them. Its loops are named `P.x0`, `P.x1`, …. With `scaled`,
    scalars and constants that are combined with the element before anything else are combined with it in the copy:
    `P[x] = a * T[x]` for `a * T[x] * y`. Of several different reads of T, `read` chooses one (-1: all, which then lie a
    constant distance apart).
    legal if: T is not written between the copy and its reads (the judge sees the copy as any other statement); in the
    original order the copy is made before a nest of the reader, at the outermost place where that does not store to
    what is copied before it is read (checked here)
    """

    tensor: str
    loop: str
    statement: str
    layout: Layout | None = None
    memory: Memory = Memory.LOCAL
    name: str = ""
    scaled: bool = False
    read: int = -1

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function, tree = schedule.function, schedule.tree
        reader = function.computation(self.statement)
        reads = [x for x in dict.fromkeys(loads(reader.value)) if x.buffer == self.tensor]
        if not reads:
            raise NotApplicable(f"{self.statement} does not read {self.tensor}")
        if self.read >= len(reads):
            raise NotApplicable(f"{self.statement} has only {len(reads)} different reads of {self.tensor}")
        reads = reads if self.read < 0 else reads[self.read : self.read + 1]
        if reader.target == self.tensor and function.order is None:
            raise NotApplicable(
                f"{self.statement} stores to {self.tensor} itself",
                why="a copy would not see what it has stored before",
            )
        copied: Expr = _scaled(reader.value, reads[0]) if self.scaled and len(reads) == 1 else reads[0]
        parts = {copied} if len(reads) == 1 else set(reads)
        place = place_of(tree, self.loop, self.statement)
        site = None
        if function.order is not None:
            sources = dict.fromkeys(x.buffer for x in loads(copied))
            site = site_of_copy(schedule.scop, function.order, self.statement, sources, place.exprs)
        coordinates = [f"t{i}" for i in range(len(place.around))]
        name = fresh_name(function, self.name or f"{self.tensor}_packed")
        tensor = function.tensor(self.tensor)
        box = [
            w if all(isinstance(e, Const) for e in ends) else w.hull
            for w, *ends in zip(
                window(schedule, self.statement, reads, place, coordinates),
                tensor.origin,
                tensor.shape,
                strict=True,
            )
        ]
        axes = tile_axes(schedule, place, coordinates, self.statement)
        copy, packed = _copy(tensor, name, axes, box, self.layout, copied)
        if any(schedule.member_range(m.name) is None for m in place.around):
            needed = image(schedule.scop, self.statement, place.exprs, tuple(coordinates))
            copy = replace(copy, conditions=(*copy.conditions, *(from_affine(e) >= 0 for e in needed)))
        changed = redirected(reader, self.tensor, name, place, parts, [w.step for w in box])
        new = with_computation(function, reader.name, (copy, changed), packed)
        loops = tuple((f"{name}.{a.name}", dim(a.name)) for a in copy.axes)
        if new.order is not None and site is not None:
            same = (*place.exprs, *(None for _ in loops[len(coordinates) :]))
            timed = [(n, e, x) for (n, e), x in zip(loops, same, strict=True)]
            new = replace(new, order=with_copy_before(new.order, site, self.statement, name, timed))
        nest = Nest(name, tuple(map(dim, coordinates)), loops[len(coordinates) :])
        return Rewritten(insert(tree, self.loop, [nest], lambda node: Allocate(name, self.memory, node)), new)


def tile_axes(schedule: Schedule, place: Place, names: Sequence[str], statement: str = "") -> list[Axis]:
    """The coordinates of the loops around a place as axes, those of symbolic extent as `statement` has them.

    NotApplicable where the extents are symbolic and no statement is given, or have no affine bounds.
    """
    axes = []
    for name, m in zip(names, place.around, strict=True):
        span = schedule.member_range(m.name)
        if span is not None:
            axes.append(Axis(name, as_expr(span[0]), as_expr(span[1] + 1)))
            continue
        ends = poly.span(schedule.scop, ((statement, m.expr(statement)),)) if statement else None
        if ends is None:
            raise NotApplicable(
                f"the extent of loop {m.name} is symbolic",
                next="choose a loop inside loops of constant extent",
            )
        axes.append(Axis(name, from_affine(ends[0]), from_affine(ends[1] + 1)))
    return axes


def _scaled(value: Expr, read: Load) -> Expr:
    """The largest part of a value that holds the read and otherwise only scalars and constants."""

    def only(e: Expr) -> bool:
        if isinstance(e, Load):
            return e == read or not e.index
        return isinstance(e, Const) or (isinstance(e, Binary | Unary | Cast) and all(map(only, children(e))))

    parts = [e for e in walk(value) if only(e) and any(x == read for x in walk(e))]
    return parts[0]  # walk() has the outer ones first


def redirected(
    reader: Computation,
    tensor: str,
    new: str,
    place: Place,
    parts: Collection[Expr] | None = None,
    steps: Sequence[int] = (),
) -> Computation:
    """The computation with its reads of `tensor` going to the part of `new` that belongs to its tile.

    `parts`: the expressions, each around one read, that are read there instead (default: all reads). `steps`: per
    dimension how far apart the subscripts are that `new` has side by side (default: 1 each).
    """
    prefix = tuple(from_affine(e) for e in place.exprs)

    def dense(e: Expr, step: int) -> Expr:
        subscript = to_affine(e) if step > 1 else None
        return e if subscript is None else from_affine(subscript // step)

    def redirect(e: Expr) -> Expr:
        if (isinstance(e, Load) and e.buffer == tensor) if parts is None else e in parts:
            read = next(x for x in loads(e) if x.buffer == tensor)
            index = map(dense, read.index, steps or (1,) * len(read.index))
            return Load(new, (*prefix, *index), e.dtype)
        return map_children(e, redirect)

    return replace(reader, value=redirect(reader.value))


def with_computation(
    function: Function, name: str, instead: Sequence[Computation], tensor: Tensor
) -> Function:
    """The function with one computation replaced by several, and a temporary more."""
    computations = [x for c in function.computations for x in (instead if c.name == name else (c,))]
    return replace(
        function, computations=tuple(computations), tensors=with_temporary(function.tensors, tensor)
    )


def _copy(
    tensor: Tensor,
    name: str,
    prefix: list[Axis],
    box: list[Window],
    layout: Layout | None,
    copied: Expr,
) -> tuple[Computation, Tensor]:
    """The copying computation `P[t…, x…] = T[x…]` and the tensor P.

    P goes a window further than T, so that whole tiles are inside of it; what is not inside of T has no value.
    """
    axes, conditions, element, whole, origin = [], [], [], [], []
    for k, w in enumerate(box):
        start = w.base // w.step
        x = Axis(f"x{k}", from_affine(start), from_affine(start + w.extent))
        axes.append(x)
        low, count = tensor.origin[k], tensor.shape[k]
        upper = count + low
        subscript = x.var if w.step == 1 else x.var * w.step + w.first
        element.append(subscript)
        conditions += [
            subscript >= low,
            subscript < (Const(upper.value, low.dtype) if isinstance(upper, Const) else upper),
        ]
        if w.step > 1:
            first, n = numbers((low, count))
            origin.append(as_expr(first // w.step))
            whole.append(as_expr((first + n - 1) // w.step - first // w.step + 1))
        else:
            origin.append(low)
            whole.append(count if isinstance(count, Const) else count + w.extent)
    counts = tuple(count_of(a) for a in prefix)
    shape = (*counts, *whole)
    lower = (*(a.lower for a in prefix), *origin)
    storage: Layout | None = None
    if layout is not None:
        dims = tuple(f"t{i}" for i in range(len(prefix)))
        storage = Layout(
            (*dims, *layout.dims), (*(Var(d) for d in dims), *layout.index), (*counts, *layout.shape)
        )
    packed = Tensor(name, copied.dtype, shape, TensorRole.TEMPORARY, lower, storage)
    variables = (*(a.var for a in prefix), *(a.var for a in axes))
    source = tensor[tuple(element)]
    value = transform(copied, lambda e: source if isinstance(e, Load) and e.buffer == tensor.name else e)
    return Computation(name, (*prefix, *axes), tuple(conditions), name, variables, value), packed


def count_of(a: Axis) -> Expr:
    """The number of points of an axis."""
    if isinstance(a.lower, Const) and isinstance(a.upper, Const):
        return as_expr(int(a.upper.value) - int(a.lower.value))
    return a.upper if a.lower == as_expr(0) else a.upper - a.lower
