"""The claims that make a schedule legal, derived from the statement of the certificate alone.

    order      two instances that touch one cell, one of them writing, run in their original order, and never at the
               same time; only updates by one operator may be exchanged, where reassociation is allowed
    storage    a tensor that is allocated is used below its allocation, each element within one arrival there
    once       the filters share out every instance, each to one place, and no two instances have the same time
    inside     affine subscripts stay inside their tensors

Each is about one set of integer points, and comes down to sets that must be empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from polydl.certificate.region import Region
from polydl.certificate.statement import Access, Loop, Path, Program, Statement, Step
from polydl.certificate.terms import Form, Term, combined, negated

__all__ = ["Claim", "Level", "claims"]


class Level(NamedTuple):
    """Of the points equal in all levels before: `difference < 0` nowhere (if `ordered`), `> 0` nowhere (if `apart`)."""

    difference: Form
    ordered: bool
    apart: bool


class Claim(NamedTuple):
    """The levels hold in `region`; `last`: and no point is equal in all of them."""

    name: str
    region: Region
    levels: tuple[Level, ...]
    last: bool


def claims(program: Program) -> Iterator[Claim]:
    """Every claim, in a fixed order, each with a name of its own."""
    yield from _inside(program)
    yield from _once(program)
    yield from _allocated(program)
    yield from _pairs(program)


# ---- one instance --------------------------------------------------------------------------------------------------


def _instances(program: Program, s: Statement) -> tuple[Region, dict[str, str]]:
    """All instances of a statement within the context."""
    region, names = Region(), {p: p for p in program.parameters}
    region.require("context", program.context, names)
    names = {**names, **{i: i for i in s.iterators}}
    region.require("domain", s.domain, names)
    return region, names


def _inside(program: Program) -> Iterator[Claim]:
    boxes = dict(program.tensors)
    for s in program.statements:
        region, names = _instances(program, s)
        for k, access in enumerate(s.accesses):
            for d, (subscript, box) in enumerate(zip(access.subscripts, boxes[access.tensor], strict=True)):
                if subscript is None:
                    continue
                for end, low, high in (
                    ("below", subscript, box[0]),
                    ("above", box[1].plus(Term((), 1), -1), subscript),
                ):
                    outside = region.copy()
                    distance = outside.form(high.plus(low, -1), names)
                    outside.add("outside", False, combined(distance, {"": -1}))
                    yield Claim(f"inside: {s.name} access {k} subscript {d} {end}", outside, (), True)


def _once(program: Program) -> Iterator[Claim]:
    for number, split in enumerate(program.splits):
        region, names = _instances(program, program.statement(split.statement))
        for k, condition in enumerate(split.outer):
            region.require(f"outer {k}", condition, names)
        lost = region.copy()
        for k, condition in enumerate(split.taken):
            lost.require(f"not taken {k}", negated(condition), names)
        yield Claim(f"once: {split.statement} at filters {number} is lost nowhere", lost, (), True)
        for k, condition in enumerate(split.taken):
            for other in range(k):
                twice = region.copy()
                twice.require(f"taken {k}", condition, names)
                twice.require(f"taken {other}", split.taken[other], names)
                yield Claim(
                    f"once: {split.statement} at filters {number} not {other} and {k}", twice, (), True
                )
    for order, path in [
        *(("original", p) for p in program.original),
        *(("new", p) for p in program.schedule),
    ]:
        s = program.statement(path.statement)
        for d in range(len(s.iterators)):
            pairs = _Pairs(program, s, s)
            for e in range(d + 1):
                pairs.compare(
                    f"iterator {e}", Term(((s.iterators[e], 1),)), Term(((s.iterators[e], 1),)), e == d
                )
            pairs.restrict(path, path)
            for k, c in enumerate(path.coordinates):
                if isinstance(c, Loop):
                    pairs.compare(f"time {k}", c.time, c.time, False)
            if not pairs.region.absurd:
                number = (program.original if order == "original" else program.schedule).index(path)
                yield Claim(f"once: {s.name} on {order} path {number}, iterator {d}", pairs.region, (), True)


def _allocated(program: Program) -> Iterator[Claim]:
    for tensor in dict.fromkeys(t for p in program.schedule for t, _ in p.allocated):
        for number, path in enumerate(program.schedule):
            s = program.statement(path.statement)
            used = any(a.tensor == tensor for a in s.accesses)
            if used and all(t != tensor for t, _ in path.allocated):
                region, names = _instances(program, s)
                for k, condition in enumerate(path.conditions):
                    region.require(f"taken {k}", condition, names)
                yield Claim(f"storage: {s.name} on path {number} has no {tensor}", region, (), True)


# ---- two instances -------------------------------------------------------------------------------------------------


class _Pairs:
    """Pairs of instances: the source's iterators as they are, the sink's with a prime."""

    def __init__(self, program: Program, source: Statement, sink: Statement) -> None:
        sizes = {p: p for p in program.parameters}
        self.region = Region()
        self.source = {**sizes, **{i: i for i in source.iterators}}
        self.sink = {**sizes, **{i: f"{i}'" for i in sink.iterators}}
        self.region.require("context", program.context, sizes)
        self.region.require("source domain", source.domain, self.source)
        self.region.require("sink domain", sink.domain, self.sink)

    def copy(self) -> _Pairs:
        other = object.__new__(_Pairs)
        other.region, other.source, other.sink = self.region.copy(), self.source, self.sink
        return other

    def difference(self, source: Term, sink: Term) -> Form:
        """sink - source."""
        return combined(self.region.form(sink, self.sink), self.region.form(source, self.source), -1)

    def compare(self, label: str, source: Term, sink: Term, later: bool) -> None:
        """Only the pairs where both terms are equal; `later`: where the sink's is greater."""
        apart = self.difference(source, sink)
        self.region.add(label, not later, combined(apart, {"": -1}) if later else apart)

    def restrict(self, p: Path, q: Path) -> None:
        for label, path, names in (("source", p, self.source), ("sink", q, self.sink)):
            for k, condition in enumerate(path.conditions):
                self.region.require(f"{label} taken {k}", condition, names)


