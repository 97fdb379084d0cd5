"""Pictures are well-formed, hold everything that they are about, and say no when they cannot be drawn."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from polydl.dsl import FunctionBuilder
from polydl.errors import UsageError
from polydl.poly import members
from polydl.scheduler import IndexSetSplit, Parallel, Reverse, Schedule, Skew, Tile, picture, save_picture
from polydl.scheduler.pictures import PICTURES, png_of
from polydl.scheduler.pictures.png import _has_fonts
from polydl.scheduler.pictures.slices import direct_pairs
from tests.scheduler.programs import (
    Case,
    blur,
    chain,
    convolution,
    heat,
    in_place,
    matmul,
    normalised,
    triangular,
)

Cell = tuple[int, ...]
DOCS = Path(__file__).resolve().parents[2] / "docs"
CASES = [blur, chain, convolution, heat, in_place, matmul, normalised, triangular]


def _elements(svg: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("}svg")
    return list(root.iter())


def _texts(svg: str) -> list[str]:
    return [e.text for e in _elements(svg) if e.tag.endswith("}text") and e.text]


def _cell(text: str) -> Cell:
    return tuple(int(n) for n in text.split(","))


def _instances(svg: str) -> dict[Cell, int]:
    """Instance -> position in the execution order."""
    found = [e.attrib for e in _elements(svg) if e.get("class") == "instance"]
    return {_cell(a["data-instance"]): int(a["data-order"]) for a in found}


def _arrows(svg: str) -> set[tuple[str, Cell, Cell]]:
    found = [e.attrib for e in _elements(svg) if "data-source" in e.attrib]
    return {(a["class"], _cell(a["data-source"]), _cell(a["data-sink"])) for a in found}


def _smooth(symbolic: bool = False) -> Schedule:
    """u[t, i] from its three neighbours at t - 1, over 1 <= t < T and 1 <= i < N - 1."""
    f = FunctionBuilder("smooth")
    steps, n = f.sizes("T N") if symbolic else (5, 9)
    u = f.temporary("u", (steps, n))
    f.compute("start", {"t": steps, "i": n}, lambda t, i: 0.0, into=u)
    f.compute(
        "step",
        {"t": (1, steps), "i": (1, n - 1)},
        lambda t, i: u[t - 1, i - 1] + u[t - 1, i] + u[t - 1, i + 1],
        into=u,
    )
    return Schedule.of(f.build(outputs=[u]))


@pytest.mark.parametrize("case", CASES)
def test_every_loop_is_in_the_tree(case: Callable[[], Case]) -> None:
    schedule = case().schedule()
    svg = picture(schedule)
    loops = [e.get("data-loop") for e in _elements(svg) if e.get("data-loop")]
    assert loops == [m.name for m in members(schedule.tree)]
    assert {s.name for s in schedule.scop.statements} <= set(_texts(svg))


def test_a_tree_shows_expressions_and_bindings() -> None:
    schedule = _smooth().apply(Skew("step.t", "step.i", 1), Tile(("step.t", "step.i"), (2, 4)), Parallel("i"))
    texts = _texts(picture(schedule, "tree"))
    assert {"step.i.o = ⌊(i + t)/4⌋", "step.i.i = (i + t) mod 4", "step.t.o = ⌊t/2⌋", "parallel"} <= set(
        texts
    )


def test_conditions_are_escaped() -> None:
    schedule = _smooth().apply(IndexSetSplit("step.i", 4))
    svg = picture(schedule)
    assert "&lt;" in svg or "&gt;" in svg
    assert any(" if " in text for text in _texts(svg))


@pytest.mark.parametrize("case", CASES)
def test_every_statement_and_dependence_is_in_the_graph(case: Callable[[], Case]) -> None:
    schedule = case().schedule()
    svg = picture(schedule, "dependences")
    elements = _elements(svg)
    assert sum(e.get("class") == "statement" for e in elements) == len(schedule.scop.statements)
    labelled = {
        (e.attrib["data-edge"], *(e.text or "").split()[:2]) for e in elements if "data-edge" in e.attrib
    }
    wanted = {
        (f"{d.source} → {d.sink}", "reduction" if d.reduction else d.kind.value, d.tensor)
        for d in schedule.dependences
    }
    assert labelled == wanted


def test_boxes_of_a_graph_do_not_overlap() -> None:
    for case in (normalised, chain, convolution):
        boxes = [
            tuple(float(e.attrib[k]) for k in ("x", "y", "width", "height"))
            for e in _elements(picture(case().schedule(), "dependences"))
            if e.tag.endswith("}rect") and "x" in e.attrib
        ]
        for k, (x, y, w, h) in enumerate(boxes):
            for x2, y2, w2, h2 in boxes[:k]:
                assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_an_edge_says_its_distances() -> None:
    texts = _texts(picture(_smooth(), "dependences"))
    assert "flow u (1, 1) (1, 0) (1, −1)" in texts


def test_a_stencil_has_three_arrows_into_each_inner_instance() -> None:
    svg = picture(_smooth(), "domain", statement="step")
    cells = {(t, i) for t in range(1, 5) for i in range(1, 8)}
    assert _instances(svg) == {cell: k for k, cell in enumerate(sorted(cells))}
    wanted = {
        ("flow", (t - 1, i + d), (t, i)) for t, i in cells for d in (-1, 0, 1) if (t - 1, i + d) in cells
    }
    assert _arrows(svg) == wanted


def test_symbolic_sizes_are_given_by_the_caller() -> None:
    given = picture(_smooth(symbolic=True), "domain", statement="step", sizes={"T": 5, "N": 9})
    plain = picture(_smooth(), "domain", statement="step")
    assert _instances(given) == _instances(plain)
    assert _arrows(given) == _arrows(plain)


def test_skewed_tiles_and_their_order() -> None:
    schedule = _smooth().apply(Skew("step.t", "step.i", 1), Tile(("step.t", "step.i"), (2, 4)))
    svg = picture(schedule, "domain", statement="step")
    cells = [(t, i) for t in range(1, 5) for i in range(1, 8)]
    order = sorted(cells, key=lambda c: (c[0] // 2, (c[0] + c[1]) // 4, c[0], c[1]))
    assert _instances(svg) == {cell: k for k, cell in enumerate(order)}
    tiles = {e.attrib["data-tile"] for e in _elements(svg) if e.get("class") == "tile"}
    assert len(tiles) == len({(t // 2, (t + i) // 4) for t, i in cells})
    position = _instances(svg)
    assert all(position[source] < position[sink] for _, source, sink in _arrows(svg))


def test_without_tiles_all_is_one_tile() -> None:
    svg = picture(_smooth(), "domain", statement="step")
    assert {e.attrib["data-tile"] for e in _elements(svg) if e.get("class") == "tile"} == {"0"}
    assert "tiles" not in svg


def test_a_reversed_loop_runs_backwards() -> None:
    svg = picture(_smooth().apply(Reverse("i")), "domain", statement="start")
    first = min(_instances(svg).items(), key=lambda item: item[1])
    assert first[0] == (0, 8)


def test_split_instances_are_all_there_once() -> None:
    svg = picture(_smooth().apply(IndexSetSplit("step.i", 4)), "domain", statement="step")
    assert len(_instances(svg)) == sum(e.get("class") == "instance" for e in _elements(svg)) == 4 * 7


def test_a_product_depends_along_k_alone() -> None:
    schedule = matmul().schedule()
    name = next(s.name for s in schedule.scop.statements if s.reduction)
    across = picture(schedule, "domain", statement=name)
    assert _arrows(across) == set()
    along = picture(schedule, "domain", statement=name, axes=("j", "k"), sizes={"i": 1})
    cells = _instances(along).keys()
    assert {(source, sink) for _, source, sink in _arrows(along)} == {
        ((j, k), (j, k + 1)) for j, k in cells if (j, k + 1) in cells
    }
    assert len(_arrows(along)) == sum("data-source" in e.attrib for e in _elements(along))
    assert any("i = 1" in text for text in _texts(along))


def test_a_triangle_is_a_triangle() -> None:
    schedule = triangular(6).schedule()
    statement = next(s for s in schedule.scop.statements if s.reduction)
    cells = _instances(picture(schedule, "domain", statement=statement.name, axes=("i", "k"))).keys()
    assert 0 < len(cells) < (max(d for d, _ in cells) + 1) * (max(r for _, r in cells) + 1)


def test_pairs_that_follow_from_others_are_left_out() -> None:
    assert direct_pairs([(0, 1), (1, 2), (0, 2), (0, 3), (2, 3), (4, 5)]) == {(0, 1), (1, 2), (2, 3), (4, 5)}
    f = FunctionBuilder("sweep")
    a = f.temporary("a", (4, 4))
    f.compute("start", {"t": 4, "i": 4}, lambda t, i: 0.0, into=a)
    f.compute(
        "sum", {"t": 4, "i": (1, 4)}, lambda t, i: a[0, i - 1] + a[0, i], into=a, at=lambda t, i: (0, i)
    )
    svg = picture(Schedule.of(f.build(outputs=[a])), "domain", statement="sum")
    assert {(s, e) for _, s, e in _arrows(svg)} == {
        *(((t, i), (t, i + 1)) for t in range(4) for i in (1, 2)),
        *(((t, i), (t + 1, i - 1)) for t in range(3) for i in (2, 3)),
        *(((t, 1), (t + 1, 1)) for t in range(0)),
    }


def test_pictures_are_saved_by_suffix(tmp_path: Path) -> None:
    schedule = _smooth()
    save_picture(schedule, tmp_path / "a.svg", "domain", statement="step")
    assert (tmp_path / "a.svg").read_text() == picture(schedule, "domain", statement="step")
    save_picture(schedule, str(tmp_path / "a.png"), "domain", statement="step")
    svg = ElementTree.fromstring((tmp_path / "a.svg").read_text())
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (2 * int(svg.attrib["width"]), 2 * int(svg.attrib["height"]))
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 20  # something is drawn
    with pytest.raises(UsageError, match=r"neither \.svg nor \.png"):
        save_picture(schedule, tmp_path / "a.jpg")


def test_without_the_renderer_png_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UsageError, match="pip install resvg-py"):
        png_of(picture(_smooth()))


def test_without_fonts_png_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blind = types.ModuleType("resvg_py")
    blind.svg_to_bytes = lambda **_: b"the same picture"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "resvg_py", blind)
    monkeypatch.setattr("polydl.scheduler.pictures.png._has_fonts", _has_fonts.__wrapped__)
    with pytest.raises(UsageError, match="no font"):
        png_of(picture(_smooth()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"what": "poem"}, "no picture 'poem'"),
        ({"what": "domain"}, "several statements"),
        ({"what": "domain", "statement": "nobody"}, "no statement 'nobody'"),
        ({"what": "domain", "statement": "step", "axes": ("t", "t")}, "two iterators"),
        ({"what": "domain", "statement": "step", "axes": ("t", "x")}, "two of t, i"),
        ({"what": "domain", "statement": "step"}, "needs numbers for T, N"),
        ({"what": "domain", "statement": "step", "sizes": {"T": 4, "N": 9, "Q": 1}}, "sizes has Q"),
        ({"what": "domain", "statement": "step", "sizes": {"T": 400, "N": 900}}, "399 x 898 places"),
        ({"what": "domain", "statement": "step", "sizes": {"T": 1, "N": 9}}, "no iterations to draw"),
        ({"what": "tree", "sizes": {"N": 4}}, "all statements for all sizes"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        picture(_smooth(symbolic=True), **arguments)


def test_a_line_has_no_plane() -> None:
    f = FunctionBuilder("line")
    x = f.input("x", (4,))
    y = f.compute("y", {"i": 4}, lambda i: x[i] * 2.0)
    with pytest.raises(UsageError, match="1 iterators"):
        picture(Schedule.of(f.build(outputs=[y])), "domain")


def test_every_kind_of_picture_repeats_itself() -> None:
    schedule = _smooth()
    for what in PICTURES:
        statement = "step" if what == "domain" else None
        assert picture(schedule, what, statement=statement) == picture(schedule, what, statement=statement)


def test_the_pictures_in_the_docs_are_shown_and_well_formed() -> None:
    page = (DOCS / "pictures" / "README.md").read_text()
    files = sorted((DOCS / "pictures").glob("*.svg"))
    assert files
    for file in files:
        _elements(file.read_text())
        assert f"({file.name})" in page
