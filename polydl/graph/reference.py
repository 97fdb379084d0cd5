"""ONNX's reference evaluator, with the operators put right that it computes differently from ONNX's own text."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from polydl.graph.ir import Array

__all__ = ["reference_evaluator"]


def reference_evaluator(model: onnx.ModelProto) -> ReferenceEvaluator:
    """An evaluator of `model` by numpy: slow, and what polydl is measured against where nothing else is said."""
    return ReferenceEvaluator(model, new_ops=[BatchNormalization] if _inference_only(model) else [])


class BatchNormalization(OpRun):  # type: ignore[misc]  # onnx is untyped
    """Inference. Before operator set 14 the evaluator normalises by the statistics of the batch, as in training, where
    ONNX says that a node with one output is in test mode."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        scale: Array,
        bias: Array,
        mean: Array,
        var: Array,
        epsilon: float = 1e-5,
        **unused: Any,
    ) -> tuple[Array]:
        s, b, m, v = (p.reshape(-1, *[1] * (x.ndim - 2)) for p in (scale, bias, mean, var))
        return ((s * (x - m) / np.sqrt(v + epsilon) + b).astype(x.dtype),)


def _inference_only(model: onnx.ModelProto) -> bool:
    """Whether every normalisation by batch statistics in the model uses the ones given."""
    graphs = [model.graph.node, *(f.node for f in model.functions)]
    nodes = [n for g in graphs for n in g if n.op_type == "BatchNormalization"]
    training = [n for n in nodes if any(a.name == "training_mode" and a.i for a in n.attribute)]
    return not training and all(len([o for o in n.output if o]) == 1 for n in nodes)
