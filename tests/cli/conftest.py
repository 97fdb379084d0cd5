"""Ways to call the command: in this process with a stand-in compiler, and as a real process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from polydl.cli.app import app
from tests.cli import fake

ROOT = Path(__file__).resolve().parents[2]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Result]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Command:
    """`invoke(*args, error=, before=)` in this process, on the stand-in compiler."""

    def call(*args: object, **options: Any) -> Result:
        monkeypatch.setitem(sys.modules, "polydl.compiler", fake.compiler(**options))
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        return Result(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def polydl() -> Command:
    """`polydl(*args)` as a process of its own."""

    def call(*args: object, **options: Any) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "polydl", *map(str, args)],
            capture_output=True, text=True, check=False, cwd=options.pop("cwd", ROOT), timeout=300, **options,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """A model of one matrix product and one sum."""
    return fake.linear_model(tmp_path / "linear.onnx")
