"""What cannot be captured is refused with file, line, caret, reason, and what to write instead."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from polydl.dsl import capture
from polydl.errors import InvalidProgram, PolyhedralBlowup
from tests.dsl import refused_loops
from tests.dsl.refused_loops import REFUSED

FILE = str(Path(refused_loops.__file__))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, golden: Callable[[str, str], None]) -> None:
    with pytest.raises(InvalidProgram) as refusal:
        capture(REFUSED[name])
    text = str(refusal.value)
    assert f"{FILE}:" in text
    assert "^" in text
    golden(f"errors/loops_{name}.txt", text.replace(FILE, "refused_loops.py"))


def test_what_is_no_function_with_source() -> None:
    with pytest.raises(InvalidProgram, match="not a function written in Python"):
        capture(len)
    with pytest.raises(InvalidProgram, match="not a plain function"):
        capture(lambda A: None)


def test_where_isl_gives_up_a_scalar_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def gives_up(*_: object) -> None:
        raise PolyhedralBlowup("too many pieces", why="its budget is spent")

    monkeypatch.setattr("polydl.dsl.capture_bounds.unwritten_read", gives_up)
    with pytest.raises(InvalidProgram, match="may be read before it is assigned") as refusal:
        capture(REFUSED["assigned_under_a_condition"])
    assert "its budget is spent" in str(refusal.value)


def test_lines_that_are_continued_to_the_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        'def make():\n    def kernel(A: "f64[N]"):\n        for i in range(N):\n            A[i] = (A[i] +\n'
        "  b)\n    return kernel\n"
    )
    (tmp_path / "continued_left.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("continued_left")
    with pytest.raises(
        InvalidProgram, match=r"'b' has no value here\n.*\n.*:5, in .*kernel\n      b\)\n      \^\n"
    ):
        capture(module.make())
