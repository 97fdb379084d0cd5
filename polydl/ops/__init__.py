"""ONNX operators written in the language: `lower` appends a node's computations to a function under construction."""

from polydl.ops import (  # each module registers its operators
    activations,
    convolution,
    elementwise,
    generators,
    indexing,
    matmul,
    movement,
    normalization,
    pooling,
    reduction,
    resize,
    scatter,
)
from polydl.ops.registry import OpNode, lower, operator, static_inputs, supported

__all__ = ["OpNode", "lower", "operator", "static_inputs", "supported"]

_MODULES = (
    activations, convolution, elementwise, generators, indexing, matmul, movement, normalization, pooling, reduction,
    resize, scatter,
)  # fmt: skip
