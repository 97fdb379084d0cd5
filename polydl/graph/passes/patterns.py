"""Operators that exporters write out as primitive nodes are put together again.

Only exact spellings are recognised: the rewritten graph computes the same function (constants to float32 accuracy).
"""

from __future__ import annotations

from math import isclose, pi, sqrt

import numpy as np

from polydl.graph.editor import Editor
from polydl.graph.ir import Array, Graph, Node
from polydl.graph.passes.common import axes_of

__all__ = ["recognise_gelu", "recognise_layer_norm", "recognise_swish"]

_LAYER_NORM_OPSET, _GELU_OPSET, _HARD_SWISH_OPSET, _SWISH_OPSET = 17, 20, 14, 24


def recognise_layer_norm(graph: Graph) -> Graph:
    """`(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * scale + shift` over trailing axes -> LayerNormalization."""
    e = Editor(graph)
    for node in e.walk():
        if node.op_type in ("Div", "Mul"):
            _layer_norm(e, node)
    return e.finish()


def _layer_norm(e: Editor, node: Node) -> None:
    found = _normalised(e, node)
    if found is None:
        return
    x, axis, epsilon = found
    value = e.values[x]
    shape = value.shape[axis:]
    result = node.output
    scale = np.ones(shape, value.dtype.numpy)
    shift: Array | None = None
    for op in ("Mul", "Add"):
        user = e.only_user(result, op)
        other = next((i for i in user.inputs if i != result), "") if user is not None else ""
        array = e.constant(other)
        if user is None or array is None or e.values[user.output].shape != value.shape:
            continue
        if not _fits(array.shape, shape):
            continue
        fitted = np.broadcast_to(array, (1,) * axis + shape).reshape(shape)
        scale, shift = (fitted, shift) if op == "Mul" else (scale, fitted)
        result = user.output
    inputs = [x, e.add_constant(f"{result}_scale", scale)]
    if shift is not None:
        inputs.append(e.add_constant(f"{result}_shift", shift))
    e.replace(
        result,
        e.add(
            "LayerNormalization",
            inputs,
            {"axis": axis, "epsilon": epsilon},
            opset=max(e.graph.opset, _LAYER_NORM_OPSET),
            hint=f"{node.name}_layernorm",
        ),
    )


