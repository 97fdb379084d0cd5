"""Helpers for the mathematical functions.

exp, log, tanh and erf of f32 are spelled out, by the method and with the coefficients of the LLVM back end
(`polydl.codegen.llvm.mathlib` says what they compute), for vectors and scalars alike. f16 goes through f32. Square
roots and roundings are instructions where there are such; everything else, and f64, calls the C library lane by lane.
"""

from __future__ import annotations

from typing import Final

from polydl.codegen.c.arithmetic import Arithmetic
from polydl.codegen.c.lanes import Lanes
from polydl.codegen.c.library import X86_VECTORS, Library, lanewise
from polydl.codegen.c.values import scalar_type
from polydl.dtypes import F16, F32, F64, I32, U32, DType

__all__ = ["MathLibrary"]

_ROUNDINGS: Final = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "round_even": "rint"}
_ROUND_MODES: Final = {"floor": 1, "ceil": 2, "trunc": 3, "round_even": 0}

# Templates over T (floats), I (integers), F, N (their helpers' suffixes) and C("…"), a number in all lanes.
_SPELLED: Final = {
    "exp": """
/* exp x = 2^n exp r, |r| <= ln 2 / 2; 2^n in two exact halves, so that only the last product rounds. */
x = select_F(gt_F(x, C(89.0f)), C(89.0f), x);
x = select_F(lt_F(x, C(-104.0f)), C(-104.0f), x);
T shifted = fma_F(x, C(1.44269504088896341f), C(12582912.0f)); /* 1.5 * 2^23 rounds to an integer */
T n = shifted - C(12582912.0f);
T r = fma_F(n, C(-0.693359375f), x);
r = fma_F(n, C(2.12194440e-4f), r);
T p = C(0.0013836742145940661f);
p = fma_F(p, r, C(0.008374898694455624f));
p = fma_F(p, r, C(0.041668232530355453f));
p = fma_F(p, r, C(0.16666419804096222f));
p = fma_F(p, r, C(0.49999991059303284f));
p = fma_F(r * r, p, r) + C(1.0f);
I exponent = bits_F(shifted) - K(0x4b400000);
I half = exponent >> 1;
return p * power_of_two_F(half) * power_of_two_F(exponent - half);""",
    "log": """
/* log x = e ln 2 + log(1 + f) with 1 + f in [sqrt 1/2, sqrt 2). */
M tiny = lt_F(x, C(0x1p-126f));
I offset = bits_F(select_F(tiny, x * C(8388608.0f), x));
offset = select_N(lt_F(x, C(0x1p-149f)), K(0x3f800000), offset) - K(0x3f3504f3);
T e = T_FROM_I(offset >> 23) + select_F(tiny, C(-23.0f), C(0.0f));
T f = float_N((offset & K(0x7fffff)) + K(0x3f3504f3)) - C(1.0f);
T square = f * f;
T p = C(-0.07634502649307251f);
p = fma_F(p, f, C(0.1276157796382904f));
p = fma_F(p, f, C(-0.13160181045532227f));
p = fma_F(p, f, C(0.14201757311820984f));
p = fma_F(p, f, C(-0.16623356938362122f));
p = fma_F(p, f, C(0.20001226663589478f));
p = fma_F(p, f, C(-0.2500081956386566f));
p = fma_F(p, f, C(0.3333333134651184f));
p = fma_F(e, C(-2.12194440e-4f), square * f * p);
p = fma_F(square, C(-0.5f), p);
T r = fma_F(e, C(0.693359375f), f + p);
/* +infinity and NaN pass through, 0 gives -infinity, negative numbers NaN. */
r = select_F(lt_F(x, C((float)INFINITY)), r, x);
r = select_F(lt_F(x, C(0.0f)), C((float)NAN), r);
return select_F(eq_F(x, C(0.0f)), C(-(float)INFINITY), r);""",
    "tanh": """
/* Near 0 an odd polynomial, else 1 - 2 / (exp 2|x| + 1) with x's sign. */
T size = ABS(x);
T square = x * x;
T p = C(-0.005895158275961876f);
p = fma_F(p, square, C(0.020795971155166626f));
p = fma_F(p, square, C(-0.053783830255270004f));
p = fma_F(p, square, C(0.13331924378871918f));
p = fma_F(p, square, C(-0.33333298563957214f));
T near = fma_F(square * x, p, x);
T far = C(1.0f) - C(2.0f) / (exp_F(size + size) + C(1.0f));
return select_F(lt_F(size, C(0.6f)), near, copysign_F(far, x));""",
    "erf": """
/* Below 1 an odd polynomial; above, 1 - exp(q(|x|)) where q approximates log erfc. */
T size = ABS(x);
T square = x * x;
T p = C(7.853861461626366e-05f);
p = fma_F(p, square, C(-0.0008010193705558777f));
p = fma_F(p, square, C(0.005188327748328447f));
p = fma_F(p, square, C(-0.026853812858462334f));
p = fma_F(p, square, C(0.1128358542919159f));
p = fma_F(p, square, C(-0.3761262595653534f));
p = fma_F(p, square, C(0.12837916612625122f));
T near = fma_F(x, p, x);
T bounded = select_F(gt_F(size, C(3.95f)), C(3.95f), size);
T q = C(0.00018637882021721452f);
q = fma_F(q, bounded, C(-0.002947654575109482f));
q = fma_F(q, bounded, C(0.021838048473000526f));
q = fma_F(q, bounded, C(-0.10310672223567963f));
q = fma_F(q, bounded, C(-0.638144850730896f));
q = fma_F(q, bounded, C(-1.1270891427993774f));
q = fma_F(q, bounded, C(-0.0003415283281356096f));
T far = C(1.0f) - exp_F(q);
return select_F(lt_F(size, C(1.0f)), near, copysign_F(far, x));""",
}


