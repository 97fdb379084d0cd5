"""Sums of products in blocks for the caches, with packed operands and sums in registers; symbolic or ragged domains.

    C[p, v] += A[p, k] * B[k, v]

    band(…, v.o, k.o)                                            blocks of v for the last cache, of k for the first
      Bp = B                                                     in panels as wide as the register tile
      band(p.o [parallel])                                       blocks of p for the second cache
        Ap = A
        band(v.i.o, p.i.o)                                       register tiles
          sums = 0;  band(k.i, tile): sums += Ap * Bp;  C += sums

`v` is an axis along which C is contiguous, `p` one along which the operands that vary with v stay the same, k the
reduction. Tiles that stick out of the domain are computed whole where the reduction is the same for all their points:
the packed blocks have room for it. Where it is not (triangles), the part of the reduction that all rows of a tile have
is separated from the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from polydl.dsl.function import StatementDef
from polydl.dsl.tensor import Layout, TensorRole
from polydl.ir.expr import Load, Var, as_expr
from polydl.ir.expr import walk as walk_expr
from polydl.poly.affine import dim
from polydl.poly.tree import Band, Sequence, Tree, children, members, statements_below
from polydl.scheduler.affine_order import SeparateTiles
from polydl.scheduler.automatic.block_sizes import BlockSizes, block_sizes
from polydl.scheduler.automatic.strategy import Part, innermost_bands
from polydl.scheduler.automatic.streams import jammed, row_loops
from polydl.scheduler.bindings import Parallel, Unroll, Vectorize
from polydl.scheduler.expansion import Expand
from polydl.scheduler.instances import RunFirst
from polydl.scheduler.loops import Distribute, Reorder, Split
from polydl.scheduler.meaning import Rebase
from polydl.scheduler.packing import Pack
from polydl.scheduler.partial_sums import PartialSums
from polydl.scheduler.prefetch import Prefetch
from polydl.scheduler.recipes.common import attempt, loops_of, reads, uses
from polydl.scheduler.recipes.written import parallel, row_stride, vectorised
from polydl.scheduler.schedule import Schedule, Transform
from polydl.scheduler.storage import SetMemory
from polydl.scheduler.terms import SplitSum
from polydl.targets import Target
from polydl.vocabulary import Memory

__all__ = ["contractions"]

# Rows in flight together: so many streams are read ahead, and each line of what is transposed is used up at once.
_TOGETHER: Final = 8


@dataclass(frozen=True, slots=True)
class _Shape:
    """The loops of a contraction, and its operands: those that vary along the columns, and those along the rows."""

    outer: tuple[str, ...]
    rows: str
    columns: str
    reduced: str
    row_axis: str
    column_axis: str
    wide: tuple[Load, ...]
    tall: tuple[Load, ...]


def contractions(schedule: Schedule, part: Part, target: Target) -> Iterator[Schedule]:
    """The part with every contraction in it blocked, and elsewhere vectors, with several rows in flight or one."""
    found: list[str] = []
    for name in part.statements:
        blocked = _blocked(schedule, name, target)
        if blocked is not None:
            schedule = blocked
            found.append(name)
    if not found:
        return
    rest = [s for s in part.statements if s not in found]
    for band in list(innermost_bands(part.subtree(schedule.tree))):
        names = tuple(m.name for m in band.members)
        if {s for m in band.members for s, _ in m.exprs} <= set(rest):
            schedule = vectorised(schedule, names, target)
    yield parallel(schedule, rest) if rest and target.cores > 1 else schedule
    several = schedule
    for row in list(row_loops(part.subtree(schedule.tree))):
        if {s for s, _ in schedule.member(row).exprs} <= set(rest):
            several = jammed(several, row, _TOGETHER) or several
    if several is not schedule:
        yield parallel(several, rest) if target.cores > 1 else several


def _blocked(schedule: Schedule, name: str, target: Target) -> Schedule | None:
    """The schedule with one statement as in the picture above; None where it is no contraction or that is illegal."""
    statement = schedule.statement(name)
    if not isinstance(statement.op, str) or not schedule.reassociate or len(statement.axes) < 3:
        return None
    schedule = _alone(schedule, name)
    statement = schedule.statement(name)
    shape = _shape(schedule, statement)
    if shape is None:
        return None
    schedule = attempt(schedule, Rebase(name)) or schedule
    size = max(
        schedule.function.tensor(statement.target).dtype.bytes, *(x.dtype.bytes for x in reads(statement))
    )
    blocks = block_sizes(len(shape.wide), len(shape.tall), size, target)
    p, v, k = shape.rows, shape.columns, shape.reduced
    tiles = (*shape.outer, f"{v}.o", f"{k}.o", f"{p}.o", f"{v}.i.o", f"{p}.i.o")
    points = (f"{k}.i", f"{p}.i.i", f"{v}.i.i.o", f"{v}.i.i.i")
    tiled = attempt(
        schedule,
        *(Split(v, blocks.columns), Split(k, blocks.reduced), Split(p, blocks.rows)),
        *(
            Split(f"{v}.i", blocks.tile_columns),
            Split(f"{v}.i.i", blocks.lanes),
            Split(f"{p}.i", blocks.tile_rows),
        ),
        Reorder((*tiles, *points)),
    )
    if tiled is None:
        return None
    packed = _packed(tiled, name, shape, blocks, target)
    return None if packed is None else _in_registers(packed, name, shape, target)


def _in_registers(schedule: Schedule, name: str, shape: _Shape, target: Target) -> Schedule | None:
    """Sums in registers over a block of the reduction, for whole tiles where possible."""
    p, v, k = shape.rows, shape.columns, shape.reduced
    before = {t.name for t in schedule.function.tensors}
    done = None
    for padded in ((f"{v}.i.o", f"{p}.i.o"), (f"{v}.i.o",), (f"{p}.i.o",), ()):
        done = attempt(schedule, PartialSums(name, f"{p}.i.o", padded))
        if done is not None:
            ragged = tuple(n for n in (f"{v}.i.o", f"{p}.i.o") if n not in padded)
            break
    if done is None:
        return None
    sums = next(t.name for t in done.function.tensors if t.name not in before)
    if ragged:
        done = attempt(done, SeparateTiles(ragged, f"{k}.i")) or done
    copies = [""]
    if any(n == f"{k}.i.tail" for n in loops_of(done, name)):
        copies.append(".tail")
    for copy in copies:
        done = done.apply(Unroll(f"{p}.i.i{copy}"), Unroll(f"{v}.i.i.o{copy}"), Vectorize(f"{v}.i.i.i{copy}"))
    for new in (f"{sums}_zero", f"{sums}_sum"):
        done = done.apply(Unroll(f"{new}.{p}.i.i"), Unroll(f"{new}.{v}.i.i.o"), Vectorize(f"{new}.{v}.i.i.i"))
    done = attempt(done, SetMemory(sums, Memory.REGISTER))
    if done is None:
        return None
    done = attempt(done, SplitSum(name)) or done
    if target.cores > 1:
        done = attempt(done, Parallel(f"{p}.o")) or done
    return attempt(done, Prefetch(schedule.statement(name).target, f"{p}.i.o", 1)) or done


def _packed(
    schedule: Schedule, name: str, shape: _Shape, blocks: BlockSizes, target: Target
) -> Schedule | None:
    """Both kinds of operands copied into blocks that are read from front to back."""
    for operands, loop, axis, width in (
        (shape.wide, f"{shape.reduced}.o", shape.column_axis, blocks.tile_columns),
        (shape.tall, f"{shape.rows}.o", shape.row_axis, blocks.tile_rows),
    ):
        for load in operands:
            mine = [x for x in reads(schedule.statement(name)) if x.buffer == load.buffer]
            along = [d for d, e in enumerate(load.index) if uses(e, axis)]
            if len(along) != 1:
                return None
            layout = _panels(schedule, load, along[0], width, blocks)
            before = {t.name for t in schedule.function.tensors}
            changed = attempt(
                schedule,
                Pack(
                    load.buffer,
                    loop,
                    name,
                    layout,
                    scaled=True,
                    read=mine.index(load) if len(mine) > 1 else -1,
                ),
            )
            if changed is None:
                return None
            copy = next(t.name for t in changed.function.tensors if t.name not in before)
            schedule = changed
            names = tuple(f"{copy}.x{d}" for d in range(len(load.index)))
            lanes = width if row_stride(load.index, axis) == 1 else min(width, blocks.lanes)
            schedule = _panelled(changed, names, along[0], lanes)
            if operands is shape.wide and target.cores > 1:
                first = next(n for n in loops_of(schedule, copy) if n.startswith(f"{copy}.x"))
                schedule = attempt(schedule, Parallel(first)) or schedule
    return schedule


def _panelled(schedule: Schedule, names: tuple[str, ...], along: int, lanes: int) -> Schedule:
    """A copy into panels: a line of a panel is one vector; from lines across the panels, tiles are transposed."""
    x, last = names[along], names[-1]
    if x == last:
        lines = names[-2:-1]  # none where the operand has one dimension
        straight = attempt(
            schedule,
            *(Split(n, _TOGETHER) for n in lines),
            Split(x, lanes),
            Reorder(
                (*names[:-2], *(f"{n}.o" for n in lines), f"{x}.o", *(f"{n}.i" for n in lines), f"{x}.i")
            ),
            SeparateTiles((f"{x}.o",)),
            *(Vectorize(f"{x}.i"), Vectorize(f"{x}.i.tail")),
        )
        return straight or schedule
    rest = tuple(n for n in names if n not in (x, last))
    tiled = attempt(
        schedule,
        *(Split(x, lanes), Split(last, lanes)),
        Reorder((*rest, f"{x}.o", f"{last}.o", f"{last}.i", f"{x}.i")),
        SeparateTiles((f"{x}.o", f"{last}.o")),
        *(Unroll(f"{last}.i"), Vectorize(f"{x}.i"), Vectorize(f"{x}.i.tail")),
    )
    return tiled or schedule


def _panels(schedule: Schedule, load: Load, along: int, width: int, blocks: BlockSizes) -> Layout:
    """Panels of `width` neighbours along one dimension: its quotient first, its remainder last."""
    dims = tuple(f"d{n}" for n in range(len(load.index)))
    shape = schedule.function.tensor(load.buffer).shape
    others = [n for n in range(len(dims)) if n != along]
    room = max(blocks.columns, blocks.rows)
    index = (Var(dims[along]) // width, *(Var(dims[n]) for n in others), Var(dims[along]) % width)
    extents = ((shape[along] + room) // width, *(shape[n] for n in others), as_expr(width))
    return Layout(dims, index, extents)


def _alone(schedule: Schedule, name: str) -> Schedule:
    """The schedule with as many loops as possible around this statement only, which goes first or last if it must.

    A temporary that iterations share may stand in the way: where that leaves no contraction, it gets a place for each.
    """
    while loop := _shared(schedule.tree, name):
        others = tuple(s for s, _ in schedule.member(loop).exprs if s != name)
        ways: tuple[Transform, ...] = (
            Distribute(loop), RunFirst(loop, (name,), ("",)), RunFirst(loop, others, ("",) * len(others))
        )  # fmt: skip
        changed = next((s for way in ways if (s := attempt(schedule, way)) is not None), None)
        if changed is None and _shape(schedule, schedule.statement(name)) is None:
            changed = _expanded(schedule, loop)
        if changed is None:
            return schedule
        schedule = changed
    return schedule


def _expanded(schedule: Schedule, loop: str) -> Schedule | None:
    """A loop distributed after the temporaries in it have got places for its iterations and those outside."""
    inside = {s for s, _ in schedule.member(loop).exprs}
    used = {a.tensor for s in schedule.scop.statements if s.name in inside for a in s.accesses}
    around: list[str] = []
    for m in members(schedule.tree):
        if inside <= {s for s, _ in m.exprs}:
            around.append(m.name)
    for t in schedule.function.of_role(TensorRole.TEMPORARY):
        if t.name in used:
            loops = tuple(n for n in around if not _chosen(schedule, t.name, n))
            for first in reversed(range(len(loops))):
                changed = attempt(schedule, Expand(t.name, loops[first:]), Distribute(loop))
                if changed is not None:
                    return changed
    return None


def _chosen(schedule: Schedule, tensor: str, loop: str) -> bool:
    """Whether the iteration of a loop chooses the element of a tensor that is accessed."""
    return any(
        e.names() & x.names()
        for s, e in schedule.member(loop).exprs
        for a in schedule.scop.statement(s).accesses
        if a.tensor == tensor
        for x in a.subscripts
        if x is not None
    )


def _shared(tree: Tree, name: str) -> str:
    """The last loop of the innermost band above a sequence that holds the statement; "" if there is none."""
    found = ""
    node: Tree | None = tree
    while node is not None:
        if isinstance(node, Band) and isinstance(node.child, Sequence):
            found = node.members[-1].name
        node = next((c for c in children(node) if name in statements_below(c)), None)
    return found


def _shape(schedule: Schedule, s: StatementDef) -> _Shape | None:
    """The roles of the loops around a statement that is alone in them, or None where it is no contraction."""
    loops = [n for n in loops_of(schedule, s.name) if {x for x, _ in schedule.member(n).exprs} == {s.name}]
    loop_of = {a.name: n for a in s.axes for n in loops if schedule.member(n).expr(s.name) == dim(a.name)}
    if len(loop_of) != len(loops):
        return None
    operands = [x for x in reads(s) if x.index]
    if any(isinstance(y, Load) for x in operands for i in x.index for y in walk_expr(i)):
        return None
    stored = [a for a in loop_of if any(uses(i, a) for i in s.index)]
    reduced = [a for a in loop_of if a not in stored]
    for v in (a for a in stored if row_stride(s.index, a) == 1):
        wide = tuple(x for x in operands if any(uses(i, v) for i in x.index))
        for p in reversed([a for a in stored if a != v]):
            tall = tuple(x for x in operands if any(uses(i, p) for i in x.index))
            shared = [k for k in reduced if all(any(uses(i, k) for i in x.index) for x in (*wide, *tall))]
            if (
                wide
                and tall
                and shared
                and not set(wide) & set(tall)
                and len(wide) + len(tall) == len(operands)
            ):
                outer = tuple(n for a, n in loop_of.items() if a not in (p, v, shared[-1]))
                outer = tuple(n for n in loops if n in outer)
                return _Shape(outer, loop_of[p], loop_of[v], loop_of[shared[-1]], p, v, wide, tall)
    return None
