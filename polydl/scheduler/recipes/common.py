"""What the recipes share: trying a transformation, and reading strides off a function."""

from __future__ import annotations

from polydl.dsl.function import Function, StatementDef
from polydl.dsl.polyhedral import loads
from polydl.dsl.tensor import Tensor
from polydl.errors import IllegalSchedule, NotApplicable, PolyhedralBlowup
from polydl.ir.expr import Binary, Const, Expr, Load, Var
from polydl.ir.expr import walk as walk_expr
from polydl.ir.simplify import linear
from polydl.poly.tree import Band, Tree, members, walk
from polydl.scheduler.schedule import Schedule, Transform

__all__ = [
    "attempt", "copies", "extent", "innermost_band", "leaves_blocks", "loops_of", "reads", "run", "stride", "uses",
]  # fmt: skip


def attempt(schedule: Schedule, *transforms: Transform) -> Schedule | None:
    """The schedule after `transforms`, or None where one of them does not apply, is illegal or too costly to judge."""
    try:
        return schedule.apply(*transforms, explain=False)
    except (NotApplicable, IllegalSchedule, PolyhedralBlowup):
        return None


def copies(schedule: Schedule, name: str) -> list[str]:
    """The loop and the copies of it that separation has made."""
    return [m.name for m in members(schedule.tree) if m.name == name or m.name.startswith(f"{name}.tail")]


def extent(schedule: Schedule, loop: str) -> int | None:
    """The number of iterations of a loop, an upper bound where filters cut it; None if symbolic."""
    span = schedule.member_range(loop)
    return None if span is None else span[1] - span[0] + 1


def loops_of(schedule: Schedule, statement: str) -> list[str]:
    """The loops around a statement, outermost first (of its first place in the tree)."""
    found: list[str] = []
    for node in walk(schedule.tree):
        if isinstance(node, Band):
            found += [m.name for m in node.members if any(s == statement for s, _ in m.exprs)]
    return found


def leaves_blocks(function: Function, source: str, target: str, value: Expr) -> bool:
    """Whether `target = value` only writes row by row what `source` has in blocks: that is computed block by block."""
    blocked, rows = function.tensor(source).layout, function.tensor(target).layout
    return blocked is not None and rows is None and isinstance(value, Load) and value.buffer == source


def innermost_band(tree: Tree, statement: str) -> Band | None:
    """The last band on the way to a statement."""
    last = None
    for node in walk(tree):
        if isinstance(node, Band) and any(s == statement for s, _ in node.members[-1].exprs):
            last = node
    return last


def stride(tensor: Tensor, index: tuple[Expr, ...], axis: str) -> int | None:
    """How many elements apart in storage two neighbours along `axis` are; None where that is not one number.

    Within a block of a blocked layout: `c % 16` moves by one (block crossings are the loops' business).
    """
    total = 0
    weight: int | None = 1
    for subscript, size in zip(
        reversed(tensor.storage.apply(index)), reversed(tensor.storage.shape), strict=True
    ):
        step = _step(subscript, axis)
        if step is None or (step and weight is None):
            return None
        total += step * (weight or 0)
        weight = weight * int(size.value) if weight is not None and isinstance(size, Const) else None
    return total


def run(tensor: Tensor, index: tuple[Expr, ...], axis: str) -> int | None:
    """How many neighbours along `axis` lie one after the other before a block of the layout ends; None: all of them."""
    found = None
    for subscript in tensor.storage.apply(index):
        for e in walk_expr(subscript):
            if (
                isinstance(e, Binary)
                and e.op in ("mod", "floordiv")
                and isinstance(e.b, Const)
                and uses(e.a, axis)
            ):
                size = int(e.b.value)
                found = size if found is None else min(found, size)
    return found


def _step(e: Expr, axis: str) -> int | None:
    """The change of a storage subscript from one value of `axis` to the next, inside a block."""
    form = linear(e, [axis])
    if form is not None:
        return form.coefficient(axis)
    match e:
        case Binary(op="mod", a=a):
            return _step(a, axis)
        case Binary(op="floordiv", a=a):
            return 0 if _step(a, axis) is not None else None
        case _:
            return None


def reads(statement: StatementDef) -> list[Load]:
    """The distinct loads of a statement's value."""
    return list(dict.fromkeys(loads(statement.value)))


def uses(e: Expr, axis: str) -> bool:
    return any(isinstance(x, Var) and x.name == axis for x in walk_expr(e))
