"""A compiler that compiles nothing: `polydl.compiler`'s interface on top of the reference evaluator.

With it the command's own behaviour (options, exit codes, reports, files) is tested apart from the compiler's.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from polydl.artifact import StepInfo, TensorSpec
from polydl.dtypes import from_numpy
from polydl.errors import InvalidInput
from polydl.runtime import StepTime, Timing


def linear_model(path: Path, *, batch: int = 1) -> Path:
    """y = x·W + b with x: f32[batch, 3], y: f32[batch, 4]."""
    weights = np.arange(12, dtype=np.float32).reshape(3, 4) / 10
    bias = np.array([0.5, -0.25, 0, 1], dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "W"], ["p"], "product"),
            helper.make_node("Add", ["p", "b"], ["y"], "sum"),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(weights, "W"), numpy_helper.from_array(bias, "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _specs(infos: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            i.name,
            from_numpy(helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type)),
            tuple(d.dim_value for d in i.type.tensor_type.shape.dim),
        )
        for i in infos
    )


@dataclass(frozen=True)
class Report:
    name: str
    nodes: tuple[str, ...]
    schedule: str
    proof: str
    flops: int
    bytes: int


class Module:
    """As much of `polydl.runtime.Module` as the verbs use; adds `error` to every float result."""

    def __init__(self, model: onnx.ModelProto, threads: int | None, error: float) -> None:
        self.inputs, self.outputs = _specs(model.graph.input), _specs(model.graph.output)
        self.threads, self.error = threads or 1, error
        self.steps = (StepInfo("product+sum", 28, 128),)
        self._evaluator = ReferenceEvaluator(model)

    def __enter__(self) -> Module:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        for spec in self.inputs:
            if spec.name not in inputs:
                raise InvalidInput(f"missing input: {spec.name}")
            if inputs[spec.name].dtype != spec.dtype.numpy or inputs[spec.name].shape != spec.shape:
                raise InvalidInput(f"input '{spec.name}' has another shape or type")
        results = self._evaluator.run(None, dict(inputs))
        return {s.name: r + np.float32(self.error) for s, r in zip(self.outputs, results, strict=True)}

    def bind(self, inputs: list[Any]) -> Callable[[], object]:
        named = {spec.name: array for spec, array in zip(self.inputs, inputs, strict=True)}
        return lambda: self.run(named)

    def profile(self, *inputs: Any, rounds: int) -> tuple[StepTime, ...]:
        return tuple(StepTime(step, Timing.of([1e-6] * rounds)) for step in self.steps)


class Compiled:
    def __init__(self, path: Path, error: float) -> None:
        self._model, self._error = onnx.load(path), error
        self.artifact = self.module(1)
        self.groups = (
            Report("product+sum", ("product", "sum"), "band i, j", "no dependence is carried", 28, 128),
        )

    def module(self, threads: int | None = None) -> Module:
        return Module(self._model, threads, self._error)

    def save(self, directory: Path, *, format: str, info: Mapping[str, Any]) -> None:
        directory.mkdir()
        (directory / "manifest.json").write_text('{"files": {"code": {}}}')
        (directory / "code").write_text(f"{format} {sorted(info)}")


def compiler(*, error: float = 0.0, before: Callable[[], None] = lambda: None) -> types.ModuleType:
    """A module to stand in for `polydl.compiler`; `before` runs when a compilation starts."""
    module = types.ModuleType("polydl.compiler")

    def compile_model(
        path: Path, *, progress: Callable[[str, int, int], None] | None = None, **_: Any
    ) -> Compiled:
        before()
        if progress is not None:
            progress("everything", 1, 1)
        return Compiled(path, error)

    def stages(path: Path, stage: str, **options: Any) -> str:
        return f"{stage} of {path.name}, group {options['group']}"

    module.compile_model = compile_model  # type: ignore[attr-defined]
    module.stages = stages  # type: ignore[attr-defined]
    module.Plane = lambda *_: None  # type: ignore[attr-defined]
    module.measure_peak = lambda target, threads: types.SimpleNamespace(  # type: ignore[attr-defined]
        flops_per_second=1e8, bytes_per_second=1e9
    )
    return module
