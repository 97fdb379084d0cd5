"""Activation functions, in forms that do not overflow and keep NaN."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Final

from polydl.dsl import FunctionBuilder, Tensor
from polydl.ir.expr import Expr, Unary, call, maximum, minimum, select
from polydl.ops.common import check_broadcast, literal, one, pointwise, value_at, zero
from polydl.ops.registry import OpNode, operator

__all__ = ["activation", "prelu", "sigmoid", "softplus", "tanh"]


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + exp(-x)): an overflowing exp gives the limit 0."""
    return one(x.dtype) / (call("exp", -x) + 1)


def softplus(x: Expr) -> Expr:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    return maximum(x, 0) + call("log", call("exp", -Unary("abs", x)) + 1)


def tanh(x: Expr) -> Expr:
    return call("tanh", x)


def _gelu(node: OpNode, x: Expr) -> Expr:
    approximate = node.string("approximate", "none")
    if approximate == "none":
        return x * 0.5 * (call("erf", x * sqrt(0.5)) + 1)
    if approximate == "tanh":
        return x * 0.5 * (call("tanh", (x + x * x * x * 0.044715) * sqrt(2 / pi)) + 1)
    raise node.refuse("neither 'none' nor 'tanh'", attribute="approximate")


def _unit_clamp(x: Expr) -> Expr:
    return maximum(minimum(x, 1), 0)


def _exp1(x: Expr) -> Expr:
    return call("exp", x) - 1


def _shrink(node: OpNode, x: Expr) -> Expr:
    bias, bound = literal(node.number("bias", 0.0), x.dtype), literal(node.number("lambd", 0.5), x.dtype)
    return select(
        x < literal(-node.number("lambd", 0.5), x.dtype), x + bias, select(x > bound, x - bias, zero(x.dtype))
    )


def _selu(node: OpNode, x: Expr) -> Expr:
    alpha = node.number("alpha", 1.67326319217681884765625)
    return select(x > 0, x, _exp1(x) * alpha) * node.number("gamma", 1.05070102214813232421875)


def _celu(node: OpNode, x: Expr) -> Expr:
    alpha = node.number("alpha", 1.0)
    return maximum(x, 0) + minimum(_exp1(x / alpha) * alpha, 0)


_ACTIVATIONS: Final[dict[str, Callable[[OpNode, Expr], Expr]]] = {
    "Relu": lambda n, x: maximum(x, zero(x.dtype)),
    "LeakyRelu": lambda n, x: select(x < 0, x * n.number("alpha", 0.01), x),
    "Elu": lambda n, x: select(x < 0, _exp1(x) * n.number("alpha", 1.0), x),
    "Selu": _selu,
    "Celu": _celu,
    "Gelu": _gelu,
    "HardSigmoid": lambda n, x: _unit_clamp(x * n.number("alpha", 0.2) + n.number("beta", 0.5)),
    "HardSwish": lambda n, x: x * _unit_clamp(x * (1 / 6) + 0.5),
    "Mish": lambda n, x: x * call("tanh", softplus(x)),
    "Sigmoid": lambda n, x: sigmoid(x),
    "Softplus": lambda n, x: softplus(x),
    "Softsign": lambda n, x: x / (Unary("abs", x) + 1),
    "Swish": lambda n, x: x * sigmoid(x * n.number("alpha", 1.0)),
    "Tanh": lambda n, x: tanh(x),
    "ThresholdedRelu": lambda n, x: select(x <= n.number("alpha", 1.0), zero(x.dtype), x),
    "Shrink": _shrink,
}


@operator(*_ACTIVATIONS)
def activation(b: FunctionBuilder, node: OpNode, x: Tensor) -> Tensor:
    return pointwise(b, node.output, x.extents, lambda i: _ACTIVATIONS[node.op_type](node, x[i]))


@operator("PRelu")
def prelu(b: FunctionBuilder, node: OpNode, x: Tensor, slope: Tensor) -> Tensor:
    check_broadcast(node, slope, x.extents)
    return pointwise(
        b, node.output, x.extents, lambda i: select(x[i] < 0, x[i] * value_at(node, 1, slope, i), x[i])
    )
