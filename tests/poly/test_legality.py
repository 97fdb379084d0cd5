from __future__ import annotations

import pytest

from polydl.poly import (
    Allocate,
    Band,
    Filter,
    Leaf,
    Selection,
    Sequence,
    Tree,
    carried_by,
    check,
    dependences,
    independent,
    initial_tree,
    parallel_members,
)
from polydl.vocabulary import Binding, Memory
from tests.poly.programs import (
    READ,
    UPDATE,
    WRITE,
    access,
    bind,
    box,
    convolution,
    loop,
    nest,
    scop,
    seidel,
    sequence,
    stages,
    statement,
    tiled_convolution,
)

SUM = scop(
    {"A": box(4), "X": box(4, 6)},
    statement(
        "S[i, k] : 0 <= i < 4 and 0 <= k < 6",
        access(UPDATE, "A", "i"),
        access(READ, "X", "i", "k"),
        reduction="add",
    ),
)


@pytest.mark.parametrize(
    "tree",
    [
        nest(loop("i", S="i"), loop("j", S="j")),
        nest(loop("i.o", S="floor((i)/4)"), loop("i.i", S="((i) mod 4)"), loop("j", S="j")),
        nest(loop("j", S="i + j"), loop("i", S="i")),  # skewed, then interchanged
        nest(loop("w", S="2*i + j"), loop("i", Binding.PARALLEL, S="i")),  # wavefront
    ],
)
def test_legal_orders_of_a_stencil(tree: Tree) -> None:
    assert check(seidel(), tree, dependences(seidel())) is None


@pytest.mark.parametrize(
    ("tree", "member", "message"),
    [
        (
            nest(loop("j", S="j"), loop("i", S="i")),
            "j",
            "S(1, 2) must run before S(2, 1): flow dependence on A[1, 2], but at loop 'j' the sink has coordinate 1 "
            "and runs before the source, which has 2.",
        ),
        (
            nest(loop("i", S="-i"), loop("j", S="j")),
            "i",
            "S(1, 1) must run before S(2, 1): flow dependence on A[1, 1], but at loop 'i' the sink has coordinate -2 "
            "and runs before the source, which has -1.",
        ),
        (
            nest(loop("i", Binding.PARALLEL, S="i"), loop("j", S="j")),
            "i",
            "S(1, 1) must run before S(2, 1): flow dependence on A[1, 1], but loop 'i' is parallel: iterations 1 and 2 "
            "may run at the same time.",
        ),
        (
            nest(loop("i", S="i"), loop("j", Binding.VECTOR, S="j")),
            "j",
            "S(1, 1) must run before S(1, 2): flow dependence on A[1, 1], but loop 'j' is vector: iterations 1 and 2 "
            "may run at the same time.",
        ),
    ],
)
def test_illegal_orders_of_a_stencil(tree: Tree, member: str, message: str) -> None:
    violation = check(seidel(), tree, dependences(seidel()))
    assert violation is not None
    assert violation.member == member
    assert str(violation) == message


def test_fusion_needs_a_shift() -> None:
    program = stages()
    fused = nest(loop("i", P="i", C="i"), child=sequence(P=Leaf(), C=Leaf()))
    violation = check(program, fused, dependences(program))
    assert violation is not None
    assert str(violation) == (
        "P(1) must run before C(0): flow dependence on A[1], but at loop 'i' the sink has coordinate 0 and runs before "
        "the source, which has 1."
    )
    shifted = nest(loop("i", P="i", C="i + 1"), child=sequence(P=Leaf(), C=Leaf()))
    assert check(program, shifted, dependences(program)) is None
    assert check(program, nest(loop("i", P="i", C="i + 1")), dependences(program)) is None  # textual order
    swapped = nest(loop("i", P="i", C="i + 1"), child=sequence(C=Leaf(), P=Leaf()))
    wrong = check(program, swapped, dependences(program))
    assert wrong is not None
    assert wrong.member == ""
    assert "but the tree runs C first" in wrong.reason


def test_reductions_reassociate_but_do_not_race() -> None:
    kept = dependences(SUM)
    backwards = nest(loop("k", S="-k"), loop("i", S="i"))
    assert check(SUM, backwards, kept, reassociate=True) is None
    assert check(SUM, backwards, kept, reassociate=False) is not None
    racing = nest(loop("i", S="i"), loop("k", Binding.PARALLEL, S="k"))
    violation = check(SUM, racing, kept, reassociate=True)
    assert violation is not None
    assert str(violation) == (
        "S(0, 0) and S(0, 1) both update A[0], but loop 'k' is parallel: iterations 0 and 1 may run at the same time."
    )
    lanes = nest(loop("i", S="i"), loop("k", Binding.VECTOR, S="k"))
    assert check(SUM, lanes, kept, reassociate=True) is None
    assert check(SUM, lanes, kept, reassociate=False) is not None