class MathLibrary:
    """Names of helpers for the functions of one operand, and of the C library's of several."""

    def __init__(self, library: Library, lanes: Lanes, arithmetic: Arithmetic) -> None:
        self.lib, self.lanes, self.arithmetic = library, lanes, arithmetic

    def function(self, name: str, dtype: DType, lanes: int, operands: int = 1) -> str:
        """NAME_T: the function `name` of FUNCTIONS applied to each lane."""
        kind, suffix = self.lib.type(dtype, lanes), self.lib.suffix(dtype, lanes)
        letters = "xyz"[:operands]
        parameters = ", ".join(f"{kind} {x}" for x in letters)

        def body() -> list[str]:
            if name in _SPELLED and dtype == F32:
                return self._spelled(name, lanes)
            if name in _SPELLED and dtype == F16:
                return self._through_f32(name, lanes)
            if name in ("sqrt", *_ROUNDINGS) and lanes > 1:
                return self._instruction(name, dtype, lanes)
            if lanes == 1:
                called = _ROUNDINGS.get(name, name)
                return [f"return {self.arithmetic.lib_call(called, dtype, *letters)};"]
            return [self._by_lanes(name, dtype, lanes, letters)]

        return self.lib.function(f"{name}_{suffix}", kind, parameters, body)

    def _by_lanes(self, name: str, dtype: DType, lanes: int, letters: str) -> str:
        one = self.function(name, dtype, 1, len(letters))
        vector = self.lib.type(dtype, lanes)

        def lane(k: int) -> str:
            return f"{one}({', '.join(f'{x}[{k}]' for x in letters)})"

        return f"return {lanewise(vector, lanes, lane)};"

    def _through_f32(self, name: str, lanes: int) -> list[str]:
        inner = self.function(name, F32, lanes)
        if lanes == 1:
            return [f"return (_Float16){inner}((float)x);"]
        to, back = self.lanes.convert(F32, F16, lanes), self.lanes.convert(F16, F32, lanes)
        return [f"return {back}({inner}({to}(x)));"]

    def _instruction(self, name: str, dtype: DType, lanes: int) -> list[str]:
        """A square root or rounding; `#if` the compiler may use the instruction."""
        otherwise = self._by_lanes(name, dtype, lanes, "x")
        level = X86_VECTORS.get(dtype.bytes * lanes)
        if level is None or dtype not in (F32, F64):
            return [otherwise]
        self.lib.intrinsics = True
        macro, prefix, width = level
        letter, suffix = ("", "ps") if dtype == F32 else ("d", "pd")
        operand = f"(__m{width}{letter})x"
        if name == "sqrt":
            call = f"{prefix}_sqrt_{suffix}({operand})"
        else:
            macro = "__SSE4_1__" if width == "128" else macro
            round_ = "roundscale" if width == "512" else "round"
            call = (
                f"{prefix}_{round_}_{suffix}({operand}, {_ROUND_MODES[name] | 8})"  # 8: no inexact exception
            )
        return [
            f"#if defined({macro})",
            f"return ({self.lib.type(dtype, lanes)}){call};",
            "#else",
            otherwise,
            "#endif",
        ]

    # ---- spelled out -----------------------------------------------------------------------------

    def _spelled(self, name: str, lanes: int) -> list[str]:
        self._bits(lanes)
        for needed in ("lt", "gt", "eq"):
            self._compare(needed, lanes)
        self.lanes.select(F32, lanes)
        self.lanes.select(I32, lanes)
        self.arithmetic.fma(F32, lanes, False)
        self._power_of_two(lanes)
        if name in ("tanh", "erf"):
            self.function("exp", F32, lanes)
            self._copysign(lanes)
        vector = self.lib.type(F32, lanes)
        text = _SPELLED[name].strip()
        if lanes > 1:
            text = text.replace("C(", f"{self.lanes.splat(F32, lanes)}(")
            text = text.replace("K(", f"{self.lanes.splat(I32, lanes)}(")
            text = text.replace("T_FROM_I(", f"{self.lanes.convert(F32, I32, lanes)}(")
        else:
            text = text.replace("C(", "(").replace("K(", "(").replace("T_FROM_I(", "(float)(")
        text = text.replace("ABS(", f"{self.arithmetic.absolute(F32, lanes)}(")
        text = text.replace("_F(", f"_{self.lib.suffix(F32, lanes)}(")
        text = text.replace("_N(", f"_{self.lib.suffix(I32, lanes)}(")
        spelled = {
            "T ": f"{vector} ",
            "I ": f"{self.lib.type(I32, lanes)} ",
            "M ": f"{self.lib.mask(F32, lanes)} ",
        }
        lines = []
        for line in text.splitlines():
            head = line[:2]
            lines.append(spelled[head] + line[2:] if head in spelled else line)
        return lines

    def _bits(self, lanes: int) -> None:
        """bits_T and float_T: reinterpretation both ways."""
        floats, integers = self.lib.type(F32, lanes), self.lib.type(I32, lanes)
        for name, source, result in (
            (f"bits_{self.lib.suffix(F32, lanes)}", floats, integers),
            (f"float_{self.lib.suffix(I32, lanes)}", integers, floats),
        ):
            cast = [f"return ({result})x;"]
            copy = [f"{result} r;", "memcpy(&r, &x, sizeof r);", "return r;"]
            body = cast if lanes > 1 else copy
            self.lib.function(name, result, f"{source} x", lambda body=body: body)  # type: ignore[misc]

    def _power_of_two(self, lanes: int) -> None:
        """power_of_two_T(n): 2^n for n from -126 to 127, without undefined behaviour for others (NaN's exponent)."""
        number, kind = self.lib.type(I32, lanes), self.lib.type(F32, lanes)
        wide = self.lib.type(U32, lanes)
        bias = "127" if lanes == 1 else f"{self.lanes.splat(I32, lanes)}(127)"
        line = f"return float_{self.lib.suffix(I32, lanes)}(({number})(({wide})(n + {bias}) << 23));"
        self.lib.function(f"power_of_two_{self.lib.suffix(F32, lanes)}", kind, f"{number} n", lambda: [line])

    def _compare(self, name: str, lanes: int) -> None:
        sign = {"lt": "<", "gt": ">", "eq": "=="}[name]
        if lanes > 1:
            self.arithmetic.truth(sign, F32, lanes)
        else:
            self.lib.function(f"{name}_f32", "bool", "float a, float b", lambda: [f"return a {sign} b;"])

    def _copysign(self, lanes: int) -> None:
        """copysign_T(x, y): x, which is not negative, with y's sign."""
        kind = self.lib.type(F32, lanes)
        low = "(-INT32_MAX - 1)" if lanes == 1 else f"{self.lanes.splat(I32, lanes)}(INT32_MIN)"
        suffix, number = self.lib.suffix(F32, lanes), self.lib.suffix(I32, lanes)
        line = f"return float_{number}(bits_{suffix}(x) | (bits_{suffix}(y) & {low}));"
        self.lib.function(f"copysign_{suffix}", kind, f"{kind} x, {kind} y", lambda: [line])

    def power(self, exponent: int | float | bool | None, dtype: DType, lanes: int) -> str | None:
        """The helper for a small constant exponent (at most 1 ulp off), or None."""
        names: dict[float, tuple[str, str]] = {
            2.0: ("square", "return x * x;"),
            3.0: ("cube", "return x * x * x;"),
            4.0: ("fourth_power", "x = x * x; return x * x;"),
        }
        kind, suffix = self.lib.type(dtype, lanes), self.lib.suffix(dtype, lanes)
        one = "1" if lanes == 1 else f"{self.lanes.splat(dtype, lanes)}(1)"
        match exponent:
            case -1.0:
                return self.lib.function(
                    f"reciprocal_{suffix}", kind, f"{kind} x", lambda: [f"return {one} / x;"]
                )
            case 0.5:  # unlike sqrt: pow(-inf, 0.5) is inf, pow(-0, 0.5) is +0
                return self._root(dtype, lanes)
            case _ if exponent in names:
                name, line = names[float(exponent)]
                return self.lib.function(f"{name}_{suffix}", kind, f"{kind} x", lambda: [line])
        return None

    def _root(self, dtype: DType, lanes: int) -> str:
        kind, suffix = self.lib.type(dtype, lanes), self.lib.suffix(dtype, lanes)
        root = self.function("sqrt", dtype, lanes)
        infinity = f"({scalar_type(dtype)})INFINITY"
        if lanes == 1:
            line = f"return x == -{infinity} ? {infinity} : {root}(x + 0);"
        else:
            splat, equal = self.lanes.splat(dtype, lanes), self.arithmetic.truth("==", dtype, lanes)
            select = self.lanes.select(dtype, lanes)
            line = f"return {select}({equal}(x, {splat}(-{infinity})), {splat}({infinity}), {root}(x + {splat}(0)));"
        return self.lib.function(f"root_{suffix}", kind, f"{kind} x", lambda: [line])
