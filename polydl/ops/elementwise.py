"""Elementwise operators: one expression per element, with numpy-style broadcasting written in the subscripts."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Final

from polydl.dsl import FunctionBuilder, Tensor
from polydl.dtypes import BOOL, F64, DType
from polydl.ir.expr import (
    Binary,
    Const,
    Expr,
    Unary,
    and_,
    call,
    cast,
    eq,
    maximum,
    minimum,
    ne,
    not_,
    or_,
    select,
)
from polydl.ops.common import (
    at,
    broadcast_shapes,
    known_scalar,
    literal,
    one,
    pointwise,
    present,
    scalar_input,
    value_at,
    zero,
)
from polydl.ops.registry import OpNode, operator

__all__ = [
    "binary", "bit_shift", "clip", "convert", "dropout", "identity", "is_inf", "modulus", "power", "unary", "variadic",
    "where",
]  # fmt: skip


def _binary_op(op: str) -> Callable[[Expr, Expr], Expr]:
    return lambda a, b: Binary(op, a, b)


_BINARY: Final[dict[str, Callable[[Expr, Expr], Expr]]] = {
    "Add": _binary_op("add"), "Sub": _binary_op("sub"), "Mul": _binary_op("mul"), "Div": _binary_op("div"),
    "Less": _binary_op("lt"), "LessOrEqual": _binary_op("le"), "Greater": _binary_op("gt"),
    "GreaterOrEqual": _binary_op("ge"), "Equal": _binary_op("eq"),
    "And": and_, "Or": or_, "Xor": ne,
    "BitwiseAnd": _binary_op("bitand"), "BitwiseOr": _binary_op("bitor"), "BitwiseXor": _binary_op("bitxor"),
}  # fmt: skip


@operator(*_BINARY)
def binary(b: FunctionBuilder, node: OpNode, x: Tensor, y: Tensor) -> Tensor:
    _require_broadcast(node)
    f = _BINARY[node.op_type]
    shape = broadcast_shapes(node, x.extents, y.extents)
    return pointwise(b, node.output, shape, lambda i: f(value_at(node, 0, x, i), value_at(node, 1, y, i)))


def _require_broadcast(node: OpNode) -> None:
    if node.integer("broadcast", 0) != 0:
        raise node.refuse("the axis-based broadcasting of opset 6 and older", attribute="broadcast")


def _sign(x: Expr) -> Expr:
    if x.dtype.kind == "u":
        return select(x > 0, one(x.dtype), zero(x.dtype))
    # The last branch is reached by zeros and NaN only, and keeps NaN.
    return select(x > 0, one(x.dtype), select(x < 0, literal(-1, x.dtype), x))


def _abs(x: Expr) -> Expr:
    return x if x.dtype.kind == "u" else Unary("abs", x)


_ROUNDING: Final = ("floor", "ceil", "round_even")


def _function(name: str) -> Callable[[Expr], Expr]:
    return lambda x: x if name in _ROUNDING and x.dtype.is_integer else call(name, x)


_UNARY: Final[dict[str, Callable[[Expr], Expr]]] = {
    "Neg": lambda x: -x, "Abs": _abs, "Not": not_, "BitwiseNot": lambda x: Unary("invert", x), "Sign": _sign,
    "Reciprocal": lambda x: one(x.dtype) / x, "IsNaN": lambda x: call("isnan", x),
    "Floor": _function("floor"), "Ceil": _function("ceil"), "Round": _function("round_even"),
    "Sqrt": _function("sqrt"), "Exp": _function("exp"), "Log": _function("log"), "Erf": _function("erf"),
    "Sin": _function("sin"), "Cos": _function("cos"), "Tan": _function("tan"), "Asin": _function("asin"),
    "Acos": _function("acos"), "Atan": _function("atan"), "Sinh": _function("sinh"), "Cosh": _function("cosh"),
    "Asinh": _function("asinh"), "Acosh": _function("acosh"), "Atanh": _function("atanh"),
}  # fmt: skip


@operator(*_UNARY)
def unary(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    return pointwise(b, node.output, x.extents, lambda i: _UNARY[node.op_type](x[i]))


@operator("IsInf")
def is_inf(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    positive, negative = node.integer("detect_positive", 1), node.integer("detect_negative", 1)

    def body(value: Expr) -> Expr:
        if positive and negative:
            return call("isinf", value)
        if positive:
            return and_(call("isinf", value), value > 0)
        return and_(call("isinf", value), value < 0) if negative else Const(False, BOOL)

    return pointwise(b, node.output, x.extents, lambda i: body(x[i]))


_VARIADIC: Final[dict[str, Callable[[Expr, Expr], Expr]]] = {
    "Sum": lambda a, b: a + b, "Mean": lambda a, b: a + b, "Max": maximum, "Min": minimum,
}  # fmt: skip


@operator(*_VARIADIC)
def variadic(b: FunctionBuilder, node: OpNode, *inputs: Tensor | None) -> Tensor:
    tensors = [present(node, x, k) for k, x in enumerate(inputs)]
    if not tensors:
        raise node.invalid("no inputs")
    shape = broadcast_shapes(node, *(x.extents for x in tensors))

    def body(i: tuple[Expr, ...]) -> Expr:
        total = reduce(_VARIADIC[node.op_type], (value_at(node, k, x, i) for k, x in enumerate(tensors)))
        return (
            total / literal(len(tensors), total.dtype)
            if node.op_type == "Mean" and len(tensors) > 1
            else total
        )

    return pointwise(b, node.output, shape, body)


@operator("Mod")
def modulus(b: FunctionBuilder, node: OpNode, x: Tensor, y: Tensor) -> Tensor:
    shape = broadcast_shapes(node, x.extents, y.extents)
    c_sign = node.integer("fmod", 0)

    def body(p: Expr, q: Expr) -> Expr:
        if not p.dtype.is_float:
            return p - q * Binary("div", p, q) if c_sign else p % q
        rest = call("fmod", p, q)  # of the dividend's sign
        if c_sign:
            return rest
        unsigned = select(q < 0, literal(-0.0, q.dtype), zero(q.dtype))
        return select(eq(rest, zero(q.dtype)), unsigned, select(ne(rest < 0, q < 0), rest + q, rest))

    return pointwise(b, node.output, shape, lambda i: body(value_at(node, 0, x, i), value_at(node, 1, y, i)))


@operator("BitShift")
def bit_shift(b: FunctionBuilder, node: OpNode, x: Tensor, y: Tensor) -> Tensor:
    direction = node.string("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise node.invalid(f"direction is '{direction}', neither LEFT nor RIGHT")
    shape = broadcast_shapes(node, x.extents, y.extents)

    def body(value: Expr, amount: Expr) -> Expr:
        if direction == "LEFT":
            return Binary("shl", value, amount)
        if value.dtype.kind == "u":
            return Binary("shr", value, amount)
        bits = value.dtype.bits  # too far to the right: only copies of the sign are left
        return Binary(
            "shr", value, select(and_(amount >= 0, amount < bits), amount, literal(bits - 1, amount.dtype))
        )

    return pointwise(b, node.output, shape, lambda i: body(value_at(node, 0, x, i), value_at(node, 1, y, i)))


@operator("Pow")
def power(b: FunctionBuilder, node: OpNode, x: Tensor, y: Tensor) -> Tensor:
    """The result has the base's type; an integer power is computed in float64 (exact up to 2^53)."""
    _require_broadcast(node)
    shape = broadcast_shapes(node, x.extents, y.extents)
    exponent = known_scalar(node, 1, y.dtype)

    def body(i: tuple[Expr, ...]) -> Expr:
        base = value_at(node, 0, x, i)
        if exponent is not None and exponent.value in (1, 2, 3):
            return reduce(lambda p, q: p * q, [base] * int(exponent.value))
        top = exponent if exponent is not None else at(y, i)
        work = x.dtype if x.dtype.is_float and (y.dtype.bits <= x.dtype.bits or not y.dtype.is_float) else F64
        return cast(x.dtype, call("pow", cast(work, base), cast(work, top)))

    return pointwise(b, node.output, shape, body)


