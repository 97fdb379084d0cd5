"""The recipe for programs with an order of their own: the loops stay as written; what is contiguous becomes vectors,
and the outermost loops that carry nothing run in parallel, where the judge allows it. Extents may be symbolic.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from polydl.dsl.function import Function, StatementDef
from polydl.dsl.polyhedral import to_affine
from polydl.ir.expr import Expr, Load, walk
from polydl.poly.affine import dim
from polydl.poly.tree import Band, Member, Tree, children, members
from polydl.poly.tree import walk as walk_tree
from polydl.scheduler.bindings import Parallel, Vectorize
from polydl.scheduler.loops import Reorder, Split
from polydl.scheduler.partition import Separate
from polydl.scheduler.recipes.common import attempt, reads
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["VECTORS", "lanes_of", "parallel", "row_stride", "schedule_as_written", "suited", "vectorised"]

VECTORS: Final = 2  # in flight: independent chains of operations without many registers
_STRIDED: Final = 9


def schedule_as_written(function: Function, target: Target, *, reassociate: bool = True) -> Schedule:
    """`function` in its original order, its innermost loops vectorised, its outermost parallel, where that is legal."""
    schedule = Schedule.of(function, reassociate=reassociate)
    for names in [tuple(m.name for m in band.members) for band in _innermost(schedule.tree)]:
        schedule = vectorised(schedule, names, target)
    return parallel(schedule)


def _innermost(tree: Tree) -> Iterator[Band]:
    """The bands without another one below."""
    for node in walk_tree(tree):
        if isinstance(node, Band) and not any(isinstance(x, Band) for x in walk_tree(node.child)):
            yield node


def vectorised(schedule: Schedule, names: tuple[str, ...], target: Target) -> Schedule:
    """One band with the loop that suits memory best moved innermost and cut into vectors."""
    last = names[-1]
    for m in suited(schedule, names):
        width = VECTORS * lanes_of(schedule, m, target)
        rest = tuple(n for n in names if n != m.name)
        steps = [Split(m.name, width), Vectorize(f"{m.name}.i")]
        if m.name != last:
            steps.insert(1, Reorder((*rest, f"{m.name}.o", f"{m.name}.i")))
        changed = attempt(schedule, *steps)
        if changed is not None:
            return attempt(changed, Separate(f"{m.name}.o")) or changed
    return schedule


def suited(schedule: Schedule, names: tuple[str, ...]) -> list[Member]:
    """The loops of a band that can be lanes of vectors, the one that suits memory best first."""
    loops = [m for m in (schedule.member(n) for n in reversed(names)) if _cost(schedule, m) < _STRIDED]
    return sorted(loops, key=lambda m: _cost(schedule, m))


def lanes_of(schedule: Schedule, m: Member, target: Target) -> int:
    """Elements of a native vector of the widest type that the statements in a loop use."""
    widest = 1
    for name, _ in m.exprs:
        statement = schedule.statement(name)
        tensor = schedule.function.tensor(statement.target)
        widest = max([widest, tensor.dtype.bytes, *(x.dtype.bytes for x in reads(statement))])
    return target.lanes(widest)


def _cost(schedule: Schedule, m: Member) -> int:
    """0: every access contiguous or the same; more for strided reads; `_STRIDED`: not to be vectorised."""
    total = 0
    for name, time in m.exprs:
        statement = schedule.statement(name)
        axis = next(iter(sorted(time.names())), "")
        if time != dim(axis):
            return _STRIDED
        strides = [row_stride(x.index, axis) for x in reads(statement)]
        stored = row_stride(statement.index, axis)
        folded = stored == 0 and statement.op is not None and schedule.reassociate and 1 in strides
        if (stored != 1 and not folded) or _gathers(statement) or strides.count(None) > strides.count(1):
            return _STRIDED
        total += sum(s is None for s in strides) + (stored == 0)
    return min(total, _STRIDED)


def row_stride(index: tuple[Expr, ...], axis: str) -> int | None:
    """How far apart in row-major memory neighbours along `axis` are: 0, 1, or None for anything else."""
    forms = [to_affine(e) for e in index]
    if any(f is None for f in forms):
        return None
    uses = [axis in f.names() for f in forms if f is not None]
    if not any(uses):
        return 0
    last = forms[-1]
    if any(uses[:-1]) or last is None:
        return None
    return 1 if (axis, 1) in last.terms and axis not in (last - dim(axis)).names() else None


def _gathers(statement: StatementDef) -> bool:
    return any(isinstance(x, Load) for load in reads(statement) for i in load.index for x in walk(i))


def parallel(schedule: Schedule, statements: Collection[str] | None = None) -> Schedule:
    """In every nest, or those of some statements, the outermost loop that carries no dependence parallel.

    Inside sequential loops threads meet once for each of their iterations: that pays for whole nests, not for a loop.
    """

    def visit(schedule: Schedule, node: Tree, around: int) -> Schedule:
        if isinstance(node, Band):
            for k, m in enumerate(node.members):
                if m.binding is not Binding.SEQUENTIAL:
                    return schedule
                inside = [*node.members[k + 1 :], *members(node.child)]
                alone = all(x.binding in (Binding.VECTOR, Binding.UNROLL) for x in inside)
                ours = statements is None or any(s in statements for s, _ in m.exprs)
                changed = None if not ours or (around and alone) else attempt(schedule, Parallel(m.name))
                if changed is not None:
                    return changed
                around += 1
        for child in children(node):
            schedule = visit(schedule, child, around)
        return schedule

    return visit(schedule, schedule.tree, 0)
