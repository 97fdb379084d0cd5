"""The dependence graph as a picture: statements in layers, sources above sinks, one label per pair of statements.

A label is a node of its own between two layers, so that neither labels nor lines lie on a box: an edge runs from its
source through its label, and through an empty place in every layer that it passes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from polydl.poly import Dependence
from polydl.scheduler.pictures.svg import GREY, INK, Canvas, colour_of, text_width
from polydl.scheduler.schedule import Schedule

__all__ = ["dependence_picture"]

_LINE, _PAD, _GAP, _DROP, _EDGE, _TOP, _LOOP = 18.0, 12.0, 28.0, 30.0, 24.0, 52.0, 26.0
_LONGEST = 44  # characters of a line of distances
_MOST = 8  # lines of one kind and tensor


@dataclass(slots=True)
class _Node:
    """A place in a layer: a statement, the label of an edge, or nothing but a line passing by."""

    kind: str
    name: str
    lines: tuple[tuple[str, Dependence], ...] = ()  # of a label; of a statement's own loop
    width: float = 0.0
    height: float = 0.0
    x: float = 0.0  # centre
    above: list[_Node] = field(default_factory=list)
    down: bool = True  # whether the dependence runs downwards here

    @property
    def body(self) -> float:
        """Width of a statement's box, without the loop and its label at the right."""
        return max(text_width(self.name) + 2 * _PAD, 64.0)

    @property
    def label_width(self) -> float:
        return max((text_width(t, 12) for t, _ in self.lines), default=0.0) + 2 * 8


def dependence_picture(schedule: Schedule) -> str:
    """The statements of a schedule and their dependences as SVG."""
    layers = _layers(schedule)
    _place(layers)
    width = max(n.x + n.width / 2 for layer in layers for n in layer)
    canvas = Canvas()
    title = f"{schedule.function.name}: dependences"
    canvas.text(_EDGE, 24, title, mono=False, size=15, font_weight="bold")
    tops = [_TOP]
    for layer in layers:
        tops.append(tops[-1] + max(n.height for n in layer) + _DROP)
    middles = [top + max(n.height for n in layer) / 2 for top, layer in zip(tops, layers, strict=False)]
    for k, layer in enumerate(layers):
        for node in layer:
            for above in node.above:
                _edge(canvas, above, middles[k - 1], node, middles[k])
    for k, layer in enumerate(layers):
        for node in layer:
            _draw(canvas, node, middles[k])
    bottom = tops[-1] - _DROP + 28
    note = "distance: sink − source; [source]→[sink] where that is not constant"
    canvas.text(_EDGE, bottom, note, size=12, mono=False, fill=GREY)
    return canvas.document(
        max(width + _EDGE, _EDGE * 2 + text_width(note, 12, mono=False)), bottom + _EDGE, title
    )


def _layers(schedule: Schedule) -> list[list[_Node]]:
    """Statements in the even layers by their longest way from a source, labels and passing lines in between."""
    order = [s.name for s in schedule.scop.statements]
    edges: dict[tuple[str, str], list[Dependence]] = {}
    for d in schedule.dependences:
        edges.setdefault((d.source, d.sink), []).append(d)
    depth = dict.fromkeys(order, 0)
    for k, name in enumerate(order):
        for other in order[:k]:
            if (other, name) in edges or (name, other) in edges:
                depth[name] = max(depth[name], depth[other] + 1)
    layers: list[list[_Node]] = [[] for _ in range(2 * max(depth.values(), default=0) + 1)]
    nodes = {}
    for name in order:
        own = _lines(edges.get((name, name), []))
        node = _Node("statement", name, own)
        node.width = node.body + (2 * (_LOOP + node.label_width) if own else 0)
        node.height = max(34.0, len(own) * _LINE + 12)
        nodes[name] = node
        layers[2 * depth[name]].append(node)
    for (source, sink), dependences in edges.items():
        if source != sink:
            down = depth[source] < depth[sink]
            first, last = (source, sink) if down else (sink, source)
            here = nodes[first]
            for level in range(2 * depth[first] + 1, 2 * depth[last]):
                lines = _lines(dependences) if level == 2 * depth[first] + 1 else ()
                kind = "label" if lines else "passing"
                node = _Node(kind, f"{source} → {sink}", lines, above=[here], down=down)
                node.width = node.label_width if lines else 12.0
                node.height = len(lines) * _LINE + 8 if lines else 0.0
                layers[level].append(node)
                here = node
            arrival = _Node("arrow", "", above=[here], down=down)
            nodes[last].above.append(arrival)
    return layers


