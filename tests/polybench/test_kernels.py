"""The loops themselves: interpreted by Python, against numpy written from the mathematics."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.polybench.kernel import SIZE_NAMES, Kernel, data_sets, difference
from benchmarks.polybench.kernels import KERNELS
from polydl.errors import UsageError
from tests.polybench.references import REFERENCES, reference

NAMES = sorted(KERNELS)


def test_there_are_thirty_and_each_has_a_reference() -> None:
    assert len(KERNELS) == 30
    assert set(REFERENCES) == set(KERNELS)


@pytest.mark.parametrize("name", NAMES)
def test_python_loops_compute_what_numpy_does(name: str) -> None:
    kernel = KERNELS[name]
    data = kernel.data("MINI")
    kernel.run_python("MINI", data)
    assert difference(kernel, kernel.data("MINI"), data, reference(kernel, "MINI")) < 1e-10


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_output_is_noticed(name: str) -> None:
    kernel = KERNELS[name]
    wrong = reference(kernel, "MINI")
    output = wrong[kernel.outputs[0]]
    assert isinstance(output, np.ndarray)
    output = output.copy()
    output.flat[1] += 1e-4 * np.abs(output).max()
    changed = {**wrong, kernel.outputs[0]: output}
    assert difference(kernel, kernel.data("MINI"), changed, reference(kernel, "MINI")) > kernel.tolerance
    output.flat[1] = np.nan
    assert difference(kernel, kernel.data("MINI"), changed, reference(kernel, "MINI")) == np.inf


@pytest.mark.parametrize("name", NAMES)
def test_data_sets_grow_and_parameters_are_as_declared(name: str) -> None:
    kernel = KERNELS[name]
    assert tuple(kernel.sizes) == SIZE_NAMES
    for label in ("MINI", "SMALL"):
        data = kernel.data(label)
        assert set(kernel.parameters()) == set(data) | (set(kernel.parameters()) & set(kernel.at(label)))
        assert set(kernel.outputs) <= set(data)
        for value in data.values():
            if isinstance(value, np.ndarray):
                assert value.dtype == np.float64
                assert value.flags.c_contiguous
                assert value.flags.owndata or value.base is not None
    counts = [kernel.flops(**kernel.at(label)) for label in SIZE_NAMES]
    assert counts[:4] == sorted(counts[:4])
    assert counts[0] > 0


class _Counting(float):
    """A number that counts the arithmetic done with it."""

    done = 0

    def _count(self, value: float) -> _Counting:
        _Counting.done += 1
        return _Counting(value)

    def __add__(self, other: float) -> _Counting:
        return self._count(float(self) + float(other))

    def __sub__(self, other: float) -> _Counting:
        return self._count(float(self) - float(other))

    def __rsub__(self, other: float) -> _Counting:
        return self._count(float(other) - float(self))

    def __mul__(self, other: float) -> _Counting:
        return self._count(float(self) * float(other))

    def __truediv__(self, other: float) -> _Counting:
        return self._count(float(self) / float(other))

    def __neg__(self) -> _Counting:
        return _Counting(-float(self))

    __radd__, __rmul__ = __add__, __mul__


# written with products that do not change in the inner loop, or with a difference of 2 A three times
_INVARIANT = {"2mm", "correlation", "gemm", "gemver", "heat-3d", "symm", "syr2k", "syrk"}


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"adi", "gramschmidt"}))
def test_flops_count_the_arithmetic_of_the_loops(name: str) -> None:
    # Not adi, whose pivots grow from constants, nor gramschmidt, which divides by exact zeros.
    kernel = KERNELS[name]
    data: dict[str, object] = {}
    for key, value in kernel.data("MINI").items():
        if isinstance(value, np.ndarray):
            counting = np.empty(value.shape, dtype=object)
            counting[...] = np.array([_Counting(x) for x in value.ravel()], dtype=object).reshape(value.shape)
            data[key] = counting
        else:
            data[key] = _Counting(value)
    _Counting.done = 0
    kernel.run_python("MINI", data)  # type: ignore[arg-type]
    ratio = _Counting.done / kernel.flops(**kernel.at("MINI"))
    if name in _INVARIANT:
        assert 1.0 <= ratio < 1.75
    elif name in ("floyd-warshall", "nussinov"):  # minima and maxima are the other half, and compare only
        assert 0.4 < ratio < 0.6
    else:
        assert 0.9 < ratio < 1.1


def test_an_unknown_data_set_is_an_error() -> None:
    with pytest.raises(UsageError, match="HUGE"):
        KERNELS["gemm"].at("HUGE")
    with pytest.raises(UsageError, match="2 numbers each"):
        data_sets("M N", MINI=(1, 2), SMALL=(1,), MEDIUM=(1, 2), LARGE=(1, 2), EXTRALARGE=(1, 2))


def test_a_function_that_is_no_python_function_is_refused() -> None:
    kernel = KERNELS["gemm"]
    wrong = Kernel("gemm", max, kernel.sizes, kernel.initialise, ("C",), True, kernel.flops)
    with pytest.raises(UsageError, match="not a Python function"):
        wrong.run_python("MINI", kernel.data("MINI"))
