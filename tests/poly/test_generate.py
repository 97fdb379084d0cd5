from __future__ import annotations

from collections.abc import Callable

from polydl.poly import (
    Allocate,
    Band,
    Filter,
    Selection,
    Sequence,
    Tree,
    footprint,
    format_ast,
    generate,
    initial_tree,
    iterator_names,
)
from polydl.vocabulary import Memory
from tests.poly.programs import (
    WRITE,
    access,
    box,
    convolution,
    loop,
    nest,
    scop,
    statement,
    tiled_convolution,
)


def test_loops_of_a_tiled_convolution(golden: Callable[[str, str], None]) -> None:
    golden("poly/tiled_convolution.loops", format_ast(generate(convolution(), tiled_convolution())))
    partial = generate(convolution(55, 24), tiled_convolution())
    golden("poly/partial_convolution.loops", format_ast(partial))
    golden("poly/convolution.loops", format_ast(generate(convolution(), initial_tree(convolution()))))


def test_full_tiles_have_constant_bounds() -> None:
    program = scop(
        {"A": box("N")}, statement("[N] -> S[i] : 0 <= i < N", access(WRITE, "A", "i")), parameters=("N",)
    )
    full = "8*floor((i)/8) + 7 < N"

    def tile(prefix: str) -> Tree:
        return nest(loop(f"{prefix}.o", S="floor((i)/8)"), loop(f"{prefix}.i", S="((i) mod 8)"))

    tree = Sequence(
        (
            Filter((Selection("S", full),), tile("full")),
            Filter((Selection("S", f"not ({full})"),), tile("rest")),
        )
    )
    assert format_ast(generate(program, tree)).splitlines()[:3] == [
        "for c1 in range(0, N // 8):",
        "  for c2 in range(0, 8):",
        "    S((8 * c1) + c2)",
    ]


def test_iterators_do_not_take_the_name_of_a_parameter() -> None:
    program = scop(
        {"A": box("c0")}, statement("[c0] -> S[i] : 0 <= i < c0", access(WRITE, "A", "i")), parameters=("c0",)
    )
    assert iterator_names(program, 1) == ("cc0",)
    assert format_ast(generate(program, nest(loop("i", S="i")))) == "for cc0 in range(0, c0):\n  S(cc0)"


def test_a_scalar_statement() -> None:
    program = scop({"A": box()}, statement("S[]", access(WRITE, "A")))
    assert format_ast(generate(program, initial_tree(program))) == "S()"


def test_the_footprint_of_a_tile() -> None:
    tree = tiled_convolution()
    assert isinstance(tree, Band)

    def held(tensor: str, outside: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
        below = Band(tree.members[outside:], tree.child) if outside < len(tree.members) else tree.child
        placed = Band(tree.members[:outside], Allocate(tensor, Memory.LOCAL, below))
        box = footprint(convolution(), placed, tensor)
        return tuple(str(b) for b in box.bases), box.extents

    assert held("acc", 4) == (("0", "16*c1", "c2", "14*c3"), (1, 16, 1, 14))
    assert held("X", 4) == (("0", "0", "c2", "14*c3"), (1, 64, 3, 16))
    assert held("X", 3) == (("0", "0", "c2", "0"), (1, 64, 3, 58))
    assert held("F", 2) == (("16*c1", "0", "0", "0"), (16, 64, 3, 3))
