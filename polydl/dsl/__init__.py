"""The language: tensors, computations and functions."""

from polydl.dsl.builder import FunctionBuilder
from polydl.dsl.forms import (
    Reduce,
    Scan,
    argmax_over,
    argmin_over,
    max_over,
    min_over,
    prod_over,
    reduce_over,
    scan_over,
    sum_over,
)
from polydl.dsl.function import Also, Axis, Combiner, Computation, Function, Reduction, StatementDef
from polydl.dsl.interpret import interpret
from polydl.dsl.loops import Captured, capture
from polydl.dsl.operators import Operator, select_first
from polydl.dsl.tensor import Layout, Tensor, TensorRole

__all__ = [
    "Also",
    "Axis",
    "Captured",
    "Combiner",
    "Computation",
    "Function",
    "FunctionBuilder",
    "Layout",
    "Operator",
    "Reduce",
    "Reduction",
    "Scan",
    "StatementDef",
    "Tensor",
    "TensorRole",
    "argmax_over",
    "argmin_over",
    "capture",
    "interpret",
    "max_over",
    "min_over",
    "prod_over",
    "reduce_over",
    "scan_over",
    "select_first",
    "sum_over",
]
