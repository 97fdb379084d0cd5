"""A small builder of ONNX graphs: layers in, a checked model out.

Every method appends nodes and returns a `Value` (a name and its static shape), so an architecture reads like its
paper. Weights are only *declared* here (zeros of the right shape); `models.randomize` fills them with seeded numbers
scaled so that activations stay near 1, by the same rules it uses on any other model file. BatchNormalization nodes
stay nodes, as in a file exported before any optimisation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.defs import onnx_opset_version

from models.randomize import randomize
from polydl.errors import UsageError

__all__ = ["DEFAULT_OPSET", "OLDEST_OPSET", "Builder", "Value", "scaled"]

DEFAULT_OPSET = 17
OLDEST_OPSET = 13  # below it, Squeeze, Split and others took their axes as attributes


class Value(NamedTuple):
    """A tensor of the graph under construction: its name and static shape."""

    name: str
    shape: tuple[int, ...]


def scaled(channels: int, width: float, divisor: int = 8) -> int:
    """`channels` times `width`, rounded to a multiple of `divisor` but never below 90 % of it (MobileNetV2's rule)."""
    if width == 1.0:
        return channels
    rounded = max(divisor, int(channels * width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels * width else rounded


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


class Builder:
    """Collects nodes and weights of one float32 graph; `finish` makes the model."""

    def __init__(self, name: str, *, opset: int = DEFAULT_OPSET) -> None:
        if not OLDEST_OPSET <= opset <= onnx_opset_version():
            raise UsageError(
                f"opset {opset} is not supported by the builders",
                why=f"they write opsets {OLDEST_OPSET} to {onnx_opset_version()}",
            )
        self.name, self.opset = name, opset
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._counts: dict[str, int] = {}

    # ---- graph plumbing -------------------------------------------------------------------------------------------

    def input(self, name: str, shape: Sequence[int], dtype: int = TensorProto.FLOAT) -> Value:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return Value(name, tuple(shape))

    def weight(self, name: str, shape: Sequence[int]) -> Value:
        """A float32 weight to be filled by `randomize`; its name must be unique in the model."""
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.raw_data = bytes(4 * math.prod(shape))
        self._initializers.append(tensor)
        return Value(name, tuple(shape))

    def constant(self, array: np.ndarray) -> Value:
        """A constant of the architecture itself (a shape, an axis, a mask, a scalar): never randomised."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self._constants[key] = self._fresh("constant")
            self._initializers.append(numpy_helper.from_array(array, name))
        return Value(self._constants[key], array.shape)

    def ints(self, *values: int) -> Value:
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float) -> Value:
        return self.constant(np.array(value, dtype=np.float32))

    def node(self, op: str, inputs: Sequence[Value | None], shape: Sequence[int], **attributes: Any) -> Value:
        return self.nodes(op, inputs, [shape], **attributes)[0]

    def nodes(
        self, op: str, inputs: Sequence[Value | None], shapes: Sequence[Sequence[int]], **attributes: Any
    ) -> list[Value]:
        label = self._fresh(op.lower())
        names = [label] if len(shapes) == 1 else [f"{label}.{k}" for k in range(len(shapes))]
        operands = [value.name if value is not None else "" for value in inputs]
        self._nodes.append(helper.make_node(op, operands, names, name=label, **attributes))
        return [Value(name, tuple(shape)) for name, shape in zip(names, shapes, strict=True)]

    def finish(self, outputs: dict[str, Value], *, seed: int) -> onnx.ModelProto:
        """The model with its weights filled from `seed`; `outputs` maps public names to values."""
        rename = {value.name: name for name, value in outputs.items()}
        for node in self._nodes:
            for names in (node.input, node.output):
                for position, name in enumerate(names):
                    names[position] = rename.get(name, name)
        results = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.shape))
            for name, value in outputs.items()
        ]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, results, self._initializers)
        operators = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            graph,
            opset_imports=operators,
            ir_version=helper.find_min_ir_version_for(operators),
            producer_name="polydl.models",
        )
        return randomize(model, seed, in_place=True)

    def _fresh(self, stem: str) -> str:
        self._counts[stem] = self._counts.get(stem, -1) + 1
        return f"{stem}_{self._counts[stem]}"

    # ---- contractions ---------------------------------------------------------------------------------------------

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        *,
        pad: int | tuple[int, int] | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> Value:
        """2-d convolution of NCHW `x`; `pad=None` is the centred 'same' padding of odd kernels."""
        kh, kw = _pair(kernel)
        ph, pw = (kh // 2, kw // 2) if pad is None else _pair(pad)
        n, c, h, w = x.shape
        stem = self._fresh("conv_weights")
        operands = [x, self.weight(f"{stem}.weight", (channels, c // groups, kh, kw))]
        if bias:
            operands.append(self.weight(f"{stem}.bias", (channels,)))
        shape = (n, channels, (h + 2 * ph - kh) // stride + 1, (w + 2 * pw - kw) // stride + 1)
        return self.node(
            "Conv",
            operands,
            shape,
            kernel_shape=[kh, kw],
            strides=[stride, stride],
            pads=[ph, pw, ph, pw],
            group=groups,
        )

    def deconv(self, x: Value, channels: int, kernel: int, stride: int) -> Value:
        """2-d transposed convolution without padding, with bias."""
        n, c, h, w = x.shape
        stem = self._fresh("deconv_weights")
        operands = [
            x,
            self.weight(f"{stem}.weight", (c, channels, kernel, kernel)),
            self.weight(f"{stem}.bias", (channels,)),
        ]
        shape = (n, channels, (h - 1) * stride + kernel, (w - 1) * stride + kernel)
        return self.node("ConvTranspose", operands, shape, kernel_shape=[kernel] * 2, strides=[stride] * 2)

    def dense(self, x: Value, features: int) -> Value:
        """Fully connected layer with bias: Gemm on a matrix, MatMul and Add on anything of higher rank."""
        stem = self._fresh("dense_weights")
        inner = x.shape[-1]
        if len(x.shape) == 2:
            operands = [
                x,
                self.weight(f"{stem}.weight", (features, inner)),
                self.weight(f"{stem}.bias", (features,)),
            ]
            return self.node("Gemm", operands, (x.shape[0], features), transB=1)
        y = self.matmul(x, self.weight(f"{stem}.weight", (inner, features)))
        return self.add(y, self.weight(f"{stem}.bias", (features,)))

    def matmul(self, a: Value, b: Value) -> Value:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return self.node("MatMul", [a, b], (*batch, a.shape[-2], b.shape[-1]))

    # ---- normalisation --------------------------------------------------------------------------------------------

    def bn(self, x: Value, epsilon: float = 1e-5) -> Value:
        stem = self._fresh("bn_weights")
        parameters = [
            self.weight(f"{stem}.{part}", (x.shape[1],)) for part in ("scale", "bias", "mean", "var")
        ]
        return self.node("BatchNormalization", [x, *parameters], x.shape, epsilon=epsilon)

    def layer_norm(self, x: Value, epsilon: float = 1e-5) -> Value:
        """Normalisation over the last axis; spelled out below opset 17, where the operator does not exist."""
        stem = self._fresh("ln_weights")
        scale, bias = (self.weight(f"{stem}.{part}", x.shape[-1:]) for part in ("scale", "bias"))
        if self.opset >= 17:
            return self.node("LayerNormalization", [x, scale, bias], x.shape, axis=-1, epsilon=epsilon)
        centred = self.node("Sub", [x, self.mean(x, -1)], x.shape)
        variance = self.mean(self.mul(centred, centred), -1)
        deviation = self.node("Sqrt", [self.add(variance, self.scalar(epsilon))], variance.shape)
        return self.add(self.mul(self.node("Div", [centred, deviation], x.shape), scale), bias)

    # ---- elementwise ----------------------------------------------------------------------------------------------

    def unary(self, op: str, x: Value, **attributes: Any) -> Value:
        return self.node(op, [x], x.shape, **attributes)

    def relu(self, x: Value) -> Value:
        return self.unary("Relu", x)

    def relu6(self, x: Value) -> Value:
        return self.node("Clip", [x, self.scalar(0.0), self.scalar(6.0)], x.shape)

    def leaky_relu(self, x: Value, slope: float) -> Value:
        return self.unary("LeakyRelu", x, alpha=slope)

    def sigmoid(self, x: Value) -> Value:
        return self.unary("Sigmoid", x)

    def silu(self, x: Value) -> Value:
        return self.mul(x, self.sigmoid(x))

    def hard_sigmoid(self, x: Value) -> Value:
        return self.unary("HardSigmoid", x, alpha=1 / 6, beta=0.5)

    def hard_swish(self, x: Value) -> Value:
        return self.unary("HardSwish", x) if self.opset >= 14 else self.mul(x, self.hard_sigmoid(x))

    def tanh(self, x: Value) -> Value:
        return self.unary("Tanh", x)

    def gelu(self, x: Value) -> Value:
        """Exact GELU, x * (1 + erf(x / sqrt 2)) / 2; one operator from opset 20 on."""
        if self.opset >= 20:
            return self.unary("Gelu", x)
        error = self.unary("Erf", self.node("Div", [x, self.scalar(math.sqrt(2))], x.shape))
        return self.mul(self.mul(x, self.add(error, self.scalar(1.0))), self.scalar(0.5))

    def gelu_tanh(self, x: Value) -> Value:
        """GELU by GPT-2's tanh formula: x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2."""
        if self.opset >= 20:
            return self.unary("Gelu", x, approximate="tanh")
        cube = self.node("Pow", [x, self.scalar(3.0)], x.shape)
        inner = self.add(x, self.mul(cube, self.scalar(0.044715)))
        gate = self.add(self.tanh(self.mul(inner, self.scalar(math.sqrt(2 / math.pi)))), self.scalar(1.0))
        return self.mul(self.mul(x, gate), self.scalar(0.5))

    def add(self, a: Value, b: Value) -> Value:
        return self.node("Add", [a, b], np.broadcast_shapes(a.shape, b.shape))

    def mul(self, a: Value, b: Value) -> Value:
        return self.node("Mul", [a, b], np.broadcast_shapes(a.shape, b.shape))

    def softmax(self, x: Value, axis: int = -1) -> Value:
        return self.unary("Softmax", x, axis=axis)

    # ---- pooling and reduction ------------------------------------------------------------------------------------

    def max_pool(self, x: Value, kernel: int, stride: int, pad: int = 0, *, ceil: bool = False) -> Value:
        attributes = {"ceil_mode": 1} if ceil else {}
        return self._pool("MaxPool", x, kernel, stride, pad, ceil, attributes)

    def avg_pool(self, x: Value, kernel: int, stride: int, pad: int = 0) -> Value:
        """Average over the window, padding counted in (what torch does by default)."""
        return self._pool("AveragePool", x, kernel, stride, pad, False, {"count_include_pad": 1})

    def _pool(
        self, op: str, x: Value, kernel: int, stride: int, pad: int, ceil: bool, attributes: dict[str, int]
    ) -> Value:
        slack = stride - 1 if ceil else 0
        sizes = [(size + 2 * pad - kernel + slack) // stride + 1 for size in x.shape[2:]]
        return self.node(
            op,
            [x],
            (*x.shape[:2], *sizes),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            **attributes,
        )

    def global_pool(self, x: Value) -> Value:
        return self.node("GlobalAveragePool", [x], (*x.shape[:2], 1, 1))

    def mean(self, x: Value, axis: int) -> Value:
        """Mean over one axis, which stays with extent 1."""
        shape = list(x.shape)
        shape[axis] = 1
        if self.opset >= 18:
            return self.node("ReduceMean", [x, self.ints(axis)], shape, keepdims=1)
        return self.node("ReduceMean", [x], shape, axes=[axis], keepdims=1)

    # ---- movement -------------------------------------------------------------------------------------------------

    def flatten(self, x: Value) -> Value:
        return self.node("Flatten", [x], (x.shape[0], math.prod(x.shape[1:])), axis=1)

    def reshape(self, x: Value, *shape: int) -> Value:
        return self.node("Reshape", [x, self.ints(*shape)], shape)

    def transpose(self, x: Value, *permutation: int) -> Value:
        return self.node("Transpose", [x], [x.shape[axis] for axis in permutation], perm=list(permutation))

    def concat(self, values: Sequence[Value], axis: int = 1) -> Value:
        shape = list(values[0].shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        return self.node("Concat", list(values), shape, axis=axis)

    def split(self, x: Value, parts: int, axis: int = 1) -> list[Value]:
        """`x` cut into equal parts along `axis`."""
        shape = list(x.shape)
        shape[axis] //= parts
        return self.nodes("Split", [x, self.ints(*[shape[axis]] * parts)], [shape] * parts, axis=axis)

    def slice(self, x: Value, axis: int, start: int, stop: int) -> Value:
        shape = list(x.shape)
        shape[axis] = stop - start
        return self.node("Slice", [x, self.ints(start), self.ints(stop), self.ints(axis)], shape)

    def squeeze(self, x: Value, axis: int) -> Value:
        shape = list(x.shape)
        del shape[axis]
        return self.node("Squeeze", [x, self.ints(axis)], shape)

    def unsqueeze(self, x: Value, axis: int) -> Value:
        shape = [*x.shape[:axis], 1, *x.shape[axis:]]
        return self.node("Unsqueeze", [x, self.ints(axis)], shape)

    def gather(self, table: Value, indices: Value, axis: int = 0) -> Value:
        shape = (*table.shape[:axis], *indices.shape, *table.shape[axis + 1 :])
        return self.node("Gather", [table, indices], shape, axis=axis)
