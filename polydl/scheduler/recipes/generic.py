"""The recipe for everything that is no contraction: inline, fuse what shares loops, vectorise, run in parallel."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from polydl.dsl.function import Computation, Function, StatementDef
from polydl.dsl.polyhedral import loads
from polydl.dsl.tensor import TensorRole
from polydl.ir.expr import Call, Load, walk
from polydl.poly.affine import dim
from polydl.poly.tree import Band, Filter, Member, Sequence, Tree, children, statements_below
from polydl.scheduler.bindings import Parallel, Vectorize
from polydl.scheduler.compute import Inline, Privatize
from polydl.scheduler.loops import Collapse, Fuse, Reorder, Split
from polydl.scheduler.partition import Separate
from polydl.scheduler.recipes.common import (
    attempt,
    extent,
    innermost_band,
    leaves_blocks,
    loops_of,
    reads,
    run,
    stride,
    uses,
)
from polydl.scheduler.recipes.locality import rows_first
from polydl.scheduler.schedule import Schedule
from polydl.scheduler.storage import Local, SetMemory
from polydl.targets import Target
from polydl.vocabulary import Binding, Memory

__all__ = [
    "collapse_contiguous", "fuse_neighbours", "inline_all", "keep_in_registers", "parallelise", "place_locals",
    "privatise_rows", "top_nests", "vectorise", "vectors_inside",
]  # fmt: skip

_CHAINS = 4  # vectors in flight: independent accumulators, or copies of a short loop's body
_PARALLEL_CHUNKS = 64  # enough iterations for an even split over the threads of a machine


def inline_all(schedule: Schedule) -> Schedule:
    """Element-wise temporaries inlined where that repeats no expensive work."""
    for c in schedule.function.computations:
        if _worth_inlining(schedule.function, c):
            schedule = attempt(schedule, Inline(c.name)) or schedule
    return schedule


def _worth_inlining(function: Function, c: Computation) -> bool:
    tensor = function.tensor(c.target)
    if tensor.role is not TensorRole.TEMPORARY or c.reduction is not None:
        return False
    uses = 0
    for other in function.computations:
        count = sum(1 for x in walk(other.value) if isinstance(x, Load) and x.buffer == c.target)
        if count and other.reduction is None and leaves_blocks(function, c.target, other.target, other.value):
            return False
        if count and other.reduction is not None:
            reused = len(other.axes) > len(c.axes)  # each element would be computed again and again
            count = 2 if reused and not _is_cheap(c) else count
        uses += count
    return uses == 1 or (uses > 1 and _is_cheap(c))


def _is_cheap(c: Computation) -> bool:
    """A copy or a few operations without a function call."""
    nodes = list(walk(c.value))
    return not any(isinstance(x, Call) for x in nodes) and len(nodes) <= 8


def privatise_rows(schedule: Schedule, target: Target, keep: Collection[str] = ()) -> Schedule:
    """Reductions along the contiguous axis of what they read, but for `keep`, get a partial result per lane."""
    for c in schedule.function.computations:
        r = c.reduction
        if c.name in keep or r is None or r.init is None or not schedule.reassociate:
            continue
        statement = next(s for s in schedule.function.statements() if s.name == c.name)
        dtype = schedule.function.tensor(c.target).dtype
        lanes = target.lanes(dtype.bytes)
        for axis in r.axes:
            if any(uses(e, axis) for e in c.conditions):
                continue  # lanes that start where a row is clipped are no fixed places in registers
            along = [stride(schedule.function.tensor(x.buffer), x.index, axis) for x in reads(statement)]
            size = next(a for a in c.axes if a.name == axis)
            if (
                along
                and all(s in (0, 1) for s in along)
                and 1 in along
                and _at_least(schedule, c.name, size.name, 2 * lanes)
            ):
                chains = _CHAINS if _at_least(schedule, c.name, size.name, 4 * _CHAINS * lanes) else 1
                runs = [run(schedule.function.tensor(x.buffer), x.index, axis) for x in reads(statement)]
                parts = min(
                    [chains * lanes, *(n for n in runs if n is not None)]
                )  # a vector ends with its block
                schedule = attempt(schedule, Privatize(c.name, axis, parts)) or schedule
                break
    return schedule


def _at_least(schedule: Schedule, statement: str, axis: str, count: int) -> bool:
    span = schedule.axis_ranges(statement).get(axis)
    return span is None or span[1] - span[0] + 1 >= count


def fuse_neighbours(schedule: Schedule, keep_apart: Iterable[str] = ()) -> Schedule:
    """Neighbouring nests that share data fused on their outermost loops as far as that is legal."""
    apart = frozenset(keep_apart)
    position = 0
    while True:
        branches = top_nests(schedule.tree)
        if position + 1 >= len(branches):
            return schedule
        first, second = branches[position], branches[position + 1]
        here, there = statements_below(first), statements_below(second)
        if apart & {*here, *there} or not _share_data(schedule, here, there):
            position += 1
            continue
        fused = _fuse_levels(schedule, here[0], second)
        if fused is None:
            position += 1
        else:
            schedule = fused
            position = max(0, position - 1)  # what has grown may now share data with what came before


def top_nests(tree: Tree) -> tuple[Filter, ...]:
    """The nests of a tree, in order."""
    return tree.children if isinstance(tree, Sequence) else ()


def _share_data(schedule: Schedule, here: Iterable[str], there: Iterable[str]) -> bool:
    """Whether the second nest reads (or goes on reducing) what the first makes."""
    definitions = {s.name: s for s in schedule.function.statements()}
    made = {definitions[n].target for n in here}
    wanted = {x.buffer for n in there for x in reads(definitions[n])}
    continued = {definitions[n].target for n in there if definitions[n].op is not None}
    return bool(made & (wanted | continued))


def _fuse_levels(schedule: Schedule, first: str, second: Filter) -> Schedule | None:
    """Fuse the outermost loops of the nests of `first` and `second`, level by level; None if not even one level."""
    result: Schedule | None = None
    head = loops_of(schedule, first)
    other = loops_of(schedule, statements_below(second)[0])
    for a, b in zip(head, other, strict=False):
        current = result or schedule
        if current.member_range(a) is None or current.member_range(a) != current.member_range(b):
            break
        if current.member(a).binding is Binding.VECTOR:
            break
        fused = attempt(current, Fuse((a, b)))
        if fused is None:
            break
        result = fused
    return result


def place_locals(schedule: Schedule) -> Schedule:
    """Temporaries that one iteration of some loops makes and uses up live in that iteration alone."""
    for tensor in schedule.function.of_role(TensorRole.TEMPORARY):
        users = [
            s.name
            for s in schedule.function.statements()
            if s.target == tensor.name or any(x.buffer == tensor.name for x in loads(s.value))
        ]
        nests = [loops_of(schedule, u) for u in users]
        shared = 0
        while all(len(n) > shared for n in nests) and len({n[shared] for n in nests}) == 1:
            shared += 1
        for level in range(shared, 0, -1):
            placed = attempt(schedule, Local(tensor.name, (nests[0][level - 1],)))
            if placed is not None:
                schedule = placed
                break
    return schedule


def keep_in_registers(schedule: Schedule) -> Schedule:
    """The partial results of privatised reductions in registers, where lanes alone address them."""
    for name in sorted(_partial_results(schedule)):
        schedule = attempt(schedule, SetMemory(name, Memory.REGISTER)) or schedule
    return schedule


def _partial_results(schedule: Schedule) -> set[str]:
    """The tensors that privatisation has made: few elements, all of them addressed by lanes."""
    names = [t.computation for t in schedule.trace if isinstance(t, Privatize)]
    return {t.name for t in schedule.function.tensors if any(t.name.startswith(f"{n}_part") for n in names)}


def vectors_inside(schedule: Schedule, statements: Collection[str], target: Target) -> Schedule:
    """Nests over blocks of a layout that hand data to each other: vectors are the lanes of a block, innermost.

    before:  band(n, c, h, w)            y[n, c // 16, h, w, c % 16], c not innermost
    after:   band(n, c.o, h, w, c.i)     c.i a vector
    Fused on c, as they otherwise would be, nests have nothing left that is contiguous.
    """
    for name in statements:
        others = [s for s in statements if s != name]
        if _share_data(schedule, [name], others) or _share_data(schedule, others, [name]):
            schedule = _lanes_inside(schedule, name, target) or schedule
    return schedule


def _lanes_inside(schedule: Schedule, name: str, target: Target) -> Schedule | None:
    statement, band = schedule.statement(name), innermost_band(schedule.tree, name)
    if band is None or any(m.binding is not Binding.SEQUENTIAL for m in band.members):
        return None
    tensor = schedule.function.tensor(statement.target)
    for m in band.members[:-1]:
        block = min((run(tensor, statement.index, a) or 1 for a in m.expr(name).names()), default=1)
        count = extent(schedule, m.name) or 0
        if block < target.lanes(tensor.dtype.bytes) or count % block or _vector_cost(schedule, statement, m):
            continue
        order = [f"{x.name}.o" if x == m else x.name for x in band.members]
        return attempt(
            schedule, Split(m.name, block), Reorder((*order, f"{m.name}.i")), Vectorize(f"{m.name}.i")
        )
    return None


def vectorise(schedule: Schedule, statements: Iterable[str], target: Target) -> Schedule:
    """The innermost loops of these statements vectorised along what is contiguous in memory, where legal."""
    for name in statements:
        schedule = _vectorise_one(schedule, name, target)
    return schedule


def _vectorise_one(schedule: Schedule, name: str, target: Target) -> Schedule:
    statement = schedule.statement(name)
    band = innermost_band(schedule.tree, name)
    if band is None or any(m.binding is not Binding.SEQUENTIAL for m in band.members):
        return schedule
    schedule = collapse_contiguous(schedule, statement, band)
    band = innermost_band(schedule.tree, name)
    if band is None:
        return schedule
    tensor = schedule.function.tensor(statement.target)
    lanes = target.lanes(max([tensor.dtype.bytes, *(x.dtype.bytes for x in reads(statement))]))
    for m in sorted(band.members, key=lambda m: _vector_cost(schedule, statement, m)):
        if _vector_cost(schedule, statement, m) > 2:
            break
        count = extent(schedule, m.name)
        if count is None or count < 2:
            continue
        order = [x.name for x in band.members if x.name != m.name]
        width = _width(schedule, statement, m, count, lanes)
        if count <= width:
            changed = attempt(schedule, Reorder((*order, m.name)), Vectorize(m.name))
        else:
            changed = attempt(
                schedule,
                Split(m.name, width),
                Reorder((*order, f"{m.name}.o", f"{m.name}.i")),
                Vectorize(f"{m.name}.i"),
            )
            if changed is not None and count % width:
                changed = attempt(changed, Separate(f"{m.name}.o")) or changed
        if changed is not None:
            return changed
    return schedule


def _width(schedule: Schedule, statement: StatementDef, m: Member, count: int, lanes: int) -> int:
    """Lanes for a loop: some vectors at once in a long one, never past the end of a block of a layout."""
    width = lanes * _CHAINS if count >= 4 * lanes * _CHAINS else lanes
    starts = statement.op is None and statement.target in _partial_results(schedule)
    if starts or _is_combination(schedule, statement):
        return count
    for axis in m.expr(statement.name).names():
        for buffer, index in [
            (statement.target, statement.index),
            *((x.buffer, x.index) for x in reads(statement)),
        ]:
            limit = run(schedule.function.tensor(buffer), index, axis)
            width = min(width, limit) if limit is not None else width
    return width


def _is_combination(schedule: Schedule, statement: StatementDef) -> bool:
    """Whether a statement reduces the lanes of partial results."""
    return statement.op is not None and {x.buffer for x in reads(statement)} <= _partial_results(schedule)


def _steps(schedule: Schedule, statement: StatementDef, m: Member) -> list[int | None]:
    """Strides of the target and of the loads along a loop that is one axis (or several collapsed ones)."""
    axes = [str(atom) for atom, _ in m.expr(statement.name).terms]
    last = axes and min(m.expr(statement.name).terms, key=lambda t: t[1])[0]
    axis = str(last)
    pairs = [(statement.target, statement.index), *((x.buffer, x.index) for x in reads(statement))]
    return [stride(schedule.function.tensor(b), index, axis) for b, index in pairs]


def _vector_cost(schedule: Schedule, statement: StatementDef, m: Member) -> int:
    """0: all contiguous or uniform; 1: some load strided; 9: not to be vectorised."""
    if all(s != statement.name for s, _ in m.exprs) or any(
        not isinstance(a, str) for a, _ in m.expr(statement.name).terms
    ):
        return 9
    target, *sources = _steps(schedule, statement, m)
    if any(_is_indirect(x) for x in reads(statement)):
        return 9
    if target == 1:
        return 0 if all(s in (0, 1) for s in sources) else 1
    if target == 0 and _is_combination(schedule, statement):
        return 0 if all(s == 1 for s in sources) else 9
    return 9


def _is_indirect(load: Load) -> bool:
    return any(isinstance(x, Load) for i in load.index for x in walk(i))


def collapse_contiguous(schedule: Schedule, statement: StatementDef, band: Band) -> Schedule:
    """The innermost loops merged into one where every access is contiguous across them."""
    while True:
        current = innermost_band(schedule.tree, statement.name)
        if current is None or len(current.members) < 2:
            return schedule
        outer, inner = current.members[-2:]
        if len(outer.exprs) != 1 or not _mergeable(schedule, statement, outer, inner):
            return schedule
        merged = attempt(schedule, Collapse(outer.name, inner.name))
        if merged is None:
            return schedule
        schedule = merged


def _mergeable(schedule: Schedule, statement: StatementDef, outer: Member, inner: Member) -> bool:
    if any(
        e.terms and not all(isinstance(a, str) for a, _ in e.terms)
        for m in (outer, inner)
        for _, e in m.exprs
    ):
        return False
    if outer.expr(statement.name) != dim(str(next(iter(outer.expr(statement.name).names()), ""))):
        return False
    count = extent(schedule, inner.name)
    if count is None or statement.conditions:
        return False
    steps = zip(_steps(schedule, statement, outer), _steps(schedule, statement, inner), strict=True)
    return all(a is not None and b is not None and a == b * count for a, b in steps)


def parallelise(schedule: Schedule, target: Target) -> Schedule:
    """The outermost loops of every nest parallel, until there are enough iterations to share out."""
    for top in _outermost(schedule.tree):
        schedule, loops = rows_first(schedule, [m.name for m in top], target)
        chunks = 1
        for m in map(schedule.member, loops):
            changed = attempt(schedule, Parallel(m.name)) if m.binding is Binding.SEQUENTIAL else None
            if changed is None:
                break
            schedule = changed
            chunks *= extent(schedule, m.name) or _PARALLEL_CHUNKS
            if chunks >= _PARALLEL_CHUNKS:
                break
    return schedule


def _outermost(tree: Tree) -> list[tuple[Member, ...]]:
    """The outermost band of every nest."""
    match tree:
        case Band(members=ms):
            return [ms]
        case Sequence(children=branches):
            return [found for f in branches for found in _outermost(f)]
        case _:
            return [found for c in children(tree) for found in _outermost(c)]
