"""Per-channel multiplications and additions, BatchNormalization above all, move into the weights before them.

    y = Conv(x, W, b) * s + t   ->   y = Conv(x, W * s, b * s + t)

Computed in float64 and rounded once. What is left of a BatchNormalization becomes one Mul and one Add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from polydl.graph.editor import Editor
from polydl.graph.ir import Array, Graph, Node
from polydl.graph.passes.common import per_channel, rebuilt

__all__ = ["absorb_affine", "lower_batchnorm", "matmul_bias", "merge_affine"]

_SMALL: Final = 1 << 20  # elements of a constant that is worth combining with another
_CONTRACTIONS: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class _Affine:
    """`x * scale + shift`, one number of each per channel (float64); None is 1 or 0."""

    x: str
    scale: Array | None
    shift: Array | None


def absorb_affine(graph: Graph) -> Graph:
    """Affine per-channel nodes whose operand is a contraction's only use are folded into that contraction."""
    e = Editor(graph)
    for node in e.walk():
        for source in _operands(node):
            contraction = e.producer(source, *_CONTRACTIONS)
            if contraction is None or e.only_user(source) is not node:
                continue
            rank = len(e.values[source].shape)
            axis = 1 if contraction.op_type in ("Conv", "ConvTranspose") else rank - 1
            affine = _affine(e, node, source, axis)
            if (
                affine is not None
                and e.values[node.output].shape == e.values[source].shape
                and _absorb(e, contraction, affine)
            ):
                e.replace(node.output, source)
                break
    return e.finish()


def _operands(node: Node) -> tuple[str, ...]:
    if node.op_type in ("Mul", "Add"):
        return node.inputs
    return node.inputs[:1] if node.op_type in ("BatchNormalization", "Sub", "Div") else ()


def _affine(e: Editor, node: Node, x: str, axis: int) -> _Affine | None:
    shape = e.values[x].shape
    if node.op_type == "BatchNormalization":
        return _statistics(e, node, x) if axis == 1 else None
    others = [i for i in node.inputs if i != x]
    array = e.constant(others[0]) if len(others) == 1 else None
    numbers = per_channel(array, len(shape), axis, shape[axis]) if array is not None and shape else None
    if numbers is None:
        return None
    match node.op_type:
        case "Mul":
            return _Affine(x, numbers, None)
        case "Div":
            return _Affine(x, 1.0 / numbers, None) if np.all(numbers != 0) else None
        case "Add":
            return _Affine(x, None, numbers)
        case "Sub":
            return _Affine(x, None, -numbers) if node.inputs[0] == x else None
        case _:
            return None


def _statistics(e: Editor, node: Node, x: str) -> _Affine | None:
    """A BatchNormalization in inference form with known statistics."""
    arrays = [e.constant(i) for i in node.inputs[1:5]]
    if len(node.outputs) != 1 or node.integer("training_mode", 0) or node.integer("spatial", 1) != 1:
        return None
    if len(arrays) != 4 or any(a is None or not np.issubdtype(a.dtype, np.floating) for a in arrays):
        return None
    gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    if np.any(variance + node.number("epsilon", 1e-5) <= 0):
        return None
    scale = gamma / np.sqrt(variance + node.number("epsilon", 1e-5))
    return _Affine(x, scale, beta - mean * scale)


def _absorb(e: Editor, contraction: Node, affine: _Affine) -> bool:
    """Rewrites the contraction's weights and bias; False (and nothing done) where they are not known or would
    overflow."""
    weight = e.constant(contraction.input(1))
    bias_name = contraction.input(2)
    bias = e.constant(bias_name) if bias_name else None
    if (bias_name and bias is None) or (affine.scale is not None and (weight is None or weight.ndim < 2)):
        return False
    dtype = e.values[contraction.output].dtype.numpy
    if not np.issubdtype(dtype, np.floating):
        return False
    attributes: dict[str, float] = {}
    channels = e.values[contraction.output].shape[-1 if contraction.op_type in ("Gemm", "MatMul") else 1]
    old = np.zeros(channels) if bias is None else bias.astype(np.float64)
    if contraction.op_type == "Gemm":
        old = old * contraction.number("beta", 1.0)
        attributes["beta"] = 1.0
    if contraction.op_type == "MatMul" and affine.shift is not None:
        return False
    new_weight = (
        _scaled(contraction, weight, affine.scale)
        if affine.scale is not None and weight is not None
        else None
    )
    new_bias = old if affine.scale is None else old * affine.scale
    new_bias = new_bias if affine.shift is None else new_bias + affine.shift
    with np.errstate(over="ignore"):
        made = [a.astype(dtype) for a in (new_weight, new_bias) if a is not None]
    if any(not np.all(np.isfinite(a)) for a in made):
        return False
    inputs = list(contraction.inputs)
    if new_weight is not None:
        inputs[1] = e.add_constant(inputs[1], new_weight.astype(dtype))
    if contraction.op_type != "MatMul" and (bias_name or affine.shift is not None):
        hint = bias_name or f"{contraction.output}_bias"
        inputs[2:] = [e.add_constant(hint, new_bias.astype(dtype))]
    rebuilt(e, contraction, tuple(inputs), **attributes)
    return True


