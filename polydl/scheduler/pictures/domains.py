"""A plane of an iteration domain as a picture: instances, tiles, execution order and dependences, for given sizes."""

from __future__ import annotations

from collections.abc import Callable

from polydl.poly import DependenceKind, members
from polydl.scheduler.pictures.slices import Cell, Plane, dependent_pairs, direct_pairs, plane_of
from polydl.scheduler.pictures.svg import GREY, INK, REDUCTION, Canvas, colour_of, polyline, text_width
from polydl.scheduler.schedule import Schedule
from polydl.vocabulary import Binding

__all__ = ["domain_picture"]

_Place = Callable[[Cell], tuple[float, float]]

_CELL, _EDGE, _TOP, _LEFT = 40.0, 24.0, 84.0, 62.0
_RADIUS = 10.5
_TILES = ("#dbeafe", "#fef3c7", "#dcfce7", "#fce7f3", "#ede9fe", "#ffedd5")
_EARLY, _LATE = (14, 116, 144), (49, 46, 129)  # the first and the last instance


def domain_picture(
    schedule: Schedule, statement: str | None, axes: tuple[str, str] | None, sizes: dict[str, int]
) -> str:
    """The instances of a statement in the plane of two of its iterators as SVG; see `picture`."""
    plane = plane_of(schedule, statement, axes, sizes)
    cells = {p.cell for p in plane.instances}
    low = (min(d for d, _ in cells), min(r for _, r in cells))
    high = (max(d for d, _ in cells), max(r for _, r in cells))

    def at(cell: Cell) -> tuple[float, float]:
        return _LEFT + (cell[1] - low[1] + 0.5) * _CELL, _TOP + (cell[0] - low[0] + 0.5) * _CELL

    canvas = Canvas()
    right, bottom = at((high[0] + 1, high[1] + 1))
    right, bottom = right - _CELL / 2, bottom - _CELL / 2
    _tiles(canvas, plane, at)
    _axes(canvas, plane, low, high, at)
    _order(canvas, plane, at)
    drawn = _arrows(canvas, schedule, plane, at)
    _points(canvas, plane, at)
    title = f"{schedule.function.name}: iterations of {plane.statement.name}"
    where = [f"{n} = {v}" for n, v in (plane.parameters | plane.fixed).items()]
    title += f" at {', '.join(where)}" if where else ""
    canvas.text(_EDGE, 24, title, mono=False, size=15, font_weight="bold")
    wide = _legend(canvas, schedule, plane, drawn, bottom + 26)
    width = max(right, wide, _EDGE + text_width(title, 15, mono=False)) + _EDGE
    return canvas.document(width, bottom + 26 + 44, title)


def _tiles(canvas: Canvas, plane: Plane, at: _Place) -> None:
    """Each tile in a colour that its neighbours do not have, with its boundary."""
    tile = {p.cell: p.tile for p in plane.instances}
    subtile = {p.cell: p.subtile for p in plane.instances}
    order = list(dict.fromkeys(p.tile for p in plane.instances))
    beside: dict[tuple[int, ...], set[tuple[int, ...]]] = {t: set() for t in order}
    for (d, r), t in tile.items():
        for near in ((d + 1, r), (d, r + 1), (d + 1, r + 1), (d + 1, r - 1)):
            if near in tile and tile[near] != t:
                beside[t].add(tile[near])
                beside[tile[near]].add(t)
    colour: dict[tuple[int, ...], int] = {}
    for t in order:
        used = {colour[n] for n in beside[t] if n in colour}
        colour[t] = next((k for k in range(len(_TILES)) if k not in used), 0)
    for cell, t in tile.items():
        x, y = at(cell)
        half = _CELL / 2
        canvas.shape(
            "rect",
            x=x - half,
            y=y - half,
            width=_CELL,
            height=_CELL,
            fill=_TILES[colour[t]],
            class_="tile",
            data_tile=order.index(t),
        )
    for keys, stroke, wide, dash in ((subtile, GREY, 1.0, "3 3"), (tile, INK, 1.8, None)):
        segments = []
        for d, r in sorted(
            {c for cell in keys for c in (cell, (cell[0] + 1, cell[1]), (cell[0], cell[1] + 1))}
        ):
            x, y = at((d, r))
            x, y = x - _CELL / 2, y - _CELL / 2
            if keys.get((d, r)) != keys.get((d - 1, r)):
                segments.append(polyline(((x, y), (x + _CELL, y))))
            if keys.get((d, r)) != keys.get((d, r - 1)):
                segments.append(polyline(((x, y), (x, y + _CELL))))
        if keys is tile or subtile != tile:
            canvas.path(
                "".join(segments),
                stroke=stroke,
                stroke_width=wide,
                stroke_dasharray=dash,
                stroke_linecap="round",
            )


def _axes(canvas: Canvas, plane: Plane, low: Cell, high: Cell, at: _Place) -> None:
    """The values of both iterators along the edges: every one, or every fifth where there are many."""
    down, across = plane.axes
    left, top = at(low)
    for r in range(low[1], high[1] + 1):
        canvas.text(
            at((low[0], r))[0], top - _CELL / 2 - 13, str(r), size=11, fill=GREY, text_anchor="middle"
        )
    for d in range(low[0], high[0] + 1):
        canvas.text(left - _CELL / 2 - 9, at((d, low[1]))[1], str(d), size=11, fill=GREY, text_anchor="end")
    corner = (left - _CELL / 2, top - _CELL / 2)
    canvas.text(corner[0] - 9, corner[1] - 13, f"{down} ↓", text_anchor="end", font_weight="bold")
    canvas.text(at(high)[0] + _CELL / 2, corner[1] - 29, f"{across} →", text_anchor="end", font_weight="bold")


