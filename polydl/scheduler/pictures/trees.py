"""The schedule tree as a picture: bands as tables of loops, the children of a sequence side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from polydl.poly import Affine, Allocate, Band, Filter, FloorDiv, Leaf, Mark, Member, Mod, Sequence, Tree
from polydl.scheduler.pictures.svg import GREY, INK, Canvas, text_width
from polydl.scheduler.schedule import Schedule
from polydl.vocabulary import Binding

__all__ = ["tree_picture"]

_LINE, _PAD, _GAP, _DROP, _EDGE = 21.0, 12.0, 26.0, 26.0, 24.0
_LONGEST = 72  # characters of one expression or condition
_PILL = {
    Binding.PARALLEL: ("#dcfce7", "#166534"),
    Binding.VECTOR: ("#dbeafe", "#1e40af"),
    Binding.UNROLL: ("#fef3c7", "#92400e"),
}
_OTHER_PILL = ("#f1f5f9", "#334155")


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a box: what it is of, its text, and for a loop its name and binding."""

    text: str
    loop: str = ""
    binding: Binding = Binding.SEQUENTIAL

    @property
    def width(self) -> float:
        return text_width(self.text) + (0 if self.binding is Binding.SEQUENTIAL else self.pill + 10)

    @property
    def pill(self) -> float:
        return text_width(self.binding.value, 11) + 14


@dataclass(frozen=True, slots=True)
class _Box:
    """A node with its place: `span` is the width of the subtree below and including it."""

    kind: str
    rows: tuple[_Row, ...]
    children: tuple[_Box, ...]
    width: float
    height: float
    span: float
    depth: float  # height of the subtree

    @staticmethod
    def of(kind: str, rows: tuple[_Row, ...], children: tuple[_Box, ...]) -> _Box:
        width = max((r.width for r in rows), default=0) + 2 * _PAD
        height = len(rows) * _LINE + (_PAD if kind == "band" else 6)
        below = sum(c.span for c in children) + _GAP * (len(children) - 1) if children else 0
        depth = height + (_DROP + max(c.depth for c in children) if children else 0)
        return _Box(kind, rows, children, width, height, max(width, below), depth)


def tree_picture(schedule: Schedule) -> str:
    """The tree of a schedule as SVG."""
    root = _layout(schedule.tree, tuple(s.name for s in schedule.scop.statements))
    canvas = Canvas()
    title = f"{schedule.function.name}: schedule tree"
    canvas.text(_EDGE, 24, title, mono=False, size=15, font_weight="bold")
    width = max(root.span, text_width(title, 15, mono=False))
    _draw(canvas, root, _EDGE + (width - root.span) / 2, 48)
    return canvas.document(width + 2 * _EDGE, 48 + root.depth + _EDGE, title)


def _layout(tree: Tree, active: tuple[str, ...]) -> _Box:
    match tree:
        case Leaf():
            return _Box.of("leaf", tuple(_Row(s) for s in active), ())
        case Band(members=members, child=child):
            rows = tuple(row for m in members for row in _member_rows(m))
            return _Box.of("band", rows, (_layout(child, active),))
        case Sequence(children=filters):
            return _Box.of("sequence", (_Row("sequence"),), tuple(_layout(f, active) for f in filters))
        case Filter(selections=selections, child=child):
            chosen = tuple(s.statement for s in selections)
            below = _layout(child, tuple(s for s in active if s in chosen))
            rows = tuple(
                _Row(s.statement + (f" if {_short(s.condition)}" if s.condition else "")) for s in selections
            )
            return _Box.of("filter", rows, (below,))
        case Allocate(tensor=tensor, memory=memory, child=child):
            return _Box.of(
                "allocate", (_Row(f"allocate {tensor} in {memory.value}"),), (_layout(child, active),)
            )
        case Mark(label=label, child=child):
            return _Box.of("mark", (_Row(_short(label)),), (_layout(child, active),))
        case _:
            assert_never(tree)


