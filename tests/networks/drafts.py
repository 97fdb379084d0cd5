"""A network under construction: steps are drawn one after the other, and taken back where they do not fit."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from tests.graph.build import model, node

Array = np.ndarray[Any, Any]

OPSET: Final = 18
_MOST: Final = 60_000  # elements of a value
MAKERS: Final[dict[str, tuple[int, Callable[[Draft, str], None]]]] = {}
"""Steps and how often each is drawn, in proportion."""


class Impossible(Exception):
    """The step does not fit the value that it was drawn for."""


@dataclass(slots=True)
class Draft:
    """A network under construction. `shapes` of all values; `fixed` constants are no weights and keep their type."""

    r: random.Random
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    fixed: dict[str, Array] = field(default_factory=dict)

    def weight(self, *shape: int) -> str:
        """Values around zero, of a size that keeps sums of products near one."""
        name = f"w{len(self.weights)}"
        size = 1 / max(1.0, np.prod(shape[1:]) ** 0.5)
        rng = np.random.default_rng(self.r.randrange(1 << 30))
        self.weights[name] = (size * rng.standard_normal(shape)).astype(np.float32)
        return name

    def number(self, value: Any, dtype: Any = np.int64) -> str:
        name = f"k{len(self.fixed)}"
        self.fixed[name] = np.asarray(value, dtype)
        return name

    def add(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> str:
        """The first output. Impossible where ONNX infers no shape, or one that is empty or too large."""
        names = [f"v{len(self.nodes)}"] + [f"v{len(self.nodes)}_{k}" for k in range(1, outputs)]
        new = node(op, inputs, names, **attributes)
        for name, shape in zip(names, self._infer(new), strict=True):
            if not 0 < np.prod(shape) <= _MOST or min(shape, default=1) < 1:
                raise Impossible(op)
            self.shapes[name] = shape
        self.nodes.append(new)
        return names[0]

    def _infer(self, new: onnx.NodeProto) -> list[tuple[int, ...]]:
        data = {i: numpy_helper.from_array(self.fixed[i], i) for i in new.input if i in self.fixed}
        types = {i: _type(self.shapes[i]) for i in new.input if i in self.shapes}
        types |= {i: _type(self.weights[i].shape) for i in new.input if i in self.weights}
        types |= {i: helper.make_tensor_type_proto(t.data_type, self.fixed[i].shape) for i, t in data.items()}
        schema = onnx.defs.get_schema(new.op_type, OPSET)
        try:
            found = shape_inference.infer_node_outputs(
                schema, new, types, data, opset_imports=[helper.make_opsetid("", OPSET)]
            )
        except onnx.shape_inference.InferenceError as error:
            raise Impossible(new.op_type) from error
        return [tuple(d.dim_value for d in found[o].tensor_type.shape.dim) for o in new.output]

    def alike(self, shape: tuple[int, ...]) -> list[str]:
        return [v for v, s in self.shapes.items() if s == shape]

    def model(self, outputs: Sequence[str], dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
        weights = {n: a.astype(helper.tensor_dtype_to_np_dtype(dtype)) for n, a in self.weights.items()}
        used = {i for n in self.nodes for i in n.input}
        constants = {n: a for n, a in (weights | self.fixed).items() if n in used}
        return model(
            self.nodes, {"x": self.shapes["x"]}, outputs, constants, opset=OPSET, dtype=dtype
        )  # fmt: skip


def _type(shape: Sequence[int]) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(TensorProto.FLOAT, shape)


def maker(odds: int) -> Callable[[Callable[[Draft, str], None]], Callable[[Draft, str], None]]:
    """A step, drawn in proportion to `odds`."""

    def register(step: Callable[[Draft, str], None]) -> Callable[[Draft, str], None]:
        MAKERS[step.__name__] = (odds, step)
        return step

    return register
