"""Helpers for the operators of the expression contract: wrapping, never trapping, NaN-propagating, without undefined
behaviour (signed integers are added as unsigned ones; shifts and divisors are tested first)."""

from __future__ import annotations

from typing import Final

from polydl.codegen.c.lanes import Lanes
from polydl.codegen.c.library import X86_VECTORS, Library, lanewise
from polydl.codegen.c.values import scalar_type, signed, unsigned
from polydl.dtypes import F16, F32, F64, DType

__all__ = ["COMPARE", "Arithmetic"]

COMPARE: Final = {"lt": "<", "le": "<=", "eq": "==", "ne": "!=", "gt": ">", "ge": ">="}
_WRAP: Final = {"add": "+", "sub": "-", "mul": "*"}
_FLOAT: Final = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_BITS: Final = {"bitand": "&", "bitor": "|", "bitxor": "^"}
_X86: Final = {F32: ("ps", ""), F64: ("pd", "d")}
_NEON: Final = {  # (element, lanes): infix and suffix of the intrinsics, their type
    (F32, 2): ("", "f32", "float32x2_t"),
    (F32, 4): ("q", "f32", "float32x4_t"),
    (F64, 2): ("q", "f64", "float64x2_t"),
}
_ON_NEON: Final = "defined(__ARM_NEON) && defined(__aarch64__)"


