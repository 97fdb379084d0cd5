"""The race: who is compared, named and timed. Nothing here depends on how fast anything is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.polybench import baseline
from benchmarks.polybench.__main__ import app
from benchmarks.polybench.kernel import Data
from benchmarks.polybench.kernels import KERNELS
from benchmarks.polybench.measure import Entry, Result, geometric_mean, measure, ratios
from polydl.errors import ToolchainError, UsageError


def _race(tmp_path: Path, *contestants: str) -> Result:
    return measure(
        KERNELS["mvt"], "MINI", contestants, tmp_path, threads=1, rounds=3, seconds=1.0, constants=True
    )


def test_the_command_measures_and_writes(tmp_path: Path) -> None:
    if why := baseline.available("gcc"):
        pytest.skip(why)
    file = tmp_path / "results.json"
    arguments = "gemm trisolv --size MINI --threads 1 --rounds 3 --against polydl,gcc --json"
    done = CliRunner().invoke(app, [*arguments.split(), str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "geometric mean" in done.stdout.replace("\n", " ")
    results = json.loads(file.read_text())
    assert [r["kernel"] for r in results] == ["gemm", "trisolv"]
    for entry in results[0]["entries"]:
        assert len(entry["samples"]) == 3
        assert entry["failure"] == ""
        assert entry["error"] < 1e-10


def test_a_wrong_contestant_is_named_and_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if why := baseline.available("gcc"):
        pytest.skip(why)
    right = baseline.build

    def build(
        kernel: Any, size: str, name: str, *args: Any, **named: Any
    ) -> Callable[[Data], Callable[[], None]]:
        bind = right(kernel, size, "gcc", *args, **named)
        return bind if name == "gcc" else lambda data: lambda: None

    monkeypatch.setattr(baseline, "build", build)
    monkeypatch.setattr(baseline, "available", lambda name: "")
    result = _race(tmp_path, "polydl", "gcc", "clang")
    polydl, gcc, clang = result.entries
    assert (len(polydl.samples), len(gcc.samples), clang.samples) == (3, 3, ())
    assert clang.failure.startswith("wrong: differs by")
    assert set(ratios([result], "polydl", "gcc")) == {("mvt", 1)}
    assert not ratios([result], "polydl", "clang")


def test_who_cannot_take_part_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*args: Any, **named: Any) -> Callable[[Data], Callable[[], None]]:
        raise ToolchainError("gcc failed")

    monkeypatch.setattr(baseline, "build", build)
    monkeypatch.setattr(baseline, "available", lambda name: "not installed" if name == "clang" else "")
    result = _race(tmp_path, "polydl", "gcc", "clang")
    assert [e.failure for e in result.entries] == ["", "gcc failed", "not installed"]


def test_unknown_names_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="icc"):
        _race(tmp_path, "polydl", "icc")
    for arguments, message in (
        (["nothing"], "unknown kernels"),
        (["gemm", "--threads", "0"], "threads"),
        (["gemm", "--size", "HUGE"], "HUGE"),
    ):
        done = CliRunner().invoke(app, arguments)
        assert isinstance(done.exception, UsageError)
        assert message in str(done.exception)


def test_means_and_ratios() -> None:
    entries = (Entry("polydl", (2.0, 1.0, 4.0)), Entry("gcc", (8.0,)), Entry("clang", failure="wrong"))
    result = Result("gemm", "MINI", 1, 1.0, 1e-6, (1e11, 0.5e11, 1e11), entries)
    assert ratios([result], "polydl", "gcc") == {("gemm", 1): 4.0}
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert math.isnan(geometric_mean([]))
    assert result.peak == 1e11
    assert result.disturbance == 0.5
    assert result.as_json()["entries"][2]["seconds"] is None
