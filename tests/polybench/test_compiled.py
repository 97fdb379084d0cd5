"""The decorated loops, compiled by polydl for all sizes at once: outputs against numpy, at two data sets."""

from __future__ import annotations

import pytest

from benchmarks.polybench.compiled import build
from benchmarks.polybench.kernel import Kernel, difference
from benchmarks.polybench.kernels import KERNELS
from tests.polybench.references import reference


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_optimised_loops_compute_what_numpy_does(kernel: Kernel, threads: int) -> None:
    program = build(kernel, threads=threads)
    for size in ("MINI", "SMALL"):
        data = kernel.data(size)
        program.run(size, data)
        assert difference(kernel, kernel.data(size), data, reference(kernel, size)) < kernel.tolerance


def test_without_reordered_sums_the_tight_tolerance_holds() -> None:
    kernel = KERNELS["gemver"]
    program = build(kernel, threads=1, reassociate=False)
    data = kernel.data("SMALL")
    program.run("SMALL", data)
    assert difference(kernel, kernel.data("SMALL"), data, reference(kernel, "SMALL")) < 1e-10
