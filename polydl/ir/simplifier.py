"""Simplification of expressions by constant folding, affine normal forms and intervals.

Semantic contract: the result has the value of the input wherever every variable lies in its range, bit for bit, except
that a load may be dropped. A variable of the index type whose range is open or not given is taken to be within ±2^47:
it is a loop iterator, a size or a subscript, and no address space is larger. Integers read from buffers have no such
bound, and wrap-around is respected for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import copysign, gcd
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
_SWAPPED: Final = {"gt": "lt", "ge": "le"}
_MIRRORED: Final = {"lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}
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
            if _literal(node) is None:
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
        if op in _SWAPPED:
            op, a, b = _SWAPPED[op], b, a
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
                result = self._space.fit(self._bool(truth), self._space.lanes_of(result))
        self._memo[id(e)] = (e, result)
        return result

    def _compute(self, e: Expr) -> Linear | Expr:
        space = self._space
        match e:
            case Binary(op, left, right):
                a, b = self._visit(left), self._visit(right)
                if isinstance(a, Linear) and isinstance(b, Linear):
                    return self._compare(op, a, b) if op in COMPARISONS else self._integer(op, a, b)
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
                match _literal(where):
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
                literals = [x for x in map(_literal, xs) if x is not None]
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

    def _bool(self, value: bool) -> Expr:
        literal = Const(value, BOOL)
        return self._space.intern(literal, literal, 1)

    def _of_const(self, c: Const, lanes: int) -> Linear | Expr:
        if c.dtype.is_integer:
            return self._space.constant(int(c.value), c.dtype, lanes)
        return self._space.fit(self._space.intern(c, c, 1), lanes)

    # ---- integers

    def _integer(self, op: str, a: Linear, b: Linear) -> Linear:
        space = self._space
        match op:
            case "add":
                return space.add(a, b)
            case "sub":
                return space.add(a, b, -1)
            case "mul":
                return space.mul(a, b)
        lanes = max(a.lanes, b.lanes)
        if not a.terms and not b.terms:
            literals = (Const(wrap(x.const, x.dtype), x.dtype) for x in (a, b))
            value = apply_binary(op, *map(constant, literals))
            return space.constant(int(value), a.dtype, lanes)
        (alow, ahigh, aexact), (blow, bhigh, bexact) = space.interval(a), space.interval(b)
        low: int | None = None
        high: int | None = None
        match op:
            case "floordiv" | "mod" | "div" if not b.terms and (op != "div" or (alow >= 0 and b.const >= 0)):
                k = wrap(b.const, b.dtype)
                if k == 0:
                    return space.constant(0, a.dtype, lanes)
                if k > 0:
                    result = space.mod(a, k) if op == "mod" else space.floordiv(a, k)
                    return Linear(result.const, result.terms, result.dtype, lanes)
            case "floordiv" | "mod" | "div" if alow >= 0 and blow > 0:
                if ahigh < blow:
                    return a if op == "mod" else space.constant(0, a.dtype, lanes)
                low, high = 0, min(ahigh, bhigh - 1) if op == "mod" else ahigh // blow
            case "min" | "max":
                difference = space.add(a, b, -1)
                gap = space.exact_bounds(difference) if aexact and bexact else (alow - bhigh, ahigh - blow)
                if gap[1] <= 0 or gap[0] >= 0:
                    x = a if (gap[1] <= 0) == (op == "min") else b
                    return Linear(x.const, x.terms, x.dtype, lanes)
                choose = min if op == "min" else max
                low, high = choose(alow, blow), choose(ahigh, bhigh)
                return self._extremum(op, a, b, low, high)
        node = space.binary(op, space.rebuild(a), space.rebuild(b))
        return space.atom(node, a.dtype, low, high)

    def _extremum(self, op: str, a: Linear, b: Linear, low: int, high: int) -> Linear:
        """min or max as a chain that starts with the smallest key and ends with the constant, each operand once."""
        space = self._space
        operands: dict[int, Expr] = {}
        for x in (a, b):
            rest = space.rebuild(x)
            while isinstance(rest, Binary) and rest.op == op:
                operands[id(rest.b)] = rest.b
                rest = rest.a
            operands[id(rest)] = rest
        ordered = sorted(operands.values(), key=lambda e: (_literal(e) is not None, space.key(e)))
        literals = [x for x in map(_literal, ordered) if x is not None]
        choose = min if op == "min" else max
        if len(literals) > 1:
            best = choose(int(c.value) for c in literals)
            ordered = [
                *ordered[: -len(literals)],
                space.fit(space.literal(best, a.dtype), max(a.lanes, b.lanes)),
            ]
        chain = ordered[0]
        for operand in ordered[1:]:
            chain = space.binary(op, chain, operand)
        return space.atom(chain, a.dtype, low, high)

    def _compare(self, op: str, a: Linear, b: Linear) -> Expr:
        space = self._space
        lanes = max(a.lanes, b.lanes)
        original = space.binary(op, space.rebuild(a), space.rebuild(b))
        if op in _SWAPPED:
            op, a, b = _SWAPPED[op], b, a
        (alow, ahigh, aexact), (blow, bhigh, bexact) = space.interval(a), space.interval(b)
        exact = aexact and bexact
        difference = space.add(a, b, -1)
        low, high = space.exact_bounds(difference) if exact else (alow - bhigh, ahigh - blow)
        decided = _decide(op, low, high)
        if decided is None and exact and difference.terms:
            content = gcd(*difference.terms.values())
            if op in ("eq", "ne") and difference.const % content:
                decided = op == "ne"
        if decided is not None:
            return space.fit(self._bool(decided), lanes)
        if exact:
            reduced = self._reduced_comparison(op, difference, content)
            if reduced is not None:
                return space.fit(reduced, lanes)
        return original

    def _reduced_comparison(self, op: str, d: Linear, content: int) -> Expr | None:
        """`d op 0` as `positive terms op negative terms + constant`, divided by the content of the terms."""
        space = self._space
        limit = -(d.const // content) if op == "lt" else -d.const // content
        left = Linear(0, {t: c // content for t, c in d.terms.items() if c > 0}, d.dtype)
        right = Linear(limit, {t: -c // content for t, c in d.terms.items() if c < 0}, d.dtype)
        if not left.terms:
            op, left, right = _MIRRORED[op], Linear(0, right.terms, d.dtype), Linear(-limit, {}, d.dtype)
        elif limit < 0 and right.terms:
            left, right = Linear(-limit, left.terms, d.dtype), Linear(0, right.terms, d.dtype)
        for side in (left, right):
            if not space.interval(side).exact:
                return None
            side.lanes = max((space.lanes_of(atom) for atom, _ in space.atoms(side)), default=1)
        return space.binary(op, space.rebuild(left), space.rebuild(right))

    # ---- everything else

    def _other(self, op: str, a: Expr, b: Expr) -> Expr:
        """Operators on floats and booleans."""
        space = self._space
        lanes = max(space.lanes_of(a), space.lanes_of(b))
        x, y = _literal(a), _literal(b)
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
        literal = _literal(x)
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
        literal = _literal(cond)
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
        literal = _literal(x)
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


def _literal(e: Expr | None) -> Const | None:
    """The constant that every lane of `e` has."""
    if isinstance(e, Broadcast):
        e = e.operand
    return e if isinstance(e, Const) else None


def _zero(dtype: DType) -> Const:
    return Const(False if dtype == BOOL else 0.0 if dtype.is_float else 0, dtype)


def _reads_memory(e: Expr) -> bool:
    return any(isinstance(x, Load) for x in walk(e))


def _decide(op: str, low: int, high: int) -> bool | None:
    """The truth of `d op 0` for `low <= d <= high`, where it is settled."""
    match op:
        case "lt":
            return True if high < 0 else False if low >= 0 else None
        case "le":
            return True if high <= 0 else False if low > 0 else None
        case _:
            equal = True if low == high == 0 else False if low > 0 or high < 0 else None
            return equal if equal is None or op == "eq" else not equal
