"""Reference results from other engines, and the comparison with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydl.cli.parse import Accuracy
from polydl.errors import PolydlError, UsageError

__all__ = ["Engine", "OutputError", "Reference", "compare", "engine", "merge"]

Binder = Callable[[Mapping[str, NDArray[Any]]], Callable[[], object]]
Runner = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]


class Reference(str, Enum):
    """Whom to compare with."""

    ONNX = "onnx"  # the reference evaluator of ONNX: slow, plain numpy, always there
    ORT = "ort"
    OPENVINO = "openvino"


@dataclass(frozen=True, slots=True)
class Engine:
    """Another engine with the model loaded.

    `run` gives the outputs in the model's order. `bind` fixes the inputs and returns a call with as little overhead as
    the engine allows, for measurements.
    """

    name: str
    run: Runner
    bind: Binder


def engine(kind: Reference, path: Path, *, threads: int = 1) -> Engine:
    """Load `path` into the engine. UsageError where it is not installed, PolydlError where it refuses the model."""
    makers: dict[Reference, Callable[[Path, int], Engine]] = {
        Reference.ONNX: _onnx,
        Reference.ORT: _onnxruntime,
        Reference.OPENVINO: _openvino,
    }
    try:
        return makers[kind](path, threads)
    except ImportError as error:
        raise UsageError(
            f"{kind.value} is not installed",
            why=str(error),
            next="pip install 'polydl[peers]', or choose another engine",
        ) from None
    except PolydlError:
        raise
    except Exception as error:  # whatever a foreign engine raises
        raise _refused(kind.value, error) from error


def _refused(name: str, error: Exception) -> PolydlError:
    text = " ".join(str(error).split())[:300]
    return PolydlError(f"{name} cannot run this model", why=f"{type(error).__name__}: {text}")


def _guarded(name: str, run: Runner) -> Runner:
    def guarded(inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            return run(inputs)
        except Exception as error:
            raise _refused(name, error) from error

    return guarded


def _onnx(path: Path, threads: int) -> Engine:
    import onnx

    from polydl.graph.reference import reference_evaluator

    evaluator = reference_evaluator(onnx.load(path))

    def run(inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        with np.errstate(all="ignore"):
            return [np.asarray(value) for value in evaluator.run(None, dict(inputs))]

    version = f"onnx {onnx.__version__} reference evaluator"
    return Engine(version, _guarded(version, run), lambda inputs: lambda: run(inputs))


def _onnxruntime(path: Path, threads: int) -> Engine:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = f"onnxruntime {ort.__version__}"

    def bind(inputs: Mapping[str, NDArray[Any]]) -> Callable[[], object]:
        binding = session.io_binding()
        for key, array in inputs.items():
            binding.bind_cpu_input(key, array)
        for output in session.get_outputs():
            binding.bind_output(output.name)
        return lambda: session.run_with_iobinding(binding)

    return Engine(name, _guarded(name, lambda inputs: session.run(None, dict(inputs))), bind)


def _openvino(path: Path, threads: int) -> Engine:
    import openvino as ov

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = ov.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    ports = [compiled.output(k) for k in range(len(compiled.outputs))]

    def run(inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        results = request.infer(dict(inputs), share_inputs=True)
        return [results[port] for port in ports]

    name = f"openvino {ov.__version__.split('-')[0]}"

    def bind(inputs: Mapping[str, NDArray[Any]]) -> Callable[[], object]:
        for key, array in inputs.items():
            request.set_tensor(key, ov.Tensor(np.ascontiguousarray(array), shared_memory=True))
        return lambda: request.infer(share_outputs=True)

    return Engine(name, _guarded(name, run), bind)


@dataclass(frozen=True, slots=True)
class OutputError:
    """The largest differences in one output; `trouble` says what rules out a comparison or breaks the tolerance.

    `max_rel` is over elements whose wanted value exceeds `atol`: below it a ratio says nothing.
    """

    name: str
    max_abs: float
    max_rel: float
    trouble: str = ""

    @property
    def ok(self) -> bool:
        return not self.trouble


def compare(name: str, got: NDArray[Any], wanted: NDArray[Any], accuracy: Accuracy) -> OutputError:
    """Element by element: integers and non-finite values must be equal, the rest within `accuracy`."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        text = f"{got.dtype}{list(got.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
        return OutputError(name, np.inf, np.inf, text)
    if got.size == 0:
        return OutputError(name, 0.0, 0.0)
    if not np.issubdtype(got.dtype, np.inexact):
        wrong = int(np.count_nonzero(got != wanted))
        distance = float(np.max(np.abs(got.astype(np.float64) - wanted.astype(np.float64))))
        return OutputError(
            name,
            distance,
            0.0 if not wrong else 1.0,
            f"{wrong} of {got.size} elements differ" if wrong else "",
        )
    with np.errstate(all="ignore"):
        a, b = got.astype(np.float64), wanted.astype(np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        finite = np.isfinite(a) & np.isfinite(b)
        distance_all = np.where(same, 0.0, np.where(finite, np.abs(a - b), np.inf))
        relative = np.where(same | (np.abs(b) <= accuracy.atol), 0.0, distance_all / np.abs(b))
        bad = distance_all > accuracy.atol + accuracy.rtol * np.where(finite, np.abs(b), 0.0)
    trouble = ""
    if bad.any():
        at = tuple(
            int(k) for k in np.unravel_index(int(np.argmax(np.where(bad, distance_all, -1.0))), got.shape)
        )
        trouble = (
            f"{np.count_nonzero(bad)} of {got.size} elements differ by more than {accuracy}; at {list(at)}: "
        )
        trouble += f"{got[at]:.8g} instead of {wanted[at]:.8g}"
    return OutputError(name, float(distance_all.max()), float(relative.max()), trouble)


def merge(errors: Sequence[OutputError]) -> OutputError:
    """The worst of several comparisons of the same output; the trouble of the first that has any."""
    trouble = next((error.trouble for error in errors if error.trouble), "")
    worst = max(error.max_abs for error in errors), max(error.max_rel for error in errors)
    return replace(errors[0], max_abs=worst[0], max_rel=worst[1], trouble=trouble)
