"""Functions: what is computed, without any word on how.

Semantic contract
-----------------
* A `Function` has tensors and an ordered list of `Computation`s. A computation runs its body once for each point of its
  iteration domain (`lower <= axis < upper` for each axis, bounds affine in sizes and in the axes before it, and all
  `conditions`), in lexicographic order of its axes; computations run one after the other. A function with an `order`
  runs the statement instances as that schedule tree says instead (interleaved, reversed, ...).
* Without a reduction a point stores `value` at `target[index]`. With `Reduction(op, axes, init)` the points that differ
  only in `axes` are combined: `target[index] = init` first (for every point of the remaining axes; skipped if init is
  None), then `target[index] = op(target[index], value)` for each point. The order of combination is free where the
  schedule's `reassociate` policy says so.
* A computation with `also` stores tuples: all values of a point are computed before the first of them is stored. In a
  reduction the tuple `(value, *also values)` is combined with the tuple of the targets' elements by one `Combiner`.
* A reduction by a `Combiner` that is not commutative runs in order, whatever the policy says.
* A body may read the computation's own target (a recurrence): it sees what has been stored before.
* Loads and stores must be in bounds; affine ones are proved so, data-dependent ones are checked at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from polydl.dsl.tensor import Tensor, TensorRole
from polydl.dtypes import DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import Binary, Const, Expr, Load, Var, substitute, walk
from polydl.poly.remembered import Remembered
from polydl.poly.tree import Tree

__all__ = [
    "Also",
    "Axis",
    "Combiner",
    "Computation",
    "Function",
    "Reduction",
    "StatementDef",
    "combine",
    "identity",
]


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of an iteration domain: `lower <= name < upper`."""

    name: str
    lower: Expr
    upper: Expr

    @property
    def var(self) -> Var:
        return Var(self.name)


@dataclass(frozen=True, slots=True)
class Combiner:
    """A user's operator on tuples of values: `results`, over the variables `left` (what has been combined so far) and
    `right` (the next value). `identity` combined with x is x. `commutative`: associative too, so any order will do.
    """

    name: str
    left: tuple[Var, ...]
    right: tuple[Var, ...]
    results: tuple[Expr, ...]
    identity: tuple[Const, ...]
    commutative: bool

    def __call__(self, left: Sequence[Expr], right: Sequence[Expr]) -> tuple[Expr, ...]:
        """The tuple combined from two tuples."""
        names = [v.name for v in (*self.left, *self.right)]
        bindings = dict(zip(names, (*left, *right), strict=True))
        return tuple(substitute(e, bindings) for e in self.results)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Reduction:
    """Combination over `axes` by an associative and commutative `op`, or by a `Combiner`.

    add, mul, min, max, and, or, bitand, bitor or bitxor.
    """

    op: str | Combiner
    axes: tuple[str, ...]
    init: Expr | None


@dataclass(frozen=True, slots=True)
class Also:
    """One more tensor that every point stores to at the same time; `init`: its initial value in a reduction."""

    target: str
    index: tuple[Expr, ...]
    value: Expr
    init: Expr | None = None


@dataclass(frozen=True, slots=True)
class Computation:
    """See the module's contract. `axes` lists the reduction axes last, but where bounds of others depend on them."""

    name: str
    axes: tuple[Axis, ...]
    conditions: tuple[Expr, ...]
    target: str
    index: tuple[Expr, ...]
    value: Expr
    reduction: Reduction | None = None
    also: tuple[Also, ...] = ()


@dataclass(frozen=True, slots=True)
class StatementDef:
    """A polyhedral statement: at each point, `target[index] = value`, or `target[index] = op(target[index], value)`."""

    name: str
    axes: tuple[Axis, ...]
    conditions: tuple[Expr, ...]
    target: str
    index: tuple[Expr, ...]
    value: Expr
    op: str | Combiner | None  # of a reduction's update
    also: tuple[Also, ...] = ()

    @property
    def values(self) -> tuple[Expr, ...]:
        """What the point computes, without what the targets hold already."""
        return (self.value, *(x.value for x in self.also))

    @property
    def targets(self) -> tuple[Also, ...]:
        """The elements that the point stores to or updates, each with its value."""
        return (Also(self.target, self.index, self.value), *self.also)

    def stores(self) -> tuple[Also, ...]:
        """The elements that the point stores to, with the updates of a reduction spelled out."""
        match self.op:
            case None:
                return self.targets
            case str() as op:
                old = Load(self.target, self.index, self.value.dtype)
                return (Also(self.target, self.index, Binary(op, old, self.value)), *self.also)
            case combiner:
                places = self.targets
                results = combiner([Load(t.target, t.index, t.value.dtype) for t in places], self.values)
                return tuple(replace(t, value=e) for t, e in zip(places, results, strict=True))