def _pairs(program: Program) -> Iterator[Claim]:
    """The claims about each two accesses that may meet in a cell, for each way to be in order originally."""
    original = {p.statement: p for p in program.original}
    storage = {t for p in program.schedule for t, _ in p.allocated}
    for tensor, _ in program.tensors:
        users = [
            (s, k, a) for s in program.statements for k, a in enumerate(s.accesses) if a.tensor == tensor
        ]
        done = set()
        for s, k, a in users:
            for t, n, b in users:
                if a.kind == b.kind == "read":
                    continue
                exchangeable = a.kind == b.kind == "update" and (s == t or _one_operator(s, t))
                key = (s.name, a.subscripts, t.name, b.subscripts, exchangeable)
                if key in done:  # other accesses to the same cells
                    continue
                done.add(key)
                title = f"{s.name} access {k} -> {t.name} access {n}"
                for level, pairs in _in_order(program, original[s.name], original[t.name], a, b):
                    if not pairs.region.absurd:
                        free = exchangeable and program.reassociate
                        yield from _scheduled(program, f"{title}, level {level}", pairs, s, t, free)
                        if tensor in storage:
                            yield from _arrivals(program, f"{title}, level {level}", pairs, s, t, tensor)


def _one_operator(s: Statement, t: Statement) -> bool:
    """Whether both update by the same operator, a single cell each: of tuples, only whole ones may be exchanged."""
    single = all(sum(a.kind == "update" for a in x.accesses) == 1 for x in (s, t))
    return s.reduction == t.reduction is not None and single


