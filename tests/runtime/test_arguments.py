"""Inputs and outputs that do not fit are refused with what was given and what is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from polydl.errors import InvalidInput, PolydlError
from polydl.runtime import Module
from tests.runtime import tiny

K, A, B = np.array(1), np.zeros((3, 2), np.float32), np.zeros(3, np.float32)


@pytest.fixture(scope="module")
def module() -> Iterator[Module]:
    with Module(tiny.checked(), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def simple() -> Iterator[Module]:
    with Module(tiny.double_plus(), tiny.constant(), threads=1) as opened:
        yield opened


@pytest.mark.parametrize(
    ("args", "named", "message"),
    [
        ((), {}, "missing inputs: k, a, b"),
        ((K, A), {}, "missing input: b"),
        ((K, A, B, B), {}, "4 inputs given, 3 wanted"),
        ((K, A), {"a": A}, "input 'a' is given twice"),
        ((K, A), {"bb": B}, "there is no input 'bb'(.|\n)*did you mean 'b'"),
        (({"k": K},), {"a": A}, "both in a dict and by name"),
        (({"k": K, "a": A},), {}, "missing input: b"),
        (({"k": K, "a": A, "b": B, 7: B},), {}, "there is no input '7'"),
        (([1.0], A, B), {}, "input 'k' is a list, not an array"),
        ((None, A, B), {}, "input 'k' is a NoneType"),
        ((np.array(1.0), A, B), {}, "input 'k' has type float64, not int64"),
        ((K, A.astype(">f4"), B), {}, "float32 of foreign byte order"),
        ((K, A.astype(object), B), {}, "has type object"),
        ((K, A.astype("U3"), B), {}, "has type str"),
        ((np.zeros(1, np.int64), A, B), {}, "input 'k' has 1 axes"),
        ((K, A[0], B), {}, r"input 'a' has 1 axes \(shape \(2,\)\), not 2"),
        ((K, np.zeros((3, 3), np.float32), B), {}, "axis 1 is 3, not 2"),
        (
            (K, A, np.zeros(4, np.float32)),
            {},
            "size M is 3 by axis 0 of input 'a' but 4 by axis 0 of input 'b'",
        ),
    ],
)
def test_invalid_inputs(module: Module, args: tuple[Any, ...], named: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        module(*args, **named)


def test_run_needs_a_mapping_with_all_inputs(module: Module) -> None:
    with pytest.raises(InvalidInput, match="missing inputs: k, a, b"):
        module.run({})


X = np.arange(tiny.N, dtype=np.float32)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ([1.0] * tiny.N, "out holds 1000 arrays, the outputs are 1"),
        ([[1.0]], "is a list, not a numpy array"),
        ("y", "is a str, not a numpy array"),
        ([], "out holds 0 arrays"),
        ({"z": np.zeros(tiny.N, np.float32)}, "out names 'z'"),
        ({}, "out names nothing"),
        (np.zeros(tiny.N), "has type <f8, not float32"),
        (np.zeros(tiny.N, ">f4"), "has type >f4, not float32"),
        (np.zeros((1, tiny.N), np.float32), r"has shape \(1, 1000\), not \(1000,\)"),
        (np.zeros((tiny.N, 2), np.float32)[:, 0], "not dense"),
        (np.broadcast_to(np.float32(0), (tiny.N,)), "not dense"),
        (np.frombuffer(bytes(4 * tiny.N), np.float32), "writable"),
    ],
)
def test_invalid_outputs(simple: Module, out: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        simple(X, out=out)


def test_outputs_do_not_overlap_inputs(simple: Module) -> None:
    block = np.zeros(2 * tiny.N, np.float32)
    x = block[: tiny.N]
    for start in (0, 1, tiny.N - 1):
        with pytest.raises(InvalidInput, match="out for 'y' shares memory with input 'x'"):
            simple(x, out=block[start : start + tiny.N])
    simple(x, out=block[tiny.N :])
    simple(block[::2], out=block[: tiny.N])  # that input is copied


def test_outputs_do_not_overlap_each_other() -> None:
    artifact = tiny.checked()
    outputs = (artifact.outputs[0], replace(artifact.outputs[1], dtype=artifact.outputs[0].dtype, shape=()))
    with Module(replace(artifact, outputs=outputs), threads=1) as module:
        same = np.array(0)
        with pytest.raises(InvalidInput, match="out for 'c' shares memory with out for 'o'"):
            module(K, A, B, out=(same, same))


@given(
    hnp.arrays(
        st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes()),
        hnp.array_shapes(min_dims=0, max_dims=3, max_side=3),
        elements=None, fill=None,
    )
)  # fmt: skip
def test_any_array_is_run_or_refused(module: Module, array: np.ndarray) -> None:
    try:
        module(K, array, B)
    except PolydlError:
        return
    assert (array.dtype, array.shape) == (np.dtype("float32"), (3, 2))