def _fits(array: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Does an array of that shape broadcast over exactly the trailing `shape`?"""
    extra = array[: max(0, len(array) - len(shape))]
    tail = array[len(extra) :]
    aligned = (1,) * (len(shape) - len(tail)) + tail
    return all(n == 1 for n in extra) and all(a in (1, s) for a, s in zip(aligned, shape, strict=True))


def _normalised(e: Editor, node: Node) -> tuple[str, int, float] | None:
    """(x, first axis, epsilon) where `node` computes `(x - mean) / sqrt(variance + epsilon)`."""
    if node.op_type == "Div":
        centred, deviation = node.inputs
        root = e.producer(deviation, "Sqrt")
    else:
        pairs = [(a, e.producer(b, "Reciprocal")) for a, b in (node.inputs, node.inputs[::-1])]
        centred, inverse = next(((a, n) for a, n in pairs if n is not None), ("", None))
        root = e.producer(inverse.inputs[0], "Sqrt") if inverse is not None else None
    centre = e.producer(centred, "Sub")
    total = e.producer(root.inputs[0], "Add") if root is not None else None
    if centre is None or total is None:
        return None
    variance, epsilon = next(
        ((a, e.scalar(b)) for a, b in (total.inputs, total.inputs[::-1]) if e.scalar(b) is not None),
        ("", None),
    )
    mean_of_squares = e.producer(variance, "ReduceMean")
    mean = e.producer(centre.inputs[1], "ReduceMean")
    if mean_of_squares is None or mean is None or epsilon is None or mean.inputs[0] != centre.inputs[0]:
        return None
    x = centre.inputs[0]
    square = e.producer(mean_of_squares.inputs[0], "Pow", "Mul")
    rank = len(e.values[x].shape)
    first, second = _trailing(e, mean, rank), _trailing(e, mean_of_squares, rank)
    if square is None or first is None or first != second or not _is_square(e, square, centred, x, mean):
        return None
    return (x, first, epsilon) if e.values[x].dtype.is_float else None


def _is_square(e: Editor, square: Node, centred: str, x: str, mean: Node) -> bool:
    def is_centred(name: str) -> bool:
        n = e.producer(name, "Sub")
        return name == centred or (n is not None and n.inputs == (x, mean.output))

    if square.op_type == "Mul":
        return all(is_centred(i) for i in square.inputs)
    return is_centred(square.inputs[0]) and e.scalar(square.inputs[1]) == 2.0


def _trailing(e: Editor, reduce_: Node, rank: int) -> int | None:
    """The first of the trailing axes that a ReduceMean with kept dimensions reduces."""
    axes = axes_of(e, reduce_)
    if not axes or reduce_.integer("keepdims", 1) != 1:
        return None
    normal = sorted(a % rank for a in axes)
    return normal[0] if normal == list(range(normal[0], rank)) else None


def recognise_gelu(graph: Graph) -> Graph:
    """`0.5 * x * (1 + erf(x / sqrt 2))` and `0.5 * x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))` -> Gelu."""
    e = Editor(graph)
    for node in e.walk():
        if node.op_type != "Mul" or not e.values[node.output].dtype.is_float:
            continue
        factor, rest = _factors(e, node.output)
        if len(rest) != 2:
            continue
        for x, other in (rest, rest[::-1]):
            kind = _gelu_kind(e, x, other, factor)
            if kind is not None and e.values[x].shape == e.values[node.output].shape:
                gelu = e.add(
                    "Gelu",
                    [x],
                    {"approximate": kind},
                    opset=max(e.graph.opset, _GELU_OPSET),
                    hint=f"{node.name}_gelu",
                )
                e.replace(node.output, gelu)
                break
    return e.finish()


def _factors(e: Editor, name: str, depth: int = 3, top: bool = True) -> tuple[float, list[str]]:
    """`name` as a number times values; Muls and Divs by scalars whose values nothing else reads are opened."""
    node = e.producer(name, "Mul", "Div")
    if node is None or depth == 0 or (not top and e.only_user(name) is None):
        return 1.0, [name]
    a, b = node.inputs
    if node.op_type == "Div":
        divisor = e.scalar(b)
        if not divisor:
            return 1.0, [name]
        factor, rest = _factors(e, a, depth - 1, False)
        return factor / divisor, rest
    factor, rest = 1.0, []
    for i in (a, b):
        number = e.scalar(i)
        f, r = (number, []) if number is not None else _factors(e, i, depth - 1, False)
        factor, rest = factor * f, rest + r
    return factor, rest


def _gelu_kind(e: Editor, x: str, other: str, factor: float) -> str | None:
    """How `factor * x * other` is a Gelu of x: "none" (exact), "tanh", or None."""
    plus = e.producer(other, "Add")
    if plus is None or not isclose(factor, 0.5, rel_tol=1e-6):
        return None
    inner = next((a for a, b in (plus.inputs, plus.inputs[::-1]) if e.scalar(b) == 1.0), "")
    erf, tanh = e.producer(inner, "Erf"), e.producer(inner, "Tanh")
    if erf is not None:
        scale, rest = _factors(e, erf.inputs[0])
        return "none" if rest == [x] and isclose(scale, 1 / sqrt(2), rel_tol=1e-5) else None
    if tanh is not None:
        scale, rest = _factors(e, tanh.inputs[0])
        cubic = e.producer(rest[0], "Add") if len(rest) == 1 else None
        if cubic is None or not isclose(scale, sqrt(2 / pi), rel_tol=1e-5):
            return None
        for a, b in (cubic.inputs, cubic.inputs[::-1]):
            if a == x and _is_cube(e, b, x):
                return "tanh"
    return None


def _is_cube(e: Editor, name: str, x: str) -> bool:
    scale, rest = _factors(e, name)
    if not isclose(scale, 0.044715, rel_tol=1e-4):
        return False
    if rest == [x] * 3:
        return True
    power = e.producer(rest[0], "Pow") if len(rest) == 1 else None
    return power is not None and power.inputs[0] == x and e.scalar(power.inputs[1]) == 3.0


def recognise_swish(graph: Graph) -> Graph:
    """`x * sigmoid(x)` -> Swish, `x * hard_sigmoid(x)` and `x * clip(x + 3, 0, 6) / 6` -> HardSwish."""
    e = Editor(graph)
    for node in e.walk():
        if node.op_type not in ("Mul", "Div") or not e.values[node.output].dtype.is_float:
            continue
        factor, rest = _factors(e, node.output)
        if len(rest) != 2:
            continue
        for x, gate in (rest, rest[::-1]):
            made = _swish(e, x, gate, factor)
            if made is not None and e.values[x].shape == e.values[node.output].shape:
                op, opset = made
                e.replace(
                    node.output,
                    e.add(op, [x], opset=max(e.graph.opset, opset), hint=f"{node.name}_{op.lower()}"),
                )
                break
    return e.finish()


def _swish(e: Editor, x: str, gate: str, factor: float) -> tuple[str, int] | None:
    sigmoid = e.producer(gate, "Sigmoid", "HardSigmoid", "Clip")
    if sigmoid is None:
        return None
    source = sigmoid.inputs[0]
    match sigmoid.op_type:
        case "Sigmoid" if source == x and factor == 1.0:
            return "Swish", _SWISH_OPSET
        case "HardSigmoid" if source == x and factor == 1.0:
            exact = (
                isclose(sigmoid.number("alpha", 0.2), 1 / 6, rel_tol=1e-5)
                and sigmoid.number("beta", 0.5) == 0.5
            )
            return ("HardSwish", _HARD_SWISH_OPSET) if exact else None
        case "Clip" if isclose(factor, 1 / 6, rel_tol=1e-6):
            plus = e.producer(source, "Add")
            bounds = _bounds(e, sigmoid)
            shifted = plus is not None and any(
                a == x and e.scalar(b) == 3.0 for a, b in (plus.inputs, plus.inputs[::-1])
            )
            return ("HardSwish", _HARD_SWISH_OPSET) if shifted and bounds == (0.0, 6.0) else None
    return None


def _bounds(e: Editor, clip: Node) -> tuple[float | None, float | None]:
    if clip.opset < 11:
        return clip.number("min", -np.inf), clip.number("max", np.inf)
    return e.scalar(clip.input(1)), e.scalar(clip.input(2))
