"""Packages: a round trip, the same bytes every time, atomic replacement, and no damage that is not an error."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from polydl.errors import InvalidPackage, PolydlError, UsageError
from polydl.runtime import load, read_manifest, save
from polydl.runtime.manifest import CODE, MANIFEST, WEIGHTS, _checksum, decode
from tests.runtime import tiny

ROOT = Path(__file__).resolve().parents[2]
INFO = {"accuracy": {"rtol": 1e-3, "atol": 1e-5}, "error": 0.1, "note": "naïve", "shapes": [1, 2]}
X = np.arange(tiny.N, dtype=np.float32)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    files = {"schedules.txt": "tile i 32\n"}
    return save(tiny.double_plus(), tiny.constant(), tmp_path / "out", info=INFO, files=files)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_round_trip(package: Path) -> None:
    assert set(contents(package)) == {MANIFEST, CODE, WEIGHTS, "schedules.txt"}
    manifest = read_manifest(package)
    assert replace(manifest.artifact, code=tiny.double_plus().code) == tiny.double_plus()
    assert manifest.info == INFO
    for verify in (False, True):
        with load(package, threads=2, verify=verify) as module:
            np.testing.assert_array_equal(module(X), 2 * X + 3)
            assert module.info == INFO
            assert module._constants_address % 4096 == 0  # mapped, not copied


def test_symbolic_sizes_and_checks_survive(tmp_path: Path) -> None:
    save(tiny.checked(), b"", tmp_path / "out")
    with load(tmp_path / "out", threads=1) as module:
        assert replace(module.artifact) == tiny.checked()


def test_the_same_input_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    other = save(
        tiny.double_plus(), tiny.constant().tobytes(), tmp_path / "other", info=dict(reversed(INFO.items())),
        files={"schedules.txt": b"tile i 32\n"},
    )  # fmt: skip
    assert contents(package) == contents(other)


def test_info_is_stored_as_it_will_be_read(tmp_path: Path) -> None:
    save(tiny.checked(), b"", tmp_path / "out", info={"by step": {10: "a", 9: "b"}, "pair": (1, 2)})
    assert read_manifest(tmp_path / "out").info == {"by step": {"10": "a", "9": "b"}, "pair": [1, 2]}


@pytest.mark.parametrize("info", [{"x": float("nan")}, {"x": object()}, {"x": "\ud800"}, {"x": {1, 2}}])
def test_info_that_is_not_json_is_refused(tmp_path: Path, info: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="not a JSON object"):
        save(tiny.checked(), b"", tmp_path / "out", info=info)
    assert list(tmp_path.iterdir()) == []


def test_an_older_package_is_replaced_while_it_is_in_use(package: Path) -> None:
    with load(package, threads=1) as old:
        save(tiny.double_plus(), tiny.constant(9), package)
        assert old(X)[0] == 3
    with load(package, threads=1) as new:
        assert new(X)[0] == 9
    assert [path.name for path in package.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("exchange", [True, False])
def test_replacement_without_help_of_the_file_system(
    package: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr("polydl.runtime.package.ctypes.CDLL", lambda *args, **options: object())
    save(tiny.double_plus(), tiny.constant(9), package)
    with load(package, threads=1) as new:
        assert new(X)[0] == 9
    assert [path.name for path in package.parent.iterdir()] == ["out"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    save(tiny.double_plus(), tiny.constant(), tmp_path / "out")
    assert len(contents(tmp_path / "out")) == 3


def test_what_is_no_package_is_never_overwritten(tmp_path: Path, package: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not a polydl package"):
        save(tiny.double_plus(), tiny.constant(), home)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="not a directory"):
        save(tiny.double_plus(), tiny.constant(), tmp_path / "file")
    (package / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"not part of its package: notes\.txt"):
        save(tiny.double_plus(), tiny.constant(), package)
    os.symlink(package, tmp_path / "link")
    with pytest.raises(UsageError, match="not a directory"):
        save(tiny.double_plus(), tiny.constant(), tmp_path / "link")
    assert (home / "letter.txt").read_text() == "dear"
    assert (package / "notes.txt").read_text() == "mine"


def test_an_interrupted_save_leaves_the_old_package(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(package)
    for place in ("_write", "_sync", "_exchange"):

        def interrupt(*args: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(f"polydl.runtime.package.{place}", interrupt)
            with pytest.raises(KeyboardInterrupt):
                save(tiny.double_plus(), tiny.constant(9), package)
        assert contents(package) == before
        assert [path.name for path in package.parent.iterdir()] == ["out"]


def test_an_unwritable_place_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot write the package"):
        save(tiny.double_plus(), tiny.constant(), tmp_path / "file" / "out")
    with pytest.raises(UsageError, match="cannot write the package"):
        save(tiny.double_plus(), tiny.constant(), tmp_path / ("n" * 300))


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/etc/x", ".hidden", "", MANIFEST, CODE, WEIGHTS, "a\0b", "-x"]
)
def test_further_files_stay_inside(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a further file"):
        save(tiny.double_plus(), tiny.constant(), tmp_path / "out", files={name: "x"})


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the weights have 1 bytes, the code wants 64"):
        save(tiny.double_plus(), b"x", tmp_path / "out")


# damage


@pytest.mark.parametrize("name", [MANIFEST, CODE, WEIGHTS, "schedules.txt"])
def test_missing_truncated_and_changed_files(package: Path, name: str) -> None:
    path = package / name
    data = path.read_bytes()
    path.write_bytes(data[:-2])
    with pytest.raises(InvalidPackage):
        load(package)
    path.write_bytes(data[:10] + bytes([data[10] ^ 1]) + data[11:] if len(data) > 10 else b"")
    with pytest.raises(InvalidPackage):
        load(package, verify=True)
    path.unlink()
    with pytest.raises(InvalidPackage, match=f"lacks {name}"):
        load(package)
    path.mkdir()
    with pytest.raises(InvalidPackage, match="not a plain file"):
        load(package)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(InvalidPackage, match="not a plain file"):
        load(package)
    path.unlink()
    (package.parent / "elsewhere").write_bytes(data)
    path.symlink_to("../elsewhere")
    with pytest.raises(InvalidPackage, match=f"lacks {name}"):
        load(package)


def test_no_package_at_all(tmp_path: Path) -> None:
    with pytest.raises(InvalidPackage, match="no package at"):
        load(tmp_path / "nowhere")
    with pytest.raises(InvalidPackage, match=r"lacks manifest\.json"):
        load(tmp_path)
    (tmp_path / MANIFEST).write_text('{"name": "some other tool"}')
    with pytest.raises(InvalidPackage, match="not a polydl package"):
        load(tmp_path)


def rewrite(package: Path, change: Any) -> None:
    """Change the manifest and make its checksum right again."""
    document = json.loads((package / MANIFEST).read_text())
    document.pop("checksum")
    change(document)
    document["checksum"] = _checksum(document)
    (package / MANIFEST).write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format_version=3), "format version 3, this polydl reads version 2"),
        (lambda d: d.update(format_version=True), "format_version is not a whole number"),
        (lambda d: d.update(workspace_bytes=-1), "workspace_bytes is not a whole number from 0"),
        (lambda d: d.update(workspace_bytes=1e3), "workspace_bytes is not a whole number from 0"),
        (lambda d: d.update(scratch_bytes=1 << 60), "scratch_bytes is not a whole number from 0"),
        (lambda d: d.update(entry="a b"), "entry is not a valid text"),
        (lambda d: d.update(surprise=1), "and nothing else"),
        (lambda d: d.pop("steps"), "and nothing else"),
        (lambda d: d.update(inputs={}), "inputs is not a list"),
        (lambda d: d["inputs"].append(d["inputs"][0]), "two inputs have the same name"),
        (lambda d: d["inputs"][0].update(dtype="f7"), r"inputs\[0\]\.dtype: unknown element type 'f7'"),
        (lambda d: d["inputs"][0].update(shape=[1] * 65), "more than 64 axes"),
        (lambda d: d["inputs"][0].update(shape=[1 << 30, 1 << 30]), "larger than any memory"),
        (lambda d: d["files"].pop(CODE), "lacks model.o"),
        (lambda d: d["files"].update({"../../etc/passwd": d["files"][CODE]}), "no file name of a package"),
        (lambda d: d["files"]["weights.bin"].update(bytes=65), "another size"),
        (lambda d: d["files"][CODE].update(sha256="0" * 64), "its hash is not the manifest's"),
        (lambda d: d["files"][CODE].update(sha256="x"), "sha256 is not a valid text"),
        (lambda d: d["target"].update(features=["+of-another-world"]), "of-another-world"),
        (lambda d: d["target"].update(triple="riscv64-unknown-linux-gnu"), "cannot run here"),
        (lambda d: d.update(entry="elsewhere"), "elsewhere"),
    ],
)
def test_lies_in_the_manifest(package: Path, change: Any, message: str) -> None:
    rewrite(package, change)
    with pytest.raises(PolydlError, match=message):
        load(package)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a": 1, "a": 2}', b'{"format": NaN}', b"1" * 10_000,
        b'{"format": "polydl-package"}', b'{"format": "polydl-package", "format_version": 1}',
    ],
)  # fmt: skip
def test_texts_that_are_no_manifest(text: bytes) -> None:
    with pytest.raises(InvalidPackage):
        decode(text, "here")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("packages") / "out"
    yield save(tiny.double_plus(), tiny.constant(), directory, info=INFO)
    shutil.rmtree(directory)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a JSON document."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(p for key in keys for p in places(value[key], (*path, key)))][1 if not path else 0 :]


@settings(max_examples=300)
@given(st.data())
def test_mutated_manifests_load_or_are_refused(shared: Path, data: st.DataObject) -> None:
    """With a right checksum, so that every field's own check is reached."""
    document = json.loads((shared / MANIFEST).read_text())
    document.pop("checksum")
    original = copy.deepcopy(document)
    path = data.draw(st.sampled_from(places(document)))
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[path[-1]] = data.draw(JSON)
    else:
        del holder[path[-1]]
    document["checksum"] = _checksum(document)
    text = json.dumps(document).encode()
    try:
        manifest = decode(text, "mutated")
    except InvalidPackage:
        return
    # What is still accepted differs in free texts and numbers only: never in the kinds of the fields.
    assert set(document) == {*original, "checksum"}
    assert manifest.artifact.constants_bytes == 64
    work = shared.parent / "mutated"
    shutil.copytree(shared, work, dirs_exist_ok=True)
    (work / MANIFEST).write_bytes(text)
    with contextlib.suppress(PolydlError):
        load(work, threads=1, verify=True).close()


@settings(max_examples=300)
@given(st.data())
def test_flipped_bytes_of_the_manifest_are_refused(shared: Path, data: st.DataObject) -> None:
    text = bytearray((shared / MANIFEST).read_bytes())
    at = data.draw(st.integers(0, len(text) - 2))
    text[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[at]))
    try:
        damaged = decode(bytes(text), "damaged")
    except InvalidPackage:
        return
    assert damaged == decode((shared / MANIFEST).read_bytes(), "sound")  # white space only


def test_loading_imports_nothing_heavy(package: Path) -> None:
    code = (
        "import sys, polydl.runtime\n"
        f"polydl.runtime.load({str(package)!r}, threads=1).close()\n"
        "heavy = {'islpy', 'onnx', 'sympy', 'typer', 'rich', 'google.protobuf', 'polydl.codegen', 'polydl.poly'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