def _in_order(program: Program, p: Path, q: Path, a: Access, b: Access) -> Iterator[tuple[int, _Pairs]]:
    """The pairs that touch one cell and run in this order originally, by the first coordinate in which they differ."""
    start = _Pairs(program, program.statement(p.statement), program.statement(q.statement))
    for d, (x, y) in enumerate(zip(a.subscripts, b.subscripts, strict=True)):
        if x is not None and y is not None:
            start.compare(f"cell {d}", x, y, False)
    shared = p.shared(q)
    for level in range(shared):
        here, there = p.coordinates[level], q.coordinates[level]
        if isinstance(here, Loop) and isinstance(there, Loop):
            later = start.copy()
            later.compare(f"order {level}", here.time, there.time, True)
            yield level, later
            start.compare(f"order {level}", here.time, there.time, False)
    if _end(program, p, q, shared) == "before":
        yield shared, start


def _end(program: Program, p: Path, q: Path, shared: int) -> str:
    """Which comes first where all shared coordinates are equal: the first "before", it "after", or the "same"."""
    if shared < min(len(p.coordinates), len(q.coordinates)):
        here, there = p.coordinates[shared], q.coordinates[shared]
        return (
            "before"
            if isinstance(here, Step) and isinstance(there, Step) and here.index < there.index
            else "after"
        )
    names = [s.name for s in program.statements]
    if p.statement == q.statement:
        return "same"
    return "before" if names.index(p.statement) < names.index(q.statement) else "after"


def _scheduled(
    program: Program, title: str, pairs: _Pairs, s: Statement, t: Statement, free: bool
) -> Iterator[Claim]:
    """The order of these pairs on every two paths of the schedule."""
    for i, p in enumerate(program.schedule):
        for j, q in enumerate(program.schedule):
            if (p.statement, q.statement) != (s.name, t.name):
                continue
            here, shared = pairs.copy(), p.shared(q)
            here.restrict(p, q)
            levels = []
            for x, y in zip(p.coordinates[:shared], q.coordinates[:shared], strict=True):
                if isinstance(x, Loop) and isinstance(y, Loop):
                    combined_lanes = x.binding == "vector" and free and s == t
                    apart = x.binding not in ("sequential", "unroll") and not combined_lanes
                    difference = here.difference(x.time, y.time)
                    levels.append(Level(difference, not free or apart, apart))
            last = not free and _end(program, p, q, shared) != "before"
            yield from _claim(f"order: {title}, paths {i} -> {j}", here.region, levels, last)


def _arrivals(
    program: Program, title: str, pairs: _Pairs, s: Statement, t: Statement, tensor: str
) -> Iterator[Claim]:
    """These pairs meet in one allocation of the tensor."""
    for i, p in enumerate(program.schedule):
        for j, q in enumerate(program.schedule):
            depth = dict(p.allocated).get(tensor)
            if (
                (p.statement, q.statement) != (s.name, t.name)
                or depth is None
                or tensor not in dict(q.allocated)
            ):
                continue
            here, shared = pairs.copy(), p.shared(q)
            here.restrict(p, q)
            levels = []
            for x, y in zip(p.coordinates[:shared][:depth], q.coordinates[:shared][:depth], strict=True):
                if isinstance(x, Loop) and isinstance(y, Loop):
                    levels.append(Level(here.difference(x.time, y.time), True, True))
            yield from _claim(f"storage: {title}, paths {i} -> {j}", here.region, levels, depth > shared)


def _claim(name: str, region: Region, levels: list[Level], last: bool) -> Iterator[Claim]:
    """The claim without the levels that constants decide; nothing where nothing is claimed."""
    kept: list[Level] = []
    for level in levels:
        if set(level.difference) <= {""}:
            value = level.difference.get("", 0)
            if value:
                # Nothing is equal from here on; the claim ends, and all that is left is wrong or right.
                last = level.ordered if value < 0 else level.apart
                break
        else:
            kept.append(level)
    while kept and not last and not kept[-1].ordered and not kept[-1].apart:
        kept.pop()
    if not region.absurd and (kept or last):
        yield Claim(name, region, tuple(kept), last)