class Arithmetic:
    """Names of helpers; operands are scalars, or vectors of equal length."""

    def __init__(self, library: Library, lanes: Lanes) -> None:
        self.lib, self.lanes = library, lanes

    def _define(
        self, name: str, dtype: DType, lanes: int, operands: str, body: list[str], result: str = ""
    ) -> str:
        kind = self.lib.type(dtype, lanes)
        parameters = ", ".join(f"{kind} {x}" for x in operands)
        return self.lib.function(
            f"{name}_{self.lib.suffix(dtype, lanes)}", result or kind, parameters, lambda: body
        )

    def _by_lanes(self, name: str, dtype: DType, lanes: int, operands: str, scalar: str) -> str:
        """A vector helper that applies the scalar one to each lane."""
        vector = self.lib.type(dtype, lanes)

        def lane(k: int) -> str:
            return f"{scalar}({', '.join(f'{x}[{k}]' for x in operands)})"

        return self._define(name, dtype, lanes, operands, [f"return {lanewise(vector, lanes, lane)};"])

    # ---- integers --------------------------------------------------------------------------------

    def wrapping(self, op: str, dtype: DType, lanes: int) -> str:
        """add_T, sub_T, mul_T and the bitwise operators of integers."""
        sign = _WRAP.get(op) or _BITS[op]
        result = self.lib.type(dtype, lanes)
        if lanes > 1:
            wide = self.lib.type(unsigned(dtype.bits), lanes)
        else:
            wide = "uint32_t" if dtype.bits < 32 else scalar_type(unsigned(dtype.bits))
        return self._define(op, dtype, lanes, "ab", [f"return ({result})(({wide})a {sign} ({wide})b);"])

    def negate(self, dtype: DType, lanes: int) -> str:
        zero = "0" if lanes == 1 else f"({self.lib.type(dtype, lanes)}){{0}}"
        subtract = self.wrapping("sub", dtype, lanes)
        return self._define("neg", dtype, lanes, "a", [f"return {subtract}({zero}, a);"])

    def absolute(self, dtype: DType, lanes: int) -> str:
        """abs_T: of floats the sign bit is cleared; the least integer stays itself."""
        kind = self.lib.type(dtype, lanes)
        if dtype.is_float and lanes == 1:
            return {F64: "__builtin_fabs", F32: "__builtin_fabsf"}.get(dtype) or self._define(
                "abs", dtype, 1, "a", ["return (_Float16)__builtin_fabsf((float)a);"]
            )
        if dtype.is_float:
            bits = self.lib.type(signed(dtype.bits), lanes)
            most = f"INT{dtype.bits}_MAX"
            splat = self.lanes.splat(signed(dtype.bits), lanes)
            return self._define("abs", dtype, lanes, "a", [f"return ({kind})(({bits})a & {splat}({most}));"])
        negative = self.negate(dtype, lanes)
        if lanes == 1:
            return self._define("abs", dtype, 1, "a", [f"return a < 0 ? {negative}(a) : a;"])
        select = self.lanes.select(dtype, lanes)
        return self._define("abs", dtype, lanes, "a", [f"return {select}(a < 0, {negative}(a), a);"])

    def division(self, op: str, dtype: DType, lanes: int) -> str:
        """floordiv_T, mod_T, div_T of integers: 0 for a zero divisor; the least number divided by -1 wraps."""
        if lanes > 1:
            return self._by_lanes(op, dtype, lanes, "ab", self.division(op, dtype, 1))
        if dtype.kind == "u":
            sign = "%" if op == "mod" else "/"
            return self._define(
                op, dtype, 1, "ab", [f"return b == 0 ? 0 : ({scalar_type(dtype)})(a {sign} b);"]
            )
        kind = scalar_type(dtype)
        negative = self.negate(dtype, 1)
        special = f"if (b == 0 || b == -1) return b == 0 ? 0 : {'0' if op == 'mod' else f'{negative}(a)'};"
        result = {
            "div": f"return ({kind})(a / b);",
            "floordiv": f"return ({kind})(a / b - (a % b != 0 && (a < 0) != (b < 0)));",
            "mod": f"return ({kind})(a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0));",
        }[op]
        return self._define(op, dtype, 1, "ab", [special, result])

    def shift(self, op: str, dtype: DType, lanes: int) -> str:
        """shl_T, shr_T: 0 for amounts below 0 or beyond the width; the sign is kept by shr."""
        if lanes > 1:
            return self._by_lanes(op, dtype, lanes, "ab", self.shift(op, dtype, 1))
        kind = scalar_type(dtype)
        wide = "uint64_t" if dtype.bits == 64 else "uint32_t"
        outside = f"b >= {dtype.bits}" if dtype.kind == "u" else f"b < 0 || b >= {dtype.bits}"
        value = f"({kind})(({wide})a << b)" if op == "shl" else f"({kind})(a >> b)"
        return self._define(op, dtype, 1, "ab", [f"return {outside} ? 0 : {value};"])

    def truth(self, sign: str, dtype: DType, lanes: int) -> str:
        """Comparison of vectors: lt_T, eq_T, …"""
        name = next(n for n, s in COMPARE.items() if s == sign)
        mask = self.lib.mask(dtype, lanes)
        return self._define(name, dtype, lanes, "ab", [f"return ({mask})(a {sign} b);"], mask)

    # ---- floats ----------------------------------------------------------------------------------

    def fma(self, dtype: DType, lanes: int, exact: bool) -> str:
        """fma_T(a, b, c) = a*b + c, rounded once where the machine can; `exact`: everywhere (then `exact_fma_T`)."""
        name = "exact_fma" if exact else "fma"
        if lanes == 1:
            call = {F32: "__builtin_fmaf(a, b, c)", F64: "__builtin_fma(a, b, c)"}.get(
                dtype, "(_Float16)__builtin_fma((double)a, (double)b, (double)c)"
            )
            if exact:
                return self._define(name, dtype, 1, "abc", [f"return {call};"])
            body = ["#if POLYDL_FMA", f"return {call};", "#else", "return a * b + c;", "#endif"]
            return self._define(name, dtype, 1, "abc", body)
        body = []
        level = X86_VECTORS.get(lanes * dtype.bytes)
        if level is not None and dtype in _X86:
            self.lib.intrinsics = True
            needs = "defined(__AVX512F__)" if lanes * dtype.bytes == 64 else "defined(__FMA__)"
            suffix, kind = _X86[dtype]
            cast = f"(__m{level[2]}{kind})"
            call = f"{level[1]}_fmadd_{suffix}({cast}a, {cast}b, {cast}c)"
            body += [f"#if {needs}", f"return ({self.lib.type(dtype, lanes)}){call};"]
        if (dtype, lanes) in _NEON:
            wide, suffix, kind = _NEON[dtype, lanes]
            call = f"vfma{wide}_{suffix}(({kind})c, ({kind})a, ({kind})b)"
            self.lib.intrinsics = True
            body += [
                f"{'#elif' if body else '#if'} {_ON_NEON}",
                f"return ({self.lib.type(dtype, lanes)}){call};",
            ]
        generic = self._fma_by_parts(name, dtype, lanes, exact)
        if not exact and body:
            body += ["#elif !POLYDL_FMA", "return a * b + c;"]
        body += ["#else", *generic, "#endif"] if body else generic
        return self._define(name, dtype, lanes, "abc", body)

    def _fma_by_parts(self, name: str, dtype: DType, lanes: int, exact: bool) -> list[str]:
        vector = self.lib.type(dtype, lanes)
        if lanes <= 2:
            one = self.fma(dtype, 1, exact)
            return [f"return {lanewise(vector, lanes, lambda k: f'{one}(a[{k}], b[{k}], c[{k}])')};"]
        half, part = self.lib.type(dtype, lanes // 2), self.fma(dtype, lanes // 2, exact)
        low, high = self.lanes.low(dtype, lanes), self.lanes.high(dtype, lanes)
        x, y = (f"{part}({f}(a), {f}(b), {f}(c))" for f in (low, high))
        joined = lanewise(vector, lanes, lambda k: f"{'xy'[k // (lanes // 2)]}[{k % (lanes // 2)}]")
        return [f"{half} x = {x};", f"{half} y = {y};", f"return {joined};"]

    def extreme(self, op: str, dtype: DType, lanes: int, number: bool = False) -> str:
        """min_T, max_T: NaN in either operand of floats gives NaN. `number`: `a` is known to be none (min_number_T)."""
        sign = "<" if op == "min" else ">"
        name = f"{op}_number" if number and dtype.is_float else op
        if not dtype.is_float:
            if lanes == 1:
                return self._define(name, dtype, 1, "ab", [f"return a {sign} b ? a : b;"])
            choose = f"{self.lanes.select(dtype, lanes)}({self.truth(sign, dtype, lanes)}(a, b), a, b)"
            return self._define(name, dtype, lanes, "ab", [f"return {choose};"])
        kind = self.lib.type(dtype, lanes)
        if lanes == 1:
            pick = f"a {sign} b ? a : b"
            return self._define(
                name, dtype, 1, "ab", [f"return {pick};" if number else f"return a != a ? a : {pick};"]
            )
        select = self.lanes.select(dtype, lanes)
        body = [f"{kind} r = {select}({self.truth(sign, dtype, lanes)}(a, b), a, b);"]
        level = X86_VECTORS.get(lanes * dtype.bytes)
        if (
            level is not None and dtype in _X86
        ):  # the instruction gives its second operand where either is NaN
            self.lib.intrinsics = True
            suffix, letter = _X86[dtype]
            cast = f"(__m{level[2]}{letter})"
            call = f"{level[1]}_{op}_{suffix}({cast}a, {cast}b)"
            body = [f"#if defined({level[0]})", f"{kind} r = ({kind}){call};", "#else", *body, "#endif"]
        body.append(
            "return r;" if number else f"return {select}({self.truth('!=', dtype, lanes)}(a, a), a, r);"
        )
        if (dtype, lanes) in _NEON:
            wide, suffix, letter = _NEON[dtype, lanes]
            self.lib.intrinsics = True
            call = f"v{op}{wide}_{suffix}(({letter})a, ({letter})b)"
            body = [f"#if {_ON_NEON}", f"return ({kind}){call};", "#else", *body, "#endif"]
        return self._define(name, dtype, lanes, "ab", body)

    def float_division(self, op: str, dtype: DType, lanes: int) -> str:
        """floordiv_T, mod_T of floats: as Python rounds; 0 for a zero divisor."""
        if lanes > 1:
            return self._by_lanes(op, dtype, lanes, "ab", self.float_division(op, dtype, 1))
        kind = scalar_type(dtype)
        remainder = self.lib_call("fmod", dtype, "a", "b")
        if op == "mod":
            body = [
                "if (b == 0) return 0;",
                f"{kind} r = {remainder};",
                "return r != 0 && (r < 0) != (b < 0) ? r + b : r;",
            ]
            return self._define("mod", dtype, 1, "ab", body)
        mod = self.float_division("mod", dtype, 1)
        quotient = self.lib_call("rint", dtype, f"(a - {mod}(a, b)) / b")
        return self._define("floordiv", dtype, 1, "ab", [f"return b == 0 ? 0 : {quotient};"])

    @staticmethod
    def lib_call(function: str, dtype: DType, *operands: str) -> str:
        """A call of the C library; f16 is computed in f32."""
        if dtype == F16:
            return f"(_Float16){function}f({', '.join(f'(float)({x})' for x in operands)})"
        return f"{function}{'f' if dtype == F32 else ''}({', '.join(operands)})"

    # ---- casts -----------------------------------------------------------------------------------

    def saturate(self, to: DType, source: DType, lanes: int) -> str:
        """TO_from_SOURCE of floats: truncated, saturated, NaN becomes 0."""
        result, operand = self.lib.type(to, lanes), self.lib.type(source, lanes)
        low = -(2 ** (to.bits - 1)) if to.kind == "i" else 0
        high = 2 ** (to.bits - 1) if to.kind == "i" else 2**to.bits  # the first number beyond
        name = f"{self.lib.suffix(to, lanes)}_from_{self.lib.suffix(source, lanes)}"
        least = f"INT{to.bits}_MIN" if to.kind == "i" else "0"
        most = f"{'U' if to.kind == 'u' else ''}INT{to.bits}_MAX"
        wide = F32 if source == F16 else source
        suffix = "" if wide == F64 else "f"
        below, above = f"{float(low)}{suffix}", f"{float(high)}{suffix}"
        if lanes == 1:
            body = [
                f"if (!(x > {below})) return x == x ? {least} : 0;",
                f"return x < {above} ? ({result})x : {most};",
            ]
            return self.lib.function(name, result, f"{scalar_type(source)} x", lambda: body)

        def lines() -> list[str]:
            if source == F16:
                inner = self.saturate(to, F32, lanes)
                return [f"return {inner}({self.lanes.convert(F32, F16, lanes)}(x));"]
            splat, pick = self.lanes.splat(source, lanes), self.lanes.select(source, lanes)
            numbers, choose = self.lanes.splat(to, lanes), self.lanes.select(to, lanes)
            mask = self.lib.mask(source, lanes)
            widened = (
                "{}"
                if to.bits == source.bits
                else f"__builtin_convertvector({{}}, {self.lib.mask(to, lanes)})"
            )
            over, under = widened.format("over"), widened.format("under")
            inside = f"{pick}(~(under | over) & ({mask})(x == x), x, ({operand}){{0}})"
            return [
                f"{mask} under = ({mask})(x < {splat}({below})), over = ({mask})(x >= {splat}({above}));",
                f"{result} r = __builtin_convertvector({inside}, {result});",
                f"return {choose}({over}, {numbers}({most}), {choose}({under}, {numbers}({least}), r));",
            ]

        return self.lib.function(name, result, f"{operand} x", lines)
