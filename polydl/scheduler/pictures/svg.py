"""SVG as text: the few shapes that the pictures are made of, with one palette and one way to escape.

Coordinates are pixels, x to the right and y down. Code is set in a monospaced font, whose width is known beforehand:
`text_width` is what keeps labels from overlapping.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

from polydl.poly import DependenceKind

__all__ = [
    "COLOURS",
    "GREY",
    "INK",
    "MONO",
    "REDUCTION",
    "SANS",
    "Canvas",
    "colour_of",
    "polyline",
    "text_width",
]

INK, GREY, PAPER = "#1f2a37", "#64748b", "#ffffff"
REDUCTION = "#7e22ce"
COLOURS = {DependenceKind.FLOW: "#1d4ed8", DependenceKind.ANTI: "#c2410c", DependenceKind.OUTPUT: "#15803d"}

MONO = "ui-monospace, 'DejaVu Sans Mono', 'Liberation Mono', 'Noto Sans Mono', Menlo, Consolas, monospace"
SANS = "system-ui, 'Segoe UI', 'DejaVu Sans', 'Liberation Sans', 'Noto Sans', Helvetica, Arial, sans-serif"
_ADVANCE = 0.605  # of the font size: the widest of the common monospaced fonts
_AVERAGE = 0.56  # of running text in the widest of the others, in bold


def colour_of(kind: DependenceKind, reduction: bool) -> str:
    """The colour of a dependence."""
    return REDUCTION if reduction else COLOURS[kind]


def text_width(text: str, size: float = 13, *, mono: bool = True) -> float:
    """Pixels that a line takes: of monospaced text nearly exactly, of other text at most."""
    return len(text) * size * (_ADVANCE if mono else _AVERAGE)


class Canvas:
    """Collects shapes, later ones on top of earlier ones."""

    def __init__(self) -> None:
        self._shapes: list[str] = []
        self._arrowheads: dict[str, str] = {}

    def shape(self, tag: str, content: str = "", /, **attributes: object) -> None:
        """Any element; `_` in an attribute's name stands for `-`, `class_` for `class`; None leaves it out."""
        parts = [
            f" {name.rstrip('_').replace('_', '-')}={quoteattr(_number(value))}"
            for name, value in attributes.items()
            if value is not None
        ]
        self._shapes.append(f"<{tag}{''.join(parts)}" + (f">{content}</{tag}>" if content else "/>"))

    def box(self, x: float, y: float, width: float, height: float, /, **attributes: object) -> None:
        """A rectangle with round corners."""
        defaults: dict[str, object] = {"rx": 6, "fill": PAPER, "stroke": INK, "stroke_width": 1.2}
        self.shape("rect", x=x, y=y, width=width, height=height, **(defaults | attributes))

    def text(
        self, x: float, y: float, text: str, /, *, size: float = 13, mono: bool = True, **attributes: object
    ) -> None:
        """One line, `y` at the middle of its height."""
        defaults: dict[str, object] = {"fill": INK, "class_": "m" if mono else "s", "font_size": size}
        self.shape("text", escape(text), x=x, y=y + size * 0.35, **(defaults | attributes))

    def path(self, d: str, /, *, arrow: bool = False, stroke: str = GREY, **attributes: object) -> None:
        """An open line, with an arrowhead at its end if asked for."""
        if arrow:
            self._arrowheads.setdefault(stroke, f"a{len(self._arrowheads)}")
            attributes["marker_end"] = f"url(#{self._arrowheads[stroke]})"
        defaults: dict[str, object] = {"fill": "none", "stroke": stroke, "stroke_width": 1.4}
        self.shape("path", d=d, **(defaults | attributes))

    def document(self, width: float, height: float, title: str) -> str:
        """The picture as the text of one SVG file."""
        heads = "".join(
            f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 1L10 5L0 9z" fill="{colour}"/></marker>'
            for colour, name in self._arrowheads.items()
        )
        style = f".m{{font-family:{MONO};white-space:pre}}.s{{font-family:{SANS}}}"
        w, h = _number(float(round(width))), _number(float(round(height)))
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style>" + (f"<defs>{heads}</defs>" if heads else ""),
            f'<rect width="{w}" height="{h}" fill="{PAPER}"/>',
            *self._shapes,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Path data through the points."""
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _number(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
