"""`polydl show` and `explain` of programs in Python files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from polydl.cli.app import app
from tests.cli.conftest import Command, Result

PROGRAM = """
import polydl
from polydl.scheduler import Tile

print("imported")

@polydl.loops
def smooth(T: "size", A: "f64[N]"):
    for t in range(T):
        for i in range(1, N - 1):
            A[i] = (A[i - 1] + A[i + 1]) * 0.5

def scaled(x: "f64[N]", y: "f64[N]"):
    for i in range(N):
        y[i] = x[i] * 2.0

def squared(x: "f64[N]"):
    for i in range(N):
        x[i * i] = 1.0

turned = smooth.schedule().repaired(Tile(("t", "i"), (4, 8)))
number = 3
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    file = tmp_path / "programs.py"
    file.write_text(PROGRAM)
    return file


@pytest.fixture
def invoke() -> Command:
    """`invoke(*args)` in this process, with the compiler itself."""

    def call(*args: object, **_: Any) -> Result:
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        return Result(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.mark.parametrize("stage", ["tree", "dependences", "domain", "ast", "loops", "llvm", "asm"])
def test_every_stage_of_a_program(invoke: Command, programs: Path, stage: str) -> None:
    result = invoke("show", f"{programs}:smooth", "--stage", stage)
    assert result.code == 0, result.err
    assert result.out.strip()
    assert "imported" not in result.out  # what the file prints is not the result


def test_the_order_is_chosen(invoke: Command, programs: Path) -> None:
    written = invoke("show", f"{programs}:smooth", "--order", "written").out
    assert written == "band S1\n  for t = t\n  for i = i\n  leaf\n"
    turned = invoke("show", f"{programs}:turned").out
    assert "for i.o = " in turned
    assert invoke("show", f"{programs}:turned", "--order", "written").out == written
    assert invoke("show", f"{programs}:smooth", "--order", "optimized").code == 0


def test_plain_functions_are_captured(invoke: Command, programs: Path) -> None:
    assert "y[i] = x[i]" in invoke("show", f"{programs}:scaled", "--stage", "loops", "--order", "written").out
    refused = invoke("show", f"{programs}:squared")
    assert refused.code == 1
    assert "x[i * i] = 1.0\n        ^^^^^" in refused.err


@pytest.mark.parametrize("suffix", ["svg", "png"])
@pytest.mark.parametrize("stage", ["tree", "dependences", "domain"])
def test_programs_are_drawn(invoke: Command, programs: Path, tmp_path: Path, stage: str, suffix: str) -> None:
    out = tmp_path / f"picture.{suffix}"
    options = ["--dim", "T=3", "--dim", "N=8", "--axes", "t,i"] if stage == "domain" else []
    result = invoke("show", f"{programs}:turned", "--stage", stage, "-o", out, *options, "--json")
    assert result.code == 0, result.err
    assert result.json["output"] == str(out)
    if suffix == "png":
        assert out.read_bytes().startswith(b"\x89PNG")
    else:
        assert ElementTree.fromstring(out.read_text()).tag.endswith("}svg")


def test_explain_says_what_each_loop_carries(invoke: Command, programs: Path) -> None:
    result = invoke("explain", f"{programs}:smooth", "--order", "written")
    assert result.code == 0, result.err
    assert "what must keep its order" in result.out
    data = invoke("explain", f"{programs}:turned", "--json").json
    assert [step["transform"] for step in data["trace"]] == ["Skew", "Tile"]
    assert json.dumps(data)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("programs.py", [], "with one of smooth, turned"),
        ("programs.py:nobody", [], "there is no 'nobody'"),
        ("programs.py:number", [], "of type int"),
        ("absent.py:f", [], "there is no"),
        ("broken.py:f", [], "ZeroDivisionError"),
        ("leaving.py:f", [], "SystemExit"),
        ("programs.py:smooth", ["--stage", "groups"], "not a model"),
        ("programs.py:smooth", ["--group", "g"], "not a model"),
        ("programs.py:smooth", ["--stage", "ast", "-o", "a.svg"], "is no picture"),
        ("programs.py:smooth", ["--stage", "domain", "-o", "a.svg"], "--dim T=8 --dim N=8"),
        ("programs.py:smooth", ["--stage", "domain", "-o", "a.svg", "--axes", "t"], "two iterators"),
        ("programs.py:smooth", ["-o", "nowhere/a.svg"], "there is no folder"),
        ("linear.onnx", ["--order", "written"], "is for programs"),
    ],
)
def test_bad_requests(
    invoke: Command, programs: Path, linear: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, options: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(programs.parent)
    Path("broken.py").write_text("1 / 0\n")
    Path("leaving.py").write_text("raise SystemExit(7)\n")
    if "--axes" in options:
        options = [*options, "--dim", "T=3", "--dim", "N=8"]
    result = invoke("show", name, *options)
    assert result.code == 2, result.err
    assert message in result.err.replace("\n", " ")
    assert not Path("a.svg").exists()
