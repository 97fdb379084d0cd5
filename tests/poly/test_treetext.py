from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydl.errors import InvalidProgram
from polydl.poly import (
    Allocate,
    Band,
    Filter,
    Leaf,
    Mark,
    Member,
    Selection,
    Sequence,
    Tree,
    format_tree,
    parse_tree,
    render,
)
from polydl.vocabulary import Binding, Memory
from tests.poly.programs import tiled_convolution
from tests.poly.test_affine import exprs

NAMES = st.sampled_from(["S", "conv", "T_1", "if_", "init"])
CONDITIONS = st.sampled_from(["", "i <= 3", "floor((i)/2) = 1 or i > 4", "not (i = 2)"])


def members() -> st.SearchStrategy[Member]:
    pairs = st.lists(st.tuples(NAMES, exprs()), unique_by=lambda p: p[0], max_size=3).map(tuple)
    return st.builds(
        Member, st.sampled_from(["i", "i.o", "S.j.i", "k'"]), pairs, st.sampled_from(list(Binding))
    )


def any_trees() -> st.SearchStrategy[Tree]:
    """Trees of any shape: text does not depend on the structural contract."""

    def extend(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        selections = st.lists(st.builds(Selection, NAMES, CONDITIONS), max_size=3).map(tuple)
        filters = st.builds(Filter, selections, inner)
        return st.one_of(
            st.builds(Band, st.lists(members(), max_size=3).map(tuple), inner),
            filters,
            st.builds(Sequence, st.lists(filters, max_size=3).map(tuple)),
            st.builds(Allocate, NAMES, st.sampled_from(list(Memory)), inner),
            st.builds(Mark, st.text(max_size=5), inner),
        )

    return st.recursive(st.just(Leaf()), extend, max_leaves=6)


@given(any_trees())
def test_parse_of_print_is_the_identity(tree: Tree) -> None:
    assert parse_tree(format_tree(tree)) == tree


def test_the_text_of_a_tiled_convolution(golden: Callable[[str, str], None]) -> None:
    golden("poly/tiled_convolution.tree", format_tree(tiled_convolution()))


def test_a_pointer_marks_one_loop() -> None:
    lines = render(tiled_convolution(), "c.o", "carries the reduction").splitlines()
    marked = [k for k, line in enumerate(lines) if line.startswith(">")]
    assert len(marked) == 1
    assert "for c.o" in lines[marked[0]]
    assert lines[marked[0] + 1].strip() == "^" * len(lines[marked[0]][1:].strip()) + " carries the reduction"
    assert "\n".join(x[2:] for k, x in enumerate(lines) if k != marked[0] + 1) == format_tree(
        tiled_convolution()
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "the end"),
        ("leaf\nleaf", "line 2"),
        ("band S\n  for i = i\n   leaf", "line 3"),
        ("sequence\n  leaf", "line"),
        ("allocate T nowhere\n  leaf", "line 1"),
        ("band S\n  for i [sideways] = i\n  leaf", "line 2"),
        ("band S\n  for i = i *\n  leaf", ""),
        ("mark note\n  leaf", "line"),
    ],
)
def test_a_damaged_text_is_refused_with_its_line(text: str, line: str) -> None:
    with pytest.raises(InvalidProgram) as error:
        parse_tree(text)
    assert line in str(error.value)
