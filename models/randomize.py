"""Seeded random weights for any ONNX model, scaled so that activations stay near 1 from input to output.

Many published test models carry constant fills as weights, which hide every mistake in the order of channels. This
module walks the nodes in order, keeps a sample of the distribution of every value (`models.distribution`), and gives
each weight the scale that brings its layer's output to unit variance (He's rule, for whatever activation came before,
and counting only the kernel taps that padding leaves inside the image).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.distribution import KEEPS_ELEMENTS, SIZE, Sample, attribute, normal, propagate, weighted_sum
from models.facts import infer_shapes, kernel_taps

__all__ = ["randomize"]

# Standard deviations of what is not a contraction's weight.
_BIAS = 0.1
_TABLE = 0.25  # a lookup table that is used again as the output layer (width 768) then gives logits near 7
_LOGITS = 4.0  # before a final Softmax: unit logits would make all 1000 probabilities nearly equal
# Before x * sigmoid(x): that curve is steeper than linear near 1, so that small errors of estimate would grow from
# layer to layer (32 layers of EfficientNet: a hundredfold); from 3 on it is nearly linear and they do not.
_SWISH = 3.0
_STATE = 0.35  # what a recurrent layer emits under these weights
_MASK = 100.0  # constants this large are masks, not biases

_Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float32]]


def randomize(model: onnx.ModelProto, seed: int, *, in_place: bool = False) -> onnx.ModelProto:
    """`model` with every float weight replaced by seeded random numbers; structure and names stay.

    Weights may be initialisers (also those listed as graph inputs, as before IR version 4), Constant nodes, or
    ConstantOfShape nodes of constant shape, and may reach their operator through Reshape, Transpose and the like.
    Constant and ConstantOfShape nodes that hold a weight become initialisers. Scalars, integers, masks and constants
    that are no operator's weight are left alone; subgraphs of control flow are not entered. A tensor's numbers depend
    only on the seed, its name, its shape and its scale. Deterministic.
    """
    target = model if in_place else onnx.ModelProto.FromString(model.SerializeToString())
    _Filler(target, seed).run()
    return target


class _Filler:
    """One walk over a graph: samples of values on one side, weights to fill on the other."""

    def __init__(self, model: onnx.ModelProto, seed: int) -> None:
        self.model, self.graph, self.seed = model, model.graph, seed
        self.shapes = infer_shapes(model)
        self.tensors = {tensor.name: tensor for tensor in self.graph.initializer}
        self.origin: dict[str, str] = {}  # value -> the weight whose elements it holds
        self.carriers: dict[
            str, onnx.NodeProto
        ] = {}  # weight -> the Constant or ConstantOfShape node making it
        self.filled: set[str] = set()
        self.samples: dict[str, Sample] = {}
        for name, tensor in self.tensors.items():
            if tensor.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE):
                self.origin[name] = name
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.logits = self._before_final_softmax()

    def run(self) -> None:
        for value in self.graph.input:
            if value.name not in self.tensors:
                generator = self._generator(value.name)
                real = value.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE)
                bits = generator.integers(0, 2, SIZE).astype(np.float64)  # a mask, as in `example_inputs`
                self.samples[value.name] = normal(generator) if real else bits
        for node in self.graph.node:
            self._visit(node)
        unneeded = [self.carriers[name] for name in self.filled if name in self.carriers]
        for node in unneeded:
            self.graph.node.remove(node)

    # ---- one node -------------------------------------------------------------------------------------------------

    def _visit(self, node: onnx.NodeProto) -> None:
        if node.op_type in ("Constant", "ConstantOfShape"):
            self._note_carrier(node)
            return
        if node.op_type in KEEPS_ELEMENTS and node.op_type != "Gather" and node.input[0] in self.origin:
            self.origin[node.output[0]] = self.origin[node.input[0]]
            return
        generator = self._generator(node.output[0])
        gain = _LOGITS if node.output[0] in self.logits else 1.0
        match node.op_type:
            case "Conv" | "ConvTranspose" | "Gemm" | "MatMul":
                sample = self._contraction(node, gain, generator)
            case "LSTM" | "GRU" | "RNN":
                sample = self._recurrent(node, generator)
            case "BatchNormalization":
                sample = self._batch_norm(node)
            case "LayerNormalization" | "InstanceNormalization" | "GroupNormalization":
                self._fill_uniform(node.input[1], 0.8, 1.2)
                self._fill_normal(node.input[2] if len(node.input) > 2 else "", _BIAS)
                sample = normal(generator)
            case _:
                self._elementwise_weights(node)
                sample = self._propagate(node, generator)
        for name in node.output:
            self.samples[name] = sample

    def _contraction(self, node: onnx.NodeProto, gain: float, generator: np.random.Generator) -> Sample:
        position = 0 if node.input[1] not in self.origin and node.op_type in ("Gemm", "MatMul") else 1
        weight = node.input[position]
        if weight not in self.origin:
            return self._propagate(node, generator)
        x = self._sample(node.input[1 - position])
        power = float(np.mean(x * x)) if x is not None else 1.0
        alpha = abs(attribute(node, "alpha", 1.0)) if node.op_type == "Gemm" else 1.0
        amplification = alpha * math.sqrt(self._fan_in(node, position) * max(power, 1e-12))
        self._fill_normal(weight, gain / amplification)
        bias = node.input[2] if len(node.input) > 2 else ""
        self._fill_normal(bias, _BIAS * gain)
        # Not simply `gain`: a shared weight keeps the scale its first use gave it.
        w = self._sample(weight)
        deviation = amplification * (math.sqrt(float(np.mean(w * w))) if w is not None else 0.0)
        products = weighted_sum(round(self._fan_in(node, position)), generator) * deviation
        return products + (normal(generator, 0.0, _BIAS * gain) if bias else 0.0)

    def _fan_in(self, node: onnx.NodeProto, position: int) -> float:
        """How many products one output element sums."""
        shape = self._shape(node.input[position])
        match node.op_type:
            case "Gemm":
                flipped = bool(attribute(node, "transB" if position else "transA", 0))
                return shape[position if flipped else 1 - position]
            case "MatMul":
                return shape[-1] if position == 0 or len(shape) == 1 else shape[-2]
            case "ConvTranspose":
                strides = attribute(node, "strides", [1] * (len(shape) - 2))
                taps = [max(1.0, kernel / stride) for kernel, stride in zip(shape[2:], strides, strict=True)]
                return float(shape[0] / attribute(node, "group", 1) * math.prod(taps))
            case _:
                return shape[1] * math.prod(kernel_taps(node, self.shapes))

    def _recurrent(self, node: onnx.NodeProto, generator: np.random.Generator) -> Sample:
        x = self._sample(node.input[0])
        power = float(np.mean(x * x)) if x is not None else 1.0
        self._fill_normal(node.input[1], 1 / math.sqrt(self._shape(node.input[1])[-1] * power))
        self._fill_normal(node.input[2], 1 / math.sqrt(self._shape(node.input[2])[-1]))
        self._fill_normal(node.input[3] if len(node.input) > 3 else "", _BIAS)
        return normal(generator, 0.0, _STATE)

    def _batch_norm(self, node: onnx.NodeProto) -> Sample:
        name, scale, bias, mean, var = node.input[:5]
        x = self._sample(name)
        centre, spread = (float(x.mean()), max(float(x.var()), 1e-6)) if x is not None else (0.0, 1.0)
        gain = _SWISH if self._feeds_swish(node.output[0]) else 1.0
        self._fill_uniform(scale, 0.8 * gain, 1.2 * gain)
        self._fill_normal(bias, _BIAS * gain)
        self._fill_normal(mean, _BIAS * math.sqrt(spread), centre)
        self._fill_uniform(var, 0.8 * spread, 1.2 * spread)
        values = [self._sample(part) for part in node.input[:5]]
        x, s, b, m, v = (value if value is not None else np.zeros(SIZE) for value in values)
        return np.asarray((x - m) / np.sqrt(v + attribute(node, "epsilon", 1e-5)) * s + b)

    def _elementwise_weights(self, node: onnx.NodeProto) -> None:
        """Weights that meet data in an elementwise operator, a lookup or a concatenation."""
        if node.op_type == "Gather" and len(self._shape(node.input[0])) > 1:
            self._fill_normal(node.input[0], _TABLE)
            return
        constants = [name for name in node.input if name in self.origin and math.prod(self._shape(name)) > 1]
        if len(constants) == len(node.input):
            return
        for name in constants:
            values = self._sample(name)
            if values is None or not np.all(np.abs(values) < _MASK):
                continue
            match node.op_type:
                case "Add" | "Sub" | "Sum":
                    self._fill_normal(name, _BIAS)
                case "Mul" | "Div":
                    self._fill_uniform(name, 0.8, 1.2)
                case "PRelu":
                    self._fill_uniform(name, 0.1, 0.4)
                case "Concat":
                    self._fill_normal(name, _TABLE)

    def _propagate(self, node: onnx.NodeProto, generator: np.random.Generator) -> Sample:
        return propagate(node, [self._sample(name) for name in node.input], self._extents(node), generator)

    def _extents(self, node: onnx.NodeProto) -> list[int]:
        """The sizes `propagate` asks for; 1 where a shape is not static."""
        match node.op_type:
            case "Concat":
                axis = attribute(node, "axis", 1)
                floats = [name for name in node.input if self._sample(name) is not None]
                return [self.shapes[name][axis] if name in self.shapes else 1 for name in floats]
            case "MatMul" | "Softmax":
                shape = self.shapes.get(node.input[0], (1,))
                return [shape[-1 if node.op_type == "MatMul" else attribute(node, "axis", -1)]]
            case _:
                return []

    # ---- filling --------------------------------------------------------------------------------------------------

    def _fill_normal(self, name: str, std: float, mean: float = 0.0) -> None:
        self._fill(
            name, lambda generator, size: generator.standard_normal(size, dtype=np.float32) * std + mean
        )

    def _fill_uniform(self, name: str, low: float, high: float) -> None:
        self._fill(
            name, lambda generator, size: generator.random(size, dtype=np.float32) * (high - low) + low
        )

    def _fill(self, name: str, draw: _Draw) -> None:
        weight = self.origin.get(name)
        if weight is None or weight in self.filled:
            return
        self.filled.add(weight)
        shape = self._shape(weight)
        tensor = self.tensors.get(weight)
        if tensor is None:
            tensor = self.tensors[weight] = self._new_initializer(weight, shape)
        values = draw(self._generator(weight), math.prod(shape))
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        for field in ("float_data", "double_data", "external_data"):
            tensor.ClearField(field)
        tensor.ClearField("data_location")
        tensor.raw_data = values.astype(dtype).tobytes()

    def _new_initializer(self, name: str, shape: Sequence[int]) -> onnx.TensorProto:
        tensor = self.graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=shape)
        if self.model.ir_version < 4:  # where an initialiser must be listed as an input too
            self.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return tensor

    def _note_carrier(self, node: onnx.NodeProto) -> None:
        """A float constant made by a node: perhaps a weight, which its consumer will tell."""
        value = attribute(node, "value", TensorProto(data_type=TensorProto.FLOAT))
        if value.data_type == TensorProto.FLOAT and node.output[0] in self.shapes:
            self.origin[node.output[0]] = node.output[0]
            self.carriers[node.output[0]] = node

    # ---- looking up -----------------------------------------------------------------------------------------------

    def _sample(self, name: str) -> Sample | None:
        weight = self.origin.get(name)
        if weight is None:
            return self.samples.get(name)
        if weight in self.tensors:
            values = numpy_helper.to_array(self.tensors[weight]).ravel()
        else:
            carried = attribute(self.carriers[weight], "value", None)
            values = numpy_helper.to_array(carried).ravel() if carried is not None else np.zeros(1)
        if values.size == 0:
            return None
        return self._generator(name).choice(values, SIZE).astype(np.float64)

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.shapes.get(name, ())

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def _feeds_swish(self, name: str) -> bool:
        """Does `name` enter a HardSwish, or a product with its own sigmoid?"""
        for node in self.consumers.get(name, []):
            if node.op_type in ("HardSwish", "Swish", "Mish"):
                return True
            if node.op_type in ("Sigmoid", "HardSigmoid"):
                gated = self.consumers.get(node.output[0], [])
                if any(mul.op_type == "Mul" and name in mul.input for mul in gated):
                    return True
        return False

    def _before_final_softmax(self) -> set[str]:
        """Outputs of the contractions whose values reach an output of the model through a Softmax."""
        makers = {name: node for node in self.graph.node for name in node.output}
        found: set[str] = set()
        for output in self.graph.output:
            node = makers.get(output.name)
            seen_softmax = False
            while node is not None:
                if node.op_type in ("Conv", "Gemm", "MatMul"):
                    found.update(node.output if seen_softmax else [])
                    break
                seen_softmax |= node.op_type in ("Softmax", "LogSoftmax")
                onward = node.op_type in KEEPS_ELEMENTS or node.op_type in (
                    "Softmax",
                    "LogSoftmax",
                    "Relu",
                    "Add",
                    "GlobalAveragePool",
                )
                node = makers.get(node.input[0]) if onward else None
        return found
