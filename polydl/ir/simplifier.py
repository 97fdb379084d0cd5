"""Simplification of expressions by constant folding, affine normal forms and intervals.

Semantic contract: the result has the value of the input wherever every variable lies in its range, bit for bit, except
that a load may be dropped. A variable of the index type whose range is open or not given is taken to be within ±2^47:
it is a loop iterator, a size or a subscript, and no address space is larger. Integers read from buffers have no such
bound, and wrap-around is respected for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import copysign
from typing import Final, NamedTuple, assert_never

from polydl.dtypes import BOOL, INDEX, DType
from polydl.errors import InvalidProgram
from polydl.ir.affine import Linear, LinearSpace
from polydl.ir.expr import (
    COMPARISONS,
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
)  # fmt: skip
from polydl.ir.integers import SWAPPED, compare, integer_binary
from polydl.ir.nodes import literal_of
from polydl.ir.semantics import (
    apply_binary,
    apply_call,
    apply_cast,
    apply_unary,
    constant,
    limits,
    to_const,
    wrap,
)

__all__ = ["INDEX_LIMIT", "Affine", "Range", "Simplifier"]

INDEX_LIMIT: Final = 1 << 47
_NEGATED: Final = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt", "eq": "ne", "ne": "eq"}


class Range(NamedTuple):
    """The closed interval of a variable's values; None where a side is open."""

    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Affine:
    """`const + sum coefficient * atom`; the atoms in canonical order, none of them a constant."""

    const: int
    terms: tuple[tuple[Expr, int], ...]

    def coefficient(self, name: str) -> int:
        """The coefficient of the variable `name`."""
        return next((c for atom, c in self.terms if isinstance(atom, Var) and atom.name == name), 0)


