"""From a function to its polyhedral model: iteration domains, access relations and contexts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

from polydl.dsl.function import Axis, Combiner, Function, StatementDef
from polydl.errors import InvalidProgram
from polydl.ir.expr import (
    Binary,
    Broadcast,
    Call,
    Cast,
    Const,
    Expr,
    Load,
    Ramp,
    ReduceLanes,
    Select,
    Unary,
    Var,
    walk,
)
from polydl.ir.printer import print_expr
from polydl.poly import affine
from polydl.poly.affine import Affine, FloorDiv, Mod
from polydl.poly.model import Access, AccessKind, Box, Scop, Statement

__all__ = ["commutes", "condition_text", "from_affine", "loads", "scop_of", "to_affine"]


def to_affine(e: Expr) -> Affine | None:
    """`e` as a quasi-affine expression over its variables; None where it is not one."""
    match e:
        case Const(value=value, dtype=dtype):
            return affine.constant(int(value)) if dtype.is_integer else None
        case Var(name=name, lanes=1):
            return affine.dim(name)
        case Unary(op="neg", operand=x):
            inner = to_affine(x)
            return None if inner is None else -inner
        case Binary(op="add" | "sub" | "mul" | "floordiv" | "mod" as op, a=x, b=y):
            left, right = to_affine(x), to_affine(y)
            if left is None or right is None:
                return None
            return _combine(op, left, right)
        case (
            Binary()
            | Unary()
            | Var()
            | Load()
            | Call()
            | Cast()
            | Select()
            | Ramp()
            | Broadcast()
            | ReduceLanes()
        ):
            return None
        case _:
            assert_never(e)


def _combine(op: str, left: Affine, right: Affine) -> Affine | None:
    match op:
        case "add":
            return left + right
        case "sub":
            return left - right
        case "mul":
            if right.is_constant:
                return left * right.constant
            return right * left.constant if left.is_constant else None
        case "floordiv" if right.is_constant and right.constant > 0:
            return left // right.constant
        case "mod" if right.is_constant and right.constant > 0:
            return left % right.constant
        case _:
            return None


def from_affine(a: Affine) -> Expr:
    """The expression that an `Affine` spells."""
    result: Expr | None = None
    for atom, c in a.terms:
        match atom:
            case FloorDiv(dividend, divisor):
                term: Expr = from_affine(dividend) // divisor
            case Mod(dividend, modulus):
                term = from_affine(dividend) % modulus
            case _:
                term = Var(atom)
        if result is None:
            result = term if c == 1 else term * c
        elif c < 0:
            result = result - (term if c == -1 else term * -c)
        else:
            result = result + (term if c == 1 else term * c)
    if result is None:
        return Const(a.constant, Var("").dtype)
    return result + a.constant if a.constant else result


_RELATIONS: Final = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "="}


def condition_text(e: Expr) -> str:
    """An affine condition in isl's syntax; InvalidProgram where it is not affine."""
    match e:
        case Const(value=value):
            return "true" if value else "false"
        case Binary(op="and", a=a, b=b):
            return f"({condition_text(a)} and {condition_text(b)})"
        case Binary(op="or", a=a, b=b):
            return f"({condition_text(a)} or {condition_text(b)})"
        case Unary(op="not", operand=x):
            return f"(not {condition_text(x)})"
        case Binary(op="ne", a=a, b=b):
            return f"(not {condition_text(Binary('eq', a, b))})"
        case Binary(op=op, a=a, b=b) if op in _RELATIONS:
            left, right = to_affine(a), to_affine(b)
            if left is not None and right is not None:
                return f"({left} {_RELATIONS[op]} {right})"
        case _:
            pass
    raise InvalidProgram(
        "a condition of an iteration domain is not affine",
        where=print_expr(e),
        next="use polydl.select in the body instead",
    )


def loads(e: Expr) -> Iterator[Load]:
    """All loads in `e`, also those in subscripts."""
    return (x for x in walk(e) if isinstance(x, Load))


def commutes(op: str | Combiner) -> bool:
    """Whether the values of a reduction may be combined in any order."""
    return isinstance(op, str) or op.commutative


def _subscripts(index: tuple[Expr, ...]) -> tuple[Affine | None, ...]:
    return tuple(to_affine(i) for i in index)


