"""Computing a producer where its consumer needs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from polydl.dsl.function import Axis, Computation, Function
from polydl.dsl.polyhedral import from_affine, loads, to_affine
from polydl.dsl.tensor import Tensor, TensorRole
from polydl.errors import NotApplicable
from polydl.ir.expr import Expr, Load
from polydl.poly.affine import Affine, FloorDiv, dim
from polydl.poly.tree import Allocate, members
from polydl.scheduler.compute import fresh, fresh_name, require_pure_reduction
from polydl.scheduler.nests import Nest, Place, Window, insert, place_of, window
from polydl.scheduler.packing import count_of, redirected, tile_axes, with_computation
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import normalise, restrict, without_allocation
from polydl.targets import Target
from polydl.vocabulary import Memory

__all__ = ["ComputeAt"]


@dataclass(frozen=True, slots=True, repr=False)
class ComputeAt(Transform):
    """Compute what a loop of the consumer needs of a producer at the beginning of each of its iterations.

    each element once (the producer's loops join those of the consumer; `Local` may then shrink its tensor):
      sequence(band(p, T), band(c.o, c.i, C))  ->  band(c.o, sequence(band(p, T for this c.o), band(c.i, C)))
    recompute (each tile has its own copy of what it reads, elements in several tiles are computed several times):
      sequence(band(p, T), band(c.o, c.i, C))  ->  band(c.o, allocate(T_tile, sequence(band(x, T_tile), band(c.i, C))))
    `T_tile[c.o, x]` is an ordinary computation over tile coordinates; the producer goes where nobody else needs it.

    legal if: the order of the new tree is (the judge). Recomputing needs also, checked here: the producer is the only
    definition of its tensor, does not read it, and nothing that it reads is stored to between it and the consumer.
    """

    producer: str
    loop: str
    consumer: str
    recompute: bool = False
    memory: Memory = Memory.LOCAL

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function = schedule.function
        producer, consumer = function.computation(self.producer), function.computation(self.consumer)
        reads = [x for x in dict.fromkeys(loads(consumer.value)) if x.buffer == producer.target]
        if not reads or producer.name == consumer.name:
            raise NotApplicable(f"{self.consumer} does not read what {self.producer} computes")
        if producer.index != _kept(producer, as_variables=True):
            raise NotApplicable(f"{self.producer} does not store each point at its own axes")
        if self.recompute:
            return _recomputed(schedule, self, producer, consumer, reads)
        return _moved(schedule, self, producer, reads)

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Every producer at every loop of every reader of its tensor, both ways."""
        for producer in schedule.function.computations:
            for consumer in schedule.function.computations:
                if consumer is producer or all(x.buffer != producer.target for x in loads(consumer.value)):
                    continue
                for m in members(schedule.tree):
                    if consumer.name in dict(m.exprs):
                        yield cls(producer.name, m.name, consumer.name)
                        yield cls(producer.name, m.name, consumer.name, True)


def _kept(c: Computation, *, as_variables: bool = False) -> tuple[Axis, ...] | tuple[Expr, ...]:
    """The axes of a computation that are not reduced."""
    reduced = c.reduction.axes if c.reduction else ()
    kept = tuple(a for a in c.axes if a.name not in reduced)
    return tuple(a.var for a in kept) if as_variables else kept


# ---- each element once ---------------------------------------------------------------------------------------------


def _moved(schedule: Schedule, t: ComputeAt, producer: Computation, reads: list[Load]) -> Rewritten:
    statements = [
        s for s in schedule.function.statements() if s.name in (producer.name, f"{producer.name}_init")
    ]
    moving = {s.name for s in statements}
    if moving & {s for s, _ in schedule.member(t.loop).exprs}:
        raise NotApplicable(f"{t.producer} is inside loop {t.loop} already")
    rest = restrict(schedule.tree, [s.name for s in schedule.function.statements() if s.name not in moving])
    if rest is None:
        raise NotApplicable(f"{t.producer} is the only computation")
    tree = normalise(rest)
    place = place_of(tree, t.loop, t.consumer)
    first_use = _first_use(schedule, t, producer, reads)
    names = {n for e in place.exprs for n in e.names()}
    unknown = sorted(names - set(first_use) - set(schedule.function.sizes))
    if unknown:
        raise NotApplicable(f"no element of {producer.target} belongs to one value of {', '.join(unknown)}")
    outer = tuple(e.substitute(first_use) for e in place.exprs)
    nests = []
    for s in statements:
        rests = ((a.name, _rest(a.name, outer)) for a in s.axes)
        nests.append(
            Nest(s.name, outer, tuple((f"{s.name}.{name}", e) for name, e in rests if e is not None))
        )
    return Rewritten(insert(tree, t.loop, nests))


def _rest(axis: str, outer: tuple[Affine, ...]) -> Affine | None:
    """What the coordinates around leave open of an axis: all of it, the place within a tile, or None for nothing."""
    rest = dim(axis)
    for e in outer:
        if e.names() != {axis}:
            continue
        if (e - rest).is_constant:
            return None
        match e.terms:
            case ((FloorDiv(dividend, size), 1),) if e.constant == 0 and (dividend - rest).is_constant:
                rest = dividend % size
            case _:
                continue
    return rest


def _first_use(
    schedule: Schedule, t: ComputeAt, producer: Computation, reads: list[Load]
) -> dict[str, Affine]:
    """Each axis of the consumer at the first read of an element, over the producer's axes."""
    axes = [a.name for a in producer.axes][: len(producer.index)]
    ranges = schedule.axis_ranges(t.consumer)
    found: dict[str, Affine] = {}
    for a in schedule.statement(t.consumer).axes:
        for k, mine in enumerate(axes):
            offsets = [s - dim(a.name) for s in (to_affine(x.index[k]) for x in reads) if s is not None]
            if len(offsets) == len(reads) and all(o.is_constant for o in offsets):
                found[a.name] = dim(mine) - max(o.constant for o in offsets)
                break
        else:
            used = any(a.name in s.names() for x in reads for s in map(to_affine, x.index) if s is not None)
            if not used and a.name in ranges:
                found[a.name] = Affine((), ranges[a.name][0])
    return found


# ---- recomputed in every tile --------------------------------------------------------------------------------------


def _recomputed(
    schedule: Schedule, t: ComputeAt, producer: Computation, consumer: Computation, reads: list[Load]
) -> Rewritten:
    function = schedule.function
    _require_same_values(function, producer, consumer)
    place = place_of(schedule.tree, t.loop, t.consumer)
    taken = {a.name for a in producer.axes} | set(function.sizes)
    coordinates = [fresh(f"t{k}", taken) for k in range(len(place.around))]
    box = [w.hull for w in window(schedule, t.consumer, reads, place, coordinates)]
    tiles = tile_axes(schedule, place, coordinates)
    tile, stored = _tile(function, producer, tiles, box, fresh_name(function, f"{producer.name}_tile"))
    changed = redirected(consumer, producer.target, tile.name, place)
    new = with_computation(function, consumer.name, (tile, changed), stored)
    nests = _tile_nests(tile, place, [w.base for w in box])
    tree = insert(schedule.tree, t.loop, nests, lambda node: Allocate(tile.name, t.memory, node))
    if function.tensor(producer.target).role is TensorRole.TEMPORARY and not _is_read(new, producer.target):
        new = replace(
            new,
            computations=tuple(c for c in new.computations if c.name != producer.name),
            tensors=tuple(x for x in new.tensors if x.name != producer.target),
        )
        tree = restrict(without_allocation(tree, producer.target), [s.name for s in new.statements()]) or tree
    return Rewritten(normalise(tree), new)


def _tile_nests(tile: Computation, place: Place, bases: list[Affine]) -> list[Nest]:
    """The statements of a computation over tile coordinates, each with its own loops, which count from the bases."""
    depth = len(place.around)
    coordinates = tuple(dim(a.name) for a in tile.axes[:depth])
    reduced = tile.reduction.axes if tile.reduction else ()
    own = tile.axes[depth:]
    kept = [a for a in own if a.name not in reduced]
    times = {a.name: dim(a.name) - base for a, base in zip(kept, bases, strict=True)}
    nests = []
    if tile.reduction is not None and tile.reduction.init is not None:
        name = f"{tile.name}_init"
        nests.append(Nest(name, coordinates, tuple((f"{name}.{a.name}", times[a.name]) for a in kept)))
    loops = tuple((f"{tile.name}.{a.name}", times.get(a.name, dim(a.name))) for a in own)
    nests.append(Nest(tile.name, coordinates, loops))
    return nests


def _tile(
    function: Function, producer: Computation, tiles: list[Axis], box: list[Window], name: str
) -> tuple[Computation, Tensor]:
    """The producer over tile coordinates and the window of its tensor that the tile needs, and its tensor."""
    tensor = function.tensor(producer.target)
    kept = [a for a in producer.axes if producer.reduction is None or a.name not in producer.reduction.axes]
    reduced = [a for a in producer.axes if a not in kept]
    window_axes, conditions = [], []
    for a, w in zip(kept, box, strict=True):
        window_axes.append(Axis(a.name, from_affine(w.base), from_affine(w.base + w.extent)))
        conditions += [a.var >= a.lower, a.var < a.upper]
    counts = tuple(map(count_of, tiles))
    stored = Tensor(
        name,
        tensor.dtype,
        (*counts, *tensor.shape),
        TensorRole.TEMPORARY,
        (*(a.lower for a in tiles), *tensor.origin),
    )
    index = (*(a.var for a in tiles), *(a.var for a in window_axes))
    axes = (*tiles, *window_axes, *reduced)
    return Computation(
        name, axes, (*conditions, *producer.conditions), name, index, producer.value, producer.reduction
    ), stored


def _require_same_values(function: Function, producer: Computation, consumer: Computation) -> None:
    """NotApplicable unless the producer's values would be the same computed just before the consumer."""
    where = f"computation {producer.name}"
    order = [c.name for c in function.computations]
    first, last = order.index(producer.name), order.index(consumer.name)
    if first > last:
        raise NotApplicable(f"{consumer.name} comes before {producer.name}", where=where)
    if sum(c.target == producer.target for c in function.computations) != 1:
        raise NotApplicable(f"{producer.target} has several definitions", where=where)
    require_pure_reduction(producer)
    sources = {x.buffer for x in loads(producer.value)}
    reduction = producer.reduction
    if reduction is not None and reduction.init is not None:
        sources |= {x.buffer for x in loads(reduction.init)}
    if producer.target in sources:
        raise NotApplicable(f"{producer.name} reads its own result", where=where)
    overwritten = sorted(sources & {c.target for c in function.computations[first + 1 : last]})
    if overwritten:
        raise NotApplicable(
            f"{', '.join(overwritten)} is stored to between {producer.name} and {consumer.name}",
            where=where,
            why="recomputed later, it would have other values",
        )
    r = consumer.reduction
    if r is not None and r.init is not None and any(x.buffer == producer.target for x in loads(r.init)):
        raise NotApplicable(f"the initial value of {consumer.name} reads {producer.target}", where=where)


def _is_read(function: Function, tensor: str) -> bool:
    values = [c.value for c in function.computations]
    values += [
        c.reduction.init for c in function.computations if c.reduction and c.reduction.init is not None
    ]
    return any(x.buffer == tensor for e in values for x in loads(e))
