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
    return ReferenceEvaluator(model, new_ops=[BatchNormalization])


class BatchNormalization(OpRun):  # type: ignore[misc]  # onnx is untyped
    """Before operator set 14 the evaluator normalises by a mixture of the batch's statistics and the ones given, and
    has one result. ONNX says that a node with one output is in test mode, and one with more in training, where the
    batch's own statistics normalise."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        scale: Array,
        bias: Array,
        mean: Array,
        var: Array,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
        training_mode: int = 0,
        **unused: Any,
    ) -> tuple[Array, ...]:
        outputs = len(self.onnx_node.output)
        results: tuple[Array, ...] = ()
        first = 1 if mean.ndim == 1 else x.ndim - mean.ndim  # statistics per element: `spatial` is 0
        if training_mode or outputs > 1:
            axes = tuple(d for d in range(x.ndim) if not first <= d < first + mean.ndim)
            m, v = x.mean(axis=axes), x.var(axis=axes)
            running = [old * momentum + new * (1 - momentum) for old, new in ((mean, m), (var, v))]
            results = tuple(r.astype(mean.dtype) for r in (*running, m, v))[: outputs - 1]
            mean, var = m, v
        behind = [1] * (x.ndim - first - mean.ndim)
        s, b, m, v = (p.reshape(*p.shape, *behind) for p in (scale, bias, mean, var))
        return (s * (x - m) / np.sqrt(v + epsilon) + b).astype(x.dtype), *results
