"""How an ONNX operator changes the distribution of its values, told by a sample of scalars.

A value of a network with random weights is described by `SIZE` scalars drawn from it. Elementwise operators act on
the sample by their own definition, so that dependences between operands (`x * sigmoid(x)`) and skewness (after Relu)
are exact. A contraction with fresh zero-mean weights is a sum of many independent terms and therefore normal.
Pooling assumes that neighbours share half of their variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

__all__ = ["KEEPS_ELEMENTS", "SIZE", "Sample", "attribute", "normal", "propagate", "weighted_sum"]

SIZE = 4096
Sample = npt.NDArray[np.float64]  # SIZE scalars
_SHARED = 0.5  # part of a feature map's variance that neighbouring pixels share

# Operators that move or repeat elements and compute nothing.
# fmt: off
KEEPS_ELEMENTS = frozenset((
    "Identity", "Dropout", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Tile",
    "Slice", "Split", "Pad", "Gather", "GatherElements", "Resize", "Upsample", "Trilu", "Cast",
    "DepthToSpace", "SpaceToDepth",
))
# fmt: on

_erf = np.vectorize(math.erf, otypes=[np.float64])


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The attribute's value, or `default` where the node does not carry it."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def normal(generator: np.random.Generator, mean: float = 0.0, std: float = 1.0) -> Sample:
    """A normal sample whose own mean and deviation are exactly those asked for."""
    sample = generator.standard_normal(SIZE)
    return np.asarray((sample - sample.mean()) / sample.std() * std + mean)


def weighted_sum(terms: int, generator: np.random.Generator) -> Sample:
    """What a contraction with zero-mean weights of variance 1 / terms makes of unit-power operands; variance 1.

    Over many terms that is normal. With few (9 in a depthwise convolution) the channels differ in scale, since each
    has its own few weights; `_SHARED` of the operands' power is common to the window, which makes it worse.
    """
    if terms > 64:
        return normal(generator)
    weights = generator.standard_normal((SIZE, max(terms, 1))) / math.sqrt(max(terms, 1))
    power = _SHARED * weights.sum(axis=1) ** 2 + (1 - _SHARED) * (weights**2).sum(axis=1)
    sample = normal(generator) * np.sqrt(power)
    return np.asarray((sample - sample.mean()) / sample.std())


def _sigmoid(x: Sample) -> Sample:
    return 1 / (1 + np.exp(-x))


def _gelu(x: Sample) -> Sample:
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


_UNARY: dict[str, Callable[[Sample], Sample]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Erf": _erf,
    "Gelu": _gelu,
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "Softplus": lambda x: np.logaddexp(0, x),
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Abs": np.abs,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
}

_NARY: dict[str, Callable[[Sample, Sample], Sample]] = {
    "Add": np.add,
    "Sum": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": np.maximum,
    "Min": np.minimum,
    "PRelu": lambda x, slope: np.where(x > 0, x, slope * x),
}


def _shrink(x: Sample, kept: float) -> Sample:
    """`x` with only the part `kept` of its variance."""
    mean: float = x.mean()
    return mean + (x - mean) * math.sqrt(kept)


def _concat(parts: Sequence[Sample], weights: Sequence[float], generator: np.random.Generator) -> Sample:
    """A mixture: element `e` comes from part `p` with a probability proportional to `weights[p]`."""
    share = np.asarray(weights, dtype=np.float64)
    choice = generator.choice(len(parts), SIZE, p=share / share.sum())
    return np.choose(choice, [generator.permutation(part) for part in parts])


def _inner_product(a: Sample, b: Sample, length: int, generator: np.random.Generator) -> Sample:
    """Sum of `length` products. The `b` of one sum (the values attention mixes, say) have a common part c: with
    b_k = c + e_k the sum is c * sum(a_k) + sum(a_k * e_k), whose variances add."""
    power = float(np.mean(a * a))
    total = length * float(a.var()) + (length * float(a.mean())) ** 2  # mean square of sum(a_k)
    own, common = (1 - _SHARED) * float(b.var()), _SHARED * float(b.var())
    variance = common * total + own * length * power + length * float(a.var()) * float(b.mean()) ** 2
    return normal(generator, length * float(a.mean() * b.mean()), math.sqrt(max(variance, 1e-12)))


def propagate(
    node: onnx.NodeProto,
    operands: Sequence[Sample | None],
    extents: Sequence[int],
    generator: np.random.Generator,
) -> Sample:
    """The distribution of every output of `node`.

    `operands` are the inputs' samples (None: absent, or not a float). `extents[k]` is, for Concat, the extent of
    operand `k` along the axis; for MatMul of two computed operands `extents[0]` is the length of the inner product;
    for Softmax `extents[0]` is the number of classes. An operator without a rule is taken to keep the distribution of
    its first operand.
    """
    present = [operand for operand in operands if operand is not None]
    if not present:
        return normal(generator)
    x = present[0]
    match node.op_type:
        case op if op in _UNARY:
            return _UNARY[op](x)
        case op if op in _NARY:
            result = x
            for other in present[1:]:
                result = _NARY[op](result, other)
            return result
        case "LeakyRelu":
            return np.where(x > 0, x, attribute(node, "alpha", 0.01) * x)
        case "Elu":
            return np.where(x > 0, x, attribute(node, "alpha", 1.0) * np.expm1(np.minimum(x, 0)))
        case "HardSigmoid":
            slope, offset = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
            return np.asarray(np.clip(slope * x + offset, 0, 1))
        case "Clip":
            low = float(present[1].min()) if len(present) > 1 else attribute(node, "min", -math.inf)
            high = float(present[2].max()) if len(present) > 2 else attribute(node, "max", math.inf)
            return np.asarray(np.clip(x, low, high))
        case "Where":
            branches = [operand for operand in operands[1:3] if operand is not None]
            return _concat(branches, [1] * len(branches), generator)
        case "Concat":
            return _concat(present, extents, generator)
        case "MatMul":
            a, b = present
            return _inner_product(a, b, extents[0], generator)
        case "Softmax":
            weight = np.exp(x - x.max())
            return np.asarray(weight / (extents[0] * weight.mean()))
        case "MaxPool":
            # A window of k x k neighbours that share half their variance acts like about k independent ones.
            window = attribute(node, "kernel_shape", [2])
            return np.asarray(np.max([generator.permutation(x) for _ in range(max(window))], axis=0))
        case "AveragePool":
            count = math.prod(attribute(node, "kernel_shape", [2]))
            return _shrink(x, _SHARED + (1 - _SHARED) / count)
        case "GlobalAveragePool":
            return _shrink(x, _SHARED)
        case "ReduceMean":
            return _shrink(x, 0.0)
        case "LRN":
            scale = attribute(node, "bias", 1.0) + attribute(node, "alpha", 1e-4) * np.mean(x * x)
            return np.asarray(x / scale ** attribute(node, "beta", 0.75))
        case _:
            return x
