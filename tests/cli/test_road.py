"""The command on the real compiler: the README's main job, packages, stages, and what `run` refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.cli.conftest import ROOT, Command
from tests.cli.fake import linear_model

DIGITS = ROOT / "models" / "digits" / "digits.onnx"
HOLDOUT = ROOT / "models" / "digits" / "holdout.npz"
X = np.array([[1.0, -2.0, 3.0]], dtype=np.float32)
Y = np.array([[2.1, 1.55, 2.0, 3.2]], dtype=np.float32)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The linear model, built."""
    folder = tmp_path_factory.mktemp("road")
    model = linear_model(folder / "linear.onnx")
    command = ["-m", "polydl", "build", str(model), "-o", str(folder / "out"), "-q"]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, timeout=300)
    return folder / "out"


def test_the_main_job_is_as_accurate_as_the_reference(polydl: Command) -> None:
    result = polydl("verify", DIGITS, "--data", HOLDOUT, "--json")
    assert result.code == 0, result.err
    report = result.json
    ours, reference = report["labels"]["right"].values()
    assert report["ok"]
    assert report["labels"]["total"] == report["runs"] == 450
    assert ours == reference > 0.97 * 450


def test_build_then_run(polydl: Command, package: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=X)
    result = polydl("run", package, "-i", tmp_path / "in.npz", "-o", tmp_path / "y.npy", "--threads", 2)
    assert result.code == 0, result.err
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), Y, rtol=1e-6)
    manifest = json.loads((package / "manifest.json").read_text())
    assert manifest["info"]["measured_error"]["y"]["max_abs"] < 1e-5


def test_the_same_model_gives_the_same_bytes(polydl: Command, package: Path, tmp_path: Path) -> None:
    assert polydl("build", package.with_name("linear.onnx"), "-o", tmp_path / "again").code == 0
    for path in package.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": X[0]}, "axes"),
        ({"x": X.astype(np.float64)}, "float64"),
        ({"x": np.zeros((2, 3), np.float32)}, "axis 0 is 2, not 1"),
        ({"z": X}, "no input 'z'"),
        ({}, "missing input"),
    ],
)
def test_run_refuses_what_does_not_fit(
    polydl: Command, package: Path, tmp_path: Path, arrays: dict[str, np.ndarray], complaint: str
) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    result = polydl("run", package, "-i", tmp_path / "in.npz")
    assert result.code == 1
    assert complaint in result.err
    assert "Traceback" not in result.err
    assert "defect" not in result.err


@pytest.mark.parametrize("file", ["model.o", "weights.bin"])
def test_a_damaged_package_is_refused(polydl: Command, package: Path, tmp_path: Path, file: str) -> None:
    for path in package.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = bytearray((tmp_path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / file).write_bytes(content)
    result = polydl("run", tmp_path)
    assert result.code == 1
    assert "damaged" in result.err


def test_object_format_can_be_built_again(polydl: Command, tmp_path: Path) -> None:
    model = linear_model(tmp_path / "linear.onnx")
    for _ in range(2):
        result = polydl("build", model, "-o", tmp_path / "out", "--format", "o", "--json")
        assert result.code == 0, result.err
        assert {"manifest.json", "model.h", "main.c"} <= result.json["files"].keys()


def test_foreign_code_is_built_but_not_run(polydl: Command, tmp_path: Path) -> None:
    model = linear_model(tmp_path / "linear.onnx")
    result = polydl("build", model, "-o", tmp_path / "out", "--target", "aarch64")
    assert result.code == 0, result.err
    assert "not verified" in result.err
    refused = polydl("run", tmp_path / "out")
    assert refused.code == 1
    assert "cannot run here" in refused.err


@pytest.mark.parametrize(
    "stage", ["graph", "groups", "tree", "dependences", "domain", "ast", "loops", "llvm", "asm"]
)
def test_show_every_stage(polydl: Command, package: Path, stage: str) -> None:
    result = polydl("show", package.with_name("linear.onnx"), "--stage", stage)
    assert result.code == 0, result.err
    assert result.out.strip()


@pytest.mark.parametrize("stage", ["tree", "dependences"])
def test_show_draws_one_group(polydl: Command, package: Path, stage: str, tmp_path: Path) -> None:
    model = package.with_name("linear.onnx")
    groups = polydl("explain", model, "--threads", 1, "--rounds", 3, "--json").json["groups"]
    file = tmp_path / "group.svg"
    drawn = polydl("show", model, "--stage", stage, "--group", groups[0]["name"], "-o", file)
    assert drawn.code == 0, drawn.err
    assert ElementTree.fromstring(file.read_text()).tag.endswith("}svg")


def test_explain_and_doctor(polydl: Command, package: Path) -> None:
    result = polydl("explain", package.with_name("linear.onnx"), "--threads", 1, "--rounds", 3, "--json")
    assert result.code == 0, result.err
    for group in result.json["groups"]:
        assert group["schedule"].strip()
        assert group["proof"].strip()
        assert group["bound_seconds"] > 0
    assert polydl("doctor", "-q").code == 0


def test_limits_hold_for_a_whole_build(polydl: Command, tmp_path: Path) -> None:
    model = linear_model(tmp_path / "linear.onnx")
    fine = polydl("build", model, "-o", tmp_path / "out", "--timeout", "5m", "--max-memory", "16G")
    assert fine.code == 0, fine.err
    assert (tmp_path / "out" / "manifest.json").is_file()
    late = polydl("build", model, "-o", tmp_path / "late", "--timeout", "0.05")
    assert late.code == 5
    assert {entry.name for entry in tmp_path.iterdir()} == {"linear.onnx", "out"}
