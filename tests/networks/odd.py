"""Networks of odd shapes, each drawn from a seed: what no model of the table has.

A network is one to eight steps on one input of rank 2 to 5. Channels, extents, windows, strides, dilations and pads are
drawn for every step by itself, so that few are multiples of a vector. Any value may be an output.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from tests.networks.drafts import MAKERS, Array, Draft, Impossible
from tests.networks.steps import CHANNELS


@dataclass(frozen=True, slots=True)
class Case:
    """A network and its input, in float32 and in the type that it is compiled for."""

    single: onnx.ModelProto
    model: onnx.ModelProto
    x: Array
    threads: int
    draft: Draft

    @property
    def inputs(self) -> dict[str, Array]:
        """In the type of `model`."""
        double = self.model.graph.input[0].type.tensor_type.elem_type == TensorProto.DOUBLE
        return {"x": self.x.astype(np.float64) if double else self.x}

    @property
    def steps(self) -> str:
        return "; ".join(
            f"{n.op_type}{[list(self.draft.shapes.get(i, ())) for i in n.input[:1]]}"
            + "".join(f" {a.name}={helper.get_attribute_value(a)}" for a in n.attribute)
            + f" -> {list(self.draft.shapes[n.output[0]])}"
            for n in self.draft.nodes
        )


def draw(seed: int, most: int = 8) -> Case:
    """The network of `seed`."""
    r = random.Random(seed)
    draft = Draft(r)
    rank = r.choice((2, 3, 3, 4, 4, 4, 4, 4, 4, 5))
    extents = [r.choice((1, 1, 1, 2, 3)), r.choice(CHANNELS)]
    extents += [r.randint(1, {3: 40, 4: 24, 5: 8}[rank]) for _ in range(rank - 2)]
    draft.shapes["x"] = tuple(extents)
    kinds = list(MAKERS)
    odds = [MAKERS[k][0] for k in kinds]
    steps = r.choice((1, 1, 2, 2, 3, 4, 5, most))
    last = "x"
    while len(draft.nodes) < steps:
        before = len(draft.nodes)
        try:
            MAKERS[r.choices(kinds, odds)[0]][1](draft, last)
        except Impossible:
            for n in draft.nodes[before:]:
                for o in n.output:
                    del draft.shapes[o]
            del draft.nodes[before:]
            continue
        last = draft.nodes[-1].output[0] if r.random() < 0.85 else r.choice(list(draft.shapes))
        last = last if draft.shapes[last] else "x"
    read = {i for n in draft.nodes for i in n.input}
    made = [o for n in draft.nodes for o in n.output]
    outputs = [v for v in made if v not in read or r.random() < 0.15]
    x = np.random.default_rng(seed).standard_normal(draft.shapes["x"]).astype(np.float32)
    dtype = TensorProto.DOUBLE if r.random() < 0.15 else TensorProto.FLOAT
    return Case(draft.model(outputs), draft.model(outputs, dtype), x, r.choice((1, 2)), draft)


def reference(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by onnxruntime without its rewriting, which has defects: a transposed matrix by a vector."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(inputs)), strict=True))
