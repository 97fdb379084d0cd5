"""Expressions of the loop IR as C expressions."""

from __future__ import annotations

from typing import assert_never

from polydl.codegen.c.arithmetic import COMPARE, Arithmetic
from polydl.codegen.c.lanes import Lanes
from polydl.codegen.c.library import Library
from polydl.codegen.c.mathlib import MathLibrary
from polydl.codegen.c.memory import Memories, Place
from polydl.codegen.c.values import (
    ADDITIVE,
    BITWISE,
    COMPARISON,
    LOGICAL,
    MULTIPLICATIVE,
    TERNARY,
    UNARY,
    Value,
    literal,
    scalar_type,
    signed,
)
from polydl.dtypes import BOOL, F16, F32, F64, I32, I64, DType
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
)
from polydl.ir.semantics import limits
from polydl.ir.simplifier import Simplifier
from polydl.targets import Target

__all__ = ["Expressions"]

_INFIX = {
    "add": ("+", ADDITIVE),
    "sub": ("-", ADDITIVE),
    "mul": ("*", MULTIPLICATIVE),
    "div": ("/", MULTIPLICATIVE),
}


class Expressions:
    """Spells expressions. `names` binds variables, `memory.places` buffers, `known` the ranges of variables here."""

    def __init__(self, library: Library, target: Target, kernel: str, known: Simplifier) -> None:
        self.lib, self.target, self.kernel = library, target, kernel
        self.lanes = Lanes(library)
        self.arithmetic = Arithmetic(library, self.lanes)
        self.math = MathLibrary(library, self.lanes, self.arithmetic)
        self.memory = Memories(self)
        self.names: dict[str, Value] = {}
        self.known = known

    def place(self, buffer: str) -> Place:
        """Where the buffer lies."""
        return self.memory.place(buffer)

    # ---- vectors ---------------------------------------------------------------------------------

    def splat(self, v: Value, lanes: int) -> Value:
        """A scalar in all lanes."""
        if v.lanes == lanes:
            return v
        if v.dtype == BOOL:
            return Value(f"{self.lanes.mask_of(8, lanes)}({v.text})", BOOL, lanes, 8)
        return Value(f"{self.lanes.splat(v.dtype, lanes)}({v.text})", v.dtype, lanes, constant=v.constant)

    def mask(self, v: Value, bits: int, lanes: int) -> Value:
        """A boolean as a vector of lanes of that width."""
        if v.lanes == 1:
            return Value(f"{self.lanes.mask_of(bits, lanes)}({v.text})", BOOL, lanes, bits)
        if v.bits == bits:
            return v
        return Value(
            f"{self.lanes.convert(signed(bits), signed(v.bits), v.lanes)}({v.text})", BOOL, lanes, bits
        )

    def _even(self, *values: Value) -> tuple[Value, ...]:
        lanes = max(v.lanes for v in values)
        if values[0].dtype == BOOL and lanes > 1:
            bits = max(v.bits for v in values)
            return tuple(self.mask(v, bits, lanes) for v in values)
        return tuple(self.splat(v, lanes) for v in values)

    def meet(self, a: Value | None, b: Value | None) -> Value | None:
        """The conjunction of two masks."""
        if a is None or b is None:
            return b if a is None else a
        return self.logic("and", a, b)

    # ---- expressions -----------------------------------------------------------------------------

    def value(self, e: Expr, mask: Value | None = None) -> Value:
        """The C expression of `e`. Loads in it touch only the lanes of `mask` (a condition, or None for all)."""
        match e:
            case Const(value=number, dtype=dtype):
                return literal(number, dtype)
            case Var(name=name):
                if name not in self.names:
                    raise InvalidProgram(f"the variable '{name}' is not bound", where=f"kernel {self.kernel}")
                return self.names[name]
            case Load():
                return self.memory.load(e, mask)
            case Unary(op=op, operand=a):
                return self._unary(op, self.value(a, mask), e)
            case Binary(op="add" | "sub" as op) if e.dtype.is_float:
                return self._sum(e, mask)
            case Binary(op=op, a=a, b=b) if op in COMPARISONS and a.dtype == I64 and e.lanes > 1:
                return self._compare_lanes(op, a, b, mask)
            case Binary(op=op, a=a, b=b):
                return self._binary(op, self.value(a, mask), self.value(b, mask), e)
            case Call(function=function, operands=operands):
                return self._call(function, tuple(self.value(o, mask) for o in operands))
            case Select():
                return self._select(e, mask)
            case Cast(dtype=dtype, operand=a):
                return self.cast(dtype, self.value(a, mask))
            case Ramp(base=base, stride=stride, lanes=lanes):
                start = self.value(base, mask)
                text = f"{self.lanes.ramp(start.dtype, lanes)}({start.text}, {stride})"
                return Value(text, start.dtype, lanes)
            case Broadcast(operand=a, lanes=lanes):
                return self.splat(self.value(a, mask), lanes)
            case ReduceLanes(op=op, operand=a):
                return self._reduce(op, self.value(a, mask))
            case _:
                assert_never(e)

    def _unary(self, op: str, a: Value, e: Expr) -> Value:
        match op:
            case "neg" if a.dtype.is_float or (a.lanes == 1 and a.dtype.bits >= 32 and self._fits(e)):
                sign = "-" if not a.text.startswith("-") else "- "
                return Value(f"{sign}{a.within(UNARY)}", a.dtype, a.lanes, prec=UNARY)
            case "neg":
                return Value(f"{self.arithmetic.negate(a.dtype, a.lanes)}({a.text})", a.dtype, a.lanes)
            case "abs" if a.dtype.kind in "ub":
                return a
            case "abs":
                return Value(f"{self.arithmetic.absolute(a.dtype, a.lanes)}({a.text})", a.dtype, a.lanes)
            case "not" if a.lanes == 1:
                return Value(f"!{a.within(UNARY)}", BOOL, prec=UNARY)
            case _:  # invert, and not of lanes
                text = f"~{a.within(UNARY)}"
                if a.lanes == 1 and a.dtype.bits < 32:
                    return Value(f"({scalar_type(a.dtype)}){text}", a.dtype, prec=UNARY)
                return Value(text, a.dtype, a.lanes, a.bits, UNARY)

    def _fits(self, e: Expr) -> bool:
        """Whether integer arithmetic at the root of `e` provably stays in the type's range before it would wrap."""
        low, high = limits(e.dtype)
        match e:
            case Binary(op=op, a=a, b=b):
                (p, q), (r, s) = self.known.interval(a), self.known.interval(b)
                corners = {
                    "add": (p + r, q + s),
                    "sub": (p - s, q - r),
                    "mul": (min(p * r, p * s, q * r, q * s), max(p * r, p * s, q * r, q * s)),
                }[op]
                return low <= corners[0] and corners[1] <= high
            case Unary(operand=a):
                return self.known.interval(a)[0] > low
        return False

    def _sum(self, e: Binary, mask: Value | None) -> Value:
        """a + b and a - b of floats, contracted with a product on either side as the LLVM back end does."""
        if self.target.fma and e.dtype.bits >= 32:
            if isinstance(e.b, Binary) and e.b.op == "mul":
                c, x, y = self.value(e.a, mask), self.value(e.b.a, mask), self.value(e.b.b, mask)
                return self._fma(x if e.op == "add" else self._unary("neg", x, e.b.a), y, c)
            if isinstance(e.a, Binary) and e.a.op == "mul":
                x, y, c = self.value(e.a.a, mask), self.value(e.a.b, mask), self.value(e.b, mask)
                return self._fma(x, y, c if e.op == "add" else self._unary("neg", c, e.b))
        return self._binary(e.op, self.value(e.a, mask), self.value(e.b, mask), e)

    def _fma(self, x: Value, y: Value, c: Value, exact: bool = False) -> Value:
        x, y, c = self._even(x, y, c)
        name = self.arithmetic.fma(x.dtype, x.lanes, exact)
        return Value(f"{name}({x.text}, {y.text}, {c.text})", x.dtype, x.lanes)

    def _binary(self, op: str, a: Value, b: Value, e: Expr) -> Value:
        dtype, lanes = a.dtype, max(a.lanes, b.lanes)
        if dtype == BOOL:
            return self.logic(op, a, b)
        if op in ("floordiv", "mod", "div") and not dtype.is_float:
            return self._division(op, a, b, e)
        if lanes == 1 and op in COMPARE:
            text = f"{a.within(ADDITIVE)} {COMPARE[op]} {b.within(ADDITIVE)}"
            return Value(text, BOOL, prec=COMPARISON)
        if op in ("min", "max"):
            return self._extreme(op, a, b)
        infix = op in _INFIX and (dtype.is_float or (lanes == 1 and dtype.bits >= 32 and self._plain(e)))
        if infix:
            sign, prec = _INFIX[op]
            a, b = self._even(a, b)
            if dtype == I64 and lanes == 1 and a.constant is not None and b.constant is not None:
                a = Value(f"INT64_C({a.constant})", I64)
            text = f"{a.within(prec)} {sign} {b.within(prec - 1)}"
            if dtype == F16 and lanes == 1:
                return Value(f"(_Float16)({text})", dtype, prec=UNARY)
            return Value(text, dtype, lanes, prec=prec)
        a, b = self._even(a, b)
        return self._named(op, a, b)

    def _plain(self, e: Expr) -> bool:
        """Whether C's own arithmetic may be used: unsigned, or known not to overflow."""
        return e.dtype.kind == "u" or self._fits(e)

    def _named(self, op: str, a: Value, b: Value) -> Value:
        """An operator that has a helper."""
        dtype, lanes, make = a.dtype, a.lanes, self.arithmetic
        match op:
            case "floordiv" | "mod":
                name = make.float_division(op, dtype, lanes)
            case "shl" | "shr":
                name = make.shift(op, dtype, lanes)
            case _ if op in COMPARE:
                text = f"{make.truth(COMPARE[op], dtype, lanes)}({a.text}, {b.text})"
                return Value(text, BOOL, lanes, dtype.bits)
            case _:
                name = make.wrapping(op, dtype, lanes)
        return Value(f"{name}({a.text}, {b.text})", dtype, lanes)

    def _extreme(self, op: str, a: Value, b: Value) -> Value:
        """min or max. Where one operand is a literal number, only the other can be NaN."""
        if b.constant is not None and b.constant == b.constant:
            a, b = b, a
        number = a.constant is not None and a.constant == a.constant
        a, b = self._even(a, b)
        return Value(
            f"{self.arithmetic.extreme(op, a.dtype, a.lanes, number)}({a.text}, {b.text})", a.dtype, a.lanes
        )

    def _division(self, op: str, a: Value, b: Value, e: Expr) -> Value:
        """Integer division; C's own signs where neither operand can be negative."""
        assert isinstance(e, Binary)
        low, least = self.known.interval(e.a)[0], self.known.interval(e.b)[0]
        if low >= 0 and least >= 1 and (max(a.lanes, b.lanes) == 1 or b.constant is not None):
            sign = "%" if op == "mod" else "/"
            if a.lanes == 1 and b.lanes == 1:
                text = f"{a.within(MULTIPLICATIVE)} {sign} {b.within(UNARY)}"
                narrow = a.dtype.bits < 32
                return Value(f"({scalar_type(a.dtype)})({text})" if narrow else text, a.dtype,
                             prec=UNARY if narrow else MULTIPLICATIVE)  # fmt: skip
            a, b = self._even(a, b)
            text = f"{a.within(MULTIPLICATIVE)} {sign} {b.within(UNARY)}"
            return Value(text, a.dtype, a.lanes, prec=MULTIPLICATIVE)
        a, b = self._even(a, b)
        name = self.arithmetic.division(op, a.dtype, a.lanes)
        return Value(f"{name}({a.text}, {b.text})", a.dtype, a.lanes)

    def logic(self, op: str, a: Value, b: Value) -> Value:
        """Operators on booleans."""
        op = {"bitand": "and", "mul": "and", "min": "and", "bitor": "or", "add": "or", "max": "or", "bitxor": "ne",
              "sub": "ne"}.get(op, op)  # fmt: skip
        if max(a.lanes, b.lanes) == 1:
            sign = {"and": "&&", "or": "||"}.get(op) or COMPARE[op]
            text = f"{a.within(COMPARISON - (op not in ('and', 'or')))} {sign} "
            text += b.within(COMPARISON - (op not in ("and", "or")))
            return Value(text, BOOL, prec=LOGICAL if op in ("and", "or") else COMPARISON)
        a, b = self._even(a, b)
        x, y = a.within(UNARY), b.within(UNARY)
        text = {"and": f"{x} & {y}", "or": f"{x} | {y}", "eq": f"~({x} ^ {y})", "ne": f"{x} ^ {y}", "lt": f"~{x} & {y}",
                "gt": f"{x} & ~{y}", "le": f"~{x} | {y}", "ge": f"{x} | ~{y}"}[op]  # fmt: skip
        return Value(text, BOOL, a.lanes, a.bits, BITWISE)

    def _compare_lanes(self, op: str, a: Expr, b: Expr, mask: Value | None) -> Value:
        """Comparisons of index vectors. Lane numbers against a scalar are compared in 32 bits: half the work."""
        split = self.memory.split(a - b)
        if split is not None and split.stride:
            # stride*k + s OP 0  <=>  stride*k OP -s, where -s may be brought to just outside the range of stride*k
            span = abs(split.stride) * split.lanes
            limit = self.value(self.known.simplify(-split.base), mask)
            ramp = f"{self.lanes.ramp(I32, split.lanes)}(0, {split.stride})"
            bound = (
                f"{self.lanes.splat(I32, split.lanes)}({self.lanes.clamp()}({limit.text}, {-span}, {span}))"
            )
            name = self.arithmetic.truth(COMPARE[op], I32, split.lanes)
            return Value(f"{name}({ramp}, {bound})", BOOL, split.lanes, 32)
        x, y = self._even(self.value(a, mask), self.value(b, mask))
        return self._named(op, x, y)

    # ---- functions, selections, casts ------------------------------------------------------------

    def _call(self, function: str, operands: tuple[Value, ...]) -> Value:
        exponent = operands[1].constant if function == "pow" else None
        operands = self._even(*operands)
        x = operands[0]
        dtype, lanes = x.dtype, x.lanes
        match function:
            case "fma":
                first, second, third = operands
                return self._fma(first, second, third, exact=True)
            case "pow" if exponent == 1.0:
                return x
            case "pow" if (name := self.math.power(exponent, dtype, lanes)) is not None:
                return Value(f"{name}({x.text})", dtype, lanes)
            case "rsqrt":
                one = self.splat(literal(1.0, dtype), lanes)
                return Value(f"{one.text} / {self.math.function('sqrt', dtype, lanes)}({x.text})", dtype, lanes,
                             prec=MULTIPLICATIVE)  # fmt: skip
            case "isnan" | "isinf":
                return self._special(function, x)
        name = self.math.function(function, dtype, lanes, len(operands))
        return Value(f"{name}({', '.join(o.text for o in operands)})", dtype, lanes)

    def _special(self, function: str, x: Value) -> Value:
        if x.lanes == 1:
            cast = "(float)" if x.dtype == F16 else ""
            return Value(f"({function}({cast}{x.within(UNARY)}) != 0)", BOOL)
        if function == "isnan":
            a, b, sign = x, x, "!="
        else:
            a = self._unary("abs", x, Const(0, I64))
            b, sign = self.splat(literal(float("inf"), x.dtype), x.lanes), "=="
        name = self.arithmetic.truth(sign, x.dtype, x.lanes)
        return Value(f"{name}({a.text}, {b.text})", BOOL, x.lanes, x.dtype.bits)

    def _select(self, e: Select, mask: Value | None) -> Value:
        cond = self.value(e.cond, mask)
        if cond.lanes == 1:  # C evaluates only the chosen side
            a, b = self._even(*self._under(e, mask, mask))
            text = f"{cond.within(LOGICAL)} ? {a.within(LOGICAL)} : {b.within(LOGICAL)}"
            return Value(text, e.dtype, a.lanes, a.bits, TERNARY)
        other = Value(f"~{cond.within(UNARY)}", BOOL, cond.lanes, cond.bits, UNARY)
        a, b = self._under(e, self.meet(mask, cond), self.meet(mask, other))
        return self.choose(cond, a, b)

    def _under(self, e: Select, yes: Value | None, no: Value | None) -> tuple[Value, Value]:
        """Both sides, each with what is known and accessed there."""
        whole, here = e.cond.lanes == 1, self.known
        self.known = here.assuming(e.cond, True) if whole else here
        a = self.value(e.a, yes)
        self.known = here.assuming(e.cond, False) if whole else here
        b = self.value(e.b, no)
        self.known = here
        return a, b

    def choose(self, cond: Value, a: Value, b: Value) -> Value:
        """`a` in the lanes of the vector `cond`, else `b`."""
        lanes = cond.lanes
        if a.dtype == BOOL:
            bits = max(cond.bits, a.bits, b.bits)
            cond, a, b = (self.mask(x, bits, lanes) for x in (cond, a, b))
            name = self.lanes.select(signed(bits), lanes)
            return Value(f"{name}({cond.text}, {a.text}, {b.text})", BOOL, lanes, bits)
        cond, a, b = self.mask(cond, a.dtype.bits, lanes), self.splat(a, lanes), self.splat(b, lanes)
        return Value(f"{self.lanes.select(a.dtype, lanes)}({cond.text}, {a.text}, {b.text})", a.dtype, lanes)

    def cast(self, dtype: DType, a: Value) -> Value:
        """`a` converted: float → integer truncates and saturates, NaN becomes 0; to bool is `!= 0`."""
        source, lanes = a.dtype, a.lanes
        if source == dtype:
            return a
        if a.constant is not None and lanes == 1 and source.is_integer and dtype.is_integer:
            return literal(int(a.constant), dtype)
        if lanes == 1:
            return self._cast_scalar(dtype, a)
        if dtype == BOOL:
            name = self.arithmetic.truth("!=", source, lanes)
            zero = self.splat(literal(0, source), lanes)
            return Value(f"{name}({a.text}, {zero.text})", BOOL, lanes, source.bits)
        if source.is_float and dtype.is_integer:
            return Value(f"{self.arithmetic.saturate(dtype, source, lanes)}({a.text})", dtype, lanes)
        if source == BOOL:  # -1 where set
            one = self.splat(literal(1, signed(a.bits)), lanes)
            a = Value(f"{a.within(UNARY)} & {one.text}", signed(a.bits), lanes, prec=BITWISE)
            if a.dtype == dtype:
                return a
        return Value(f"{self.lanes.convert(dtype, a.dtype, lanes)}({a.text})", dtype, lanes)

    def _cast_scalar(self, dtype: DType, a: Value) -> Value:
        if dtype == BOOL:
            zero = {F32: "0.0f", F64: "0.0"}.get(a.dtype, "0")
            return Value(f"{a.within(ADDITIVE)} != {zero}", BOOL, prec=COMPARISON)
        if a.dtype.is_float and dtype.is_integer:
            if a.dtype == F16:
                a = self._cast_scalar(F32, a)
            return Value(f"{self.arithmetic.saturate(dtype, a.dtype, 1)}({a.text})", dtype)
        return Value(f"({scalar_type(dtype)}){a.within(UNARY)}", dtype, prec=UNARY)

    def _reduce(self, op: str, a: Value) -> Value:
        """All lanes combined, by halves."""
        if a.lanes == 1:
            return a
        dtype, lanes = a.dtype, a.lanes
        if dtype == BOOL:
            whole = self.lanes.all if op in ("and", "min", "mul") else self.lanes.any
            return Value(f"{whole(a.bits, lanes)}({a.text})", BOOL)
        steps = []
        for k in range((lanes - 1).bit_length()):
            if dtype.is_float and op in ("add", "mul"):
                steps.append(f"{{a}} {'+' if op == 'add' else '*'} {{b}}")
                continue
            make = self.arithmetic
            name = (
                make.extreme(op, dtype, 1 << k) if op in ("min", "max") else make.wrapping(op, dtype, 1 << k)
            )
            steps.append(f"{name}({{a}}, {{b}})")
        return Value(f"{self.lanes.combine(op, dtype, lanes, steps)}({a.text})", dtype)
