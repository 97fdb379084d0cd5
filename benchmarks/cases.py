"""What is measured: ONNX files with the number of operations one run takes."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import models
from models.distribution import attribute
from polydl.errors import UsageError

__all__ = ["GOALS", "Case", "count_flops", "kernels", "network"]

# The networks that are measured when none is named.
GOALS = ("resnet18", "resnet50", "vgg16", "mobilenet_v2", "squeezenet1_1", "densenet121")
_OPSET = 17


@dataclass(frozen=True, slots=True)
class Case:
    """One model.

    `flops` is the arithmetic of its contractions, a multiplication and an addition counted as two, without the kernel
    taps that fall on padding: good kernels skip those (18 % of a padded 3x3 on a 7x7 map), and with them counted a
    peer can seem to run above the machine's peak. `nominal_flops` is the usual figure of the literature, which counts
    them. `bytes` is what must be read and written at least: inputs, weights and outputs, once.
    """

    name: str
    model: onnx.ModelProto
    flops: int
    nominal_flops: int
    bytes: int

    @classmethod
    def of(cls, name: str, model: onnx.ModelProto) -> Case:
        return cls(name, model, count_flops(model), count_flops(model, nominal=True), _count_bytes(model))

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        return models.example_inputs(self.model, seed=1)


def count_flops(model: onnx.ModelProto, *, nominal: bool = False) -> int:
    """Operations of the contractions, products with padding if `nominal`; UsageError where a shape is unknown."""
    shapes = models.infer_shapes(model)
    total = 0
    for node in model.graph.node:
        match node.op_type:
            case "Conv":
                weight = _shape(shapes, node.input[1])
                taps = math.prod(weight[2:]) if nominal else math.prod(models.kernel_taps(node, shapes))
                total += round(2 * math.prod(_shape(shapes, node.output[0])) * weight[1] * taps)
            case "ConvTranspose":
                fan_out = math.prod(_shape(shapes, node.input[1])[1:])
                total += 2 * math.prod(_shape(shapes, node.input[0])) * fan_out
            case "MatMul":
                total += 2 * math.prod(_shape(shapes, node.output[0])) * _shape(shapes, node.input[0])[-1]
            case "Gemm":
                inner = _shape(shapes, node.input[0])[0 if attribute(node, "transA", 0) else 1]
                total += 2 * math.prod(_shape(shapes, node.output[0])) * inner
            case "LSTM" | "GRU" | "RNN":
                steps, batch = _shape(shapes, node.input[0])[:2]
                weights = sum(math.prod(_shape(shapes, name)) for name in node.input[1:3])
                total += 2 * steps * batch * weights
            case _:
                pass
    return total


def _shape(shapes: dict[str, tuple[int, ...]], name: str) -> tuple[int, ...]:
    if name not in shapes:
        raise UsageError(f"the shape of {name!r} is not static", next="fix the model's dimensions first")
    return shapes[name]


def _count_bytes(model: onnx.ModelProto) -> int:
    values = [*model.graph.input, *model.graph.output]
    total = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    for value in values:
        kind = value.type.tensor_type
        size = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        total += size * math.prod(dim.dim_value for dim in kind.shape.dim)
    return total


def network(name: str) -> Case:
    """A network of `models/` by name, or any ONNX file by path."""
    if name.endswith(".onnx"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"no such file: {name}")
        return Case.of(path.stem, onnx.load(path))
    return Case.of(name, models.build(name))


def _single(
    name: str,
    node: onnx.NodeProto,
    x: tuple[int, ...],
    y: tuple[int, ...],
    weights: dict[str, tuple[int, ...]],
) -> Case:
    """A model of one node from input `x` to output `y`."""
    zeros = [numpy_helper.from_array(np.zeros(shape, np.float32), key) for key, shape in weights.items()]
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(y))],
        zeros,
    )
    operators = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(
        graph, opset_imports=operators, ir_version=helper.find_min_ir_version_for(operators)
    )
    return Case.of(name, models.randomize(model, seed=0, in_place=True))


def _gemm(m: int, n: int, k: int) -> Case:
    """C (M x N) = A (M x K) B (K x N); A is the input, B a weight, as in a network."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return _single(f"gemm {m}x{n}x{k}", node, (m, k), (m, n), {"w": (k, n)})


def _convolutions(name: str) -> Iterator[Case]:
    """The convolutions of a network of `models/`, each as a model of its own with a bias."""
    model = models.build(name)
    shapes = models.infer_shapes(model)
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        x, w, y = (shapes[value] for value in (node.input[0], node.input[1], node.output[0]))
        depthwise = w[1] == 1 and x[1] > 1
        kind = "depthwise" if depthwise else "conv"
        stride = attribute(node, "strides", [1, 1])[0]
        label = f"{kind}{w[2]}x{w[3]} s{stride} {x[1]}x{x[2]}x{x[3]} -> {y[1]}x{y[2]}x{y[3]}"
        single = helper.make_node("Conv", ["x", "w", "b"], ["y"])
        single.attribute.extend(node.attribute)
        yield _single(label, single, x, y, {"w": w, "b": (y[1],)})


def _rowwise() -> Iterator[Case]:
    for rows, columns in ((1536, 128), (64, 50257)):
        node = helper.make_node("Softmax", ["x"], ["y"], axis=-1)
        yield _single(f"softmax {rows}x{columns}", node, (rows, columns), (rows, columns), {})
    for rows, columns in ((128, 768), (4096, 1024)):
        node = helper.make_node("LayerNormalization", ["x", "s", "b"], ["y"], axis=-1)
        weights: dict[str, tuple[int, ...]] = {"s": (columns,), "b": (columns,)}
        yield _single(f"layernorm {rows}x{columns}", node, (rows, columns), (rows, columns), weights)


@functools.cache
def _all_kernels() -> dict[str, Case]:
    return {case.name: case for case in _each_kernel()}


def _each_kernel() -> Iterator[Case]:
    for size in (512, 1024):
        yield _gemm(size, size, size)
    yield _gemm(128, 3072, 768)
    for name in ("resnet18", "resnet50"):
        yield from _convolutions(name)
    for name in ("mobilenet_v1", "mobilenet_v2"):
        yield from (case for case in _convolutions(name) if case.name.startswith("depthwise"))
    yield from _rowwise()


def kernels(filters: list[str]) -> list[Case]:
    """The kernels whose name contains one of `filters` (all without filters), each distinct one once."""
    cases = _all_kernels()
    chosen = [case for name, case in cases.items() if not filters or any(text in name for text in filters)]
    if not chosen:
        raise UsageError(f"no kernel matches {', '.join(filters)}", why=f"there are: {'; '.join(cases)}")
    return chosen