def test_a_race_hidden_behind_a_reordered_reduction_loop() -> None:
    """Updates that are neighbours in the original order never meet here; all pairs must be looked at."""
    program = scop(
        {"A": box(1), "X": box(4, 4)},
        statement(
            "S[a, b] : 0 <= a < 4 and 0 <= b < 4",
            access(UPDATE, "A", "0"),
            access(READ, "X", "a", "b"),
            reduction="add",
        ),
    )
    tree = nest(loop("b", S="b"), loop("a", Binding.PARALLEL, S="a"))
    assert check(program, tree, dependences(program)) is not None


def test_a_tiled_convolution() -> None:
    program, tree = convolution(), tiled_convolution()
    kept = dependences(program)
    assert check(program, tree, kept) is None
    assert check(program, tree, kept, reassociate=False) is not None
    for name in ("c.o", "r", "s", "c.i"):
        violation = check(program, bind(tree, name, Binding.PARALLEL), kept)
        assert violation is not None
        assert violation.member == name
    assert set(parallel_members(program, tree, kept)) == {
        "n", "k.o", "h", "w.o", "init.w", "init.k", "w.i", "k.i", "epilogue.w", "epilogue.k",
    }  # fmt: skip
    assert [d.reduction for d in carried_by(program, tree, kept, "c.o")] == [True]


def test_allocations() -> None:
    program, tree = convolution(), tiled_convolution()
    kept = dependences(program)
    assert isinstance(tree, Band)
    inside = Band(tree.members, Allocate("acc", Memory.REGISTER, tree.child))
    assert check(program, inside, kept) is None
    assert isinstance(tree.child, Sequence)
    init, conv, epilogue = tree.child.children
    partly = Sequence((init, Filter(conv.selections, Allocate("acc", Memory.LOCAL, conv.child)), epilogue))
    violation = check(program, Band(tree.members, partly), kept)
    assert violation is not None
    assert str(violation) == ("init accesses 'acc' outside the part of the tree where 'acc' is allocated.")
    stencil = nest(loop("i", S="i"), child=Allocate("A", Memory.LOCAL, nest(loop("j", S="j"))))
    violation = check(seidel(), stencil, dependences(seidel()))
    assert violation is not None
    assert violation.member == "i"
    assert "allocated afresh between them: they run in different iterations of loop 'i'" in violation.reason


def test_separated_tiles() -> None:
    full = "8*floor((i)/8) + 7 < N"
    program = scop(
        {"A": box("N")},
        statement("[N] -> S[i] : 1 <= i < N", access(WRITE, "A", "i"), access(READ, "A", "i - 1")),
        parameters=("N",),
    )

    def parts(first: str, second: str) -> Tree:
        return Sequence(
            tuple(
                Filter(
                    (Selection("S", c),),
                    nest(loop(f"{k}.o", S="floor((i)/8)"), loop(f"{k}.i", S="((i) mod 8)")),
                )
                for k, c in enumerate((first, second))
            )
        )

    kept = dependences(program)
    assert check(program, parts(full, f"not ({full})"), kept) is None
    violation = check(program, parts(f"not ({full})", full), kept)
    assert violation is not None
    assert violation.parameters == (("N", 9),)


def test_what_differs_from_a_legal_tree_is_judged_against_all_of_it() -> None:
    program = stages()
    kept = dependences(program)
    first = initial_tree(program)
    assert isinstance(first, Sequence)
    assert check(program, first, kept) is None
    # Another order of the same nests, and one nest in the other: neither changes anything inside a nest.
    swapped = Sequence(tuple(reversed(first.children)))
    assert check(program, swapped, kept, near=first) == check(program, swapped, kept) is not None
    fused = nest(loop("i", P="i", C="i"))
    assert check(program, fused, kept, near=first) == check(program, fused, kept)
    # An illegal tree says nothing of those that are made from it.
    assert check(program, swapped, kept, near=Sequence(tuple(reversed(first.children)))) is not None


def test_a_new_allocation_is_judged_for_statements_that_stay_where_they_are() -> None:
    program = stages()
    kept = dependences(program)
    first = initial_tree(program)
    assert isinstance(first, Sequence)
    tensor = next(d.tensor for d in kept if d.source != d.sink)
    source = next(d.source for d in kept if d.source != d.sink)
    inside = Sequence(
        tuple(
            Filter(f.selections, Allocate(tensor, Memory.LOCAL, f.child))
            if f.selections[0].statement == source
            else f
            for f in first.children
        )
    )
    assert check(program, first, kept) is None
    violation = check(program, inside, kept, near=first)
    assert violation == check(program, inside, kept)
    assert violation is not None
    assert f"outside the part of the tree where '{tensor}' is allocated" in str(violation)


def test_statements_without_a_dependence_are_independent() -> None:
    kept = dependences(stages())
    assert not independent(kept, {"P"}, {"C"})
    assert independent(kept, {"P"}, {"Q"})
    assert check(stages(), initial_tree(stages()), kept) is None
