"""Transformations that change the statements themselves: inlining and privatised reductions."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from itertools import chain, count

from polydl.dsl.function import Axis, Computation, Function, Reduction, identity
from polydl.dsl.polyhedral import commutes, loads, scop_of, to_affine
from polydl.dsl.tensor import Tensor, TensorRole
from polydl.errors import NotApplicable
from polydl.ir.expr import Const, Expr, Load, Var, as_expr, substitute, transform, walk
from polydl.poly import initial_tree, unwritten_read
from polydl.poly.tree import Tree
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import normalise, restrict, without_allocation
from polydl.targets import Target

__all__ = [
    "Accumulate",
    "Inline",
    "Privatize",
    "fresh",
    "fresh_name",
    "original_tree",
    "require_pure_reduction",
    "with_temporary",
]


@dataclass(frozen=True, slots=True, repr=False)
class Inline(Transform):
    """Replace the reads of an element-wise computation's tensor by its expression, and drop the computation.

    rewrite:  T[i] = f(i); … T[e] …  ->  … f(e) …
    legal if: T is a temporary with this one definition, defined at all its elements without a reduction, and nothing
    it reads is overwritten between its definition and its uses (checked here: values, not order, are at stake)
    """

    computation: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function = schedule.function
        producer = function.computation(self.computation)
        _require_inlinable(function, producer)
        if function.order is not None:
            _require_constant(schedule, producer, function.order)
        names = [a.name for a in producer.axes]

        def expand(e: Expr) -> Expr:
            if isinstance(e, Load) and e.buffer == producer.target:
                return substitute(producer.value, dict(zip(names, e.index, strict=True)))
            return e

        kept = []
        for c in function.computations:
            if c.name == producer.name:
                continue
            reduction = c.reduction
            if reduction is not None and reduction.init is not None:
                reduction = replace(reduction, init=transform(reduction.init, expand))
            also = tuple(replace(x, value=transform(x.value, expand)) for x in c.also)
            kept.append(replace(c, value=transform(c.value, expand), reduction=reduction, also=also))
        tensors = tuple(t for t in function.tensors if t.name != producer.target)
        order = None if function.order is None else restrict(function.order, [c.name for c in kept])
        inlined = replace(function, computations=tuple(kept), tensors=tensors, order=order)
        tree = restrict(schedule.tree, [s.name for s in inlined.statements()])
        if tree is None:
            raise NotApplicable(f"{self.computation} is the only computation")
        return Rewritten(normalise(without_allocation(tree, producer.target)), inlined)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        temporaries = {t.name for t in schedule.function.of_role(TensorRole.TEMPORARY)}
        for c in schedule.function.computations:
            if c.target in temporaries and c.reduction is None:
                yield cls(c.name)


def _require_inlinable(function: Function, producer: Computation) -> None:
    tensor = function.tensor(producer.target)
    where = f"computation {producer.name}"
    if tensor.role is not TensorRole.TEMPORARY:
        raise NotApplicable(
            f"{tensor.name} is not a temporary tensor",
            where=where,
            why="its values are the caller's to read",
            next=f"fuse the loops that write and read {tensor.name}: Fuse, ComputeAt",
        )
    if producer.reduction is not None:
        raise NotApplicable(
            f"{producer.name} is a reduction", where=where, next="fuse its loops instead: Fuse"
        )
    if sum(c.target == tensor.name for c in function.computations) != 1:
        writers = ", ".join(c.name for c in function.computations if c.target == tensor.name)
        raise NotApplicable(
            f"{tensor.name} has several definitions",
            where=where,
            why=f"{writers} write it, and a read may see any of them",
        )
    if producer.index != tuple(a.var for a in producer.axes) or producer.conditions:
        scalar = not tensor.rank and bool(producer.axes)
        raise NotApplicable(
            f"{producer.name} does not define all elements in order",
            where=where,
            why=f"{tensor.name} is a scalar that each iteration sets anew" if scalar else "",
            next=f"Expand('{tensor.name}', {tuple(a.name for a in producer.axes)!r}) gives it a place for each"
            if scalar
            else "",
        )
    box = [(to_affine(a.lower), to_affine(a.upper)) for a in producer.axes]
    whole = [
        (to_affine(low), to_affine(low + extent))
        for low, extent in zip(tensor.origin, tensor.shape, strict=True)
    ]
    if box != whole:
        raise NotApplicable(f"{producer.name} does not define all elements of {tensor.name}", where=where)
    reads = {load.buffer for load in loads(producer.value)}
    after = function.computations[function.computations.index(producer) + 1 :]
    overwritten = reads & {c.target for c in after}
    if overwritten or producer.target in reads:
        raise NotApplicable(
            f"{', '.join(sorted(overwritten)) or tensor.name} is written after {producer.name}", where=where
        )


@dataclass(frozen=True, slots=True, repr=False)
class Accumulate(Transform):
    """Reduce into a temporary of its own and copy the results: the temporary can then live in registers.

    rewrite:  y[i] = reduce(k) f(i, k)  ->  t[i] = reduce(k) f(i, k);  y[i] = t[i]
    legal if: always. Must come first: the statements get their original order again.
    """

    computation: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function = schedule.function
        c = function.computation(self.computation)
        if c.reduction is None or c.reduction.init is None:
            raise no_initial_value(c)
        _require_untransformed(schedule)
        kept = tuple(a for a in c.axes if a.name not in c.reduction.axes)
        if not all(isinstance(a.lower, Const) and isinstance(a.upper, Const) for a in kept):
            raise NotApplicable(f"{self.computation} is not over a box of constant size")
        require_pure_reduction(c)
        once = {str(e) for e in map(to_affine, c.index)}
        if any(a.name not in once for a in kept):
            raise NotApplicable(f"{self.computation} may store several results at one place of {c.target}")
        name = fresh_name(function, f"{c.name}_acc")
        point = tuple(a.var for a in kept)
        target = function.tensor(c.target)
        temporary = Tensor(
            name,
            target.dtype,
            tuple(_extent(a) for a in kept),
            TensorRole.TEMPORARY,
            tuple(a.lower for a in kept),
        )
        outside = tuple(e for e in c.conditions if not _mentions(e, c.reduction.axes))
        reduce = replace(c, name=name, target=name, index=point)
        copy = Computation(c.name, kept, outside, c.target, c.index, temporary[point])
        position = function.computations.index(c)
        computations = (
            *function.computations[:position],
            reduce,
            copy,
            *function.computations[position + 1 :],
        )
        new = replace(
            function, computations=computations, tensors=with_temporary(function.tensors, temporary)
        )
        return Rewritten(original_tree(new), new)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        for c in schedule.function.computations:
            if c.reduction is not None and c.reduction.init is not None:
                yield cls(c.name)


def _require_constant(schedule: Schedule, producer: Computation, order: Tree) -> None:
    """NotApplicable unless, in an explicit original order, every use comes behind its definition, and what that reads
    never changes: the place of an expression is then of no account."""
    function, where = schedule.function, f"computation {producer.name}"
    targets = {t for c in function.computations for t in (c.target, *(x.target for x in c.also))}
    changed = sorted({load.buffer for load in loads(producer.value)} & targets)
    if changed:
        raise NotApplicable(
            f"{producer.name} reads {', '.join(changed)}, which the program writes",
            where=where,
            why="in an explicit original order it may have changed before the use",
            next="fuse the loops instead: Fuse",
        )
    unset = unwritten_read(schedule.scop, order, producer.target)
    if unset is not None:
        raise NotApplicable(
            f"{unset.statement}({', '.join(map(str, unset.reader))}) reads {producer.target} before it is computed",
            where=where,
        )


def no_initial_value(c: Computation) -> NotApplicable:
    """The refusal for what must be a sum and the like together with the statement that sets it up."""
    if c.reduction is None:
        return NotApplicable(f"{c.name} is no reduction")
    return NotApplicable(
        f"{c.name} is a reduction without an initial value of its own",
        why=f"another statement of the program sets {c.target} first, as in plain loops",
        next="PartialSums sums in storage of its own, around any of its loops",
    )


def require_pure_reduction(c: Computation) -> None:
    """NotApplicable unless the points of a reduction are terms that do not depend on each other, all of one place."""
    if c.reduction is not None and any(_mentions(e, c.reduction.axes) for e in c.index):
        raise NotApplicable(
            f"{c.name} stores its terms at places that the reduced axes choose",
            why="only some of the terms that differ in those axes meet",
        )
    if c.reduction is not None:
        for a in c.axes:
            if a.name not in c.reduction.axes and any(
                _mentions(e, c.reduction.axes) for e in (a.lower, a.upper)
            ):
                raise NotApplicable(f"the extent of {a.name} in {c.name} depends on the reduced axes")
    if any(load.buffer == c.target for load in loads(c.value)):
        raise NotApplicable(f"{c.name} reads its own result", why="its points are not independent terms")


def with_temporary(tensors: tuple[Tensor, ...], new: Tensor) -> tuple[Tensor, ...]:
    """The tensors with a temporary more; outputs stay last."""
    results = tuple(t for t in tensors if t.role is TensorRole.OUTPUT)
    return (*(t for t in tensors if t.role is not TensorRole.OUTPUT), new, *results)


def _require_untransformed(schedule: Schedule) -> None:
    if not all(isinstance(t, Inline | Privatize | Accumulate) for t in schedule.trace):
        raise NotApplicable("statements change before loops do", next="apply it first")


@dataclass(frozen=True, slots=True, repr=False)
class Privatize(Transform):
    """Split a reduction into `lanes` independent partial reductions and their combination (rfactor).

    rewrite:  s = reduce(k) f(k)  ->  p[v] = identity;  p[k mod lanes] = reduce(k) f(k);  s = reduce(v) p[v]
    legal if: reassociation is allowed. Must come first: the statements get their original order again.
    """

    computation: str
    axis: str
    lanes: int

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function = schedule.function
        c = function.computation(self.computation)
        r = c.reduction
        if r is None or r.init is None:
            raise no_initial_value(c)
        if self.axis not in r.axes:
            raise NotApplicable(
                f"{self.axis} is not an axis of the reduction {self.computation}",
                next=f"one of {', '.join(r.axes)}",
            )
        if self.lanes < 1:
            raise NotApplicable(
                f"{self.computation} cannot have {self.lanes} partial results", next="use a positive number"
            )
        require_pure_reduction(c)
        if not commutes(r.op):
            raise NotApplicable(
                f"{self.computation} combines by {r.op}, which is not declared commutative",
                why="partial results would take its values out of order",
            )
        if not schedule.reassociate:
            raise NotApplicable(
                f"{self.computation} may not be reassociated", why="the schedule's policy forbids it"
            )
        _require_untransformed(schedule)
        axis = next(a for a in c.axes if a.name == self.axis)
        if axis.lower != as_expr(0):
            raise NotApplicable(f"axis {self.axis} does not start at 0")
        dtype = function.tensor(c.target).dtype
        kept = tuple(a for a in c.axes if a.name not in r.axes)
        taken = {a.name for a in c.axes}
        lane = next(n for n in (f"{self.axis}v", f"{self.axis}_lane") if n not in taken)
        names = {t.name for t in function.tensors} | {x.name for x in function.computations}
        part = next(n for n in (f"{c.name}_part{k or ''}" for k in range(len(names) + 1)) if n not in names)
        partial = Tensor(
            part, dtype, (*(_extent(a) for a in kept), as_expr(self.lanes)), TensorRole.TEMPORARY,
            (*(a.lower for a in kept), as_expr(0)),
        )  # fmt: skip
        lane_axis = Axis(lane, as_expr(0), as_expr(self.lanes))
        outside = tuple(e for e in c.conditions if not _mentions(e, r.axes))
        point = tuple(a.var for a in kept)
        start = Computation(
            f"{part}_start", (*kept, lane_axis), outside, part, (*point, lane_axis.var), identity(r.op, dtype)
        )
        first = replace(
            c,
            name=part,
            target=part,
            index=(*point, axis.var % self.lanes),
            reduction=Reduction(r.op, r.axes, None),
        )
        second = Computation(
            c.name,
            (*kept, lane_axis),
            outside,
            c.target,
            c.index,
            partial[(*point, lane_axis.var)],
            Reduction(r.op, (lane,), r.init),
        )
        position = function.computations.index(c)
        computations = (
            *function.computations[:position],
            start,
            first,
            second,
            *function.computations[position + 1 :],
        )
        new = replace(function, computations=computations, tensors=with_temporary(function.tensors, partial))
        return Rewritten(original_tree(new), new)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """One partial result for each lane of a vector, or for each core."""
        for c in schedule.function.computations:
            lanes = target.lanes(schedule.function.tensor(c.target).dtype.bytes)
            for axis in c.reduction.axes if c.reduction is not None else ():
                yield from (cls(c.name, axis, n) for n in sorted({lanes, 2 * lanes, target.cores}) if n > 1)


def fresh(base: str, taken: Container[str]) -> str:
    """`base`, or `base` with a number, that is not taken."""
    return next(n for n in chain((base,), (f"{base}{k}" for k in count(2))) if n not in taken)


def fresh_name(function: Function, base: str) -> str:
    """A name for a new tensor and computation, like `base`; also free as that of a reduction's first statement."""
    taken = {t.name for t in function.tensors} | {c.name for c in function.computations}
    taken |= {f"{name}_init" for name in taken}
    return fresh(base, taken | {n.removesuffix("_init") for n in taken})


def original_tree(function: Function) -> Tree:
    """The tree of the function's original order; NotApplicable where an explicit one does not know its statements."""
    if function.order is not None:
        raise NotApplicable(
            f"{function.name} has an explicit original order", why="its statements would change"
        )
    return normalise(initial_tree(scop_of(function)))


def _extent(a: Axis) -> Expr:
    return a.upper if a.lower == as_expr(0) else a.upper - a.lower


def _mentions(e: Expr, names: tuple[str, ...]) -> bool:
    return any(isinstance(x, Var) and x.name in names for x in walk(e))
