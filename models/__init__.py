"""Real network architectures as ONNX models, written from their papers, with seeded and sensibly scaled weights.

    import models
    model = models.build("resnet50", image=64)          # an onnx.ModelProto
    models.randomize(onnx.load("other.onnx"), seed=1)   # the same scaling for any model

`python -m models --help` writes them to files.
"""

from __future__ import annotations

from models.facts import count_parameters, example_inputs, infer_shapes, kernel_taps
from models.randomize import randomize
from models.table import NETWORKS, Network, build

__all__ = [
    "NETWORKS",
    "Network",
    "build",
    "count_parameters",
    "example_inputs",
    "infer_shapes",
    "kernel_taps",
    "randomize",
]
