"""A network through `--format c`: the program built from source computes what the module computes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from polydl.compiler import compile_model
from tests.codegen.from_c import STRICT, compiler

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_the_trained_network_from_source(tmp_path: Path, name: str) -> None:
    path = compiler(name)
    compiled = compile_model(ROOT / "models" / "digits" / "digits.onnx")
    compiled.save(tmp_path, format="c")
    assert {p.name for p in tmp_path.iterdir()} == {"model.c", "model.h", "main.c", "weights.bin"}
    command = [path, *STRICT, "-O2", "-march=native", "main.c", "model.c", "-lm", "-pthread", "-o", "model"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with compiled.module(threads=1) as module:
        (spec,) = module.inputs
        x = np.random.default_rng(0).random([int(n) for n in spec.shape]).astype(np.float32)
        (wanted,) = module.run({spec.name: x}).values()
    x.tofile(tmp_path / "x.bin")
    for threads in ("1", "2"):
        run = ["./model", "-t", threads, "-i", "x.bin", "-o", "y.bin"]
        subprocess.run(run, cwd=tmp_path, capture_output=True, timeout=60, check=True)
        got = np.fromfile(tmp_path / "y.bin", np.float32).reshape(wanted.shape)
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-7)
