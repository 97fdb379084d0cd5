"""The thirty kernels by their published names."""

from __future__ import annotations

from typing import Final

from benchmarks.polybench.kernel import Kernel
from benchmarks.polybench.kernels import (
    adi,
    atax,
    bicg,
    cholesky,
    correlation,
    covariance,
    deriche,
    doitgen,
    durbin,
    fdtd_2d,
    floyd_warshall,
    gemm,
    gemver,
    gesummv,
    gramschmidt,
    heat_3d,
    jacobi_1d,
    jacobi_2d,
    k2mm,
    k3mm,
    lu,
    ludcmp,
    mvt,
    nussinov,
    seidel_2d,
    symm,
    syr2k,
    syrk,
    trisolv,
    trmm,
)

__all__ = ["KERNELS"]

KERNELS: Final[dict[str, Kernel]] = {
    module.KERNEL.name: module.KERNEL
    for module in (
        k2mm,
        k3mm,
        adi,
        atax,
        bicg,
        cholesky,
        correlation,
        covariance,
        deriche,
        doitgen,
        durbin,
        fdtd_2d,
        floyd_warshall,
        gemm,
        gemver,
        gesummv,
        gramschmidt,
        heat_3d,
        jacobi_1d,
        jacobi_2d,
        lu,
        ludcmp,
        mvt,
        nussinov,
        seidel_2d,
        symm,
        syr2k,
        syrk,
        trisolv,
        trmm,
    )
}
