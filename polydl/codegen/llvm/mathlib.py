"""The mathematical functions of the expression language.

exp, log, tanh and erf of f32 are spelled out (range reduction and a minimax polynomial) for scalars and vectors alike,
so that a lane and a scalar tail give the same bits; they are within 2 units in the last place over the whole range,
subnormals included, and follow IEEE at infinities and NaN. f16 goes through f32. Everything else, and f64, calls the C
library lane by lane. The polynomials were fitted by Remez exchange to the relative error of the whole function.
"""

from __future__ import annotations

import math
import struct
from typing import Final

from polydl.codegen.llvm.ops import Ops
from polydl.codegen.llvm.values import Value, floating, integer
from polydl.dtypes import F16, F32, I32
from polydl.errors import InvalidProgram

__all__ = ["call_function"]

_INTRINSICS: Final = {
    "sqrt": "sqrt",
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "round_even": "roundeven",
}
_LIBM: Final = {
    "exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf",
    "pow", "fmod",
}  # fmt: skip


def call_function(ops: Ops, function: str, operands: tuple[Value, ...]) -> Value:
    """A function of FUNCTIONS applied to evaluated operands."""
    x = operands[0]
    if x.dtype == F16 and function not in ("isnan", "isinf", "sqrt", "floor", "ceil", "trunc", "round_even"):
        return ops.cast(F16, call_function(ops, function, tuple(ops.cast(F32, o) for o in operands)))
    match function:
        case "exp" if x.dtype == F32:
            return _exp(ops, x)
        case "log" if x.dtype == F32:
            return _log(ops, x)
        case "tanh" if x.dtype == F32:
            return _tanh(ops, x)
        case "erf" if x.dtype == F32:
            return _erf(ops, x)
        case "pow":
            return _pow(ops, *operands)
        case "rsqrt":
            return ops.fdiv(floating(1.0, x.dtype), ops.intrinsic("sqrt", x.dtype, x))
        case "fma":
            return ops.intrinsic("fma", x.dtype, *operands)
        case "isnan":
            return ops.unordered(x)
        case "isinf":
            return ops.compare("eq", ops.unary("abs", x), floating(math.inf, x.dtype))
        case _ if function in _INTRINSICS:
            return ops.intrinsic(_INTRINSICS[function], x.dtype, x)
        case _ if function in _LIBM:
            return ops.libm(function, *operands)
        case _:
            raise InvalidProgram(f"unknown function '{function}'")


