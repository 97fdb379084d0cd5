"""The operators of the expression contract as LLVM instructions: wrapping, never trapping, NaN-propagating.

Float arithmetic carries no fast-math flags. Contraction is explicit: `a*b + c` in one expression becomes `llvm.fma`
where the target has it (kernels are documented to allow that), and nothing else is reassociated.
"""

from __future__ import annotations

import math
from typing import Final

from polydl.codegen.llvm.builder import FunctionBuilder
from polydl.codegen.llvm.extremes import x86_extreme
from polydl.codegen.llvm.values import Value, boolean, floating, integer, register_type
from polydl.dtypes import BOOL, F16, F32, F64, I32, DType
from polydl.targets import Target

__all__ = ["Ops"]

_SIMPLE: Final = {"add": "add", "sub": "sub", "mul": "mul", "bitand": "and", "bitor": "or", "bitxor": "xor"}
_FLOAT: Final = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_FCMP: Final = {"lt": "olt", "le": "ole", "eq": "oeq", "ne": "une", "gt": "ogt", "ge": "oge"}


class Ops:
    """Arithmetic on values; scalar operands of vector operations are broadcast."""

    def __init__(self, builder: FunctionBuilder, target: Target) -> None:
        self.b = builder
        self.target = target

    # ---- plumbing --------------------------------------------------------------------------------

    def _even(self, *values: Value) -> tuple[Value, ...]:
        lanes = max(v.lanes for v in values)
        return tuple(self.b.splat(v, lanes) for v in values)

    def _two(self, opcode: str, a: Value, b: Value, dtype: DType | None = None) -> Value:
        a, b = self._even(a, b)
        return self.b.pure(f"{opcode} {a.type} {a.text}, {b.text}", (a, b), dtype or a.dtype, a.lanes)

    def intrinsic(self, name: str, dtype: DType, *values: Value) -> Value:
        """`llvm.NAME` of values of one type; the result has `dtype` and their lanes."""
        values = self._even(*values)
        kind = _mangle(values[0].dtype, values[0].lanes)
        result = register_type(dtype, values[0].lanes)
        self.b.declare(f"declare {result} @llvm.{name}.{kind}({', '.join(v.type for v in values)})")
        args = ", ".join(f"{v.type} {v.text}" for v in values)
        return self.b.pure(f"call {result} @llvm.{name}.{kind}({args})", values, dtype, values[0].lanes)

    def libm(self, name: str, *values: Value) -> Value:
        """The C library's function, lane by lane. f16 is computed in f32."""
        dtype = values[0].dtype
        if dtype == F16:
            return self.cast(F16, self.libm(name, *(self.cast(F32, v) for v in values)))
        values = self._even(*values)
        symbol = name + ("f" if dtype == F32 else "")
        scalar = register_type(dtype)
        self.b.declare(
            f"declare {scalar} @{symbol}({', '.join(scalar for _ in values)}) nounwind willreturn memory(none)"
        )
        if values[0].lanes == 1:
            return self.b.here(
                f"call {scalar} @{symbol}({', '.join(f'{v.type} {v.text}' for v in values)})", dtype
            )
        result = Value("poison", dtype, values[0].lanes)
        for lane in range(values[0].lanes):
            parts = [self.extract(v, lane) for v in values]
            one = self.b.here(
                f"call {scalar} @{symbol}({', '.join(f'{scalar} {p.text}' for p in parts)})", dtype
            )
            result = self.b.here(
                f"insertelement {result.type} {result.text}, {scalar} {one.text}, i64 {lane}",
                dtype,
                result.lanes,
            )
        return result

    def extract(self, v: Value, lane: int) -> Value:
        if v.lanes == 1:
            return v
        return self.b.pure(f"extractelement {v.type} {v.text}, i64 {lane}", (v,), v.dtype)

    def bitcast(self, dtype: DType, v: Value) -> Value:
        v = self.b.splat(v, v.lanes)
        return self.b.pure(
            f"bitcast {v.type} {v.text} to {register_type(dtype, v.lanes)}", (v,), dtype, v.lanes
        )

    # ---- floats, spelled for the mathematical functions ------------------------------------------

    def fadd(self, a: Value, b: Value) -> Value:
        return self._two("fadd", a, b)

    def fsub(self, a: Value, b: Value) -> Value:
        return self._two("fsub", a, b)

    def fmul(self, a: Value, b: Value) -> Value:
        return self._two("fmul", a, b)

    def fdiv(self, a: Value, b: Value) -> Value:
        return self._two("fdiv", a, b)

    def fneg(self, a: Value) -> Value:
        return self.b.pure(f"fneg {a.type} {a.text}", (a,), a.dtype, a.lanes)

    def mul_add(self, a: Value, b: Value, c: Value) -> Value:
        """`a*b + c`, rounded once where the target can, else twice."""
        if self.target.fma and a.dtype in (F32, F64):
            return self.intrinsic("fma", a.dtype, a, b, c)
        return self.fadd(self.fmul(a, b), c)

    def scaled(self, a: Value, exponent: Value) -> Value | None:
        """`a * 2^exponent`, rounded once, for vectors of f32 and whole exponents; None where no instruction does it."""
        bits = a.lanes * a.dtype.bits
        if a.dtype != F32 or bits not in (128, 256, 512) or self.target.arch != "x86-64":
            return None
        if not self.target.has("avx512f" if bits == 512 else "avx512vl"):
            return None
        name, kind, mask = f"llvm.x86.avx512.mask.scalef.ps.{bits}", a.type, f"i{max(8, a.lanes)}"
        extra = ("", "") if bits < 512 else (", i32", ", i32 4")  # 4: the current rounding mode
        self.b.declare(f"declare {kind} @{name}({kind}, {kind}, {kind}, {mask}{extra[0]})")
        text = f"{kind} {a.text}, {kind} {exponent.text}, {kind} poison, {mask} -1{extra[1]}"
        return self.b.pure(f"call {kind} @{name}({text})", (a, exponent), a.dtype, a.lanes)

    def compare(self, op: str, a: Value, b: Value) -> Value:
        a, b = self._even(a, b)
        if a.dtype.is_float:
            return self.b.pure(f"fcmp {_FCMP[op]} {a.type} {a.text}, {b.text}", (a, b), BOOL, a.lanes)
        sign = "" if op in ("eq", "ne") else "s" if a.dtype.kind == "i" else "u"
        return self.b.pure(f"icmp {sign}{op} {a.type} {a.text}, {b.text}", (a, b), BOOL, a.lanes)

    def unordered(self, a: Value) -> Value:
        return self.b.pure(f"fcmp uno {a.type} {a.text}, {a.text}", (a,), BOOL, a.lanes)

    def select(self, cond: Value, a: Value, b: Value) -> Value:
        if cond.constant is not None:
            return a if cond.constant else b
        lanes = max(cond.lanes, a.lanes, b.lanes)
        a, b = self.b.splat(a, lanes), self.b.splat(b, lanes)
        return self.b.pure(
            f"select {cond.type} {cond.text}, {a.type} {a.text}, {b.type} {b.text}",
            (cond, a, b),
            a.dtype,
            lanes,
        )

    # ---- the contract's operators ----------------------------------------------------------------

    def binary(self, op: str, a: Value, b: Value) -> Value:
        """`a op b` for the operators of BINARY_OPS."""
        dtype = a.dtype
        match op:
            case "lt" | "le" | "eq" | "ne" | "gt" | "ge":
                return self.compare(op, a, b)
            case "min" | "max":
                return self.extreme(op, a, b)
            case "and" | "or":
                return self._two(op, a, b)
            case "floordiv" | "mod" if dtype.is_float:
                return self._float_division(op, a, b)
            case "div" | "floordiv" | "mod" if not dtype.is_float:
                return self._integer_division(op, a, b)
            case "shl" | "shr":
                return self._shift(op, a, b)
            case _ if dtype.is_float:
                return self._two(_FLOAT[op], a, b)
            case _ if dtype == BOOL:
                return self._two({"add": "or", "mul": "and"}.get(op) or _SIMPLE[op], a, b)
            case _:
                return self._two(_SIMPLE[op], a, b)

    def extreme(self, op: str, a: Value, b: Value) -> Value:
        """min or max; NaN in either operand gives NaN."""
        a, b = self._even(a, b)
        if not a.dtype.is_float:
            if a.dtype == BOOL:
                return self._two("and" if op == "min" else "or", a, b)
            return self.intrinsic(("s" if a.dtype.kind == "i" else "u") + op, a.dtype, a, b)
        if self.target.arch == "aarch64":
            return self.intrinsic("minimum" if op == "min" else "maximum", a.dtype, a, b)
        # `x < y ? x : y` is y when either is NaN: one instruction, and all there is to do when x is a number.
        if b.constant is not None and not math.isnan(float(b.constant)):
            a, b = b, a
        result = x86_extreme(self.b, self.target, op, a, b)
        if result is None:
            result = self.select(self.compare("lt" if op == "min" else "gt", a, b), a, b)
        if a.constant is not None and not math.isnan(float(a.constant)):
            return result
        return self.select(self.unordered(a), a, result)

    def _integer_division(self, op: str, a: Value, b: Value) -> Value:
        if b.constant is not None:
            return self._division_by_constant(op, a, int(b.constant))
        a, b = self._even(a, b)
        dtype, signed = a.dtype, a.dtype.kind == "i"
        if a.lanes == 1 and _at_least(a, 0) and _at_least(b, 1):
            return self._bounded(self._two("urem" if op == "mod" else "udiv", a, b), op, a, b)
        zero, one = integer(0, dtype), integer(1, dtype)
        is_zero = self.compare("eq", b, zero)
        if not signed:
            safe = self.select(is_zero, one, b)
            return self.select(is_zero, zero, self._two("urem" if op == "mod" else "udiv", a, safe))
        minus = self.compare("eq", b, integer(-1, dtype))
        safe = self.select(self._two("or", is_zero, minus), one, b)
        remainder = self._two("srem", a, safe)
        if op == "mod":
            return self._floor_adjust_mod(
                remainder, safe
            )  # a mod 1 is 0, which is also the value for 0 and -1
        quotient = self._two("sdiv", a, safe)
        if op == "floordiv":
            quotient = self._floor_adjust_div(quotient, remainder, safe)
        negated = self._two("sub", zero, a)
        return self.select(is_zero, zero, self.select(minus, negated, quotient))

    def _division_by_constant(self, op: str, a: Value, b: int) -> Value:
        dtype, zero = a.dtype, integer(0, a.dtype)
        divisor = integer(b, dtype)
        if b == 0:
            return self.b.splat(zero, a.lanes)
        if b == -1 and dtype.kind == "i":
            return self.b.splat(zero, a.lanes) if op == "mod" else self._two("sub", zero, a)
        if dtype.kind == "u" or (_at_least(a, 0) and b > 0):
            return self._bounded(self._two("urem" if op == "mod" else "udiv", a, divisor), op, a, divisor)
        if op == "div":
            return self._two("sdiv", a, divisor)
        if b > 0 and b & (b - 1) == 0:
            if op == "mod":
                return self._bounded(self._two("and", a, integer(b - 1, dtype)), op, a, divisor)
            return self._two("ashr", a, integer(b.bit_length() - 1, dtype))
        remainder = self._two("srem", a, divisor)
        if op == "mod":
            return self._bounded(self._floor_adjust_mod(remainder, divisor), op, a, divisor)
        return self._floor_adjust_div(self._two("sdiv", a, divisor), remainder, divisor)

    def _bounded(self, result: Value, op: str, a: Value, b: Value) -> Value:
        """Write down the range of a quotient or remainder of numbers known not to be negative."""
        if result.lanes == 1 and b.low is not None and b.low > 0:
            result.low = 0
            if op == "mod":
                result.high = None if b.high is None else b.high - 1
            else:
                result.high = None if a.high is None else a.high // b.low
        return result

    def _floor_adjust_mod(self, remainder: Value, b: Value) -> Value:
        zero = integer(0, b.dtype)
        wrong = self._opposite(remainder, b)
        return self._two("add", remainder, self.select(wrong, b, zero))

    def _floor_adjust_div(self, quotient: Value, remainder: Value, b: Value) -> Value:
        one, zero = integer(1, b.dtype), integer(0, b.dtype)
        return self._two("sub", quotient, self.select(self._opposite(remainder, b), one, zero))

    def _opposite(self, remainder: Value, b: Value) -> Value:
        """remainder != 0 and its sign differs from b's."""
        zero = integer(0, b.dtype)
        signs = self.compare("lt", self._two("xor", remainder, b), zero)
        return self._two("and", self.compare("ne", remainder, zero), signs)

    def _float_division(self, op: str, a: Value, b: Value) -> Value:
        zero = floating(0.0, a.dtype)
        is_zero = self.compare("eq", b, zero)
        if a.dtype == F16:
            return self.cast(F16, self._float_division(op, self.cast(F32, a), self.cast(F32, b)))
        remainder = self.libm("fmod", a, b)
        wrong = self._two("and", self.compare("ne", remainder, zero), self._differ(remainder, b))
        floor_mod = self.select(wrong, self.fadd(remainder, b), remainder)
        if op == "mod":
            return self.select(is_zero, zero, floor_mod)
        quotient = self.intrinsic("rint", a.dtype, self.fdiv(self.fsub(a, floor_mod), b))
        return self.select(is_zero, zero, quotient)

    def _differ(self, a: Value, b: Value) -> Value:
        zero = floating(0.0, a.dtype)
        return self._two("xor", self.compare("lt", a, zero), self.compare("lt", b, zero))

    def _shift(self, op: str, a: Value, b: Value) -> Value:
        bits = integer(a.dtype.bits, a.dtype)
        opcode = "shl" if op == "shl" else "ashr" if a.dtype.kind == "i" else "lshr"
        if b.constant is not None:
            amount = int(b.constant)
            inside_constant = 0 <= amount < a.dtype.bits
            return self._two(opcode, a, b) if inside_constant else self.b.splat(integer(0, a.dtype), a.lanes)
        a, b = self._even(a, b)
        inside = self.b.pure(
            f"icmp ult {b.type} {b.text}, {self.b.splat(bits, b.lanes).text}", (b,), BOOL, b.lanes
        )
        zero = integer(0, a.dtype)
        return self.select(inside, self._two(opcode, a, self.select(inside, b, zero)), zero)

    def unary(self, op: str, a: Value) -> Value:
        """`op a` for the operators of UNARY_OPS."""
        match op:
            case "neg":
                return self.fneg(a) if a.dtype.is_float else self._two("sub", integer(0, a.dtype), a)
            case "abs" if a.dtype.is_float:
                return self.intrinsic("fabs", a.dtype, a)
            case "abs" if a.dtype.kind == "i":
                self.b.declare(f"declare {a.type} @llvm.abs.{_mangle(a.dtype, a.lanes)}({a.type}, i1)")
                call = f"call {a.type} @llvm.abs.{_mangle(a.dtype, a.lanes)}({a.type} {a.text}, i1 false)"
                return self.b.pure(call, (a,), a.dtype, a.lanes)
            case "abs":
                return a
            case _:  # not, invert
                ones = boolean(True) if a.dtype == BOOL else integer(-1, a.dtype)
                return self._two("xor", a, ones)

    # ---- casts -----------------------------------------------------------------------------------

    def cast(self, dtype: DType, a: Value) -> Value:
        """`a` converted: float → integer truncates and saturates, NaN becomes 0; to bool is `!= 0`."""
        source = a.dtype
        if source == dtype:
            return a
        if a.constant is not None and source.kind in "iub" and dtype.kind in "iu":
            return integer(int(a.constant), dtype)
        if dtype == BOOL:
            if source.is_float:
                return self.compare("ne", a, floating(0.0, source))
            return self.compare("ne", a, integer(0, source))
        if source == F64 and dtype == F16:
            return self._convert("fptrunc", F16, self._rounded_to_odd(a))
        if source.is_float and dtype.is_float:
            return self._convert("fpext" if dtype.bits > source.bits else "fptrunc", dtype, a)
        if source.is_float:
            return self._saturate(dtype, a)
        unsigned = source.kind != "i"
        if dtype.is_float:
            return self._convert("uitofp" if unsigned else "sitofp", dtype, a)
        if dtype.bits == (1 if source == BOOL else source.bits):
            return Value(a.text, dtype, a.lanes, a.depth, a.constant, a.low, a.high)
        if source != BOOL and dtype.bits < source.bits:
            return self._convert("trunc", dtype, a)
        return self._convert("zext" if unsigned else "sext", dtype, a)

    def _convert(self, opcode: str, dtype: DType, a: Value) -> Value:
        a = self.b.splat(a, a.lanes)
        result = self.b.pure(
            f"{opcode} {a.type} {a.text} to {register_type(dtype, a.lanes)}", (a,), dtype, a.lanes
        )
        if opcode in ("zext", "sext") and a.lanes == 1:
            bits = 1 if a.dtype == BOOL else a.dtype.bits
            result.low, result.high = (
                (0, 2**bits - 1) if opcode == "zext" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            )
        return result

    def _rounded_to_odd(self, a: Value) -> Value:
        """f64 → f32, inexact results with an odd last bit, so that rounding again to f16 rounds `a` itself correctly.

        x86 has no conversion from f64 to f16.
        """
        near = self._convert("fptrunc", F32, a)
        back = self._convert("fpext", F64, near)
        bits = self.bitcast(I32, near)
        above = self.compare("gt", self.unary("abs", back), self.unary("abs", a))
        cut = self.binary("sub", bits, self.cast(I32, above))
        odd = self.bitcast(F32, self.binary("bitor", cut, integer(1, I32)))
        exact = self.binary("or", self.compare("eq", back, a), self.unordered(a))
        return self.select(exact, near, odd)

    def _saturate(self, dtype: DType, a: Value) -> Value:
        """Clamp, convert, patch NaN. LLVM's own `fptosi.sat` is scalarised on x86."""
        if a.dtype == F16:
            a = self.cast(F32, a)
        low = -(2 ** (dtype.bits - 1)) if dtype.kind == "i" else 0
        high = 2 ** (dtype.bits - 1) - 1 if dtype.kind == "i" else 2**dtype.bits - 1
        mantissa = 24 if a.dtype == F32 else 53
        top = (
            high
            if high.bit_length() <= mantissa
            else (high >> (high.bit_length() - mantissa)) << (high.bit_length() - mantissa)
        )
        clean = self.select(self.unordered(a), floating(0.0, a.dtype), a)
        clamped = self._clamp("max", floating(float(low), a.dtype), clean)
        clamped = self._clamp("min", floating(float(top), a.dtype), clamped)
        wide = I32 if dtype.bits < 32 else dtype  # small types go through the conversion every level has
        opcode = "fptosi" if dtype.bits < 32 or dtype.kind == "i" else "fptoui"
        result = self.cast(dtype, self._convert(opcode, wide, clamped))
        if top == high:
            return result
        above = self.compare("gt", a, floating(float(top), a.dtype))
        return self.select(above, integer(high, dtype), result)

    def _clamp(self, op: str, number: Value, a: Value) -> Value:
        """min or max of a literal and a value that is not NaN."""
        number, a = self._even(number, a)
        return self.select(self.compare("lt" if op == "min" else "gt", number, a), number, a)

    # ---- lanes -----------------------------------------------------------------------------------

    def reduce_lanes(self, op: str, a: Value) -> Value:
        """All lanes combined by `op`; halves are combined as long as their number is even."""
        if a.lanes == 1:
            return a
        if a.constant is not None:
            a = Value(a.text, a.dtype, a.lanes)
        while a.lanes > 1 and a.lanes % 2 == 0:
            half = a.lanes // 2
            a = self.binary(op, self._slice(a, 0, half), self._slice(a, half, half))
        result = self.extract(a, 0)
        for lane in range(1, a.lanes):
            result = self.binary(op, result, self.extract(a, lane))
        return result

    def _slice(self, a: Value, first: int, count: int) -> Value:
        if count == 1:
            return self.extract(a, first)
        indices = ", ".join(f"i32 {first + i}" for i in range(count))
        return self.b.pure(
            f"shufflevector {a.type} {a.text}, {a.type} poison, <{count} x i32> <{indices}>",
            (a,),
            a.dtype,
            count,
        )


def _at_least(v: Value, number: int) -> bool:
    return v.low is not None and v.low >= number


def _mangle(dtype: DType, lanes: int) -> str:
    scalar = f"f{dtype.bits}" if dtype.is_float else "i1" if dtype == BOOL else f"i{dtype.bits}"
    return scalar if lanes == 1 else f"v{lanes}{scalar}"
