"""Loading objects: symbols resolve, damage is an error, foreign machines are refused, pages are never writable code."""

from __future__ import annotations

import ctypes
import math
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from polydl.errors import InvalidPackage, ToolchainError
from polydl.runtime.loader import check_machine, compile_ir, host_arch, host_features, load_object
from tests.runtime import tiny


def test_code_of_libm_resolves() -> None:
    text = """
declare double @erf(double)
define double @twice(double %x) {
  %y = call double @erf(double %x)
  %z = fadd double %y, %y
  ret double %z
}
"""
    code = compile_ir(text, ("twice",))
    function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address("twice"))
    assert function(0.5) == 2 * math.erf(0.5)
    code.close()
    code.close()  # idempotent


@pytest.mark.parametrize("image", [b"", b"not an object", b"\x7fELF" + bytes(100)])
def test_what_is_no_object_is_refused(image: bytes) -> None:
    with pytest.raises(ToolchainError, match="does not link"):
        load_object(image, ("entry",))


def test_missing_symbols_are_refused() -> None:
    with pytest.raises(ToolchainError, match="absent"):
        compile_ir("define void @f() { ret void }", ("absent",))
    unresolved = "declare void @polydl_nowhere()\ndefine void @f() { call void @polydl_nowhere()\nret void }"
    with pytest.raises(ToolchainError):
        compile_ir(unresolved, ("f",))


def test_code_is_not_writable() -> None:
    code = load_object(tiny.double_plus().code, ("entry",))
    address = code.address("entry")
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if start <= address < end:
            assert rights.startswith("r-x")
            return
    pytest.fail("the code is in no mapping")


def test_foreign_architecture_is_refused() -> None:
    other = "aarch64" if host_arch() == "x86_64" else "x86_64"
    with pytest.raises(InvalidPackage, match=f"code for {other}-unknown-linux-gnu cannot run here"):
        check_machine(replace(tiny.double_plus(), triple=f"{other}-unknown-linux-gnu"))
    with pytest.raises(InvalidPackage, match="cannot run here"):
        check_machine(replace(tiny.double_plus(), triple=f"{host_arch()}-pc-windows-msvc"))


def test_missing_features_are_refused_and_named() -> None:
    with pytest.raises(InvalidPackage, match="not-of-this-world"):
        check_machine(replace(tiny.double_plus(), features=("+not-of-this-world",)))


def test_features_that_this_machine_has_are_accepted() -> None:
    present = sorted(f for f in host_features() if not f.startswith("amx"))
    check_machine(
        replace(tiny.double_plus(), features=(*(f"+{f}" for f in present), "-absent", "+prefer-256-bit"))
    )


def test_generic_levels_imply_their_features(monkeypatch: pytest.MonkeyPatch) -> None:
    if host_arch() != "x86_64":
        pytest.skip("x86 levels")
    monkeypatch.setattr("polydl.runtime.loader.host_features", lambda: frozenset({"sse3", "avx2"}))
    check_machine(replace(tiny.double_plus(), cpu="x86-64"))
    with pytest.raises(InvalidPackage, match="avx512f"):
        check_machine(replace(tiny.double_plus(), cpu="x86-64-v4"))


def test_a_named_processor_must_list_its_features() -> None:
    with pytest.raises(InvalidPackage, match="does not say which features"):
        check_machine(replace(tiny.double_plus(), cpu="a-processor-of-the-future"))


@settings(max_examples=60)
@given(st.data())
def test_truncated_objects_are_refused(data: st.DataObject) -> None:
    image = tiny.double_plus().code
    size = data.draw(st.integers(0, 64))
    with pytest.raises(ToolchainError):
        load_object(image[:size], ("entry",))
