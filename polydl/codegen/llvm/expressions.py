"""Expressions of the loop IR as SSA values."""

from __future__ import annotations

from typing import assert_never

from polydl.codegen.llvm.builder import FunctionBuilder
from polydl.codegen.llvm.mathlib import call_function
from polydl.codegen.llvm.memory import Memories, Place
from polydl.codegen.llvm.offsets import Affine, Offsets
from polydl.codegen.llvm.ops import Ops
from polydl.codegen.llvm.values import Value, boolean, floating, integer
from polydl.dtypes import BOOL, I32, I64
from polydl.errors import InvalidProgram
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
    children,
    walk,
)
from polydl.targets import Target

__all__ = ["Expressions"]


class Expressions:
    """Evaluates expressions in the builder's current level. `names` binds variables, `places` buffers."""

    def __init__(self, builder: FunctionBuilder, target: Target, kernel: str) -> None:
        self.b = builder
        self.kernel = kernel
        self.ops = Ops(builder, target)
        self.offsets = Offsets(builder)
        self.memory = Memories(self.ops, self.offsets)
        self.names: dict[str, Value | Affine] = {}
        self.places: dict[str, Place] = {}
        # Loads already done by the statement at hand, valid in the level that did them and inside it.
        self._loaded: list[dict[str, Value]] = [{}]

    def begin_statement(self) -> None:
        """Forget what was loaded: memory may have changed."""
        self._loaded = [{}]

    # ---- integers as affine forms ----------------------------------------------------------------

    def index(self, e: Expr, mask: Value | None = None) -> Affine:
        """A 64-bit integer expression as an affine form."""
        offsets = self.offsets
        match e:
            case Const(value=number):
                return Affine(int(number))
            case Var(name=name):
                bound = self._name(name)
                return bound if isinstance(bound, Affine) else offsets.of(bound)
            case Ramp(base=base, stride=stride, lanes=lanes):
                start = self.index(base, mask)
                return offsets.add(start, Affine(lane=stride, lanes=lanes))
            case Binary(op="add" | "sub" as op, a=a, b=b):
                return offsets.add(self.index(a, mask), self.index(b, mask), 1 if op == "add" else -1)
            case Binary(op="mul", a=a, b=b):
                x, y = self.index(a, mask), self.index(b, mask)
                if x.is_constant and x.lanes == 1:
                    x, y = y, x
                if y.is_constant and y.lanes == 1:
                    return offsets.scale(x, y.const)
                if y.lanes > 1:
                    x, y = y, x
                product = offsets.times(x, offsets.value(y)) if y.lanes == 1 else None
                return product or offsets.of(self.ops.binary("mul", offsets.value(x), offsets.value(y)))
            case Binary(op="floordiv" | "mod" as op, a=a, b=Const(value=number)) if int(number) > 0:
                x = self.index(a, mask)
                parts = offsets.divide(x, int(number))
                if parts is not None:
                    return parts[0 if op == "floordiv" else 1]
                return offsets.of(self.ops.binary(op, offsets.value(x), integer(int(number))))
            case Binary(op="min" | "max" as op, a=a, b=b):
                x, y = self.index(a, mask), self.index(b, mask)
                return self._extreme(op, x, y)
            case Unary(op="neg", operand=a):
                return offsets.scale(self.index(a, mask), -1)
            case Broadcast(operand=a, lanes=lanes):
                x = self.index(a, mask)
                return Affine(x.const, x.terms, 0, lanes)
            case _:
                return offsets.of(self._other(e, mask))

    def _extreme(self, op: str, x: Affine, y: Affine) -> Affine:
        a, b = self.offsets.range(x), self.offsets.range(y)
        if a is not None and b is not None and x.lanes == y.lanes:
            if a[1] <= b[0]:
                return x if op == "min" else y
            if b[1] <= a[0]:
                return y if op == "min" else x
        value = self.ops.binary(op, self.offsets.value(x), self.offsets.value(y))
        pick = min if op == "min" else max
        if value.lanes == 1:
            lows = [r[0] for r in (a, b) if r is not None]
            highs = [r[1] for r in (a, b) if r is not None]
            both = a is not None and b is not None
            if both or (op == "max" and lows):
                value.low = pick(lows)
            if both or (op == "min" and highs):
                value.high = pick(highs)
        return self.offsets.of(value)

    def _name(self, name: str) -> Value | Affine:
        if name not in self.names:
            raise InvalidProgram(f"the variable '{name}' is not bound", where=f"kernel {self.kernel}")
        return self.names[name]

    # ---- expressions -----------------------------------------------------------------------------

    def value(self, e: Expr, mask: Value | None = None) -> Value:
        """The value of `e`. Loads in it touch only the lanes of `mask` (a scalar or vector condition, or None)."""
        if e.dtype == I64 and not isinstance(e, Load | Cast | Select | Call | ReduceLanes):
            return self.offsets.value(self.index(e, mask))
        return self._other(e, mask)

    def _other(self, e: Expr, mask: Value | None) -> Value:
        match e:
            case Const(value=number, dtype=dtype):
                if dtype.is_float:
                    return floating(float(number), dtype)
                return boolean(bool(number)) if dtype == BOOL else integer(int(number), dtype)
            case Var(name=name):
                bound = self._name(name)
                return bound if isinstance(bound, Value) else self.offsets.value(bound)
            case Load():
                return self._load(e, mask)
            case Unary(op=op, operand=a):
                return self.ops.unary(op, self.value(a, mask))
            case Binary(op="add" | "sub") if e.dtype.is_float:
                return self._sum(e, mask)
            case Binary(op=op, a=a, b=b) if op in COMPARISONS and a.dtype == I64:
                return self._compare_index(op, a, b, mask)
            case Binary(op="and" | "or" as op, a=a, b=b):
                return self._logic(op, a, b, mask)
            case Binary(op=op, a=a, b=b):
                return self.ops.binary(op, self.value(a, mask), self.value(b, mask))
            case Call(function=function, operands=operands):
                return call_function(self.ops, function, tuple(self.value(o, mask) for o in operands))
            case Select():
                return self._select(e, mask)
            case Cast(dtype=dtype, operand=a):
                return self.ops.cast(dtype, self.value(a, mask))
            case Ramp(base=base, stride=stride, lanes=lanes):
                start = self.value(base, mask)
                return self.ops.binary("add", start, self.b.iota(lanes, stride, start.dtype))
            case Broadcast(operand=a, lanes=lanes):
                return self.b.splat(self.value(a, mask), lanes)
            case ReduceLanes(op=op, operand=a):
                return self.ops.reduce_lanes(op, self.value(a, mask))
            case _:
                assert_never(e)

    def _sum(self, e: Binary, mask: Value | None) -> Value:
        """a + b and a - b of floats, contracted with a product on either side."""
        ops = self.ops
        if ops.target.fma and e.dtype.bits >= 32:
            if isinstance(e.b, Binary) and e.b.op == "mul":
                c = self.value(e.a, mask)
                x, y = self.value(e.b.a, mask), self.value(e.b.b, mask)
                return ops.mul_add(x if e.op == "add" else ops.fneg(x), y, c)
            if isinstance(e.a, Binary) and e.a.op == "mul":
                x, y = self.value(e.a.a, mask), self.value(e.a.b, mask)
                c = self.value(e.b, mask)
                return ops.mul_add(x, y, c if e.op == "add" else ops.fneg(c))
        return ops.binary(e.op, self.value(e.a, mask), self.value(e.b, mask))

    def _logic(self, op: str, a: Expr, b: Expr, mask: Value | None) -> Value:
        x, y = self.value(a, mask), self.value(b, mask)
        for this, other in ((x, y), (y, x)):
            if this.constant is not None:
                neutral = bool(this.constant) == (op == "and")
                return self.b.splat(other if neutral else this, max(x.lanes, y.lanes))
        return self.ops.binary(op, x, y)

    def _compare_index(self, op: str, a: Expr, b: Expr, mask: Value | None) -> Value:
        """Comparisons of integers. Lane numbers against a scalar are compared in 32 bits: half the work."""
        x, y = self.index(a, mask), self.index(b, mask)
        difference = self.offsets.add(x, y, -1)
        bounds = self.offsets.range(difference)
        decided = None if bounds is None else _decide(op, *bounds)
        if decided is not None:
            return self.b.splat(boolean(decided), difference.lanes)
        if difference.lanes > 1 and not difference.is_vector_sum and bounds is not None and difference.lane:
            # lane*k + s OP 0  <=>  lane*k OP -s, where -s may be clamped to just outside the range of lane*k
            span = abs(difference.lane) * difference.lanes
            base = Affine(-difference.const, {n: (v, -c) for n, (v, c) in difference.terms.items()})
            limit = self.offsets.value(base)
            limit = self.ops.binary("max", self.ops.binary("min", limit, integer(span)), integer(-span))
            lanes = self.b.iota(difference.lanes, difference.lane, I32)
            return self.ops.compare(op, lanes, self.ops.cast(I32, limit))
        return self.ops.compare(op, self.offsets.value(x), self.offsets.value(y))

    # ---- loads and selections --------------------------------------------------------------------

    def place(self, buffer: str) -> Place:
        if buffer not in self.places:
            raise InvalidProgram(f"the buffer '{buffer}' is not declared", where=f"kernel {self.kernel}")
        return self.places[buffer]

    def _load(self, e: Load, mask: Value | None) -> Value:
        place = self.place(e.buffer)
        subscripts = tuple(self.index(i, mask) for i in e.index)
        own = mask if e.mask is None else self.meet(mask, self.value(e.mask, mask))
        element = self.memory.flatten(place, subscripts)
        key = self._key(place, element)
        for level in self._loaded:
            if key in level:
                return level[key]
        if own is not None and own.constant is not None:
            if not own.constant:
                return self.b.splat(self._zero(e), max(element.lanes, own.lanes))
            own = None
        if own is not None and self.memory.in_bounds(place, subscripts):
            # Reading it cannot fault: read all lanes, and blend where the program asks for zeros itself.
            loaded = self.memory.load(place, element, None)
            self._loaded[-1][key] = loaded
            return loaded if e.mask is None else self.ops.select(own, loaded, self._zero(e))
        first = _first_lanes(e.mask) if mask is None else None
        if own is not None and first is not None:
            return self.memory.load_first(place, element, first, own)
        loaded = self.memory.load(place, element, own)
        if own is None:
            self._loaded[-1][key] = loaded
        return loaded

    def _zero(self, e: Expr) -> Value:
        return (
            floating(0.0, e.dtype)
            if e.dtype.is_float
            else boolean(False)
            if e.dtype == BOOL
            else integer(0, e.dtype)
        )

    @staticmethod
    def _key(place: Place, element: Affine) -> str:
        terms = sorted((name, c) for name, (_, c) in element.terms.items())
        return f"{place.pointer} {element.const} {terms} {element.lane} {element.lanes}"

    def _safe(self, e: Expr) -> bool:
        """Whether evaluating `e` now cannot fault: its loads are done already or in bounds."""
        if isinstance(e, Load):
            if e.mask is not None or any(isinstance(x, Load) for i in e.index for x in walk(i)):
                return False
            place = self.place(e.buffer)
            subscripts = tuple(self.index(i) for i in e.index)
            key = self._key(place, self.memory.flatten(place, subscripts))
            return any(key in level for level in self._loaded) or self.memory.in_bounds(place, subscripts)
        return all(self._safe(child) for child in children(e))

    def _select(self, e: Select, mask: Value | None) -> Value:
        cond = self.value(e.cond, mask)
        if cond.constant is not None:
            chosen = self.value(e.a if cond.constant else e.b, mask)
            return self.b.splat(chosen, max(e.lanes, chosen.lanes))
        if self._safe(e.a) and self._safe(e.b):
            return self.ops.select(cond, self.value(e.a, mask), self.value(e.b, mask))
        if cond.lanes > 1:
            other = self.ops.unary("not", cond)
            a = self._aside(e.a, self.meet(mask, cond))
            b = self._aside(e.b, self.meet(mask, other))
            return self.ops.select(cond, a, b)
        lanes = max(e.lanes, 1 if mask is None else mask.lanes)  # a load of one element, masked, is a vector
        branch = self.b.conditional(cond)
        with branch.then():
            a = self.b.splat(self._aside(e.a, mask), lanes)
        with branch.otherwise():
            b = self.b.splat(self._aside(e.b, mask), lanes)
        return branch.phi(branch.close(), a, b)

    def _aside(self, e: Expr, mask: Value | None) -> Value:
        """`e` where it is not always evaluated: what it loads is not known to the rest of the statement."""
        self._loaded.append({})
        result = self.value(e, mask)
        self._loaded.pop()
        return result

    def meet(self, a: Value | None, b: Value | None) -> Value | None:
        """The conjunction of two masks."""
        if a is None or b is None:
            return b if a is None else a
        if a.constant is not None:
            return b if a.constant else a
        if b.constant is not None:
            return a if b.constant else b
        return self.ops.binary("and", a, b)


def _decide(op: str, low: int, high: int) -> bool | None:
    """The truth of `d OP 0` for every d in [low, high], or None."""
    match op:
        case "lt":
            return True if high < 0 else False if low >= 0 else None
        case "le":
            return True if high <= 0 else False if low > 0 else None
        case "gt":
            return True if low > 0 else False if high <= 0 else None
        case "ge":
            return True if low >= 0 else False if high < 0 else None
        case "eq":
            return True if low == high == 0 else False if low > 0 or high < 0 else None
        case _:
            return True if low > 0 or high < 0 else False if low == high == 0 else None


def _first_lanes(mask: Expr | None) -> int | None:
    """How many lanes a mask sets where they are the first ones, a constant number of them; else None."""
    match mask:
        case Binary("lt", Ramp(Const(value=low), 1, lanes), Const(value=high)) if low < high:
            return min(int(high) - int(low), lanes)
        case _:
            return None
