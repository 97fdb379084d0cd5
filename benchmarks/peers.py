"""The competitors: how each loads an ONNX file and runs it on fixed inputs.

Every peer is told the number of threads, computes in float32 and gets its inputs bound beforehand where its interface
allows it, so that the time of a run is the time of the network. Each is imported only inside its own process.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["PEERS", "Missing", "Peer", "Session"]

Arrays = Mapping[str, np.ndarray]


class Missing(Exception):
    """A peer that cannot take part here, and why."""


@dataclass(frozen=True, slots=True)
class Session:
    """`run` computes once; `outputs` gives the results of the last run, in the order of the model's outputs."""

    run: Callable[[], object]
    outputs: Callable[[], list[np.ndarray]]


@dataclass(frozen=True, slots=True)
class Peer:
    """`version` imports the peer (ImportError or Missing if it cannot); `load` opens a model on inputs."""

    version: Callable[[], str]
    load: Callable[[Path, Arrays, int], Session]


def _polydl_version() -> str:
    import polydl

    return polydl.__version__


def _load_polydl(path: Path, inputs: Arrays, threads: int) -> Session:
    import polydl

    module = polydl.build(path, threads=threads)
    call = module.bind(inputs)
    return Session(call, lambda: list(call.outputs))


def _ort_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


def _load_ort(path: Path, inputs: Arrays, threads: int) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return Session(lambda: session.run_with_iobinding(binding), binding.copy_outputs_to_cpu)


def _openvino_version() -> str:
    # Its telemetry would report this run over the network, from a process that it forks in the midst of the race.
    # Without the module openvino works the same and sends nothing.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return str(openvino.__version__)


def _load_openvino(path: Path, inputs: Arrays, threads: int) -> Session:
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # or else it computes in bfloat16 where the processor can
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": "1",
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    count = len(compiled.outputs)
    return Session(
        request.infer, lambda: [np.array(request.get_output_tensor(index).data) for index in range(count)]
    )


def _torch_version() -> str:
    import torch

    return str(torch.__version__)


def _load_torch(path: Path, inputs: Arrays, threads: int) -> Session:
    return _torch_session(path, inputs, threads, compiled=False)


def _torch_compile_version() -> str:
    import torch

    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise Missing(f"torch.compile needs a C++ compiler, and there is no {compiler}")
    return str(torch.__version__)


def _load_torch_compile(path: Path, inputs: Arrays, threads: int) -> Session:
    return _torch_session(path, inputs, threads, compiled=True)


def _torch_session(path: Path, inputs: Arrays, threads: int, *, compiled: bool) -> Session:
    import onnx
    import torch

    from benchmarks.torch_graph import to_torch

    torch.set_num_threads(threads)
    module = to_torch(onnx.load(path)).eval()
    tensors = [torch.from_numpy(array) for array in inputs.values()]
    call = module
    if compiled:
        import torch._inductor.config

        torch._inductor.config.freezing = True  # weights are constants: fold and prepack them
        call = torch.compile(module)
    results: list[torch.Tensor] = []

    def run() -> None:
        with torch.inference_mode() if not compiled else torch.no_grad():  # freezing asks for no_grad
            results[:] = call(*tensors)

    return Session(run, lambda: [result.numpy() for result in results])


def _load_numpy(path: Path, inputs: Arrays, threads: int) -> Session:
    """numpy's threads are those of its BLAS, which the environment of the process sets."""
    import onnx

    from benchmarks.numpy_kernels import kernel

    function = kernel(onnx.load(path))
    (array,) = inputs.values()
    results: list[np.ndarray] = []

    def run() -> None:
        results[:] = [function(array)]

    return Session(run, lambda: results)


PEERS: dict[str, Peer] = {
    "polydl": Peer(_polydl_version, _load_polydl),
    "ort": Peer(_ort_version, _load_ort),
    "openvino": Peer(_openvino_version, _load_openvino),
    "torch": Peer(_torch_version, _load_torch),
    "torch-compile": Peer(_torch_compile_version, _load_torch_compile),
    "numpy": Peer(lambda: np.__version__, _load_numpy),
}
