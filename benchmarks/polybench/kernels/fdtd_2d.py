"""Maxwell's equations in two dimensions by finite differences in the time domain."""

# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np

from benchmarks.polybench.kernel import Data, Kernel, data_sets


def fdtd_2d(ex: "f64[NX, NY]", ey: "f64[NX, NY]", hz: "f64[NX, NY]", fict: "f64[TMAX]") -> None:
    assert NX >= 1
    for t in range(TMAX):
        # the source drives one edge
        for j in range(NY):
            ey[0, j] = fict[t]
        # the electric field follows the curl of the magnetic one …
        for i in range(1, NX):
            for j in range(NY):
                ey[i, j] = ey[i, j] - 0.5 * (hz[i, j] - hz[i - 1, j])
        for i in range(NX):
            for j in range(1, NY):
                ex[i, j] = ex[i, j] - 0.5 * (hz[i, j] - hz[i, j - 1])
        # … and the magnetic field that of the electric one
        for i in range(NX - 1):
            for j in range(NY - 1):
                hz[i, j] = hz[i, j] - 0.7 * (ex[i, j + 1] - ex[i, j] + ey[i + 1, j] - ey[i, j])


def initialise(TMAX: int, NX: int, NY: int) -> Data:
    i, j = np.ogrid[:NX, :NY]
    return {
        "ex": i * (j + 1) / NX,
        "ey": i * (j + 2) / NY,
        "hz": i * (j + 3) / NX,
        "fict": np.arange(TMAX, dtype=np.float64),
    }


def flops(TMAX: int, NX: int, NY: int) -> float:
    return TMAX * (3 * (NX - 1) * NY + 3 * NX * (NY - 1) + 5 * (NX - 1) * (NY - 1))


KERNEL = Kernel(
    "fdtd-2d",
    fdtd_2d,
    data_sets(
        "TMAX NX NY",
        MINI=(20, 20, 30),
        SMALL=(40, 60, 80),
        MEDIUM=(100, 200, 240),
        LARGE=(500, 1000, 1200),
        EXTRALARGE=(1000, 2000, 2600),
    ),
    initialise,
    outputs=("ex", "ey", "hz"),
    reorders=False,
    flops=flops,
)
