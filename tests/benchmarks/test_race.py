"""The race itself: real processes, real pipes; nothing here depends on how fast anything is."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.cases import kernels
from benchmarks.peak import Peak
from benchmarks.race import Entry, PeerFailed, Result, Worker, _difference, race
from benchmarks.report import as_json, explanations
from polydl.errors import UsageError


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_race_measures_compares_and_reports() -> None:
    (case,) = kernels(["layernorm 128x768"])
    result = race(case, ["ort", "numpy"], 1, rounds=2, seconds=0.005)
    assert result.reference == "ort"
    assert [len(entry.rounds) for entry in result.entries] == [2, 2]
    assert all(entry.error is not None and entry.error < 1e-5 for entry in result.entries)
    assert all(entry.best <= min(entry.rounds) for entry in result.entries)
    assert result.ratio is None, "polydl did not take part"
    document = as_json([result], {})
    assert json.loads(json.dumps(document)) == document
    assert set(document["results"][0]["peers"]) == {"ort", "numpy"}


def test_a_disturbed_race_is_named() -> None:
    entry = Entry("ort", [0.001], 0.001)
    quiet = Result("digits", 2, 10, 10, 10, (entry,), 5e11, 0.98, "ort")
    assert explanations([quiet]) == []
    (line,) = explanations([dataclasses.replace(quiet, available=0.52)])
    assert "digits/2 was disturbed" in line
    assert "52 % of 2 cores" in line


def test_a_peer_that_cannot_is_named_and_the_others_go_on() -> None:
    """numpy has no form of a whole network."""
    import models
    from benchmarks.cases import Case

    case = Case.of("mlp", models.build("mlp", width=0.1))
    result = race(case, ["numpy", "ort"], 1, rounds=1, seconds=0.005)
    numpy_entry, ort_entry = result.entries
    assert numpy_entry.rounds == []
    assert ort_entry.rounds
    expected = "numpy did not take part (everywhere): missing: numpy takes part in the kernel benchmarks only"
    assert explanations([result])[0] == expected


def test_a_worker_is_stopped_between_requests_and_its_death_is_told() -> None:
    with Worker("peak", 1) as worker:
        pid = worker._process.pid
        assert len(worker.ask({"do": "time", "seconds": 0.001, "least": 2})["samples"]) >= 2
        for _ in range(100):
            if _state(pid) == "T":
                break
            time.sleep(0.01)  # the kernel stops the threads in its own time
        assert _state(pid) == "T"
        worker._process.kill()
        with pytest.raises(PeerFailed, match="died"):
            worker.ask({"do": "time", "seconds": 0.001, "least": 1})


def test_a_request_to_a_worker_that_is_gone_says_so_and_leaves_nothing_open() -> None:
    with Worker("peak", 1) as worker:
        worker._process.kill()
        worker._process.wait()
        with pytest.raises(PeerFailed, match="died"):
            worker.ask({"do": "time", "seconds": 0.001, "least": 1})


def test_nothing_of_a_peer_survives_its_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer may fork (OpenVINO's telemetry does, now and then); its children end with its worker."""
    forking = tmp_path / "python"
    forking.write_text(f'#!/bin/sh\nsleep 300 &\nexec {sys.executable} "$@"\n')
    forking.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(forking))
    with Worker("peak", 1) as worker:
        group = worker._process.pid
        assert len(_group(group)) == 2
    for _ in range(100):
        if not _group(group):
            break
        time.sleep(0.01)  # an orphan is reaped in init's own time
    assert _group(group) == []


def test_openvino_sends_no_telemetry() -> None:
    pytest.importorskip("openvino", reason="openvino is a peer, not a dependency")
    program = (
        "import sys; from benchmarks.peers import PEERS; PEERS['openvino'].version(); "
        "print(sorted(m for m, v in sys.modules.items() if 'telemetry' in m and v is not None and 'stub' not in m))"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = ast.literal_eval(outcome.stdout)
    assert not [name for name in loaded if name.startswith("openvino_telemetry")], loaded


def _group(group: int) -> list[int]:
    """The living processes of one process group."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[2]) == group and fields[0] not in "ZX":
            members.append(int(path.parent.name))
    return members


def test_difference_is_relative_to_the_largest_output_and_sees_nan() -> None:
    a = np.array([1.0, -4.0])
    assert _difference([np.array([1.1, -4.0])], [a]) == pytest.approx(0.025)
    assert _difference([a[:1]], [a]) == math.inf
    assert _difference([np.array([np.nan, -4.0])], [a]) == math.inf


@pytest.mark.parametrize("bits", [32, 64])
def test_peak_kernel_computes_what_it_counts(bits: int) -> None:
    """Every chain is x <- x * factor + term; the stored sum follows from the starting points."""
    peak = Peak(1, bits)
    assert peak._data.itemsize * 8 == bits
    lanes = peak._data.shape[2]
    data = peak._data[0].copy()
    factor, term = data.astype(np.float64)
    peak._function(3, data.ctypes.data)
    chains = peak.flops // (2 * lanes * Peak.ROUNDS)
    total = np.zeros(lanes)
    for k in range(chains):
        x = term + k
        for _ in range(3):
            x = x * factor + term
        total += x
    np.testing.assert_allclose(data[0], total, rtol=1e-4)


def test_command(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    arguments = ["kernels", "layernorm 128x768", "--peers", "ort", "--threads", "1", "--rounds", "1"]
    outcome = CliRunner().invoke(app, [*arguments, "--seconds", "0.005", "--json", str(file)])
    assert outcome.exit_code == 0, outcome.output
    assert "layernorm" in outcome.output
    (result,) = json.loads(file.read_text())["results"]
    assert result["fastest_peer"] == "ort"
    for wrong in (["--peers", "nobody"], ["--threads", "0"], ["--threads", "x"]):
        outcome = CliRunner().invoke(app, ["kernels", "gemm 512", *wrong])
        assert isinstance(outcome.exception, UsageError)
