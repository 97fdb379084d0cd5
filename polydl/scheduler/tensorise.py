"""Tensorisation: a point band that computes what a hardware instruction computes becomes that instruction."""

from __future__ import annotations

from dataclasses import dataclass

from polydl import poly
from polydl.dsl.function import StatementDef
from polydl.dsl.polyhedral import to_affine
from polydl.errors import NotApplicable
from polydl.ir.expr import Expr
from polydl.poly.affine import Affine, dim
from polydl.poly.paths import Path
from polydl.poly.tree import Band, Leaf, Mark
from polydl.scheduler.instructions import Instruction, instruction, unified
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, replace_at
from polydl.vocabulary import Binding

__all__ = ["Tensorise", "tensorised"]

_WORD = "instruction"


@dataclass(frozen=True, slots=True, repr=False)
class Tensorise(Transform):
    """Let a declared hardware instruction compute the innermost loops of a statement.

    rewrite:  band(…, j, t) -> band(…, mark("instruction NAME", band(j, t)))
    The loops, in the order of the instruction's axes, have its extents; value and operands are those of its body up to
    names; each operand's tile lies in memory like the body's tensor (`SetLayout` and `Pack` make it so). All of that is
    checked here. Full tiles become the instruction, partial ones run their loops, as all do on machines without it.
    legal if: always (no order changes); sums of floating-point numbers must be free to be reassociated
    """

    loops: tuple[str, ...]
    instruction: str

    def rewrite(self, schedule: Schedule) -> Rewritten:
        chosen = instruction(self.instruction)
        if not self.loops:
            raise NotApplicable("name the loops that the instruction computes")
        path, band, first = band_of(schedule.tree, self.loops[0])
        inner = band.members[first:]
        if tuple(m.name for m in inner) != self.loops or not isinstance(band.child, Leaf):
            raise NotApplicable(
                f"loops {', '.join(self.loops)} are not the innermost ones of their band, in this order",
                next="split them off and reorder them innermost",
            )
        if len(inner[0].exprs) != 1 or any(m.binding is not Binding.SEQUENTIAL for m in inner):
            raise NotApplicable("an instruction computes sequential loops of one statement")
        extents = tuple(schedule.member_range(n) for n in self.loops)
        if extents != tuple((0, n - 1) for n in chosen.extents):
            raise NotApplicable(
                f"{chosen.name} computes {' x '.join(map(str, chosen.extents))} points",
                why=f"the loops have the ranges {', '.join(map(str, extents))}",
                next="split by the extents of the instruction",
            )
        statement = schedule.statement(inner[0].exprs[0][0])
        _require_same(schedule, statement, chosen, self.loops)
        sunk = Mark(f"{_WORD} {chosen.name}", Band(inner, band.child))
        new = Band(band.members[:first], sunk) if first else sunk
        return Rewritten(replace_at(schedule.tree, path, new))


def tensorised(path: Path) -> dict[int, str]:
    """The instruction whose loops begin at each of some coordinates of a path."""
    found = {}
    for depth, label in path.marks:
        word, _, name = label.partition(" ")
        if word == _WORD:
            found[depth] = name
    return found


def _require_same(schedule: Schedule, s: StatementDef, chosen: Instruction, loops: tuple[str, ...]) -> None:
    """NotApplicable unless the statement computes what the instruction does, on tiles that lie as its tensors do."""
    body = chosen.statement
    operands = unified(body.value, s.value)
    target = schedule.function.tensor(s.target)
    if operands is None or s.also or s.op != body.op or target.dtype != chosen.body.tensor(body.target).dtype:
        raise NotApplicable(f"{s.name} computes something else than {chosen.name}")
    if s.op is not None and target.dtype.is_float and not schedule.reassociate:
        raise NotApplicable(f"{s.name} may not be reassociated", why="the schedule's policy forbids it")
    places = {n: (x.buffer, x.index) for n, x in operands.items()} | {body.target: (s.target, s.index)}
    for operand, (tensor, index) in places.items():
        wanted = chosen.strides(operand)
        found = tuple(_stride(schedule, s, loop, tensor, index) for loop in loops)
        if found != wanted:
            raise NotApplicable(
                f"the tile of {tensor} does not lie in memory as {chosen.name} wants it",
                why=f"neighbours along {', '.join(loops)} are {', '.join(map(str, found))} elements apart, not "
                f"{', '.join(map(str, wanted))}",
                next=f"SetLayout('{tensor}', …), or Pack it with a layout",
            )


def _stride(
    schedule: Schedule, s: StatementDef, loop: str, tensor: str, index: tuple[Expr, ...]
) -> int | None:
    """How many elements apart an access of two neighbouring iterations of a loop is; None if that is no number."""
    names = {a.name for a in s.axes}
    time = schedule.member(loop).expr(s.name)
    moved = sorted(time.names() & names)
    if len(moved) != 1:
        return None
    step = {moved[0]: dim(moved[0]) + 1}
    path = next(p for p in poly.paths(schedule.scop, schedule.tree) if p.statement == s.name)
    same = [f"{e.substitute(step)} = {e}{' + 1' if e == time else ''}" for e in path.exprs]
    storage = schedule.function.tensor(tensor).storage
    total, below = 0, 1
    for e, extent in reversed(list(zip(storage.apply(index), storage.shape, strict=True))):
        form = to_affine(e)
        apart = None if form is None else _constant(schedule, s, form.substitute(step) - form, same)
        size = to_affine(extent)
        if apart is None or (apart and not below):
            return None
        total += apart * below
        below = below * size.constant if below and size is not None and size.is_constant else 0
    return total


def _constant(schedule: Schedule, s: StatementDef, e: Affine, conditions: list[str]) -> int | None:
    """The number that an expression is wherever the conditions hold; None if it is not one."""
    axes = [a.name for a in s.axes]
    text = poly.set_text(schedule.function.sizes, "R", ("value_", *axes), (f"value_ = {e}", *conditions))
    ends = poly.extent(text, "value_")
    return ends[0].constant if ends is not None and ends[0] == ends[1] and ends[0].is_constant else None
