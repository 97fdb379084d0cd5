"""An ONNX model as a torch module that calls the usual functions of torch, node by node.

The result is a `torch.fx.GraphModule`: straight-line Python with the weights as buffers, which torch runs eagerly
with no interpreter of ours in between and compiles as it would a hand-written network.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import fx

from benchmarks.peers import Missing
from models.distribution import attribute
from models.facts import infer_shapes

__all__ = ["to_torch"]

_CALLS: dict[str, Callable[..., Any]] = {
    "Relu": F.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Erf": torch.erf,
    "HardSwish": F.hardswish,
    "Sqrt": torch.sqrt,
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Pow": torch.pow,
    "MatMul": torch.matmul,
    "Where": torch.where,
}


def to_torch(model: onnx.ModelProto) -> fx.GraphModule:
    """`module(*inputs) -> tuple of outputs`, in the model's order; Missing for an operator without a torch form."""
    return _Converter(model).convert()


def _hard_sigmoid(x: torch.Tensor, alpha: float, beta: float) -> torch.Tensor:
    return torch.clamp(x * alpha + beta, 0, 1)


class _Converter:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.graph = model, fx.Graph()
        self.root = torch.nn.Module()
        self.values: dict[str, fx.Node] = {}
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.shapes = infer_shapes(model)

    def convert(self) -> fx.GraphModule:
        for value in self.model.graph.input:
            if value.name not in self.constants:
                self.values[value.name] = self.graph.placeholder(f"input_{len(self.values)}")
        for node in self.model.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(attribute(node, "value", None))
            else:
                self._node(node)
        self.graph.output(tuple(self.values[output.name] for output in self.model.graph.output))
        return fx.GraphModule(self.root, self.graph)

    def _value(self, name: str) -> fx.Node | None:
        """The fx node of a value; constants become buffers at their first use."""
        if not name:
            return None
        if name not in self.values:
            key = f"constant_{len(self.values)}"
            self.root.register_buffer(key, torch.from_numpy(np.array(self.constants[name])))
            self.values[name] = self.graph.get_attr(key)
        return self.values[name]

    def _integers(self, name: str) -> list[int]:
        if name not in self.constants:
            raise Missing(f"the torch form needs {name!r} to be a constant")
        return [int(item) for item in self.constants[name].ravel()]

    def _call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> fx.Node:
        return self.graph.call_function(function, arguments, named)

    def _node(self, node: onnx.NodeProto) -> None:
        op = node.op_type
        x = self._value(node.input[0])
        if op in _CALLS:
            result = self._call(_CALLS[op], *(self._value(name) for name in node.input))
        elif op in ("Conv", "ConvTranspose", "MaxPool", "AveragePool"):
            result = self._windowed(node)
        elif op in ("Split", "LSTM"):
            self._several(node)
            return
        else:
            result = self._other(node, x)
        self.values[node.output[0]] = result

    # ---- windows --------------------------------------------------------------------------------------------------

    def _padding(self, node: onnx.NodeProto, kernel: list[int], strides: list[int]) -> list[int]:
        """ONNX pads (all begins, then all ends)."""
        mode = attribute(node, "auto_pad", b"NOTSET")
        if mode in (b"NOTSET", b"VALID"):
            return list(attribute(node, "pads", [0] * 2 * len(kernel)))
        sizes, outs = self.shapes[node.input[0]][2:], self.shapes[node.output[0]][2:]
        spans = [max((o - 1) * s + k - i, 0) for o, s, k, i in zip(outs, strides, kernel, sizes, strict=True)]
        small, large = [span // 2 for span in spans], [span - span // 2 for span in spans]
        return small + large if mode == b"SAME_UPPER" else large + small

    def _windowed(self, node: onnx.NodeProto) -> fx.Node:
        operands = [self._value(name) for name in node.input]
        kernel = list(attribute(node, "kernel_shape", []) or self.shapes[node.input[1]][2:])
        rank = len(kernel)
        strides = list(attribute(node, "strides", [1] * rank))
        dilations = list(attribute(node, "dilations", [1] * rank))
        pads = self._padding(node, kernel, strides)
        before, after = pads[:rank], pads[rank:]
        if before != after:
            # torch pads both sides alike; what is more at the ends is added first (F.pad counts from the last axis).
            extra = [item for b, a in reversed(list(zip(before, after, strict=True))) for item in (b, a)]
            fill = float("-inf") if node.op_type == "MaxPool" else 0.0
            operands[0] = self._call(F.pad, operands[0], extra, value=fill)
            before = [0] * rank
        if node.op_type == "Conv":
            function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
            named = {"dilation": dilations, "groups": attribute(node, "group", 1)}
            return self._call(function, *operands, stride=strides, padding=before, **named)
        if node.op_type == "ConvTranspose":
            function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
            named = {
                "dilation": dilations,
                "groups": attribute(node, "group", 1),
                "output_padding": list(attribute(node, "output_padding", [0] * rank)),
            }
            return self._call(function, *operands, stride=strides, padding=before, **named)
        common = {"padding": before, "ceil_mode": bool(attribute(node, "ceil_mode", 0))}
        if node.op_type == "MaxPool":
            function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
            return self._call(function, operands[0], kernel, strides, dilation=dilations, **common)
        function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
        counted = bool(attribute(node, "count_include_pad", 0))
        if before == [0] * rank and any(pads) and not counted:
            raise Missing("AveragePool with uneven padding that is not counted has no torch form here")
        return self._call(function, operands[0], kernel, strides, count_include_pad=counted, **common)

    # ---- several outputs ------------------------------------------------------------------------------------------

    def _several(self, node: onnx.NodeProto) -> None:
        x = self._value(node.input[0])
        if node.op_type == "Split":
            axis = attribute(node, "axis", 0)
            sizes = [self.shapes[name][axis] for name in node.output]
            parts = self._call(torch.split, x, sizes, dim=axis)
            for index, name in enumerate(node.output):
                self.values[name] = self._call(operator.getitem, parts, index)
            return
        if (
            len(node.input) > 4
            or attribute(node, "direction", b"forward") != b"forward"
            or len(node.output) > 1
        ):
            raise Missing("only a forward LSTM from zero state has a torch form here")
        key = f"lstm_{len(self.values)}"
        self.root.add_module(key, self._lstm(*(self.constants[name] for name in node.input[1:4])))
        sequence = self._call(operator.getitem, self.graph.call_module(key, (x,)), 0)
        self.values[node.output[0]] = self._call(torch.unsqueeze, sequence, 1)

    @staticmethod
    def _lstm(w: np.ndarray, r: np.ndarray, b: np.ndarray) -> torch.nn.LSTM:
        hidden = r.shape[-1]
        module = torch.nn.LSTM(w.shape[-1], hidden)

        def reordered(
            array: np.ndarray,
        ) -> torch.Tensor:  # ONNX: input, output, forget, cell; torch: i, f, c, o
            i, o, f, c = np.split(array, 4)
            return torch.from_numpy(np.concatenate([i, f, c, o]))

        with torch.no_grad():
            module.weight_ih_l0.copy_(reordered(w[0]))
            module.weight_hh_l0.copy_(reordered(r[0]))
            module.bias_ih_l0.copy_(reordered(b[0, : 4 * hidden]))
            module.bias_hh_l0.copy_(reordered(b[0, 4 * hidden :]))
        return module

    # ---- the rest -------------------------------------------------------------------------------------------------

    def _other(self, node: onnx.NodeProto, x: fx.Node | None) -> fx.Node:
        call, names = self._call, list(node.input)
        match node.op_type:
            case "BatchNormalization":
                scale, bias, mean, var = (self._value(name) for name in names[1:5])
                return call(
                    F.batch_norm, x, mean, var, scale, bias, False, 0.0, attribute(node, "epsilon", 1e-5)
                )
            case "LayerNormalization":
                shape = list(self.shapes[names[0]])[attribute(node, "axis", -1) :]
                weights = [self._value(name) for name in names[1:]]
                return call(F.layer_norm, x, shape, *weights, eps=attribute(node, "epsilon", 1e-5))
            case "Gemm":
                return self._gemm(node, x)
            case "LeakyRelu":
                return call(F.leaky_relu, x, attribute(node, "alpha", 0.01))
            case "HardSigmoid":
                return call(_hard_sigmoid, x, attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5))
            case "Gelu":
                return call(F.gelu, x, approximate=attribute(node, "approximate", b"none").decode())
            case "Clip":
                limits = [float(self.constants[name]) if name else None for name in names[1:]]
                if len(node.attribute):
                    limits = [attribute(node, "min", None), attribute(node, "max", None)]
                return call(torch.clamp, x, *limits)
            case "Sum":
                total = x
                for name in names[1:]:
                    total = call(torch.add, total, self._value(name))
                assert total is not None
                return total
            case "Softmax":
                return call(torch.softmax, x, attribute(node, "axis", -1))
            case "GlobalAveragePool":
                return call(F.adaptive_avg_pool2d, x, 1)
            case "ReduceMean":
                axes = self._integers(names[1]) if len(names) > 1 else list(attribute(node, "axes", []))
                return call(torch.mean, x, axes, bool(attribute(node, "keepdims", 1)))
            case "LRN":
                named = {"alpha": attribute(node, "alpha", 1e-4), "beta": attribute(node, "beta", 0.75)}
                return call(
                    F.local_response_norm,
                    x,
                    attribute(node, "size", 5),
                    **named,
                    k=attribute(node, "bias", 1.0),
                )
            case _:
                return self._movement(node, x)

    def _gemm(self, node: onnx.NodeProto, x: fx.Node | None) -> fx.Node:
        if attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0:
            raise Missing("Gemm with alpha or beta has no torch form here")
        if attribute(node, "transA", 0):
            x = self._call(torch.t, x)
        weight = self._value(node.input[1])
        if not attribute(node, "transB", 0):
            weight = self._call(torch.t, weight)
        return self._call(F.linear, x, weight, *(self._value(name) for name in node.input[2:]))

    def _movement(self, node: onnx.NodeProto, x: fx.Node | None) -> fx.Node:
        call, names = self._call, list(node.input)
        match node.op_type:
            case "Identity" | "Dropout":
                assert x is not None
                return x
            case "Flatten" | "Reshape":
                return call(torch.reshape, x, list(self.shapes[node.output[0]]))
            case "Transpose":
                return call(torch.permute, x, list(attribute(node, "perm", None)))
            case "Concat":
                return call(torch.cat, [self._value(name) for name in names], attribute(node, "axis", 0))
            case "Slice":
                starts, stops = self._integers(names[1]), self._integers(names[2])
                axes = self._integers(names[3]) if len(names) > 3 else list(range(len(starts)))
                steps = self._integers(names[4]) if len(names) > 4 else [1] * len(starts)
                index = [slice(None)] * len(self.shapes[names[0]])
                for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
                    index[axis] = slice(start, stop, step)
                return call(operator.getitem, x, tuple(index))
            case "Squeeze" | "Unsqueeze":
                return call(torch.reshape, x, list(self.shapes[node.output[0]]))
            case "Expand":
                return call(torch.Tensor.expand, x, list(self.shapes[node.output[0]]))
            case "Gather":
                axis, indices = attribute(node, "axis", 0), names[1]
                if axis == 0 and len(self.shapes[names[0]]) == 2:
                    return call(F.embedding, self._value(indices), x)
                if indices in self.constants and self.constants[indices].ndim == 0:
                    return call(torch.select, x, axis, int(self.constants[indices]))
                raise Missing("Gather of this form has no torch form here")
            case "Cast":
                dtype = helper.tensor_dtype_to_np_dtype(attribute(node, "to", 1))
                return call(torch.Tensor.to, x, torch.from_numpy(np.zeros(1, dtype)).dtype)
            case _:
                raise Missing(f"no torch form of {node.op_type}")
