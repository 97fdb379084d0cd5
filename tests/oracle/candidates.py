"""For each transformation, random instances that fit a schedule's own loops, tensors and computations more or less."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Final

from polydl.dsl import Layout, TensorRole
from polydl.dsl.polyhedral import loads
from polydl.errors import NotApplicable, PolydlError
from polydl.ir.expr import Const
from polydl.poly.tree import Allocate, Band, Sequence, Tree, members, walk
from polydl.poly.treetext import format_tree
from polydl.scheduler import (
    Accumulate,
    AffineOrder,
    Collapse,
    ComputeAt,
    Contract,
    CopyInOut,
    Diamond,
    Distribute,
    Expand,
    Fold,
    Fuse,
    FuseShifted,
    IndexSetSplit,
    Inline,
    Local,
    Pack,
    Parallel,
    PartialSums,
    Prefetch,
    Privatize,
    ReadAhead,
    Rebase,
    Reorder,
    Reverse,
    RunFirst,
    Schedule,
    Separate,
    SeparateTiles,
    Sequential,
    SetLayout,
    SetMemory,
    Shift,
    Skew,
    Split,
    SplitSum,
    Tensorise,
    Tile,
    Transform,
    Unimodular,
    Unroll,
    UnrollAndJam,
    Vectorize,
)
from polydl.scheduler.structure import normalise
from polydl.vocabulary import Binding, Memory
from tests.oracle.functions import DOT

__all__ = ["ALWAYS_LEGAL", "MAKERS", "candidate"]

Maker = Callable[[Random, Schedule], Transform | None]

# They change no order and no value, take back a binding, or look for what is legal themselves.
ALWAYS_LEGAL: Final = frozenset({
    "Accumulate", "Collapse", "Diamond", "FuseShifted", "IndexSetSplit", "Inline", "Prefetch", "Privatize",
    "ReadAhead", "Rebase", "Sequential", "SetLayout", "SetMemory", "Split", "SplitSum", "Tensorise", "Unroll",
})  # fmt: skip


def candidate(r: Random, schedule: Schedule, name: str) -> Transform | None:
    """A transformation of the class `name` for the schedule, None where there is nothing to apply it to."""
    return MAKERS[name](r, schedule)


def _bands(s: Schedule) -> list[list[str]]:
    return [[m.name for m in node.members] for node in walk(s.tree) if isinstance(node, Band)]


def _loop(r: Random, s: Schedule) -> str | None:
    names = [m.name for m in members(s.tree)]
    return r.choice(names) if names else None


def _band(r: Random, s: Schedule, least: int = 1) -> list[str] | None:
    found = [b for b in _bands(s) if len(b) >= least]
    return r.choice(found) if found else None


def _temporary(r: Random, s: Schedule) -> str | None:
    names = [t.name for t in s.function.of_role(TensorRole.TEMPORARY)]
    return r.choice(names) if names else None


def _users(s: Schedule, tensor: str) -> set[str]:
    return {x.name for x in s.scop.statements if any(a.tensor == tensor for a in x.accesses)}


def _of_loop(make: Callable[[Random, Schedule, str], Transform]) -> Maker:
    def maker(r: Random, s: Schedule) -> Transform | None:
        loop = _loop(r, s)
        return None if loop is None else make(r, s, loop)

    return maker


def _tile(r: Random, s: Schedule) -> Transform | None:
    band = _band(r, s, 2) or _band(r, s)
    if band is None:
        return None
    loops = r.sample(band, r.randint(min(2, len(band)), min(3, len(band))))
    loops.sort(key=band.index)
    return Tile(tuple(loops), tuple(r.choice((2, 2, 3)) for _ in loops))


def _reorder(r: Random, s: Schedule) -> Transform | None:
    band = _band(r, s, 2)
    return None if band is None else Reorder(tuple(r.sample(band, len(band))))


def _heads(r: Random, s: Schedule) -> tuple[str, ...] | None:
    """The outermost loops of neighbouring branches of a sequence."""
    runs: list[list[str]] = []
    for node in walk(s.tree):
        if isinstance(node, Sequence):
            run: list[str] = []
            for f in node.children:
                if isinstance(f.child, Band):
                    run.append(f.child.members[0].name)
                else:
                    runs.append(run)
                    run = []
            runs.append(run)
    runs = [run for run in runs if len(run) > 1]
    if not runs:
        return None
    run = r.choice(runs)
    first = r.randrange(len(run) - 1)
    return tuple(run[first : first + r.randint(2, 3)])


def _fuse(r: Random, s: Schedule) -> Transform | None:
    heads = _heads(r, s)
    return Fuse(heads) if heads else None


def _fuse_shifted(r: Random, s: Schedule) -> Transform | None:
    heads = _heads(r, s)
    return FuseShifted(heads) if heads else None


def _distribute(r: Random, s: Schedule) -> Transform | None:
    found = [
        n.members[-1].name for n in walk(s.tree) if isinstance(n, Band) and isinstance(n.child, Sequence)
    ]
    return Distribute(r.choice(found)) if found else None


def _collapse(r: Random, s: Schedule) -> Transform | None:
    band = _band(r, s, 2)
    if band is None:
        return None
    k = r.randrange(len(band) - 1)
    return Collapse(band[k], band[k + 1])


def _skew(r: Random, s: Schedule) -> Transform | None:
    band = _band(r, s, 2)
    if band is None:
        return None
    a, b = r.sample(band, 2)
    return Skew(a, b, r.choice((1, 2, -1)))


def _diamond(r: Random, s: Schedule) -> Transform | None:
    band = _band(r, s, 2)
    return None if band is None else Diamond(*r.sample(band, 2), r.choice((1, 2, 3)))


_MATRICES: Final = (
    ((1, 1), (1, 0)), ((1, 1), (0, 1)), ((0, 1), (1, 0)), ((1, -1), (0, 1)), ((1, 0), (0, -1)), ((2, 1), (1, 1)),
    ((-1, 0), (0, 1)),
)  # fmt: skip


def _unimodular(r: Random, s: Schedule) -> Transform | None:
    band = _band(r, s, 2)
    if band is None:
        return None
    loops = r.sample(band, 2)
    return Unimodular(tuple(loops), r.choice(_MATRICES), (), r.choice(((), (1, -2))))


def _separate(r: Random, s: Schedule) -> Transform | None:
    tiles = [m.name for m in members(s.tree) if m.name.endswith(".o")]
    return Separate(r.choice(tiles)) if tiles else None


def _separate_tiles(r: Random, s: Schedule) -> Transform | None:
    for band in sorted(_bands(s), key=lambda _: r.random()):
        tiles = [n for n in band if n.endswith(".o")]
        if tiles:
            return SeparateTiles(tuple(tiles[: r.randint(1, len(tiles))]))
    return None


def _shift(r: Random, s: Schedule) -> Transform | None:
    shared = [m for m in members(s.tree) if len(m.exprs) > 1]
    several = shared or list(members(s.tree))
    if not several:
        return None
    m = r.choice(several)
    return Shift(r.choice(m.exprs)[0], m.name, r.choice((-2, -1, 1, 2)))


def _index_set_split(r: Random, s: Schedule, loop: str) -> Transform:
    return IndexSetSplit(loop, r.randint(0, 3))


def _local(r: Random, s: Schedule) -> Transform | None:
    tensor = _temporary(r, s)
    if tensor is None:
        return None
    users = _users(s, tensor)
    around = [m.name for m in members(s.tree) if users <= {x for x, _ in m.exprs}]
    some = [m.name for m in members(s.tree) if users & {x for x, _ in m.exprs}]
    pool = around if around and r.random() < 0.8 else some
    return Local(tensor, (r.choice(pool),)) if pool else None


def _set_memory(r: Random, s: Schedule) -> Transform | None:
    found = [n.tensor for n in walk(s.tree) if isinstance(n, Allocate)]
    return SetMemory(r.choice(found), r.choice((Memory.LOCAL, Memory.REGISTER))) if found else None


def _set_layout(r: Random, s: Schedule) -> Transform | None:
    found = [
        t for t in s.function.tensors if t.rank and all(isinstance(e, Const) for e in (*t.shape, *t.origin))
    ]
    if not found:
        return None
    t = r.choice(found)
    low = [int(e.value) for e in t.origin if isinstance(e, Const)]
    return SetLayout(t.name, Layout.blocked(t.extents, r.randrange(t.rank), r.choice((2, 3, 4)), low))


def _expand(r: Random, s: Schedule) -> Transform | None:
    tensor = _temporary(r, s)
    if tensor is None:
        return None
    users = _users(s, tensor)
    around = [m.name for m in members(s.tree) if users <= {x for x, _ in m.exprs}]
    some = [m.name for m in members(s.tree) if len(users & {x for x, _ in m.exprs}) > 1]
    pool = around if around and r.random() < 0.7 else some
    return Expand(tensor, tuple(r.sample(pool, r.randint(1, min(2, len(pool)))))) if pool else None


def _of_dimension(make: Callable[[Random, str, int], Transform]) -> Maker:
    def maker(r: Random, s: Schedule) -> Transform | None:
        found = [t for t in s.function.of_role(TensorRole.TEMPORARY) if t.rank and t.layout is None]
        if not found:
            return None
        t = r.choice(found)
        return make(r, t.name, r.randrange(t.rank))

    return maker


def _privatize(r: Random, s: Schedule) -> Transform | None:
    found = [c for c in s.function.computations if c.reduction is not None]
    if not found:
        return None
    c = r.choice(found)
    return (
        Privatize(c.name, r.choice(c.reduction.axes), r.choice((2, 3)))
        if c.reduction and c.reduction.axes
        else None
    )


def _accumulate(r: Random, s: Schedule) -> Transform | None:
    found = [c.name for c in s.function.computations if c.reduction is not None]
    return Accumulate(r.choice(found)) if found else None


def _inline(r: Random, s: Schedule) -> Transform | None:
    temporaries = {t.name for t in s.function.of_role(TensorRole.TEMPORARY)}
    found = [c.name for c in s.function.computations if c.target in temporaries]
    return Inline(r.choice(found)) if found else None


def _compute_at(r: Random, s: Schedule) -> Transform | None:
    pairs = [
        (p.name, c.name)
        for p in s.function.computations
        for c in s.function.computations
        if p is not c and any(x.buffer == p.target for x in loads(c.value))
    ]
    if not pairs:
        return None
    producer, consumer = r.choice(pairs)
    inside = [m.name for m in members(s.tree) if consumer in dict(m.exprs)]
    return ComputeAt(producer, r.choice(inside), consumer, r.random() < 0.5) if inside else None


def _pack(r: Random, s: Schedule) -> Transform | None:
    readers = [(c, sorted({x.buffer for x in loads(c.value)})) for c in s.function.computations]
    readers = [(c, read) for c, read in readers if read]
    if not readers:
        return None
    c, read = r.choice(readers)
    inside = [m.name for m in members(s.tree) if c.name in dict(m.exprs)]
    if not inside:
        return None
    return Pack(
        r.choice(read), r.choice(inside), c.name, read=r.choice((-1, -1, 0, 1)), scaled=r.random() < 0.2
    )


def _partial_sums(r: Random, s: Schedule) -> Transform | None:
    found = [c.name for c in s.function.computations if c.reduction is not None]
    if not found:
        return None
    name = r.choice(found)
    inside = [m.name for m in members(s.tree) if name in dict(m.exprs)]
    tiles = [n for n in inside if n.endswith(".o")]
    padded = (r.choice(tiles),) if tiles and r.random() < 0.3 else ()
    return PartialSums(name, r.choice(inside), padded) if inside else None


def _run_first(r: Random, s: Schedule) -> Transform | None:
    loop = _loop(r, s)
    if loop is None:
        return None
    statement = r.choice(s.member(loop).exprs)[0]
    names = [a.name for a in s.statement(statement).axes]
    several = len(s.member(loop).exprs) > 1
    condition = (
        "" if several and r.random() < 0.4 else f"{r.choice(names)} {r.choice(('<', '>='))} {r.randint(1, 2)}"
    )
    return RunFirst(loop, (statement,), (condition,))


def _rebase(r: Random, s: Schedule) -> Transform | None:
    return Rebase(r.choice([x.name for x in s.scop.statements]))


def _copy_in_out(r: Random, s: Schedule) -> Transform | None:
    """Not of what is summed up in its own order or from its own partial sums: the judge does not follow such sums
    through a copy. Temporaries are always loaded: their garbage might reach what is no result, which the judge compares
    and the oracle does not."""
    updates = [x for x in s.function.statements() if x.op is not None]
    sums = {
        x.target for x in updates if not s.reassociate or any(y.buffer == x.target for y in loads(x.value))
    }
    pool = [t for t in s.function.tensors if t.name not in sums and _users(s, t.name)]
    if not pool:
        return None
    t = r.choice(pool)
    statement = r.choice(sorted(_users(s, t.name)))
    loaded = t.role is TensorRole.TEMPORARY or r.random() < 0.3
    return CopyInOut(t.name, statement, tuple(r.sample(range(t.rank), t.rank)), loaded)


def _tensorise(r: Random, s: Schedule) -> Transform | None:
    found = [b for b in _bands(s) if b[-1].endswith(".i") and len(b) > 1]
    return Tensorise(tuple(r.choice(found)[-2:]), DOT) if found else None


def _split_sum(r: Random, s: Schedule) -> Transform | None:
    found = [c.name for c in s.function.computations if c.reduction is not None]
    return SplitSum(r.choice(found)) if found else None


def _ahead(make: Callable[[str, str, int], Transform]) -> Maker:
    def maker(r: Random, s: Schedule) -> Transform | None:
        loop = _loop(r, s)
        return None if loop is None else make(r.choice(s.function.tensors).name, loop, r.randint(1, 3))

    return maker


def _sequential(r: Random, s: Schedule) -> Transform | None:
    bound = [m.name for m in members(s.tree) if m.binding is not Binding.SEQUENTIAL]
    loop = r.choice(bound) if bound else _loop(r, s)
    return Sequential(loop) if loop else None


def _affine_order(r: Random, s: Schedule) -> Transform | None:
    """The tree after some changes that nobody has judged."""
    tree: Tree = s.tree
    for _ in range(r.randint(2, 4)):
        moved = replace(s, tree=tree)
        change = candidate(
            r, moved, r.choice(("Reorder", "Reverse", "Reverse", "Shift", "Skew", "Distribute", "Fuse"))
        )
        if change is None:
            continue
        try:
            tree = normalise(change.rewrite(moved).tree)
        except (NotApplicable, PolydlError):
            continue
    return AffineOrder(format_tree(tree))


MAKERS: Final[Mapping[str, Maker]] = {
    "Accumulate": _accumulate,
    "AffineOrder": _affine_order,
    "Collapse": _collapse,
    "ComputeAt": _compute_at,
    "Contract": _of_dimension(lambda r, t, k: Contract(t, (k,))),
    "CopyInOut": _copy_in_out,
    "Distribute": _distribute,
    "Expand": _expand,
    "Diamond": _diamond,
    "Fold": _of_dimension(lambda r, t, k: Fold(t, k, r.choice((1, 2, 2, 3, 4)))),
    "Fuse": _fuse,
    "FuseShifted": _fuse_shifted,
    "IndexSetSplit": _of_loop(_index_set_split),
    "Inline": _inline,
    "Local": _local,
    "Pack": _pack,
    "PartialSums": _partial_sums,
    "Parallel": _of_loop(lambda r, s, n: Parallel(n)),
    "Prefetch": _ahead(Prefetch),
    "Privatize": _privatize,
    "ReadAhead": _ahead(ReadAhead),
    "Rebase": _rebase,
    "Reorder": _reorder,
    "Reverse": _of_loop(lambda r, s, n: Reverse(n)),
    "RunFirst": _run_first,
    "Separate": _separate,
    "SeparateTiles": _separate_tiles,
    "Sequential": _sequential,
    "SetLayout": _set_layout,
    "SetMemory": _set_memory,
    "Shift": _shift,
    "Skew": _skew,
    "Split": _of_loop(lambda r, s, n: Split(n, r.choice((2, 3)))),
    "SplitSum": _split_sum,
    "Tensorise": _tensorise,
    "Tile": _tile,
    "Unimodular": _unimodular,
    "Unroll": _of_loop(lambda r, s, n: Unroll(n)),
    "UnrollAndJam": _of_loop(lambda r, s, n: UnrollAndJam(n, 2)),
    "Vectorize": _of_loop(lambda r, s, n: Vectorize(n)),
}
