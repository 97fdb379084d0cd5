"""`polydl doctor`: does everything work here, and what could be added?"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import numpy as np

from polydl._version import __version__
from polydl.cli.common import Common
from polydl.cli.console import quantity, seconds, table
from polydl.errors import PolydlError, VerificationFailed

__all__ = ["Finding", "State", "doctor"]


class State(str, Enum):
    """How a finding is to be read."""

    OK = "ok"
    ABSENT = "absent"  # optional
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `next` is the command that would mend it."""

    name: str
    state: State
    text: str
    next: str = ""


_CORE: Final = ("islpy", "llvmlite", "numpy", "onnx", "sympy", "typer", "rich")
_PEERS: Final = ("onnxruntime", "openvino", "torch")
_TOOLS: Final = (
    ("gcc", "--format so, and compiling what --format c writes", "apt-get install gcc"),
    ("clang", "the same as gcc", "apt-get install clang"),
    ("aarch64-linux-gnu-gcc", "linking AArch64 programs", "apt-get install gcc-aarch64-linux-gnu"),
    ("qemu-aarch64-static", "running AArch64 programs", "apt-get install qemu-user-static"),
)


def doctor(*, common: Common) -> None:
    """Check the installation: versions, the machine, optional tools, and a small compilation from end to end.

    Examples:

    polydl doctor

    polydl doctor --json
    """
    findings = [
        Finding("polydl", State.OK, __version__),
        Finding(
            "python", State.OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}"
        ),
        *(_package(name, required=True) for name in _CORE),
        _target(),
        *(_tool(*tool) for tool in _TOOLS),
        *(_package(name, required=False) for name in _PEERS),
        _self_test(common),
    ]
    broken = [finding for finding in findings if finding.state is State.BROKEN]
    rows = [(f.name, f.state.value, f.text + (f"  ->  {f.next}" if f.next else "")) for f in findings]
    common.console.result({"ok": not broken, "findings": findings}, table(rows))
    if broken:
        raise PolydlError(
            f"{len(broken)} of {len(findings)} checks failed: {', '.join(f.name for f in broken)}",
            next=next((f.next for f in broken if f.next), "POLYDL_DEBUG=1 polydl doctor"),
        )


def _package(name: str, *, required: bool) -> Finding:
    try:
        return Finding(name, State.OK, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        if required:
            return Finding(name, State.BROKEN, "not installed", f"{sys.executable} -m pip install {name}")
        return Finding(
            name, State.ABSENT, "for polydl bench --against", f"{sys.executable} -m pip install {name}"
        )


def _tool(name: str, purpose: str, install: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, State.OK, path) if path else Finding(name, State.ABSENT, f"for {purpose}", install)


def _target() -> Finding:
    from polydl.targets import native

    try:
        machine = native()
    except PolydlError as error:
        return Finding("target", State.BROKEN, error.what, error.next)
    caches = ", ".join(
        f"{level} {quantity(size, 'B')}"
        for level, size in (("L1d", machine.l1d_bytes), ("L2", machine.l2_bytes), ("L3", machine.l3_bytes))
    )
    text = f"{machine.cpu}, {machine.cores} cores, {machine.vector_bytes * 8}-bit vectors, per core {caches}; features "
    return Finding("target", State.OK, text + " ".join(machine.features))


def _self_test(common: Common) -> Finding:
    """Compile and run a small matrix product, and compare it with numpy."""
    name, begin = "self test", time.perf_counter()
    try:
        error = _matmul(common)
    except PolydlError as problem:
        return Finding(name, State.BROKEN, problem.what, problem.next or "POLYDL_DEBUG=1 polydl doctor")
    except Exception as problem:  # an installation may be broken in any way; the doctor says so and goes on
        return Finding(
            name, State.BROKEN, f"{type(problem).__name__}: {problem}", "POLYDL_DEBUG=1 polydl doctor"
        )
    took = time.perf_counter() - begin
    return Finding(
        name, State.OK, f"48x64x80 matrix product compiled and right to {error:.1e} in {seconds(took)}"
    )


def _matmul(common: Common) -> float:
    from onnx import TensorProto, helper, numpy_helper, save

    from polydl.compiler import compile_model

    generator = np.random.default_rng(common.seed)
    a, b = (generator.standard_normal(shape).astype(np.float32) for shape in ((48, 64), (64, 80)))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "matmul",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, a.shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, (48, 80))],
        [numpy_helper.from_array(b, "b")],
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matmul.onnx"
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        with compile_model(path, threads=common.threads).module(common.threads) as module:
            c = module.run({"a": a})["c"]
    error = float(np.abs(c - a @ b).max())
    if not error <= 1e-4:
        raise VerificationFailed(f"a compiled matrix product is wrong by {error:.3g}")
    return error
