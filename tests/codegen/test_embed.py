"""Header, example program and library compile without a warning as C and C++ and compute what the module computes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polydl.artifact import Artifact
from polydl.codegen.embed import header, main_program, write_object, write_shared, write_source
from polydl.errors import InvalidProgram, ToolchainError, UsageError
from polydl.runtime import Module
from tests.runtime import tiny

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wno-sign-conversion"]


def run(*command: str, where: Path) -> str:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fnv1a(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return f"{value:016x}"


def seeded(count: int, seed: int) -> np.ndarray:
    """The floats that main.c makes: splitmix64, 24 bits."""
    mask, state, values = (1 << 64) - 1, seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        values.append(((z ^ (z >> 31)) >> 40) / 8388608.0 - 1.0)
    return np.array(values, np.float32)


@needs_gcc
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_program_computes_what_the_module_computes(tmp_path: Path, threads: int) -> None:
    write_object(tiny.double_plus(), tiny.constant(), tmp_path)
    run(
        "gcc",
        "-std=c11",
        "-O1",
        *WARNINGS,
        "main.c",
        "model.o",
        "-lm",
        "-pthread",
        "-o",
        "model",
        where=tmp_path,
    )
    common = ["./model", "-t", str(threads), "-n", "20", "-o", "y.bin"]
    x = np.random.default_rng(0).standard_normal(tiny.N).astype(np.float32)
    x.tofile(tmp_path / "x.bin")
    with Module(tiny.double_plus(), tiny.constant(), threads=1) as module:
        for given, array in ((["-i", "x.bin"], x), (["-s", "42"], seeded(tiny.N, 42))):
            text = run(*common, *given, where=tmp_path)
            wanted = module(array)
            assert text == f"y {fnv1a(wanted.tobytes())}\n"
            np.testing.assert_array_equal(np.fromfile(tmp_path / "y.bin", np.float32), wanted)


@needs_gcc
def test_symbolic_sizes_and_failed_checks(tmp_path: Path) -> None:
    write_object(tiny.checked(), b"", tmp_path)
    run("gcc", "-std=c11", *WARNINGS, "main.c", "model.o", "-pthread", "-o", "model", where=tmp_path)
    assert len(run("./model", "-z", "M=3", where=tmp_path).splitlines()) == 2
    np.array(77).tofile(tmp_path / "k.bin")
    for arguments, message in (
        ([], "give the size with -z SIZE=VALUE: M"),
        (["-z", "K=3"], "unknown size: K=3"),
        (["-z", "M=x"], "not a number in range: x"),
        (["-z", "M=3", "-i", "k.bin"], "a check failed: index k is outside of 0..9"),
        (["-z", "M=3", "-i", "absent"], "cannot open: absent"),
        (["-z", "M=3", "-i", "model.o"], "wrong size of an input file: model.o"),
    ):
        done = subprocess.run(
            ["./model", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (1, f"error: {message}\n")


@needs_gcc
def test_the_shared_library(tmp_path: Path) -> None:
    paths = write_shared(tiny.double_plus(), tiny.constant(), tmp_path)
    assert {path.name for path in paths} == {"libmodel.so", "model.h", "main.c", "weights.bin"}
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}
    assert ctypes.CDLL(str(tmp_path / "libmodel.so")).entry
    run("gcc", "main.c", "-L.", "-lmodel", "-pthread", "-Wl,-rpath,.", "-o", "model", where=tmp_path)
    assert run("./model", where=tmp_path).startswith("y ")


def awkward() -> Artifact:
    """Names that are no C identifiers, collide, or try to leave their comment or string."""
    base = tiny.checked()
    names = ("int", "a b", "a*/b", "1.0/x:0", "polydl_inputs", "ü", '"; exit(1); //', "??/")
    specs = tuple(replace(base.inputs[2], name=name) for name in names)
    return replace(base, inputs=specs, outputs=specs, checks=('say "no"\n\\ ??/ ünïcode \ud800',))


@needs_gcc
@pytest.mark.parametrize(
    "artifact", [tiny.double_plus(), tiny.checked(), awkward()], ids=["plain", "sizes", "awkward"]
)
def test_the_header_is_c_and_cpp(tmp_path: Path, artifact: Artifact) -> None:
    (tmp_path / "model.h").write_text(header(artifact))
    (tmp_path / "main.c").write_text(main_program(artifact))
    (tmp_path / "two.c").write_text('#include "model.h"\n#include "model.h"\nint main(void) { return 0; }\n')
    for standard in ("c99", "c11"):
        run("gcc", f"-std={standard}", "-pedantic", *WARNINGS, "-fsyntax-only", "two.c", where=tmp_path)
    run("gcc", "-std=c11", *WARNINGS, "-fsyntax-only", "main.c", where=tmp_path)
    if shutil.which("g++"):
        run(
            "g++", "-std=c++11", "-pedantic", *WARNINGS, "-fsyntax-only", "-x", "c++", "two.c", where=tmp_path
        )


def test_the_same_artifact_gives_the_same_text() -> None:
    assert header(awkward()) == header(awkward())
    assert main_program(awkward()) == main_program(awkward())
    assert "@" not in main_program(tiny.double_plus())


def test_source_is_written_beside_its_companions(tmp_path: Path) -> None:
    paths = write_source(tiny.checked(), "int x;\n", b"", tmp_path)
    assert (tmp_path / "model.c").read_text() == "int x;\n"
    assert [path.name for path in paths] == ["model.c", "model.h", "main.c", "weights.bin"]


def test_missing_linkers_and_bad_objects_are_clear_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("gcc"):
        with pytest.raises(ToolchainError, match="the linker refuses the object"):
            write_shared(replace(tiny.double_plus(), code=b"rubbish"), tiny.constant(), tmp_path / "out")
        assert not (tmp_path / "out").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="no linker for"):
        write_shared(tiny.double_plus(), tiny.constant(), tmp_path / "out")
    with pytest.raises(ToolchainError, match="riscv64-linux-gnu-gcc"):
        write_shared(
            replace(tiny.double_plus(), triple="riscv64-unknown-linux-gnu"), tiny.constant(), tmp_path / "out"
        )


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the weights have 3 bytes, the code wants 64"):
        write_object(tiny.double_plus(), b"abc", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_object(tiny.checked(), b"", tmp_path / "file")
    with pytest.raises(InvalidProgram, match="no C identifier"):
        header(replace(tiny.checked(), entry="a.b"))
