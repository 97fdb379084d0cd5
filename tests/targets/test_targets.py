"""Target names, features and the detection of the host, also from made-up /proc and /sys trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from polydl.errors import UnknownTarget
from polydl.targets import Target, host, native, parse, target_names
from polydl.targets.host import Caches


def test_names() -> None:
    assert set(target_names()) == {"native", "x86-64", "x86-64-avx2", "x86-64-avx512", "aarch64"}
    for name in target_names():
        target = parse(name)
        assert isinstance(target, Target)
        assert target.vector_bytes in (16, 32, 64)
        assert target.cores >= 1


@pytest.mark.parametrize(
    ("name", "vector", "registers", "fma", "cpu"),
    [
        ("x86-64", 16, 16, False, "x86-64"),
        ("x86-64-avx2", 32, 16, True, "x86-64-v3"),
        ("x86-64-avx512", 64, 32, True, "x86-64-v4"),
        ("aarch64", 16, 32, True, "generic"),
    ],
)
def test_named_targets(name: str, vector: int, registers: int, fma: bool, cpu: str) -> None:
    target = parse(name)
    assert (target.vector_bytes, target.vector_registers, target.fma, target.cpu) == (
        vector,
        registers,
        fma,
        cpu,
    )
    assert target.masked_vectors == (name == "x86-64-avx512")
    assert target.lanes(4) == vector // 4
    assert target.lanes(1024) == 1


def test_features_may_be_added() -> None:
    target = parse("x86-64-avx2+avxvnni")
    assert target.has("avxvnni")
    assert target.has("avx2")
    assert not parse("x86-64-avx2").has("avxvnni")
    assert set(native().features) <= set(parse("native+sse2").features)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sparc", "use one of native, x86-64"),
        ("", "unknown target ''"),
        ("native+warp", "unknown target feature 'warp'"),
        ("x86-64+dotprod", "another architecture"),
        ("x86-64-avx", "unknown target 'x86-64-avx'"),
    ],
)
def test_unknown_names_say_what_exists(text: str, message: str) -> None:
    with pytest.raises(UnknownTarget, match="unknown") as caught:
        parse(text)
    assert message in str(caught.value)


def test_flags_of_a_masked_machine(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor\t: 0\nmodel name\t: Fast CPU 9000 with AVX-512\nflags\t\t: fpu sse2 avx\n\nflags\t\t: other\n"
    )
    assert host.cpu_flags(info) == {"fpu", "sse2", "avx"}
    assert host.cpu_flags(tmp_path / "absent") == frozenset()


def cache(root: Path, index: int, level: str, kind: str, size: str, shared: str) -> None:
    folder = root / "cpu0" / "cache" / f"index{index}"
    folder.mkdir(parents=True)
    for name, text in (
        ("level", level),
        ("type", kind),
        ("size", size),
        ("shared_cpu_list", shared),
        ("coherency_line_size", "128"),
    ):
        (folder / name).write_text(text + "\n")


def test_caches_are_shared_by_cores_not_threads(tmp_path: Path) -> None:
    """Four cores of two threads: the level shared by all eight gives each core a quarter."""
    cache(tmp_path, 0, "1", "Data", "48K", "0,4")
    cache(tmp_path, 1, "1", "Instruction", "32K", "0,4")
    cache(tmp_path, 2, "2", "Unified", "2M", "0,4")
    cache(tmp_path, 3, "3", "Unified", "32M", "0-7")
    topology = tmp_path / "cpu0" / "topology"
    topology.mkdir()
    (topology / "thread_siblings_list").write_text("0,4\n")
    assert host.cache_sizes(tmp_path) == Caches(48 * 1024, 2 * 1024**2, 8 * 1024**2, 128)


def test_unreadable_caches_fall_back(tmp_path: Path) -> None:
    assert host.cache_sizes(tmp_path) == Caches()
    cache(tmp_path, 0, "1", "Data", "nonsense", "0")
    assert host.cache_sizes(tmp_path) == Caches()


def test_register_tiles_fit_the_registers() -> None:
    """The tiles of the known fast kernels: 14x2, 9x3, 6x4 vectors with 32 registers, 6x2 with 16."""
    avx512, avx2 = parse("x86-64-avx512"), parse("x86-64-avx2")
    assert [avx512.tile_rows(n) for n in (1, 2, 3, 4)] == [30, 14, 9, 6]
    assert avx2.tile_rows(2) == 6


def test_native_runs_here() -> None:
    target = native()
    assert target.arch == host.machine()
    assert target.name == "native"
    assert target.l1d_bytes > 0
