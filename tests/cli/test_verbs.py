"""What every verb prints, writes and returns, apart from the compiler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Command

X = np.array([[1.0, -2.0, 3.0]], dtype=np.float32)


def _npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_help_names_every_verb_and_examples(invoke: Command) -> None:
    text = invoke("--help").out
    for verb in ("inspect", "build", "run", "bench", "verify", "show", "explain", "doctor"):
        assert verb in text
        described = invoke(verb, "--help").out
        assert "Examples" in described
        for option in ("--json", "--verbose", "--quiet", "--threads", "--seed", "--timeout", "--max-memory"):
            assert option in described


def test_build_writes_a_package_once_verified(invoke: Command, linear: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke("build", linear, "-o", out, "--json")
    assert result.code == 0, result.err
    assert result.json["measured_error"] == {"y": {"max_abs": 0.0, "max_rel": 0.0}}
    assert (out / "code").read_text() == "dir ['accuracy', 'measured_error']"
    assert result.json["files"].keys() == {"manifest.json", "code"}
    assert {entry.name for entry in tmp_path.iterdir()} == {"linear.onnx", "out"}


def test_build_replaces_its_own_package_only(invoke: Command, linear: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert invoke("build", linear, "-o", out).code == 0
    assert invoke("build", linear, "-o", out, "--no-verify").code == 0
    assert (out / "code").read_text() == "dir ['accuracy']"
    (out / "thesis.tex").write_text("ten years")
    refused = invoke("build", linear, "-o", out)
    assert refused.code == 2
    assert "thesis.tex" in refused.err
    assert (out / "thesis.tex").read_text() == "ten years"


def test_build_writes_nothing_where_the_result_is_wrong(
    invoke: Command, linear: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = invoke("build", linear, "-o", out, error=0.01)
    assert result.code == 4
    assert "nothing was written" in result.err
    assert not out.exists()
    assert invoke("build", linear, "-o", out, "--accuracy", "atol=0.1", error=0.01).code == 0


def test_interrupted_build_leaves_nothing(invoke: Command, linear: Path, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    result = invoke("build", linear, "-o", tmp_path / "out", before=interrupt)
    assert result.code == 130
    assert {entry.name for entry in tmp_path.iterdir()} == {"linear.onnx"}


def test_interruption_while_writing_leaves_the_old_package(
    invoke: Command, linear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert invoke("build", linear, "-o", out).code == 0
    before = (out / "code").read_text()

    def interrupt(self: object, directory: Path, **_: object) -> None:
        directory.mkdir()
        (directory / "half").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setattr("tests.cli.fake.Compiled.save", interrupt)
    assert invoke("build", linear, "-o", out, "--no-verify").code == 130
    assert (out / "code").read_text() == before
    assert {entry.name for entry in tmp_path.iterdir()} == {"linear.onnx", "out"}


def test_run_writes_what_the_module_returns(invoke: Command, linear: Path, tmp_path: Path) -> None:
    given = _npz(tmp_path / "in.npz", x=X)
    out = tmp_path / "y.npz"
    assert invoke("run", linear, "-i", given, "-o", out).code == 0
    with np.load(out, allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["y"], [[2.1, 1.55, 2.0, 3.2]], rtol=1e-6)
    np.save(tmp_path / "x.npy", X)
    single = invoke("run", linear, "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert single.code == 0, single.err
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), [[2.1, 1.55, 2.0, 3.2]], rtol=1e-6)


def test_run_without_input_says_that_it_is_random(invoke: Command, linear: Path) -> None:
    first, again, other = (invoke("run", linear, "--json", "--seed", seed) for seed in (7, 7, 8))
    assert "random inputs from seed 7" in first.err
    assert first.out == again.out != other.out
    assert np.shape(first.json["outputs"]["y"]["data"]) == (1, 4)


def test_verify_reports_errors_and_accuracy(invoke: Command, linear: Path, tmp_path: Path) -> None:
    images = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    data = _npz(tmp_path / "holdout.npz", images=images, labels=np.array([3, 3, 3, 0]))
    result = invoke("verify", linear, "--data", data, "--json")
    assert result.code == 0, result.err
    assert result.json["runs"] == 4
    assert set(result.json["labels"]["right"].values()) == {3}
    text = invoke("verify", linear, "--data", data).out
    assert text.count("75.00 %  (3 right)") == 2


def test_verify_ends_with_4_where_outputs_differ(invoke: Command, linear: Path) -> None:
    result = invoke("verify", linear, "--json", error=0.5)
    assert result.code == 4
    assert result.json["ok"] is False
    assert result.json["outputs"][0]["max_abs"] == pytest.approx(0.5, rel=1e-5)
    assert "instead of" in result.err


def test_verify_refuses_samples_that_do_not_fit(invoke: Command, linear: Path, tmp_path: Path) -> None:
    data = _npz(tmp_path / "d.npz", x=X, z=X)
    result = invoke("verify", linear, "--data", data)
    assert result.code == 1
    assert "the network's inputs are x" in result.err


def test_bench_measures_the_peers_in_turn(invoke: Command, linear: Path) -> None:
    result = invoke("bench", linear, "--rounds", 5, "--against", "ort", "--json")
    assert result.code == 0, result.err
    engines = result.json["engines"]
    assert len(engines) == 2
    for numbers in engines.values():
        assert 0 < numbers["p10"] <= numbers["median"] <= numbers["p90"]
    assert engines["polydl"]["flops_per_second"] == pytest.approx(28 / engines["polydl"]["median"])


def test_explain_gives_schedule_proof_and_roofline(invoke: Command, linear: Path) -> None:
    result = invoke("explain", linear, "--json")
    assert result.code == 0, result.err
    (group,) = result.json["groups"]
    # 28 FLOP at 1e8/s take 0.28 µs, 128 B at 1e9/s 0.128 µs; measured is 1 µs.
    assert group["bound_by"] == "arithmetic"
    assert group["percent_of_roofline"] == pytest.approx(28)
    assert group["percent_of_peak"] == pytest.approx(28)
    text = invoke("explain", linear, "--group", "product+sum").out
    for part in ("product, sum", "band i, j", "no dependence is carried", "28 % of it reached", "1 µs"):
        assert part in text
    assert invoke("explain", linear, "--group", "x").code == 2


def test_show_prints_the_stage(invoke: Command, linear: Path) -> None:
    assert invoke("show", linear, "--stage", "loops", "-g", "k").out == "loops of linear.onnx, group k\n"
    assert invoke("show", linear, "--stage", "poetry").code == 2


def test_doctor_tests_itself(invoke: Command) -> None:
    good = invoke("doctor", "--json")
    assert good.code == 0, good.err
    states = {finding["name"]: finding["state"] for finding in good.json["findings"]}
    assert states["self test"] == states["target"] == states["islpy"] == "ok"
    bad = invoke("doctor", error=1.0)
    assert bad.code == 1
    assert "self test" in bad.err


def test_quiet_and_verbose(invoke: Command, linear: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert invoke("build", linear, "-o", out, "-q").err == ""
    loud = invoke("build", linear, "-o", out, "-v").err
    assert "compiling linear.onnx: everything" in loud
    assert "x: f32[1, 3]" in loud