@dataclass(frozen=True, slots=True)
class Function:
    """`sizes` are symbolic parameters (index type, >= 1 unless `conditions` say otherwise).

    `order`: the original order as a schedule tree over the statements, without filter conditions, every loop
    sequential; None: the computations one after the other.
    """

    name: str
    sizes: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    computations: tuple[Computation, ...]
    conditions: tuple[Expr, ...] = ()
    order: Tree | None = None

    def tensor(self, name: str) -> Tensor:
        for t in self.tensors:
            if t.name == name:
                return t
        raise InvalidProgram(
            f"function {self.name} has no tensor '{name}'",
            next=f"one of {', '.join(t.name for t in self.tensors)}",
        )

    def computation(self, name: str) -> Computation:
        for c in self.computations:
            if c.name == name:
                return c
        writers = [c.name for c in self.computations if name in (c.target, *(x.target for x in c.also))]
        raise InvalidProgram(
            f"function {self.name} has no computation '{name}'",
            why=f"'{name}' is a tensor" if writers else "",
            next=f"what writes it: {', '.join(writers)}"
            if writers
            else f"one of {', '.join(c.name for c in self.computations)}",
        )

    def with_tensor(self, tensor: Tensor) -> Function:
        """The function with the tensor of that name replaced."""
        return replace(self, tensors=tuple(tensor if t.name == tensor.name else t for t in self.tensors))

    def of_role(self, *roles: TensorRole) -> tuple[Tensor, ...]:
        return tuple(t for t in self.tensors if t.role in roles)

    def statements(self) -> tuple[StatementDef, ...]:
        """The polyhedral statements in order; a reduction with an initial value gives `NAME_init` and `NAME`."""
        known = _STATEMENTS.get(self)
        if known is not None:
            return known
        result = []
        for c in self.computations:
            r = c.reduction
            if r is not None and r.init is not None:
                kept = tuple(a for a in c.axes if a.name not in r.axes)
                names = set(r.axes)
                conditions = tuple(e for e in c.conditions if not names & _names(e))
                starts = tuple(Also(x.target, x.index, x.init) for x in c.also if x.init is not None)
                result.append(
                    StatementDef(f"{c.name}_init", kept, conditions, c.target, c.index, r.init, None, starts)
                )
            op = r.op if r else None
            result.append(StatementDef(c.name, c.axes, c.conditions, c.target, c.index, c.value, op, c.also))
        return _STATEMENTS.put(tuple(result), self)


_STATEMENTS: Final = Remembered[tuple[StatementDef, ...]](64)


def _names(e: Expr) -> set[str]:
    return {x.name for x in walk(e) if isinstance(x, Var)}


def combine(op: str | Combiner, a: Expr, b: Expr) -> Expr:
    """`a op b` of a reduction of single values."""
    return Binary(op, a, b) if isinstance(op, str) else op((a,), (b,))[0]


def identity(op: str | Combiner, dtype: DType) -> Const:
    """The neutral element of a reduction operator on `dtype`."""
    if isinstance(op, Combiner):
        return op.identity[0]
    low: int | float
    high: int | float
    if dtype.is_float:
        low, high = float("-inf"), float("inf")
    elif dtype.kind == "i":
        low, high = -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1
    else:
        low, high = 0, (1 << dtype.bits) - 1 if dtype.kind == "u" else 1
    table: dict[str, int | float] = {
        "add": 0, "mul": 1, "max": low, "min": high, "and": 1, "or": 0, "bitand": -1 if dtype.kind == "i" else high,
        "bitor": 0, "bitxor": 0,
    }  # fmt: skip
    if op not in table:
        raise InvalidProgram(f"'{op}' is not a reduction operator", next=f"one of {sorted(table)}")
    value = table[op]
    return Const(float(value) if dtype.is_float else bool(value) if dtype.kind == "b" else value, dtype)
