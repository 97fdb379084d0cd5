"""The language: tensors, computations and functions."""

from polydl.dsl.builder import FunctionBuilder, Reduce, max_over, min_over, prod_over, reduce_over, sum_over
from polydl.dsl.function import Axis, Computation, Function, Reduction, StatementDef
from polydl.dsl.interpret import interpret
from polydl.dsl.loops import Captured, capture
from polydl.dsl.tensor import Layout, Tensor, TensorRole

__all__ = [
    "Axis",
    "Captured",
    "Computation",
    "Function",
    "FunctionBuilder",
    "Layout",
    "Reduce",
    "Reduction",
    "StatementDef",
    "Tensor",
    "TensorRole",
    "capture",
    "interpret",
    "max_over",
    "min_over",
    "prod_over",
    "reduce_over",
    "sum_over",
]
