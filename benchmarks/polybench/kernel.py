"""What a PolyBench kernel is: its loops, its five sizes, its data and what it leaves behind.

The loops are a plain Python function over annotated parameters: `A: "f64[N, M]"` is an array with symbolic extents,
`alpha: "f64"` a scalar, `TSTEPS: "size"` an extent that no array has. The names inside the brackets are free in the
body; `bind` gives them values, after which the function is ordinary Python.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from polydl.errors import UsageError

__all__ = ["SIZE_NAMES", "Array", "Data", "Kernel", "Sizes", "bind", "data_sets", "difference"]

SIZE_NAMES: Final = ("MINI", "SMALL", "MEDIUM", "LARGE", "EXTRALARGE")

Array: TypeAlias = npt.NDArray[np.float64]
Sizes: TypeAlias = Mapping[str, int]
Data: TypeAlias = dict[str, Array | float]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of the suite.

    `flops` counts the arithmetic that is needed (additions, multiplications, divisions, roots, minima and maxima):
    products that do not change in a loop are not counted again in it. `reorders` says whether sums of rounded terms may
    be taken in another order, and so whether outputs are compared with a wider tolerance.
    """

    name: str
    function: Callable[..., None]
    sizes: Mapping[str, Sizes]
    initialise: Callable[..., Data]
    outputs: tuple[str, ...]
    reorders: bool
    flops: Callable[..., float]
    # Where rounding alone decides part of the outputs: (data before, after) -> what must agree, and a residual.
    defined: Callable[[Data, Data], tuple[Data, float]] | None = None

    @property
    def tolerance(self) -> float:
        """The relative difference allowed between two correct compilations."""
        return 1e-6 if self.reorders else 1e-10

    def at(self, size: str) -> Sizes:
        """The extents of the data set called `size`."""
        if size not in self.sizes:
            raise UsageError(f"no data set {size!r}", why=f"there are {', '.join(SIZE_NAMES)}")
        return self.sizes[size]

    def data(self, size: str) -> Data:
        """Fresh parameters in the published initialisation, arrays C-contiguous float64."""
        return {
            name: np.ascontiguousarray(value, dtype=np.float64) if isinstance(value, np.ndarray) else value
            for name, value in self.initialise(**self.at(size)).items()
        }

    def parameters(self) -> tuple[str, ...]:
        """The names of the function's parameters, in order."""
        return tuple(inspect.signature(self.function).parameters)

    def run_python(self, size: str, data: Data) -> None:
        """Interpret the loops on `data`, in place."""
        sizes = self.at(size)
        given: dict[str, object] = {**sizes, **data}
        bind(self.function, sizes)(*(given[name] for name in self.parameters()))


def bind(function: Callable[..., None], sizes: Sizes) -> Callable[..., None]:
    """`function` with the free extents of its body given as in `sizes`."""
    if not isinstance(function, types.FunctionType):
        raise UsageError(f"{function!r} is not a Python function")
    return types.FunctionType(function.__code__, {**function.__globals__, **sizes}, function.__name__)


def data_sets(names: str, **rows: tuple[int, ...]) -> dict[str, Sizes]:
    """`data_sets("M N", MINI=(28, 32), …)` as extents by data set."""
    keys = names.split()
    if tuple(rows) != SIZE_NAMES or any(len(row) != len(keys) for row in rows.values()):
        raise UsageError(
            f"data sets over {names} must give {', '.join(SIZE_NAMES)}, {len(keys)} numbers each"
        )
    return {label: dict(zip(keys, row, strict=True)) for label, row in rows.items()}


def difference(kernel: Kernel, before: Data, got: Data, wanted: Data) -> float:
    """The largest difference of any output, relative to that output's largest magnitude; NaN differs infinitely."""
    worst = 0.0
    names: tuple[str, ...] = kernel.outputs
    if kernel.defined is not None:
        got, residual = kernel.defined(before, got)
        wanted, _ = kernel.defined(before, wanted)
        if np.isnan(residual):
            return float("inf")
        worst, names = residual, tuple(wanted)
    for name in names:
        left, right = np.asarray(got[name]), np.asarray(wanted[name])
        if left.shape != right.shape or not (np.isfinite(left).all() and np.isfinite(right).all()):
            return float("inf")
        scale = float(np.abs(right).max(initial=0.0)) or 1.0
        worst = max(worst, float(np.abs(left - right).max(initial=0.0)) / scale)
    return worst
