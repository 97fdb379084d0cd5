"""Sums of products written as einsum strings."""

from __future__ import annotations

import numpy as np
import pytest

from polydl.dsl import (
    FunctionBuilder,
)
from polydl.dtypes import F64
from polydl.errors import InvalidProgram
from tests.dsl.forms import RNG, everywhere

EINSUMS = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("ij,jk", (3, 4), (4, 5)),
    ("ik,jk->ji", (3, 4), (5, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (7, 4, 5)),
    ("...ij,...jk", (2, 1, 3, 4), (1, 7, 4, 5)),
    ("ii->i", (4, 4)),
    ("ii", (4, 4)),
    ("ij->ji", (3, 4)),
    ("ij->", (3, 4)),
    ("ba", (3, 4)),
    ("i,j->ij", (3,), (4,)),
    ("i,i", (5,), (5,)),
    ("ij,j,jk->ik", (3, 4), (4,), (4, 5)),
    ("ab,bc,cd,de->ae", (2, 3), (3, 4), (4, 5), (5, 2)),
    ("iij,jk->ik", (3, 3, 4), (4, 5)),
    ("i...->...", (3, 4, 2)),
    ("...", (3, 4)),
    ("a...b,b->a...", (2, 3, 4), (4,)),
]


@pytest.mark.parametrize(("spec", "shapes"), [(e[0], e[1:]) for e in EINSUMS], ids=[e[0] for e in EINSUMS])
def test_einsum_is_numpys(spec: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    f = FunctionBuilder("f")
    arrays = [RNG.standard_normal(s) for s in shapes]
    operands = [f.input(f"x{k}", a.shape, F64) for k, a in enumerate(arrays)]
    (got,) = everywhere(f.build([f.einsum(spec, *operands)]), *arrays)
    wanted = np.einsum(spec, *arrays)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-10)


def test_einsum_in_symbolic_sizes() -> None:
    f = FunctionBuilder("f")
    m, n, k = f.sizes("M N K")
    a, b = f.input("a", (m, k), F64), f.input("b", (k, n), F64)
    a_, b_ = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 5))
    (got,) = everywhere(f.build([f.einsum("ij,jk", a, b)]), a_, b_, sizes={"M": 3, "N": 5, "K": 4})
    np.testing.assert_allclose(got, a_ @ b_)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ij,jk->ik,", "is no einsum"),
        ("ij,j1->i", "is no einsum"),
        ("ij->i", "is of 1 operands, 2 are given"),
        ("ij,jk->iz", "'z' in the result but in no operand"),
        ("ij,jk->ii", "'i' in the result twice"),
        ("i,jk->ik", "gives 'i' to a, which has 2 dimensions"),
        ("ij,ik->jk", "axis i has two extents"),
    ],
)
def test_einsums_that_are_refused(spec: str, message: str) -> None:
    f = FunctionBuilder("f")
    a, b = f.input("a", (3, 4)), f.input("b", (4, 5))
    with pytest.raises(InvalidProgram, match=message):
        f.einsum(spec, a, b)
