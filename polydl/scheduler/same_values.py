"""What a change of statements says to the judge: both programs as stores of values, in their original orders."""

from __future__ import annotations

from polydl import poly
from polydl.dsl.function import Combiner, Function, StatementDef, identity
from polydl.dsl.polyhedral import commutes, scop_of, to_affine
from polydl.dsl.tensor import TensorRole
from polydl.errors import NotApplicable
from polydl.ir.expr import Binary, Call, Cast, Const, Expr, Load, Select, Unary, Var, children
from polydl.poly.equivalence import OtherValue, other_value
from polydl.poly.flow import Apply, Index, Meaning, Read, Store, Value
from polydl.poly.model import Access, AccessKind
from polydl.poly.tree import Tree, members
from polydl.scheduler.redirection import original_order
from polydl.scheduler.structure import normalise, rename_members, restrict

__all__ = ["changed_result"]


def changed_result(before: Function, after: Function, reassociate: bool) -> OtherValue | None:
    """The judge's example of a value that `after`, whose statements are others, would not compute as `before` does.

    NotApplicable where that depends on data-dependent places of tensors that are stored to.
    """
    if _interface(before) != _interface(after):
        raise NotApplicable(f"{after.name} would be called in another way")
    stored = {t.target for f in (before, after) for s in f.statements() for t in s.targets}
    first, second = (_meaning(f, stored) for f in (before, after))
    kept = [{(s.name, s.axes, s.conditions): s.name for s in f.statements()} for f in (before, after)]
    common = [[name for key, name in mine.items() if key in kept[0] and key in kept[1]] for mine in kept]
    same = common[0] == common[1] and _only(first.tree, common[0]) == _only(second.tree, common[1])
    return other_value(first, second, same, reassociate)


def _interface(function: Function) -> object:
    """What a caller passes, and what holds for it."""
    given = [t for t in function.tensors if t.role is not TensorRole.TEMPORARY]
    return function.sizes, function.conditions, [(t.name, t.role, t.dtype, t.shape, t.origin) for t in given]


def _only(tree: Tree, statements: list[str]) -> Tree | None:
    """The tree of some statements, its loops numbered."""
    rest = restrict(tree, [s for s in poly.statements_below(tree) if s in statements])
    if rest is None:
        return None
    rest = normalise(rest)
    numbers = {m.name: str(k) for k, m in enumerate(members(rest))}
    return rename_members(rest, lambda name: numbers[name])


def _meaning(function: Function, stored: set[str]) -> Meaning:
    scop = scop_of(function)
    stores = tuple(store for s in function.statements() for store in _stores(s, stored))
    results = tuple(t.name for t in function.tensors if t.role in (TensorRole.OUTPUT, TensorRole.INOUT))
    neutral: set[tuple[str, Value]] = set()
    ops = {s.op for s in function.statements() if s.op is not None and _single(s)}
    for s in function.statements():
        if isinstance(s.value, Const):
            for op in ops:
                nothing = identity(op, s.value.dtype).value
                if s.value.value == nothing:  # of a sum also -0.0
                    neutral.add((_spelled(op), _value(s.value, stored)))
    return Meaning(scop, original_order(function), stores, results, frozenset(neutral))


def _single(s: StatementDef) -> bool:
    """Whether a reduction is of single values that may be combined in any order, so that it can be taken apart."""
    return s.op is not None and commutes(s.op) and len(s.targets) == 1


def _spelled(op: str | Combiner) -> str:
    """The operator by what it does: two of a user's may have one name."""
    return op if isinstance(op, str) else f"{op.name}: {op.left}, {op.right} -> {op.results}"


def _stores(s: StatementDef, stored: set[str]) -> list[Store]:
    found = []
    free = s.op is not None and commutes(s.op)
    for number, place in enumerate(s.targets):
        subscripts = tuple(map(to_affine, place.index))
        access = Access(AccessKind.UPDATE if free else AccessKind.WRITE, place.target, subscripts)
        value = _value(place.value, stored)
        if isinstance(s.op, Combiner) and not _single(s):
            # each result depends on all the values and on what all the places hold
            old = (
                ()
                if free
                else tuple(
                    Read(Access(AccessKind.READ, t.target, tuple(map(to_affine, t.index)))) for t in s.targets
                )
            )
            value = Apply((_spelled(s.op), number), (*old, *(_value(v, stored) for v in s.values)))
        found.append(
            Store(s.name, number, access, value, _spelled(s.op) if s.op is not None and free else "")
        )
    return found


def _value(e: Expr, stored: set[str]) -> Value:
    if e.dtype == Var("").dtype:
        affine = to_affine(e)
        if affine is not None:
            return Index(affine)
    match e:
        case Load(buffer=tensor, index=index):
            subscripts = tuple(map(to_affine, index))
            if None in subscripts and tensor not in stored:
                return Apply(("element", tensor), tuple(_value(i, stored) for i in index))
            read = Read(Access(AccessKind.READ, tensor, subscripts))
            return (
                read if None not in subscripts else Apply("at", (read, *(_value(i, stored) for i in index)))
            )
        case Const(value=value, dtype=dtype):
            return Apply(("constant", dtype.name, repr(value)))
        case Binary(op=("add" | "sub") as op) if e.dtype.is_float:
            return Apply(op, tuple(_value(x, stored) for x in children(e)))
        case Unary(op="neg") if e.dtype.is_float:
            return Apply("neg", tuple(_value(x, stored) for x in children(e)))
        case Binary(op=op) | Unary(op=op):
            return Apply((op, e.dtype.name), tuple(_value(x, stored) for x in children(e)))
        case Call(function=name):
            return Apply(("call", name), tuple(_value(x, stored) for x in children(e)))
        case Cast():
            return Apply(("cast", e.dtype.name), tuple(_value(x, stored) for x in children(e)))
        case Select():
            return Apply("select", tuple(_value(x, stored) for x in children(e)))
        case _:
            return Apply(("spelled", str(e)))
