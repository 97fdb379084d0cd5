"""Single operators as one would write them in numpy, for comparison in the kernel benchmarks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import numpy_helper

from benchmarks.peers import Missing
from models.distribution import attribute

__all__ = ["kernel"]

Function = Callable[[np.ndarray], np.ndarray]


def kernel(model: onnx.ModelProto) -> Function:
    """The function of a model of one node; Missing where this file has no numpy form of it."""
    if len(model.graph.node) != 1:
        raise Missing("numpy takes part in the kernel benchmarks only")
    node = model.graph.node[0]
    weights = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    match node.op_type:
        case "MatMul":
            return lambda x: x @ weights[0]
        case "Conv":
            return _convolution(node, *weights)
        case "Softmax":
            return _softmax
        case "LayerNormalization":
            epsilon = attribute(node, "epsilon", 1e-5)
            return lambda x: _layer_norm(x, weights[0], weights[1], epsilon)
        case _:
            raise Missing(f"no numpy form of {node.op_type}")


def _softmax(x: np.ndarray) -> np.ndarray:
    weight = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def _layer_norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, epsilon: float) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + np.float32(epsilon)) * scale + bias)


def _convolution(node: onnx.NodeProto, weight: np.ndarray, bias: np.ndarray) -> Function:
    """im2col and a matrix product; depthwise: one shifted multiply-add per tap."""
    strides, pads = attribute(node, "strides", [1, 1]), attribute(node, "pads", [0] * 4)
    channels, _, kh, kw = weight.shape
    border = ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3]))

    def windows(x: np.ndarray) -> np.ndarray:
        view = sliding_window_view(np.pad(x, border), (kh, kw), axis=(2, 3))
        return np.asarray(view[:, :, :: strides[0], :: strides[1]])

    def dense(x: np.ndarray) -> np.ndarray:
        taps = windows(x)[0]  # c, oh, ow, kh, kw
        height, width = taps.shape[1:3]
        columns = taps.transpose(0, 3, 4, 1, 2).reshape(-1, height * width)
        result = weight.reshape(channels, -1) @ columns + bias[:, None]
        return np.asarray(result.reshape(1, channels, height, width))

    def depthwise(x: np.ndarray) -> np.ndarray:
        taps = windows(x)
        result = np.broadcast_to(bias[:, None, None], taps.shape[:4]).copy()
        for row in range(kh):
            for column in range(kw):
                result += taps[..., row, column] * weight[:, 0, row, column, None, None]
        return result

    return depthwise if attribute(node, "group", 1) > 1 else dense
