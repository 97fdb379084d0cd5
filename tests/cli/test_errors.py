"""Bad requests end with the documented code and a message that says what to do; never with a traceback."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from polydl.__main__ import main
from tests.cli.conftest import ROOT, Command

X = np.zeros((1, 3), dtype=np.float32)


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["build"],
        ["build", "absent.onnx"],
        ["build", "{model}", "--target", "--json"],
        ["build", "{model}", "--target", "z80"],
        ["build", "{model}", "--target", "x86-64+wings"],
        ["build", "{model}", "--shape", "x"],
        ["build", "{model}", "--shape", "x=1,-3"],
        ["build", "{model}", "--shape", "x=1,3", "--shape", "x=1,3"],
        ["build", "{model}", "--dim", "N=99999999999999999999"],
        ["build", "{model}", "--dim", "=3"],
        ["build", "{model}", "--accuracy", "rtol=nan"],
        ["build", "{model}", "--format", "exe"],
        ["build", "{model}", "--threads", "0"],
        ["build", "{model}", "--timeout", "soon"],
        ["build", "{model}", "--max-memory", "-1"],
        ["build", "{model}", "-o", "{folder}/no/such/folder"],
        ["build", "{model}", "-o", "{model}"],
        ["run", "{model}", "-o", "{folder}/out.txt"],
        ["run", "{model}", "-i", "{folder}/absent.npz"],
        ["run", "{model}", "-i", "photo.jpg"],
        ["run", "{folder}", "--target", "x86-64"],
        ["verify", "{model}", "--data", "a.npz", "-i", "b.npz"],
        ["verify", "{folder}"],
        ["bench", "{folder}", "--against", "ort"],
    ],
)
def test_usage_errors(invoke: Command, linear: Path, arguments: list[str]) -> None:
    result = invoke(*(a.format(model=linear, folder=linear.parent) for a in arguments))
    assert result.code == 2
    assert "Traceback" not in result.err
    assert result.out == ""
    assert {entry.name for entry in linear.parent.iterdir()} == {"linear.onnx"}


def test_unwritable_output_is_found_before_compiling(invoke: Command, linear: Path, tmp_path: Path) -> None:
    def compiled() -> None:
        pytest.fail("compiled although nothing can be written")

    missing = tmp_path / "not" / "there"
    result = invoke("build", linear, "-o", missing, before=compiled)
    assert result.code == 2
    assert "mkdir -p" in result.err
    if os.access("/proc", os.W_OK) and os.geteuid() == 0:
        denied = invoke("build", linear, "-o", "/proc/out", before=compiled)
        assert denied.code == 2
        assert "cannot write" in denied.err


def test_unexpected_errors_say_how_to_report(
    invoke: Command, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("half a thought\x1b[2J")

    result = invoke("build", linear, before=fail)
    assert result.code == 1
    assert "unexpected ZeroDivisionError: half a thought\\x1b[2J" in result.err
    assert "POLYDL_DEBUG=1" in result.err
    assert "Traceback" not in result.err
    monkeypatch.setenv("POLYDL_DEBUG", "1")
    assert "Traceback" in invoke("build", linear, before=fail).err


def test_errors_are_objects_with_json(invoke: Command) -> None:
    result = invoke("build", "absent.onnx", "--json")
    assert result.json["exit_code"] == result.code == 2
    assert result.json["error"]["kind"] == "UsageError"
    assert result.json["error"]["next"]


def _pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


def _header(shape: str, descr: str = "<f4") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a file of numpy arrays"),
        (b"\x93NUMPY\x01", "not a file of numpy arrays"),
        (b"plain text, long enough to be read", "not a file of numpy arrays"),
        (_pickled(), "Python objects"),
        (_header("(1099511627776,)"), "promises"),
        (_header("(18446744073709551616, 4)"), "promises"),
        (_header("(-1, 3)"), "not read"),
        (_header("(1, 3)") + bytes(8), "truncated"),
        (_header("(1, 3)", "<f8") + bytes(24), "another shape or type"),
        (_header("(3,)") + bytes(12), "another shape or type"),
        (_header("(1, 3)", "zz") + bytes(12), "not a file of numpy arrays"),
    ],
)
@pytest.mark.parametrize("archive", [False, True])
def test_bad_arrays(invoke: Command, linear: Path, content: bytes, complaint: str, archive: bool) -> None:
    path = linear.with_name("bad.npz" if archive else "bad.npy")
    if archive:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x.npy", content)
    else:
        path.write_bytes(content)
    result = invoke("run", linear, "-i", path)
    assert result.code == 1
    assert complaint in result.err
    assert "Traceback" not in result.err
    assert "defect" not in result.err


def test_archive_that_is_none(invoke: Command, linear: Path) -> None:
    path = linear.with_name("in.npz")
    path.write_bytes(b"PK\x03\x04 broken")
    assert invoke("run", linear, "-i", path).code == 1


def test_missing_input(invoke: Command, linear: Path) -> None:
    path = linear.with_name("in.npz")
    np.savez(path, other=X)
    result = invoke("run", linear, "-i", path)
    assert result.code == 1
    assert "missing input: x" in result.err


def test_timeout_ends_with_5(polydl: Command) -> None:
    result = polydl("doctor", "--timeout", "0.001")
    assert result.code == 5
    assert "--timeout was reached" in result.err


def test_memory_limit_below_what_the_program_takes(polydl: Command) -> None:
    result = polydl("doctor", "--max-memory", "1M")
    assert result.code == 2
    assert "too little" in result.err


_SLOW = """
import signal, sys, time, pathlib
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the suite runs in the background
from tests.cli import fake
started = pathlib.Path(sys.argv[1])
def wait():
    started.write_text("")
    time.sleep(60)
sys.modules["polydl.compiler"] = fake.compiler(before=wait)
from polydl.cli.app import main
sys.argv = ["polydl", *sys.argv[2:]]
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_during_a_build(linear: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    started, out = tmp_path / "started", tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW, str(started), "build", str(linear), "-o", str(out)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not started.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert {entry.name for entry in tmp_path.iterdir()} == {"linear.onnx", "started"}


def test_an_interruption_while_loading_leaves_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "polydl.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "polydl.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "interrupted; nothing was written\n"