def _order(canvas: Canvas, plane: Plane, at: _Place) -> None:
    """A line through the instances as they run: solid between neighbours, faint and dashed where it jumps."""
    for before, after in zip(plane.instances, plane.instances[1:], strict=False):
        step = max(abs(a - b) for a, b in zip(before.cell, after.cell, strict=True))
        look: dict[str, object] = (
            {"stroke_width": 3.0, "opacity": 0.35}
            if step <= 1
            else {"stroke_width": 1.1, "opacity": 0.45, "stroke_dasharray": "2 4"}
        )
        canvas.path(polyline((at(before.cell), at(after.cell))), class_="order", stroke="#475569", **look)  # type: ignore[arg-type]


def _arrows(
    canvas: Canvas, schedule: Schedule, plane: Plane, at: _Place
) -> dict[tuple[DependenceKind, bool], list[str]]:
    """The dependences of the statement on itself; for each kind drawn, the tensors that cause it.

    A pair that follows from others, since order is transitive, is left out.
    """
    name = plane.statement.name
    drawn: dict[tuple[DependenceKind, bool], list[str]] = {}
    own = [d for d in schedule.dependences if (d.source, d.sink) == (name, name)]
    pairs = {d: dependent_pairs(schedule, plane, d) for d in own}
    order = {p.cell: k for k, p in enumerate(plane.instances)}
    needed = direct_pairs([(order[a], order[b]) for d in own if not d.reduction for a, b in pairs[d]])
    for dependence in own:
        for source, sink in pairs[dependence]:
            if not dependence.reduction and (order[source], order[sink]) not in needed:
                continue
            tensors = drawn.setdefault((dependence.kind, dependence.reduction), [])
            if dependence.tensor not in tensors:
                tensors.append(dependence.tensor)
            canvas.path(
                _between(at(source), at(sink)),
                arrow=True,
                stroke=colour_of(dependence.kind, dependence.reduction),
                stroke_width=1.2,
                opacity=0.75,
                class_=dependence.kind.value,
                data_source=",".join(map(str, source)),
                data_sink=",".join(map(str, sink)),
            )
    return drawn


def _between(source: tuple[float, float], sink: tuple[float, float]) -> str:
    """From circle to circle; bent where it would run through the circles between."""
    dx, dy = sink[0] - source[0], sink[1] - source[1]
    length = max((dx * dx + dy * dy) ** 0.5, 1.0)
    ux, uy = dx / length, dy / length
    start = (source[0] + ux * _RADIUS, source[1] + uy * _RADIUS)
    end = (sink[0] - ux * (_RADIUS + 1), sink[1] - uy * (_RADIUS + 1))
    if length < 1.5 * _CELL:
        return polyline((start, end))
    bend = min(0.25 * length, 0.55 * _CELL)
    middle = ((start[0] + end[0]) / 2 - uy * bend, (start[1] + end[1]) / 2 + ux * bend)
    return f"M{start[0]:.1f} {start[1]:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {end[0]:.1f} {end[1]:.1f}"


def _points(canvas: Canvas, plane: Plane, at: _Place) -> None:
    """One circle per instance, numbered in execution order and coloured from early to late."""
    last = max(len(plane.instances) - 1, 1)
    for number, instance in enumerate(plane.instances):
        x, y = at(instance.cell)
        canvas.shape(
            "circle",
            cx=x,
            cy=y,
            r=_RADIUS,
            fill=_shade(number / last),
            stroke="#ffffff",
            stroke_width=1.2,
            class_="instance",
            data_instance=",".join(map(str, instance.cell)),
            data_order=number,
        )
        canvas.text(
            x, y, str(number), size=9 if number < 100 else 8, mono=False, text_anchor="middle", fill="#ffffff"
        )


def _shade(part: float) -> str:
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(_EARLY, _LATE, strict=True))


def _legend(
    canvas: Canvas,
    schedule: Schedule,
    plane: Plane,
    drawn: dict[tuple[DependenceKind, bool], list[str]],
    y: float,
) -> float:
    """What the colours mean, in two lines under the picture; returns how far it reaches to the right."""
    x = _EDGE
    for (kind, reduction), tensors in drawn.items():
        colour = REDUCTION if reduction else colour_of(kind, reduction)
        what = f"{'reduction' if reduction else kind.value} on {', '.join(tensors)}"
        canvas.path(polyline(((x, y), (x + 26, y))), arrow=True, stroke=colour)
        canvas.text(x + 34, y, what, size=12)
        x += 34 + text_width(what, 12) + 22
    if not drawn:
        text = f"no dependence of {plane.statement.name} on itself in this plane"
        canvas.text(x, y, text, size=12, mono=False, fill=GREY)
        x += text_width(text, 12, mono=False)
    parts = ["numbers: execution order"]
    if len({p.tile for p in plane.instances}) > 1:
        parts.append("bold lines: tiles")
    for binding in (Binding.PARALLEL, Binding.VECTOR):
        loops = [
            m.name
            for m in members(schedule.tree)
            if m.binding is binding and any(s == plane.statement.name for s, _ in m.exprs)
        ]
        if loops:
            parts.append(f"{binding.value}: {', '.join(loops)}")
    text = " · ".join(parts)
    canvas.text(_EDGE, y + 24, text, size=12, mono=False, fill=GREY)
    return max(x, _EDGE + text_width(text, 12, mono=False))
