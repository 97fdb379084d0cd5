"""Temporaries with a place for each iteration: at run time their sizes are known at the call only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydl.artifact import Artifact, Extent
from polydl.codegen.assemble import program_of
from polydl.codegen.embed import write_object
from polydl.codegen.llvm import compile_program
from polydl.errors import InvalidPackage, ResourceLimit, UsageError
from polydl.runtime import Module, load, save
from polydl.runtime.manifest import decode, encode
from polydl.scheduler import Distribute, Expand, Parallel, Schedule, Split
from polydl.targets import native
from tests.codegen.from_c import run_program
from tests.scheduler.loop_cases import weighted

SHAPES = ((4, 5), (1, 1), (33, 7), (3, 0), (0, 4), (1000, 3))


def expanded() -> Schedule:
    """Every iteration with its own scalar: the rows' sums in one nest, in parallel, what they are for in another."""
    return (
        weighted(symbolic=True)
        .schedule()
        .apply(
            Split("i", 4),
            Expand("t", ("i.o", "i.i")),
            Distribute("i.i"),
            Distribute("i.o"),
            Parallel("S2.i.o"),
        )
    )


def artifact() -> Artifact:
    return compile_program(program_of(expanded()), native())


def wanted(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(1 + (x * x).sum(1, keepdims=True) - x)


def numbers(n: int, m: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(n).integers(-4, 5, (n, m)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_made_for_the_sizes_of_the_call(threads: int) -> None:
    with Module(artifact(), threads=threads) as module:
        for n, m in SHAPES:
            x = numbers(n, m)
            np.testing.assert_array_equal(module(x), wanted(x))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_c_back_end_takes_it_behind_the_outputs(threads: int) -> None:
    program = program_of(expanded())
    for n, m in SHAPES:
        x, y = numbers(n, m), np.empty((n, m), np.float32)
        memory = np.empty(program.temporaries[0].bytes({"N": n, "M": m}) // 4, np.float32)
        assert set(run_program(program, native(), [x], [y, memory], [n, m], threads)) == {0}
        np.testing.assert_array_equal(y, wanted(x))


def test_a_bound_call_keeps_its_memory() -> None:
    with Module(artifact(), threads=1) as module:
        x = np.ones((50, 2), np.float32)
        call = module.bind([x])
        for _ in range(3):
            module(np.ones((500, 2), np.float32))
            np.testing.assert_array_equal(call(), np.full((50, 2), 2, np.float32))


def test_the_formula_is_in_the_artifact() -> None:
    (t,) = artifact().temporaries
    assert (t.name, [e.evaluate({"N": 9, "M": 1}) for e in t.shape]) == ("t", [3, 4])
    assert t.bytes({"N": 9, "M": 1}) == 48
    assert t.bytes({"N": 0, "M": 1}) == 0


def test_more_than_the_machine_has_is_refused() -> None:
    with Module(artifact(), threads=1) as module, pytest.raises(ResourceLimit, match="t: "):
        module(np.zeros((1 << 44, 0), np.float32))


def test_a_package_keeps_the_formula(tmp_path: Path) -> None:
    save(artifact(), b"", tmp_path / "out")
    with load(tmp_path / "out", threads=1) as module:
        assert module.artifact == artifact()
        np.testing.assert_array_equal(module(np.ones((9, 2), np.float32)), np.full((9, 2), 2, np.float32))


@pytest.mark.parametrize(
    "extent",
    [
        Extent(0, ((1, "K", 1),)),
        Extent(0, ((1, "N", 0),)),
        Extent(1 << 60),
    ],
)
def test_a_wrong_formula_is_no_package(extent: Extent) -> None:
    good = artifact()
    bad = replace(good, temporaries=(replace(good.temporaries[0], shape=(extent,)),))
    with pytest.raises(InvalidPackage):
        decode(encode(bad, {}, {}), "here")


def test_the_c_interface_allocates_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known at the call only"):
        write_object(artifact(), b"", tmp_path / "out")
