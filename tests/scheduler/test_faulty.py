"""Transformations that are wrong on purpose: the judge refuses each, with instances, whatever the transformation says.

Each is a right one whose result is then spoiled, so that nothing but the spoiled place can be the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from polydl.dsl import Function, FunctionBuilder, sum_over
from polydl.dsl.function import Computation, Reduction
from polydl.dtypes import F32
from polydl.errors import IllegalSchedule, OutOfBounds
from polydl.ir.expr import Binary, Cast, Const, Expr, Load, Var, as_expr, cast, transform
from polydl.poly import OtherValue, Violation
from polydl.poly.affine import constant
from polydl.poly.tree import Band, map_tree
from polydl.poly.tree import Tree as AnyTree
from polydl.scheduler import (
    Accumulate,
    ComputeAt,
    Fuse,
    Inline,
    Pack,
    PartialSums,
    Privatize,
    Schedule,
    Split,
    SplitSum,
    Transform,
)
from polydl.scheduler.schedule import Rewritten

Spoil = Callable[[Function], Function]


@dataclass(frozen=True, slots=True, repr=False)
class Spoiled(Transform):
    """Another transformation, with a function or a tree that it does not make."""

    right: Transform
    function: Spoil = lambda f: f
    tree: Callable[[AnyTree], AnyTree] = lambda t: t

    def rewrite(self, schedule: Schedule) -> Rewritten:
        tree, function = self.right.rewrite(schedule)
        return Rewritten(self.tree(tree), None if function is None else self.function(function))

    def __repr__(self) -> str:
        return f"Spoiled({self.right!r})"


def neighbours() -> Schedule:
    """t[i] = 2 x[i]; y[i] = t[i] - t[i+1], with room around."""
    f = FunctionBuilder("neighbours")
    x = f.input("x", (12,))
    t = f.compute("t", {"i": 12}, lambda i: x[i] * 2.0)
    y = f.compute("y", {"j": 8}, lambda j: t[j] - t[j + 1])
    return Schedule.of(f.build([y]))


def counted() -> Schedule:
    """t[i] = i x[i]; y[j] = t[j] - t[j+1]: values that depend on where they are."""
    f = FunctionBuilder("counted")
    x = f.input("x", (12,))
    t = f.compute("t", {"i": 12}, lambda i: x[i] * cast(F32, i))
    y = f.compute("y", {"j": 8}, lambda j: t[j] - t[j + 1])
    return Schedule.of(f.build([y]))


def product() -> Schedule:
    """y[i] = sum over k of a[i, k] b[k]."""
    f = FunctionBuilder("product")
    a, b = f.input("a", (6, 8)), f.input("b", (8,))
    return Schedule.of(
        f.build([f.compute("y", {"i": 6}, lambda i: sum_over({"k": 8}, lambda k: a[i, k] * b[k]))])
    )


def added(op: str = "add") -> Schedule:
    """y[i] += a[i, k] - b[k], into what is there already."""
    schedule = product()
    c = schedule.function.computation("y")
    a, b = (schedule.function.tensor(n) for n in "ab")
    i, k = Var("i"), Var("k")
    c = replace(c, value=Binary("sub", a[i, k], b[k,]), reduction=Reduction(op, ("k",), None))
    start = Computation("start", (c.axes[0],), (), "y", (i,), Const(0.0, c.value.dtype))
    return Schedule.of(replace(schedule.function, computations=(start, c))).apply(Split("k", 4))


def written() -> Schedule:
    """The same as loops in an order of their own."""
    schedule = added()
    return Schedule.of(replace(schedule.function, order=Schedule.of(schedule.function).tree))


def change(name: str, new: Callable[[Computation], Computation]) -> Spoil:
    def spoil(function: Function) -> Function:
        assert name in {c.name for c in function.computations}
        changed = tuple(new(c) if c.name == name else c for c in function.computations)
        return replace(function, computations=changed)

    return spoil


def moved(tensor: str, by: int) -> Callable[[Computation], Computation]:
    """The computation with its reads of a tensor elsewhere, along the last dimension."""

    def step(e: Expr) -> Expr:
        if isinstance(e, Load) and e.buffer == tensor:
            return Load(tensor, (*e.index[:-1], e.index[-1] + by), e.dtype)
        return e

    return lambda c: replace(c, value=transform(c.value, step))


def other_constant(e: Expr) -> Expr:
    return Const(3.0, e.dtype) if isinstance(e, Const) and e.dtype.is_float else e


def later(e: Expr) -> Expr:
    return Cast(e.dtype, e.operand + 1) if isinstance(e, Cast) else e


def twice(name: str) -> Spoil:
    """The function in which a computation of partial results adds half of the loop's iterations once more."""

    def spoil(function: Function) -> Function:
        c = function.computation(name)
        assert c.reduction is not None
        reduced = next(a for a in c.axes if a.name in c.reduction.axes)
        wide = tuple(replace(a, upper=a.upper + a.upper) if a is reduced else a for a in c.axes)
        half = {reduced.name: reduced.var // 2}
        value = transform(c.value, lambda e: half.get(e.name, e) if isinstance(e, Var) else e)
        return change(name, lambda _: replace(c, axes=wide, value=value))(function)

    return spoil


WRONG: dict[str, tuple[Callable[[], Schedule], Transform, Spoil]] = {
    "a copy of shifted cells": (
        lambda: neighbours().apply(Split("j", 4)),
        Pack("t", "j.o", "y"),
        change("t_packed", moved("t", -1)),
    ),
    "a read of shifted copies": (
        lambda: neighbours().apply(Split("j", 4)),
        Pack("t", "j.o", "y"),
        change("y", moved("t_packed", 1)),
    ),
    "a copy that misses a cell": (
        lambda: neighbours().apply(Split("j", 4)),
        Pack("t", "j.o", "y"),
        change("t_packed", lambda c: replace(c, conditions=(*c.conditions, Var("x0") >= 1))),
    ),
    "another instance inlined": (neighbours, Inline("t"), change("y", moved("x", 1))),
    "another iterator inlined": (
        counted,
        Inline("t"),
        change("y", lambda c: replace(c, value=transform(c.value, later))),
    ),
    "another constant inlined": (
        neighbours,
        Inline("t"),
        change("y", lambda c: replace(c, value=transform(c.value, other_constant))),
    ),
    "a recomputed neighbour": (
        lambda: neighbours().apply(Split("j", 4)),
        ComputeAt("t", "j.o", "y", True),
        change("t_tile", moved("x", -1)),
    ),
    "a term left out": (
        added,
        PartialSums("y", "k.o"),
        change("y", lambda c: replace(c, conditions=(*c.conditions, Var("k") >= 1))),
    ),
    "a term that is another one": (added, PartialSums("y", "k.o"), change("y", moved("b", -1))),
    "partial sums that start from 1": (
        added,
        PartialSums("y", "k.o"),
        change("y_part_zero", lambda c: replace(c, value=Const(1.0, c.value.dtype))),
    ),
    "partial sums that are not added everywhere": (
        added,
        PartialSums("y", "k.o"),
        change("y_part_sum", lambda c: replace(c, conditions=(Var("i") >= 1,))),
    ),
    "partial sums added to the neighbour": (
        added,
        PartialSums("y", "k.o"),
        change("y_part_sum", moved("y_part", -1)),
    ),
    "a lane combined twice": (product, Privatize("y", "k", 4), twice("y")),
    "lanes that start from 1": (
        product,
        Privatize("y", "k", 4),
        change("y_part_start", lambda c: replace(c, value=Const(1.0, c.value.dtype))),
    ),
    "a lane left out": (
        product,
        Privatize("y", "k", 4),
        change("y_part", lambda c: replace(c, conditions=(Var("k") < 7,))),
    ),
    "a lost sign": (
        written,
        SplitSum("y"),
        change("y_term", lambda c: replace(c, value=c.value.operand)),  # type: ignore[union-attr]
    ),
    "a result of another place": (
        product,
        Accumulate("y"),
        change("y", lambda c: replace(c, value=Load("y_acc", (as_expr(5) - Var("i"),), c.value.dtype))),
    ),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_transformation_that_changes_values_is_refused(name: str) -> None:
    make, right, spoil = WRONG[name]
    schedule = make()
    assert schedule.apply(right).trace[-1] == right
    with pytest.raises(IllegalSchedule) as caught:
        schedule.apply(Spoiled(right, spoil))
    wrong = caught.value.violation
    assert isinstance(wrong, OtherValue)
    assert wrong.at, "an instance, or a cell of a result"
    assert wrong.wanted != wrong.found
    assert str(caught.value).startswith("Spoiled(")
    for answer in (schedule.ask(Spoiled(right, spoil)), schedule.ask(right)):
        assert bool(answer) == (answer.request == right)


def test_the_refusal_names_what_is_read_instead() -> None:
    make, right, spoil = WRONG["a copy of shifted cells"]
    with pytest.raises(IllegalSchedule) as caught:
        make().apply(Spoiled(right, spoil))
    why = caught.value.why
    assert "y(1) depends on t(1), but would then depend on t(0)" in why or "y(0)" in why, why


def test_a_fusion_that_delays_by_too_little_is_refused() -> None:
    """y[j] needs t[j + 1]: fused, it must run an iteration later, and runs one earlier."""

    def early(tree: AnyTree) -> AnyTree:
        def step(node: AnyTree) -> AnyTree:
            if isinstance(node, Band):
                moved = tuple(
                    replace(m, exprs=tuple((s, e - constant(1) if s == "y" else e) for s, e in m.exprs))
                    for m in node.members
                )
                return Band(moved, node.child)
            return node

        return map_tree(tree, step)

    with pytest.raises(IllegalSchedule) as caught:
        neighbours().apply(Spoiled(Fuse(("i", "j")), tree=early))
    wrong = caught.value.violation
    assert isinstance(wrong, Violation)
    assert wrong.dependence is not None
    assert (wrong.dependence.source, wrong.dependence.sink) == ("t", "y")
    assert len(wrong.source) == len(wrong.sink) == len(wrong.cell) == 1


def test_an_access_outside_of_its_tensor_names_the_transformation() -> None:
    """A result that nobody reads in the new place would pass as a value; the place must exist all the same."""

    def short(function: Function) -> Function:
        few = (as_expr(1), as_expr(5))
        tensors = (replace(t, shape=few) if t.name == "t_packed" else t for t in function.tensors)
        return replace(function, tensors=tuple(tensors))

    with pytest.raises(OutOfBounds, match=r"Spoiled\(Pack\('t', 'j.o', 'y'\)\)") as caught:
        neighbours().apply(Split("j", 4), Spoiled(Pack("t", "j.o", "y"), short))
    assert "t_packed[" in str(caught.value)


def test_partial_maxima_are_taken_for_each_other() -> None:
    """The same judge for another operator."""
    schedule = added("max")
    assert schedule.apply(PartialSums("y", "k.o"))
    with pytest.raises(IllegalSchedule):
        schedule.apply(
            Spoiled(
                PartialSums("y", "k.o"),
                change("y", lambda c: replace(c, conditions=(*c.conditions, Var("k") >= 1))),
            )
        )


def test_sum_of_a_sum() -> None:
    """Partial sums of partial sums are looked through as well."""
    f = FunctionBuilder("nested")
    a = f.input("a", (4, 8))
    y = f.compute("y", {"i": 4}, lambda i: sum_over({"k": 8}, lambda k: a[i, k]))
    schedule = Schedule.of(f.build([y])).apply(Privatize("y", "k", 4), Privatize("y", "kv", 2))
    assert len(schedule.trace) == 2