class Simplifier:
    """Simplifies many expressions over the same variables, sharing what it finds out.

    `ranges` bound variables; `substitution` replaces them by expressions free of replaced variables. Expressions are
    remembered by identity; a name may be bound anew with `bind` when its scope has ended.
    """

    def __init__(
        self, ranges: Mapping[str, Range] | None = None, substitution: Mapping[str, Expr] | None = None
    ) -> None:
        self.ranges: dict[str, Range] = dict(ranges or {})
        self.substitution: dict[str, Expr] = dict(substitution or {})
        self.facts: tuple[tuple[Expr, bool], ...] = ()
        self._reset()

    def _reset(self) -> None:
        self._space = LinearSpace()
        self._memo: dict[int, tuple[Expr, Linear | Expr]] = {}
        self._seen: set[str] = set()
        self._known: dict[int, bool] = {}
        for condition, truth in self.facts:
            node = self.simplify(condition)
            if literal_of(node) is None:
                self._known[id(node)] = truth
        self._memo.clear()  # what was simplified before the facts were known

    # ---- what is known

    def bind(self, name: str, value: Range | Expr) -> None:
        """From here on the variable `name` lies in a range, or is replaced by a (simplified) expression."""
        old: Range | Expr | None = self.substitution.get(name, self.ranges.get(name))
        if name in self._seen and (type(old) is not type(value) or old != value):
            self._reset()
        self.substitution.pop(name, None)
        self.ranges.pop(name, None)
        if isinstance(value, Range):
            self.ranges[name] = value
        else:
            self.substitution[name] = value

    def assuming(self, condition: Expr, truth: bool) -> Simplifier:
        """A simplifier for places reached only where `condition` is `truth`."""
        result = Simplifier(self.ranges, self.substitution)
        facts: list[tuple[Expr, bool]] = []
        self._learn(condition, truth, result.ranges, facts)
        result.facts = self.facts + tuple(facts)
        result._reset()
        return result

    def _learn(self, e: Expr, truth: bool, ranges: dict[str, Range], facts: list[tuple[Expr, bool]]) -> None:
        match e:
            case Binary("and", a, b) if truth:
                self._learn(a, truth, ranges, facts)
                self._learn(b, truth, ranges, facts)
            case Binary("or", a, b) if not truth:
                self._learn(a, truth, ranges, facts)
                self._learn(b, truth, ranges, facts)
            case Unary("not", x):
                self._learn(x, not truth, ranges, facts)
            case Binary(op, a, b) if op in COMPARISONS and a.dtype.is_integer:
                self._narrow(op if truth else _NEGATED[op], self._linear(a), self._linear(b), ranges)
                facts += [] if _reads_memory(e) else [(e, truth)]
            case _:
                facts += [] if _reads_memory(e) else [(e, truth)]

    def _narrow(self, op: str, a: Linear, b: Linear, ranges: dict[str, Range]) -> None:
        """Bounds of a variable from `a op b` where the difference is `c*variable + const`."""
        if op in SWAPPED:
            op, a, b = SWAPPED[op], b, a
        if not (self._space.interval(a).exact and self._space.interval(b).exact) or op == "ne":
            return
        d = self._space.add(a, b, -1)
        terms = self._space.atoms(d)
        if len(terms) != 1:
            return
        ((atom, c),) = terms
        if not isinstance(atom, Var) or atom.lanes > 1:
            return
        low, high, _ = self._space.interval(Linear(0, {id(atom): 1}, d.dtype))
        top = -d.const - (op == "lt")  # c * atom <= top
        if c > 0:
            high = min(high, top // c)
        else:
            low = max(low, -(top // -c))
        if op == "eq":  # also c * atom >= -const
            low, high = (max(low, -(d.const // c)), high) if c > 0 else (low, min(high, d.const // -c))
        if low <= high:
            ranges[atom.name] = Range(low, high)

    # ---- questions

    def simplify(self, e: Expr) -> Expr:
        return self._expr(self._visit(e))

    def interval(self, e: Expr) -> tuple[int, int]:
        """Closed bounds of an integer expression, at worst those of its type."""
        low, high, _ = self._space.interval(self._linear(e))
        return low, high

    def bounds(self, e: Expr) -> Range:
        """As `interval`, with None where nothing better is known than what holds for all indices or the whole type."""
        if not e.dtype.is_integer:
            return Range(None, None)
        low, high, _ = self._space.interval(self._linear(e))
        least, greatest = (-INDEX_LIMIT, INDEX_LIMIT) if e.dtype == INDEX else limits(e.dtype)
        return Range(None if low <= least else low, None if high >= greatest else high)

    def linear(self, e: Expr, names: Collection[str]) -> Affine | None:
        if not e.dtype.is_integer:
            return None
        n = self._linear(e)
        terms = tuple(self._space.atoms(n))
        for atom, _ in terms:
            if not isinstance(atom, Var) and any(isinstance(x, Var) and x.name in names for x in walk(atom)):
                return None
        return Affine(n.const, terms)

    # ---- the walk

    def _expr(self, value: Linear | Expr) -> Expr:
        return self._space.rebuild(value) if isinstance(value, Linear) else value

    def _linear(self, e: Expr) -> Linear:
        value = self._visit(e)
        if not isinstance(value, Linear):
            raise InvalidProgram(f"an expression of type {value.dtype} stands where an integer is needed")
        return value

    def _visit(self, e: Expr) -> Linear | Expr:
        found = self._memo.get(id(e))
        if found is not None:
            return found[1]
        result = self._compute(e)
        if not isinstance(result, Linear):
            truth = self._known.get(id(result))
            if truth is not None:
                result = self._space.fit(self._space.truth(truth), self._space.lanes_of(result))
        self._memo[id(e)] = (e, result)
        return result

    def _compute(self, e: Expr) -> Linear | Expr:
        space = self._space
        match e:
            case Binary(op, left, right):
                a, b = self._visit(left), self._visit(right)
                if isinstance(a, Linear) and isinstance(b, Linear):
                    return compare(space, op, a, b) if op in COMPARISONS else integer_binary(space, op, a, b)
                return self._other(op, self._expr(a), self._expr(b))
            case Var(name, dtype, lanes):
                self._seen.add(name)
                if name in self.substitution:
                    return self._visit(self.substitution[name])
                node = space.intern(e, e, lanes)
                return space.atom(node, dtype, *self._range(name, dtype)) if dtype.is_integer else node
            case Const(value, dtype):
                if dtype.is_integer:
                    return space.constant(wrap(int(value), dtype), dtype)
                return space.intern(e, e, 1)
            case Load(buffer, index, dtype, mask):
                subscripts = tuple([self._expr(self._visit(i)) for i in index])
                where = None if mask is None else self._expr(self._visit(mask))
                lanes = max(map(space.lanes_of, subscripts), default=1)
                match literal_of(where):
                    case Const(True):
                        where = None
                    case Const(False):
                        return self._of_const(_zero(dtype), lanes)
                key = ("load", buffer, dtype.name, id(where), *map(id, subscripts))
                return self._opaque(space.intern(key, Load(buffer, subscripts, dtype, where), lanes), dtype)
            case Unary(op, operand):
                return self._unary(op, self._visit(operand))
            case Call(function, operands):
                xs = tuple([self._expr(self._visit(x)) for x in operands])
                lanes = max(map(space.lanes_of, xs))
                literals = [x for x in map(literal_of, xs) if x is not None]
                if len(literals) == len(xs):
                    value = apply_call(function, *map(constant, literals))
                    return self._of_const(to_const(value, e.dtype), lanes)
                return space.intern(("call", function, *map(id, xs)), Call(function, xs), lanes)
            case Select(cond, left, right):
                return self._select(self._expr(self._visit(cond)), self._visit(left), self._visit(right))
            case Cast(dtype, operand):
                return self._cast(dtype, self._visit(operand))
            case Ramp(base, stride, lanes):
                start = self._linear(base)
                return space.add(start, space.iota(lanes, start.dtype), stride)
            case Broadcast(operand, lanes):
                x = self._visit(operand)
                return (
                    Linear(x.const, x.terms, x.dtype, lanes) if isinstance(x, Linear) else space.fit(x, lanes)
                )
            case ReduceLanes(op, operand):
                x = self._expr(self._visit(operand))
                return self._opaque(space.intern(("reduce", op, id(x)), ReduceLanes(op, x), 1), x.dtype)
            case _:
                assert_never(e)

    def _range(self, name: str, dtype: DType) -> tuple[int, int]:
        least, greatest = (-INDEX_LIMIT, INDEX_LIMIT) if dtype == INDEX else limits(dtype)
        low, high = self.ranges.get(name, (None, None))
        return least if low is None else low, greatest if high is None else high

    def _opaque(
        self, node: Expr, dtype: DType, low: int | None = None, high: int | None = None
    ) -> Linear | Expr:
        return self._space.atom(node, dtype, low, high) if dtype.is_integer else node

    def _of_const(self, c: Const, lanes: int) -> Linear | Expr:
        if c.dtype.is_integer:
            return self._space.constant(int(c.value), c.dtype, lanes)
        return self._space.fit(self._space.intern(c, c, 1), lanes)

    # ---- everything else

    def _other(self, op: str, a: Expr, b: Expr) -> Expr:
        """Operators on floats and booleans."""
        space = self._space
        lanes = max(space.lanes_of(a), space.lanes_of(b))
        x, y = literal_of(a), literal_of(b)
        if x is not None and y is not None:
            value = apply_binary(op, constant(x), constant(y))
            folded = self._of_const(to_const(value, BOOL if op in COMPARISONS else x.dtype), lanes)
            return self._expr(folded)
        kept: Expr | None = None
        match op, x, y:
            case ("and", Const(True), _) | ("or", Const(False), _) | ("mul", Const(1), _):
                kept = b
            case ("and", _, Const(True)) | ("or", _, Const(False)) | ("mul" | "div", _, Const(1)):
                kept = a
            case ("and", Const(False), _) | ("or", Const(True), _):
                kept = a
            case ("and", _, Const(False)) | ("or", _, Const(True)):
                kept = b
            case ("sub", _, Const(0) as zero) if copysign(1, zero.value) > 0:
                kept = a  # and x + 0.0 stays: it is not x for x = -0.0
        if (
            op in ("add", "sub") and isinstance(b, Unary) and b.op == "neg"
        ):  # exact, and what contraction looks for
            return space.binary("sub" if op == "add" else "add", a, b.operand)
        return space.binary(op, a, b) if kept is None else space.fit(kept, lanes)

    def _unary(self, op: str, x: Linear | Expr) -> Linear | Expr:
        space = self._space
        if isinstance(x, Linear):
            low, high, _ = space.interval(x)
            if op == "neg":
                return space.scale(x, -1)
            if op == "abs" and (low >= 0 or (high <= 0 and low > limits(x.dtype)[0])):
                return x if low >= 0 else space.scale(x, -1)
            if not x.terms:
                value = apply_unary(op, constant(Const(wrap(x.const, x.dtype), x.dtype)))
                return space.constant(int(value), x.dtype, x.lanes)
            node = space.rebuild(x)
            return space.atom(space.intern((op, id(node)), Unary(op, node), x.lanes), x.dtype)
        literal = literal_of(x)
        lanes = space.lanes_of(x)
        if literal is not None:
            return self._of_const(to_const(apply_unary(op, constant(literal)), literal.dtype), lanes)
        match op, x:
            case ("neg" | "not", Unary(inner, operand)) if inner == op:
                return operand
            case ("not", Binary(comparison, a, b)) if comparison in ("eq", "ne") or (
                comparison in _NEGATED and a.dtype.is_integer
            ):
                return space.binary(_NEGATED[comparison], a, b)
        return space.intern((op, id(x)), Unary(op, x), lanes)

    def _select(self, cond: Expr, a: Linear | Expr, b: Linear | Expr) -> Linear | Expr:
        space = self._space
        if isinstance(cond, Unary):  # `not` is the only operator giving bool
            cond, a, b = cond.operand, b, a
        x, y = self._expr(a), self._expr(b)
        lanes = max(space.lanes_of(cond), space.lanes_of(x), space.lanes_of(y))
        literal = literal_of(cond)
        if literal is not None or x is y:
            chosen = a if literal is None or literal.value else b
            if isinstance(chosen, Linear):
                return Linear(chosen.const, chosen.terms, chosen.dtype, lanes)
            return space.fit(chosen, lanes)
        node = space.intern(("select", id(cond), id(x), id(y)), Select(cond, x, y), lanes)
        if isinstance(a, Linear) and isinstance(b, Linear):
            p, q = space.interval(a), space.interval(b)
            return space.atom(node, a.dtype, min(p.low, q.low), max(p.high, q.high))
        return node

    def _cast(self, dtype: DType, value: Linear | Expr) -> Linear | Expr:
        space = self._space
        x = self._expr(value)
        lanes = space.lanes_of(x)
        source = value.dtype
        if source == dtype:
            return value
        literal = literal_of(x)
        if literal is not None:
            return self._of_const(to_const(apply_cast(dtype, constant(literal)), dtype), lanes)
        node = space.intern(("cast", dtype.name, id(x)), Cast(dtype, x), lanes)
        if isinstance(value, Linear) and dtype.is_integer:
            low, high, _ = space.interval(value)
            least, greatest = limits(dtype)
            if least <= low and high <= greatest:
                inner = self._lossless(x)
                if inner is not None and inner.dtype == dtype:
                    return inner
                return space.atom(node, dtype, low, high)
        return self._opaque(node, dtype, 0 if source == BOOL else None, 1 if source == BOOL else None)

    def _lossless(self, x: Expr) -> Linear | None:
        """What `x` was converted from, where nothing was lost on the way."""
        if isinstance(x, Cast) and x.operand.dtype.is_integer:
            inner = self._linear(x.operand)
            low, high, _ = self._space.interval(inner)
            least, greatest = limits(x.dtype)
            if least <= low and high <= greatest:
                return inner
        return None


def _zero(dtype: DType) -> Const:
    return Const(False if dtype == BOOL else 0.0 if dtype.is_float else 0, dtype)


def _reads_memory(e: Expr) -> bool:
    return any(isinstance(x, Load) for x in walk(e))