def _scaled(contraction: Node, weight: Array, scale: Array) -> Array:
    """`weight * scale` in float64, `scale` along the output channels."""
    w = weight.astype(np.float64)
    match contraction.op_type:
        case "Conv":  # (K, C/g, ...)
            return w * scale.reshape(-1, *(1,) * (w.ndim - 1))
        case "ConvTranspose":  # (C, K/g, ...), C split into g groups
            groups = contraction.integer("group", 1)
            grouped = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
            return (grouped * scale.reshape(groups, 1, -1, *(1,) * (w.ndim - 2))).reshape(w.shape)
        case "Gemm" if contraction.integer("transB", 0):  # (N, K)
            return w * scale[:, None]
        case _:  # (…, K, N)
            return w * scale


def matmul_bias(graph: Graph) -> Graph:
    """`MatMul(x, W) + b` of matrices becomes `Gemm(x, W, b)`, which absorbs what follows."""
    e = Editor(graph)
    for node in e.walk():
        if node.op_type != "Add":
            continue
        for source, other in (node.inputs, node.inputs[::-1]):
            product = e.producer(source, "MatMul")
            bias = e.constant(other)
            if product is None or bias is None or e.only_user(source) is not node:
                continue
            shapes = [e.values[i].shape for i in product.inputs]
            shape = e.values[source].shape
            if len(shapes[0]) != 2 or len(shapes[1]) != 2 or e.values[node.output].shape != shape:
                continue
            if not e.values[source].dtype.is_float or bias.ndim > 2:
                continue
            e.replace(
                node.output,
                e.add("Gemm", [*product.inputs, other], opset=max(e.graph.opset, 11), hint=product.name),
            )
            break
    return e.finish()


def lower_batchnorm(graph: Graph) -> Graph:
    """`BatchNormalization(x)` with known statistics becomes `x * scale + shift`."""
    e = Editor(graph)
    for node in e.walk():
        if node.op_type != "BatchNormalization":
            continue
        affine = _statistics(e, node, node.inputs[0])
        if affine is None or affine.scale is None or affine.shift is None:
            continue
        value = e.values[node.inputs[0]]
        shape = (-1, *(1,) * (len(value.shape) - 2))
        with np.errstate(over="ignore"):
            scale, shift = (a.astype(value.dtype.numpy).reshape(shape) for a in (affine.scale, affine.shift))
        product = e.add(
            "Mul", [affine.x, e.add_constant(f"{node.output}_scale", scale)], hint=f"{node.name}_scale"
        )
        e.replace(
            node.output,
            e.add("Add", [product, e.add_constant(f"{node.output}_shift", shift)], hint=f"{node.name}_shift"),
        )
    return e.finish()


def merge_affine(graph: Graph) -> Graph:
    """Chains of multiplications and additions by constants become one of each.

    `(x * a) * b -> x * (a * b)`, `(x + a) + b -> x + (a + b)`, `(x + a) * b -> x * b + a * b`.
    """
    e = Editor(graph)
    for node in e.walk():
        if node.op_type not in ("Add", "Mul"):
            continue
        outer = _with_constant(e, node)
        inner_node = e.producer(outer[0], "Add", "Mul") if outer is not None else None
        inner = _with_constant(e, inner_node) if inner_node is not None else None
        if outer is None or inner is None or inner_node is None or e.only_user(outer[0]) is not node:
            continue
        x, b = inner[0], outer[1]
        a = inner[1]
        dtype = e.values[x].dtype
        # The constants alone must not make the result larger than x, and mixing exactly representable steps is for
        # floats.
        if not dtype.is_float or e.values[node.output].shape != e.values[x].shape:
            continue
        a64, b64 = a.astype(np.float64), b.astype(np.float64)
        match inner_node.op_type, node.op_type:
            case ("Mul", "Mul"):
                new = e.add("Mul", [x, _rounded(e, node, a64 * b64)], hint=node.name)
            case ("Add", "Add"):
                new = e.add("Add", [x, _rounded(e, node, a64 + b64)], hint=node.name)
            case ("Add", "Mul"):
                scaled = e.add("Mul", [x, _rounded(e, node, b64)], hint=inner_node.name)
                new = e.add("Add", [scaled, _rounded(e, node, a64 * b64)], hint=node.name)
            case _:
                continue
        e.replace(node.output, new)
    return e.finish()


def _with_constant(e: Editor, node: Node) -> tuple[str, Array] | None:
    """The other operand and the finite constant of an Add or Mul by a constant."""
    for one, other in (node.inputs, node.inputs[::-1]):
        array = e.constant(other)
        if (
            array is not None
            and e.constant(one) is None
            and array.size <= _SMALL
            and np.all(np.isfinite(array))
        ):
            return one, array
    return None


def _rounded(e: Editor, node: Node, array: Array) -> str:
    with np.errstate(over="ignore"):
        return e.add_constant(f"{node.output}_constant", array.astype(e.values[node.output].dtype.numpy))