def _member_rows(member: Member) -> tuple[_Row, ...]:
    """`name = expression`, one more line per further expression where statements differ."""
    values: dict[str, list[str]] = {}
    for statement, e in member.exprs:
        values.setdefault(_formula(e), []).append(statement)
    if len(values) <= 1:
        text = " ".join((member.name, "=", *(_short(v) for v in values)))
        return (_Row(text, member.name, member.binding),)
    head = _Row(member.name, member.name, member.binding)
    return (head, *(_Row(f"  {_short(v)}  in {', '.join(names)}") for v, names in values.items()))


def _formula(e: Affine) -> str:
    """The expression with floor brackets and without the parentheses that only a parser needs."""
    parts = []
    for atom, c in e.terms:
        match atom:
            case FloorDiv(dividend, divisor):
                text = f"⌊{_operand(dividend)}/{divisor}⌋"
            case Mod(dividend, modulus):
                text = f"{_operand(dividend)} mod {modulus}"
                if len(e.terms) > 1 or e.constant or c != 1:
                    text = f"({text})"
            case _:
                text = atom
        parts.append(("− " if c < 0 else "+ ") + ("" if abs(c) == 1 else f"{abs(c)}·") + text)
    if e.constant or not parts:
        parts.append(("− " if e.constant < 0 else "+ ") + str(abs(e.constant)))
    return " ".join(parts).removeprefix("+ ").replace("− ", "−", 1 if parts[0].startswith("−") else 0)


def _operand(e: Affine) -> str:
    text = _formula(e)
    single = len(e.terms) + bool(e.constant) <= 1 and not any(isinstance(a, Mod) for a, _ in e.terms)
    return text if single else f"({text})"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


_LOOK: dict[str, dict[str, object]] = {
    "band": {"fill": "#f8fafc", "stroke": INK},
    "sequence": {"fill": "#e2e8f0", "stroke": "#94a3b8"},
    "filter": {"fill": "#fff7ed", "stroke": "#fdba74", "rx": 13},
    "allocate": {"fill": "#f3e8ff", "stroke": "#c084fc"},
    "mark": {"fill": "#fefce8", "stroke": "#facc15", "stroke_dasharray": "4 3"},
    "leaf": {"fill": "#ecfdf5", "stroke": "#34d399", "rx": 13},
}


def _draw(canvas: Canvas, box: _Box, left: float, top: float) -> None:
    """Draws a subtree into the `box.span` pixels from `left`."""
    middle = left + box.span / 2
    x, bottom = middle - box.width / 2, top + box.height
    below = sum(c.span for c in box.children) + _GAP * (len(box.children) - 1)
    at = middle - below / 2
    for child in box.children:
        end, half = at + child.span / 2, bottom + _DROP / 2
        canvas.path(
            f"M{middle:.1f} {bottom:.1f}C{middle:.1f} {half:.1f} {end:.1f} {half:.1f} {end:.1f} {bottom + _DROP:.1f}"
        )
        _draw(canvas, child, at, bottom + _DROP)
        at += child.span + _GAP
    canvas.box(x, top, box.width, box.height, class_=box.kind, **_LOOK[box.kind])
    for k, row in enumerate(box.rows):
        y = top + (box.height - len(box.rows) * _LINE) / 2 + (k + 0.5) * _LINE
        if box.kind == "band":
            text = row.text.lstrip()  # not every renderer keeps spaces at the start of a line
            indent = text_width(row.text) - text_width(text)
            canvas.text(x + _PAD + indent, y, text, data_loop=row.loop or None)
        else:
            colour = GREY if box.kind == "sequence" else INK
            canvas.text(middle, y, row.text, text_anchor="middle", fill=colour)
        if row.binding is not Binding.SEQUENTIAL:
            fill, ink = _PILL.get(row.binding, _OTHER_PILL)
            start = x + box.width - _PAD - row.pill
            canvas.box(start, y - 8.5, row.pill, 17, rx=8.5, fill=fill, stroke="none")
            canvas.text(start + row.pill / 2, y, row.binding.value, size=11, text_anchor="middle", fill=ink)