def _polynomial(ops: Ops, x: Value, coefficients: tuple[float, ...]) -> Value:
    """Horner's rule; the constant term comes first."""
    result = _f(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = ops.mul_add(result, x, _f(c))
    return result


def _f(number: float) -> Value:
    return floating(number, F32)


# ln 2 in two parts, the first with few enough bits that n * HIGH is exact for every exponent n.
_LN2_HIGH: Final = 0.693359375
_LN2_LOW: Final = -2.12194440e-4
_MAGIC: Final = 12582912.0  # 1.5 * 2^23: adding it rounds to an integer, found in the low bits of the sum


def _exp(ops: Ops, x: Value) -> Value:
    """exp x = 2^n exp r with n = round(x / ln 2), |r| <= ln 2 / 2. One instruction applies 2^n where there is one,
    else in two exact halves: either way the result rounds (or overflows) only once, also into the subnormals."""
    # Outside [-104, 89] the result is 0 or infinity; the comparisons let NaN through.
    clamped = ops.select(ops.compare("gt", x, _f(89.0)), _f(89.0), x)
    clamped = ops.select(ops.compare("lt", clamped, _f(-104.0)), _f(-104.0), clamped)
    shifted = ops.mul_add(clamped, _f(1.44269504088896341), _f(_MAGIC))
    n = ops.fsub(shifted, _f(_MAGIC))
    r = ops.mul_add(n, _f(-_LN2_HIGH), clamped)
    r = ops.mul_add(n, _f(-_LN2_LOW), r)
    p = _polynomial(
        ops,
        r,
        (
            0.49999991059303284,
            0.16666419804096222,
            0.041668232530355453,
            0.008374898694455624,
            0.0013836742145940661,
        ),
    )
    p = ops.fadd(ops.mul_add(ops.fmul(r, r), p, r), _f(1.0))
    instruction = ops.scaled(p, n)
    if instruction is not None:
        return instruction
    exponent = ops.binary("sub", ops.bitcast(I32, shifted), integer(_bits(_MAGIC), I32))
    half = ops.binary("shr", exponent, integer(1, I32))
    for part in (half, ops.binary("sub", exponent, half)):
        power = ops.binary("shl", ops.binary("add", part, integer(127, I32)), integer(23, I32))
        p = ops.fmul(p, ops.bitcast(F32, power))
    return p


def _log(ops: Ops, x: Value) -> Value:
    """log x = e ln 2 + log(1 + f) with 1 + f in [sqrt 1/2, sqrt 2)."""
    tiny = ops.compare("lt", x, _f(2.0**-126))
    scaled = ops.select(tiny, ops.fmul(x, _f(2.0**23)), x)
    bias = ops.select(tiny, _f(-23.0), _f(0.0))
    root = integer(_bits(math.sqrt(0.5)), I32)
    offset = ops.binary("sub", ops.bitcast(I32, scaled), root)
    exponent = ops.fadd(ops.cast(F32, ops.binary("shr", offset, integer(23, I32))), bias)
    mantissa = ops.binary("add", ops.binary("bitand", offset, integer(0x7FFFFF, I32)), root)
    f = ops.fsub(ops.bitcast(F32, mantissa), _f(1.0))
    square = ops.fmul(f, f)
    p = _polynomial(
        ops,
        f,
        (0.3333333134651184, -0.2500081956386566, 0.20001226663589478, -0.16623356938362122,
         0.14201757311820984, -0.13160181045532227, 0.1276157796382904, -0.07634502649307251),
    )  # fmt: skip
    p = ops.mul_add(exponent, _f(_LN2_LOW), ops.fmul(ops.fmul(square, f), p))
    p = ops.mul_add(square, _f(-0.5), p)
    result = ops.mul_add(exponent, _f(_LN2_HIGH), ops.fadd(f, p))
    # +infinity and NaN pass through, 0 gives -infinity, negative numbers NaN.
    regular = ops.compare("lt", x, _f(math.inf))
    result = ops.select(regular, result, x)
    result = ops.select(ops.compare("lt", x, _f(0.0)), _f(math.nan), result)
    return ops.select(ops.compare("eq", x, _f(0.0)), _f(-math.inf), result)


def _tanh(ops: Ops, x: Value) -> Value:
    """Near 0 an odd polynomial, else 1 - 2 / (exp 2|x| + 1) with x's sign."""
    size = ops.unary("abs", x)
    square = ops.fmul(x, x)
    p = _polynomial(
        ops,
        square,
        (
            -0.33333298563957214,
            0.13331924378871918,
            -0.053783830255270004,
            0.020795971155166626,
            -0.005895158275961876,
        ),
    )
    small = ops.mul_add(ops.fmul(square, x), p, x)
    power = _exp(ops, ops.fadd(size, size))
    large = ops.fsub(_f(1.0), ops.fdiv(_f(2.0), ops.fadd(power, _f(1.0))))
    large = ops.intrinsic("copysign", F32, large, x)
    return ops.select(ops.compare("lt", size, _f(0.6)), small, large)


def _erf(ops: Ops, x: Value) -> Value:
    """Below 1 an odd polynomial; above, 1 - exp(q(|x|)) where q approximates log erfc (erfc < 0.16: little precision
    is asked of q)."""
    size = ops.unary("abs", x)
    square = ops.fmul(x, x)
    p = _polynomial(
        ops,
        square,
        (0.12837916612625122, -0.3761262595653534, 0.1128358542919159, -0.026853812858462334, 0.005188327748328447,
         -0.0008010193705558777, 7.853861461626366e-05),
    )  # fmt: skip
    small = ops.mul_add(x, p, x)
    clamped = ops.select(ops.compare("gt", size, _f(3.95)), _f(3.95), size)
    q = _polynomial(
        ops,
        clamped,
        (-0.0003415283281356096, -1.1270891427993774, -0.638144850730896, -0.10310672223567963, 0.021838048473000526,
         -0.002947654575109482, 0.00018637882021721452),
    )  # fmt: skip
    large = ops.fsub(_f(1.0), _exp(ops, q))
    large = ops.intrinsic("copysign", F32, large, x)
    return ops.select(ops.compare("lt", size, _f(1.0)), small, large)


def _pow(ops: Ops, x: Value, y: Value) -> Value:
    """Small constant exponents are products, roots and quotients (at most 1 ulp off); the rest is the C library's."""
    dtype = x.dtype
    match y.constant:
        case 1.0:
            return x
        case 2.0:
            return ops.fmul(x, x)
        case 3.0:
            return ops.fmul(ops.fmul(x, x), x)
        case 4.0:
            square = ops.fmul(x, x)
            return ops.fmul(square, square)
        case -1.0:
            return ops.fdiv(floating(1.0, dtype), x)
        case 0.5:  # unlike sqrt: pow(-inf, 0.5) is inf, pow(-0, 0.5) is +0
            root = ops.intrinsic("sqrt", dtype, ops.fadd(x, floating(0.0, dtype)))
            lowest = ops.compare("eq", x, floating(-math.inf, dtype))
            return ops.select(lowest, floating(math.inf, dtype), root)
        case _:
            return ops.libm("pow", x, y)


def _bits(number: float) -> int:

    return int(struct.unpack("<i", struct.pack("<f", number))[0])
