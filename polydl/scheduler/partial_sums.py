"""Partial sums: what one iteration of a loop adds to a place is summed up in storage of its own first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from polydl import poly
from polydl.dsl.function import Axis, Computation, Function, Reduction, identity
from polydl.dsl.polyhedral import from_affine, scop_of, to_affine
from polydl.dsl.tensor import Tensor, TensorRole
from polydl.dtypes import DType
from polydl.errors import NotApplicable
from polydl.ir.expr import Const, Expr, Var
from polydl.poly.affine import Affine, FloorDiv, Mod, dim
from polydl.poly.model import Scop
from polydl.poly.tree import Allocate, Band, Filter, Leaf, Member, Selection, Tree, statements_below, walk
from polydl.poly.tree import Sequence as SequenceNode
from polydl.scheduler.affine_order import tile_of
from polydl.scheduler.compute import fresh_name, require_pure_reduction
from polydl.scheduler.domains import kept_axes_first, names_in
from polydl.scheduler.meaning import nest_of
from polydl.scheduler.nests import Nest, insert, place_of
from polydl.scheduler.packing import with_computation
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import at, band_of, replace_at
from polydl.vocabulary import Memory

__all__ = ["PartialSums"]


@dataclass(frozen=True, slots=True, repr=False)
class PartialSums(Transform):
    """Reduce in every iteration of a loop into fresh local storage, and combine that with the target at its end.

    rewrite:  band(…, L, rest: y[i] += f(i, k))
              ->  band(…, L, allocate(p, sequence(p[L…, i] = 0, rest: p[L…, i] += f(i, k), y[i] += p[L…, i])))
    The loops of `rest` along what is kept are there for all three; those of the new statements are called
    `p_zero.i`, `p_sum.i`, …. In the tiles that the loops `padded` count all points are computed, also those that do
    not exist and that nobody reads: every tile is then full. They are tiles of what is kept, for terms too many would
    count. p_sum visits the points that exist.
    legal if: the sums may be reassociated, the terms do not read what is summed up, and those at points that do not
    exist are inside of the tensors that they read (all checked here); the judge decides on the order
    """

    statement: str
    loop: str
    padded: tuple[str, ...] = ()
    memory: Memory = Memory.LOCAL
    name: str = ""

    def rewrite(self, schedule: Schedule) -> Rewritten:
        c = schedule.function.computation(self.statement)
        c = kept_axes_first(schedule.scop, schedule.function, c)
        op = _require_sum(schedule, c)
        reduced = c.reduction.axes if c.reduction is not None else ()
        place = place_of(schedule.tree, self.loop, c.name)
        name = fresh_name(schedule.function, self.name or f"{c.name}_part")
        parts = {
            f"t{k}": e for k, e in enumerate(place.exprs) if e.names() & set(reduced)
        }  # new axes: which of the partial sums
        padding = _Padding(dict(tile_of(n, schedule.member(n).expr(c.name)) for n in self.padded))
        kept = [a for a in c.axes if a.name not in reduced]
        stored = sorted(
            kept, key=lambda a: max((d for d, e in enumerate(c.index) if a.name in names_in(e)), default=-1)
        )
        wide = [padding.axis(a) for a in c.axes]
        if padding.sizes.keys() & set(reduced):
            raise NotApplicable(
                f"{c.name} sums up the tiles of {', '.join(self.padded)}",
                why="terms at points that do not exist would count",
                next="pad loops over what is kept",
            )
        for a in c.axes:
            if a.name in reduced and padding.moves(a):
                raise NotApplicable(
                    f"the extent of {a.name} differs within a tile of {', '.join(self.padded)}"
                )
        if any(padding.sizes.keys() & names_in(e) for e in c.conditions):
            raise NotApplicable(f"a condition of {c.name} differs within a tile of {', '.join(self.padded)}")
        some = [_part_axis(t, e, {a.name: a for a in c.axes if a.name in reduced}) for t, e in parts.items()]
        dtype = schedule.function.tensor(c.target).dtype
        index = (*(Var(t) for t in parts), *(a.var for a in stored))  # neighbours are those of the target
        outside = tuple(e for e in c.conditions if not names_in(e) & set(reduced))
        targets = _visited(schedule.function, c, tuple(kept), outside)
        visited = _visited(schedule.function, c, (*kept, *some), outside)
        room = padding.room(targets, c)
        wide_kept = tuple(padding.axis(a) for a in kept)
        wide_parts = tuple(padding.relaxed(a) for a in some)
        sums = Tensor(name, dtype, *_box(c.name, visited, tuple(parts), targets, stored, padding))
        zero = Computation(
            f"{name}_zero", (*wide_kept, *wide_parts), (*outside, *room), name, index, _neutral(op, dtype)
        )
        term = replace(
            c,
            axes=tuple(wide),
            conditions=(*c.conditions, *room),
            target=name,
            index=(*map(from_affine, parts.values()), *(a.var for a in stored)),
        )
        total = Computation(
            f"{name}_sum",
            (*kept, *some),
            outside,
            c.target,
            c.index,
            sums[index],
            Reduction(op, tuple(parts), None),
        )
        new = with_computation(schedule.function, c.name, (zero, term, total), sums)
        if new.order is not None:
            new = replace(new, order=_around(new.order, c.name, zero.name, total.name, parts, set(reduced)))
        if self.padded:
            stray = poly.bounds_violation(scop_of(_alone(new, c.name)))
            if stray is not None:
                raise NotApplicable(
                    f"{c.name} reads outside of {stray[1]} in a tile that is not full",
                    next="pack it first, or pad less",
                )
        stray = poly.bounds_violation(scop_of(_alone(new, total.name)))
        if stray is not None:
            raise NotApplicable(
                f"{c.target} has no element for the sum of {c.name} where that has no term",
                next="give the tensor these elements too",
            )
        tree = _placed(
            schedule, self.loop, c.name, name, (zero.name, total.name), parts, set(reduced), self.memory
        )
        if new.sizes:
            poly.footprint(scop_of(new), tree, name)  # NotApplicable where the storage has no constant size
        return Rewritten(tree, new)


def _require_sum(schedule: Schedule, c: Computation) -> str:
    """The operator of the reduction; NotApplicable where it is none that may be split up."""
    r = c.reduction
    if r is None or r.init is not None or not isinstance(r.op, str) or c.also:
        raise NotApplicable(f"{c.name} is no reduction of single values into what is there already")
    if not schedule.reassociate:
        raise NotApplicable(f"{c.name} may not be reassociated", why="the schedule's policy forbids it")
    require_pure_reduction(c)
    return r.op


@dataclass(frozen=True, slots=True)
class _Padding:
    """Axes that are computed in whole tiles, with the tiles' sizes."""

    sizes: Mapping[str, int]

    def axis(self, a: Axis) -> Axis:
        """The axis with all points of the tiles that it has a point in, whatever the place in the tiles outside."""
        wide = self.relaxed(a)
        size = self.sizes.get(a.name)
        if size is None:
            return wide
        lower, upper = _affine(wide.lower), _affine(wide.upper)
        return Axis(
            a.name, from_affine(lower // size * size), from_affine((upper + (size - 1)) // size * size)
        )

    def relaxed(self, a: Axis) -> Axis:
        if not self.moves(a):
            return a
        lower, upper = self._extreme(_affine(a.lower), -1), self._extreme(_affine(a.upper), 1)
        return Axis(a.name, from_affine(lower), from_affine(upper))

    def moves(self, a: Axis) -> bool:
        return bool(self.sizes.keys() & (names_in(a.lower) | names_in(a.upper)))

    def room(self, scop: Scop, c: Computation) -> tuple[Expr, ...]:
        """Conditions that keep the tiles of a domain that is no box inside of the tiles of the box around it."""
        found: list[Expr] = []
        for a in c.axes:
            if self.moves(a):
                low, high = self.span(scop, c.name, a.name)
                found += [a.var >= from_affine(low), a.var <= from_affine(high)]
        return tuple(found)

    def span(self, scop: Scop, statement: str, name: str) -> tuple[Affine, Affine]:
        """Least and greatest value of the axis `name` over a statement with whole tiles."""
        ends = poly.span(scop, ((statement, dim(name)),))
        if ends is None:
            raise NotApplicable(f"the range of {name} over {statement} is no expression of the sizes")
        size = self.sizes.get(name, 1)
        return ends[0] // size * size, ends[1] // size * size + (size - 1)

    def _extreme(self, e: Affine, sign: int) -> Affine:
        """The least (sign -1) or greatest (1) value within a tile; a bound outside of it where there are quotients."""
        total = Affine((), e.constant)
        for atom, c in e.terms:
            match atom:
                case FloorDiv(dividend, divisor):
                    part = self._extreme(dividend, sign if c > 0 else -sign) // divisor
                case Mod(_, modulus):
                    part = Affine((), modulus - 1 if (c > 0) == (sign > 0) else 0)
                case _:
                    part = dim(atom)
                    if atom in self.sizes:
                        size = self.sizes[atom]
                        part = part // size * size + (size - 1 if (c > 0) == (sign > 0) else 0)
            total = total + part * c
        return total


def _affine(e: Expr) -> Affine:
    result = to_affine(e)
    if result is None:
        raise NotApplicable(f"bound {e} is not affine")
    return result


def _part_axis(name: str, e: Affine, axes: Mapping[str, Axis]) -> Axis:
    """The values that a coordinate takes over a reduction: `floor(k/T)` or k itself, k with its own bounds."""
    match e.terms:
        case ((FloorDiv(Affine(((str() as k, 1),), 0), size), 1),) if e.constant == 0 and k in axes:
            pass
        case ((str() as k, 1),) if e.constant == 0 and k in axes:
            size = 1
        case _:
            raise NotApplicable(f"coordinate {e} is no tile of a reduction axis")
    lower, upper = _affine(axes[k].lower), _affine(axes[k].upper)
    if (lower.names() | upper.names()) & axes.keys():
        raise NotApplicable(f"the bounds of {k} depend on other axes of the reduction")
    return Axis(name, from_affine(lower // size), from_affine((upper + (size - 1)) // size))


def _neutral(op: str, dtype: DType) -> Const:
    # x + 0.0 would turn -0.0 into 0.0
    return Const(-0.0, dtype) if op == "add" and dtype.is_float else identity(op, dtype)


def _visited(
    function: Function, c: Computation, axes: tuple[Axis, ...], conditions: tuple[Expr, ...]
) -> Scop:
    """What is set to zero and added up, as the domain of `c.name`: also that which has no term."""
    nothing = Const(0, function.tensor(c.target).dtype)
    points = replace(c, axes=axes, conditions=conditions, value=nothing, reduction=None)
    return scop_of(replace(function, computations=(points,), order=None))


def _box(
    statement: str, visited: Scop, parts: tuple[str, ...], targets: Scop, kept: list[Axis], padding: _Padding
) -> tuple[tuple[Expr, ...], TensorRole, tuple[Expr, ...]]:
    """Shape, role and origin of the tensor of partial sums: a box around all of them.

    Along what is kept around all `targets`: which of them have a part may depend on sizes modulo those of tiles.
    """
    shape: list[Expr] = []
    origin: list[Expr] = []
    for scop, name in (*((visited, t) for t in parts), *((targets, a.name) for a in kept)):
        low, high = padding.span(scop, statement, name)
        origin.append(from_affine(low))
        shape.append(from_affine(high - low + 1))
    return tuple(shape), TensorRole.TEMPORARY, tuple(origin)


def _alone(function: Function, name: str) -> Function:
    return replace(function, computations=(function.computation(name),), order=None)


def _chain(tree: Tree, statement: str) -> list[Member]:
    """The loops of a subtree that is nothing but loops around one statement."""
    found: list[Member] = []
    while isinstance(tree, Band):
        found += tree.members
        tree = tree.child
    if not isinstance(tree, Leaf):
        raise NotApplicable(f"there is more than loops inside of the reduction of {statement}")
    return found


def _around(
    order: Tree, statement: str, zero: str, total: str, parts: Mapping[str, Affine], reduced: set[str]
) -> Tree:
    """The original order with the new statements before and after the outermost reduction loop around the statement
    alone."""
    refused = f"the order of {statement} has no loop over its reduction"
    for band in walk(order):
        if not isinstance(band, Band):
            continue
        for m in band.members:
            mine = dict(m.exprs).get(statement)
            if mine is not None and mine.names() & reduced:
                if set(statements_below(band)) == {statement}:
                    return _inserted(order, m.name, statement, zero, total, parts, reduced)
                refused = f"other statements run inside of loop {m.name}, between the terms of {statement}"
    raise NotApplicable(refused)


def _inserted(
    order: Tree,
    loop: str,
    statement: str,
    zero: str,
    total: str,
    parts: Mapping[str, Affine],
    reduced: set[str],
) -> Tree:
    path, band, k = band_of(order, loop)
    inner: Tree = Band(band.members[k:], band.child)
    around = [m for d in range(len(path)) if isinstance(b := at(order, path[:d]), Band) for m in b.members]
    outer = {m.expr(statement) for m in (*around, *band.members[:k])}
    part_of = {e: dim(t) for t, e in parts.items()}
    if any(e.names() & reduced and e not in part_of for e in outer):
        raise NotApplicable(
            f"there are no partial sums of {statement} for each iteration of the loops around {loop}"
        )
    own = [(t, dim(t)) for t, e in parts.items() if e not in outer]
    own += [
        (m.name, m.expr(statement))
        for m in _chain(inner, statement)
        if not m.expr(statement).names() & reduced
    ]
    filters = []
    for s in (zero, statement, total):
        nest = inner if s == statement else nest_of(order, s, [(f"{s}.{n}", e) for n, e in own])
        filters.append(Filter((Selection(s),), nest))
    below: Tree = SequenceNode(tuple(filters))
    if k:
        below = Band(band.members[:k], below)
    order = replace_at(order, path, below)
    for depth in range(len(path) + (1 if k else 0)):
        node = at(order, path[:depth])
        order = replace_at(order, path[:depth], _joined(node, statement, (zero, total), part_of))
    return order


def _joined(node: Tree, statement: str, new: tuple[str, ...], part_of: Mapping[Affine, Affine]) -> Tree:
    """A node on the way to a statement, with new ones that run at the same times; these have axes of their own for the
    parts of the reduction."""
    match node:
        case Band(members=members, child=child):
            grown = tuple(
                replace(
                    m,
                    exprs=(*m.exprs, *((n, part_of.get(m.expr(statement), m.expr(statement))) for n in new)),
                )
                for m in members
            )
            return Band(grown, child)
        case Filter(selections=selections, child=child):
            return Filter((*selections, *(Selection(n) for n in new)), child)
        case _:
            return node


def _placed(
    schedule: Schedule,
    loop: str,
    statement: str,
    name: str,
    new: tuple[str, str],
    parts: Mapping[str, Affine],
    reduced: set[str],
    memory: Memory,
) -> Tree:
    """The tree with storage and the new statements in every iteration of the loop."""
    tree = schedule.tree
    _, band, k = band_of(tree, loop)
    if {s for s, _ in band.members[k].exprs} != {statement}:
        raise NotApplicable(f"other statements run inside of loop {loop} too")
    rest = [m for m in (*band.members[k + 1 :], *_members(band.child)) if statement in dict(m.exprs)]
    coordinate = {e: dim(t) for t, e in parts.items()}
    around = place_of(tree, loop, statement).exprs
    nests = []
    for s in new:
        loops = [
            (f"{s}.{m.name}", m.expr(statement)) for m in rest if not m.expr(statement).names() & reduced
        ]
        nests.append(Nest(s, tuple(coordinate.get(e, e) for e in around), tuple(loops)))
    return insert(tree, loop, nests[:1], lambda node: Allocate(name, memory, node), after=nests[1:])


def _members(tree: Tree) -> Iterator[Member]:
    for node in walk(tree):
        if isinstance(node, Band):
            yield from node.members