def _domain(s: StatementDef) -> str:
    constraints = []
    for a in s.axes:
        constraints.append(f"{_bound(a.lower, a, s)} <= {a.name} < {_bound(a.upper, a, s)}")
    constraints += [condition_text(c) for c in s.conditions]
    condition = " and ".join(constraints)
    names = ", ".join(a.name for a in s.axes)
    return f"{{ {s.name}[{names}] : {condition} }}" if condition else f"{{ {s.name}[{names}] }}"


def _bound(e: Expr, axis: Axis, s: StatementDef) -> Affine:
    result = to_affine(e)
    if result is None:
        raise InvalidProgram(f"a bound of axis {axis.name} of {s.name} is not affine", where=str(e))
    return result


_COMMUTING: Final = frozenset({"add", "mul", "min", "max"})


def _as_update(s: StatementDef) -> tuple[str, Expr] | None:
    """The operator and the other operand of an assignment that combines what its target holds already.

        y[i] = max(y[i], f(i))      the update of y[i] by max that it would be under one more loop

    Only where every instance has a cell of its own: code generation knows the assignment as one, and lanes or threads
    that met in a cell would overwrite each other. The order against other statements' updates is all that is freed.
    """
    if s.op is not None or s.also or not isinstance(s.value, Binary) or s.value.op not in _COMMUTING:
        return None
    own = [to_affine(i) for i in s.index]
    alone = {e.terms[0][0] for e in own if e is not None and len(e.terms) == 1}
    if not all(a.name in alone for a in s.axes):
        return None
    for old, other in ((s.value.a, s.value.b), (s.value.b, s.value.a)):
        if isinstance(old, Load) and (old.buffer, old.index, old.mask) == (s.target, s.index, None):
            return s.value.op, other
    return None


def _accesses(s: StatementDef) -> Iterator[Access]:
    update = _as_update(s)
    values = s.values if update is None else (update[1],)
    for load in dict.fromkeys(load for value in values for load in loads(value)):
        yield Access(AccessKind.READ, load.buffer, _subscripts(load.index))
    for place in s.targets:
        for load in (load for index in place.index for load in loads(index)):
            raise InvalidProgram(f"{s.name} stores at a data-dependent place", where=str(load))
        target = _subscripts(place.index)
        if any(t is None for t in target):
            raise InvalidProgram(f"{s.name} stores at subscripts that are not affine", where=str(place.index))
        # A value that reads the target too is one more read: it keeps its order against the updates of what it reads.
        # So does an operator that does not commute: its updates are reads and writes like any others.
        if s.op is not None and not commutes(s.op):
            yield Access(AccessKind.READ, place.target, target)
        free = update is not None or (s.op is not None and commutes(s.op))
        yield Access(AccessKind.UPDATE if free else AccessKind.WRITE, place.target, target)


def _operator(s: StatementDef) -> str | None:
    """The name of the operator by which a statement updates; a user's gets a name that no built-in operator has."""
    match s.op:
        case None:
            update = _as_update(s)
            return None if update is None else update[0]
        case str():
            return s.op
        case Combiner():
            return f"combiner {s.op}" if commutes(s.op) else None


def scop_of(function: Function) -> Scop:
    """The polyhedral model of `function`; InvalidProgram where a domain or a store is not affine."""
    prefix = f"[{', '.join(function.sizes)}] -> " if function.sizes else ""
    conditions = [condition_text(c) for c in function.conditions] or [f"{n} >= 1" for n in function.sizes]
    context = f"{prefix}{{ : {' and '.join(conditions)} }}" if conditions else "{ : }"
    tensors = []
    for t in function.tensors:
        lower = [to_affine(x) for x in t.origin]
        extent = [to_affine(x) for x in t.shape]
        if any(x is None for x in lower) or any(x is None for x in extent):
            raise InvalidProgram(f"the shape of {t.name} is not affine in the sizes")
        low = tuple(x for x in lower if x is not None)
        upper = tuple(x + y for x, y in zip(low, (e for e in extent if e is not None), strict=True))
        tensors.append((t.name, Box(low, upper)))
    statements = tuple(
        Statement(
            s.name,
            tuple(a.name for a in s.axes),
            prefix + _domain(s),
            tuple(_accesses(s)),
            _operator(s),
        )
        for s in function.statements()
    )
    return Scop(function.sizes, context, tuple(tensors), statements)