def _lines(dependences: list[Dependence]) -> tuple[tuple[str, Dependence], ...]:
    """For each kind and tensor its distances: all in one line where that is short, else each in a line of its own."""
    groups: dict[tuple[str, str], list[Dependence]] = {}
    for d in dependences:
        groups.setdefault(("reduction" if d.reduction else d.kind.value, d.tensor), []).append(d)
    lines = []
    for (kind, tensor), group in groups.items():
        far = list(dict.fromkeys(f for d in group for f in _distances(d)))
        head = " ".join([f"{kind} {tensor}", *far])
        if len(head) <= _LONGEST:
            lines.append((head, group[0]))
            continue
        shown, more = far[:_MOST], len(far) - _MOST
        shown += [f"… {more} more"] if more > 0 else []
        lines += [(f"{kind} {tensor} {text}", group[0]) for text in shown]
    return tuple(lines)


def _distances(dependence: Dependence) -> list[str]:
    """The constant distance, or the sink as a function of the source, for each piece of the relation."""
    if dependence.distance is not None:
        return [f"({', '.join(map(str, dependence.distance))})".replace("-", "−")]
    if dependence.reduction:  # any two updates of a place: no function
        return []
    pairs = re.findall(r"\w*\[([^\]]*)\] -> \w*\[([^\]]*)\]", dependence.relation)
    sides = [[", ".join(_sum(e.split(" = ")[-1]) for e in s.split(", ")) for s in pair] for pair in pairs]
    return [f"[{source}]→[{sink}]" for source, sink in sides]


def _sum(text: str) -> str:
    """isl's `-1 + i` as `i−1`."""
    constant = re.fullmatch(r"(-?)(\d+) \+ (.+)", text)
    if constant is None:
        return text
    sign, number, rest = constant.groups()
    return f"{rest}{'−' if sign else '+'}{number}"


def _place(layers: list[list[_Node]]) -> None:
    """Places every layer from left to right, each node as near below what it hangs from as the others let it.

    What hangs from nothing comes last.
    """
    for layer in layers:
        wanted = {}
        for node in layer:
            ends = [_end(a) for a in node.above]
            wanted[id(node)] = sum(e.x for e in ends) / len(ends) if ends else math.inf
        layer.sort(key=lambda n: wanted[id(n)])
        right = -math.inf
        for node in layer:
            left = max(right, wanted[id(node)] - node.width / 2 if node.above else 0.0)
            node.x = left + node.width / 2
            right = left + node.width + _GAP
        slack = sum(wanted[id(n)] - n.x for n in layer if n.above) / max(sum(bool(n.above) for n in layer), 1)
        if slack < 0:
            for node in layer:
                node.x += slack
    left = min(n.x - (n.body if n.kind == "statement" else n.width) / 2 for layer in layers for n in layer)
    for layer in layers:
        for node in layer:
            node.x += _EDGE - left


def _end(node: _Node) -> _Node:
    return node.above[0] if node.kind == "arrow" else node


def _edge(canvas: Canvas, above: _Node, y: float, node: _Node, below: float) -> None:
    upper = _end(above)
    down = above.down if above.kind == "arrow" else node.down
    start = (upper.x, y + upper.height / 2)
    end = (node.x, below - node.height / 2)
    arrow = above.kind == "arrow" if down else upper.kind == "statement"
    if not down:
        start, end = end, start
    half = (start[1] + end[1]) / 2
    canvas.path(
        f"M{start[0]:.1f} {start[1]:.1f}C{start[0]:.1f} {half:.1f} {end[0]:.1f} {half:.1f} {end[0]:.1f} {end[1]:.1f}",
        arrow=arrow,
        class_="edge",
    )


def _draw(canvas: Canvas, node: _Node, y: float) -> None:
    match node.kind:
        case "statement":
            canvas.box(node.x - node.body / 2, y - 17, node.body, 34, fill="#f8fafc", class_="statement")
            canvas.text(node.x, y, node.name, text_anchor="middle", font_weight="bold", fill=INK)
            if node.lines:
                x = node.x + node.body / 2
                canvas.path(
                    f"M{x:.1f} {y - 8:.1f}C{x + 26:.1f} {y - 20:.1f} {x + 26:.1f} {y + 20:.1f} {x:.1f} {y + 8:.1f}",
                    arrow=True,
                    class_="edge",
                )
                _label(canvas, node, x + _LOOP, y, f"{node.name} → {node.name}")
        case "label":
            canvas.box(
                node.x - node.width / 2,
                y - node.height / 2,
                node.width,
                node.height,
                stroke="#cbd5e1",
                stroke_width=1,
                rx=9,
            )
            _label(canvas, node, node.x - node.width / 2, y, node.name)
        case _:
            pass


def _label(canvas: Canvas, node: _Node, left: float, y: float, edge: str) -> None:
    for k, (text, dependence) in enumerate(node.lines):
        canvas.text(
            left + 8,
            y + (k - (len(node.lines) - 1) / 2) * _LINE,
            text,
            size=12,
            fill=colour_of(dependence.kind, dependence.reduction),
            data_edge=edge,
        )