@operator("Where")
def where(b: FunctionBuilder, node: OpNode, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    shape = broadcast_shapes(node, condition.extents, x.extents, y.extents)
    return pointwise(
        b,
        node.output,
        shape,
        lambda i: select(at(condition, i), value_at(node, 1, x, i), value_at(node, 2, y, i)),
    )


@operator("Cast", "CastLike")
def convert(b: FunctionBuilder, node: OpNode, x: Tensor, like: Tensor | None = None) -> Tensor:
    """To the type that the node's output has; every pair of polydl's types."""
    return pointwise(b, node.output, x.extents, lambda i: cast(node.dtype, x[i]))


@operator("Identity")
def identity(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    return pointwise(b, node.output, x.extents, lambda i: x[i])


@operator("Dropout", static=(1, 2))
def dropout(
    b: FunctionBuilder, node: OpNode, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> tuple[Tensor | None, ...]:
    if node.static_number(2, training) and node.static_number(1, ratio) != 0:
        raise node.refuse(
            "training_mode is true and the elements to drop are not known",
            why="without a seed from 0 to 2^32 - 1 and a ratio known at build time its result is random",
        )
    value = pointwise(b, node.output, x.extents, lambda i: x[i])
    if not node.wants(1):
        return (value,)
    dtype: DType = node.outputs[1][1]
    return value, pointwise(b, node.outputs[1][0], x.extents, lambda i: one(dtype))


@operator("Clip")
def clip(
    b: FunctionBuilder, node: OpNode, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    """Bounds are attributes up to opset 10, inputs from 11; `min(max(x, low), high)`, so the upper bound wins."""
    bounds: list[Expr | None] = []
    for k, (name, bound) in enumerate((("min", low), ("max", high)), start=1):
        if node.opset < 11:
            bounds.append(literal(node.number(name, 0.0), x.dtype) if name in node.attributes else None)
        else:
            bounds.append(None if bound is None else scalar_input(node, k, bound))

    def body(value: Expr) -> Expr:
        if bounds[0] is not None:
            value = maximum(value, bounds[0])
        return value if bounds[1] is None else minimum(value, bounds[1])

    return pointwise(b, node.output, x.extents, lambda i: body(x[i]))
