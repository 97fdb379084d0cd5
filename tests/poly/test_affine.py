from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydl.errors import InvalidProgram
from polydl.poly.affine import Affine, constant, dim, parse


def exprs() -> st.SearchStrategy[Affine]:
    leaves = st.one_of(st.integers(-9, 9).map(constant), st.sampled_from(["i", "j.o", "N"]).map(dim))

    def extend(inner: st.SearchStrategy[Affine]) -> st.SearchStrategy[Affine]:
        return st.one_of(
            st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
            st.tuples(inner, inner).map(lambda p: p[0] - p[1]),
            st.tuples(inner, st.integers(-4, 4)).map(lambda p: p[0] * p[1]),
            st.tuples(inner, st.integers(1, 5)).map(lambda p: p[0] // p[1]),
            st.tuples(inner, st.integers(1, 5)).map(lambda p: p[0] % p[1]),
        )

    return st.recursive(leaves, extend, max_leaves=6)


@given(exprs())
def test_parse_of_print_is_the_identity(e: Affine) -> None:
    assert parse(str(e)) == e


@given(exprs(), exprs(), st.integers(1, 6), st.tuples(*[st.integers(-20, 20)] * 3))
def test_operators_mean_integer_arithmetic(a: Affine, b: Affine, n: int, point: tuple[int, int, int]) -> None:
    at = dict(zip(("i", "j.o", "N"), point, strict=True))
    x, y = a.evaluate(at), b.evaluate(at)
    assert (a + b).evaluate(at) == x + y
    assert (a - b).evaluate(at) == x - y
    assert (a * n).evaluate(at) == x * n
    assert (a // n).evaluate(at) == x // n
    assert (a % n).evaluate(at) == x % n
    assert a.substitute({"i": b}).evaluate(at) == a.evaluate({**at, "i": y})


@pytest.mark.parametrize("text", ["i *", "i * j", "floor((i)/j)", "(i", "i $ 2", ""])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidProgram):
        parse(text)
