"""A plane of an iteration domain: its instances with their time and tile, and the pairs that depend on each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from polydl import poly
from polydl.errors import UsageError
from polydl.poly import Affine, Dependence, FloorDiv, Member, Mod, Path, Statement
from polydl.scheduler.schedule import Schedule

__all__ = ["Cell", "Instance", "Plane", "dependent_pairs", "direct_pairs", "plane_of"]

Cell = tuple[int, int]  # coordinates on the two axes: (down, right)

_LIMIT = 1200  # points of the bounding box: more are neither readable nor quick to enumerate


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance in the plane: when it runs, and the outer and all coordinates of the tile it belongs to."""

    cell: Cell
    time: tuple[int, ...]
    tile: tuple[int, ...]
    subtile: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plane:
    """The slice: all instances in execution order, `fixed` what every other iterator is."""

    statement: Statement
    axes: tuple[str, str]
    fixed: dict[str, int]
    parameters: dict[str, int]
    instances: tuple[Instance, ...]


def plane_of(
    schedule: Schedule, statement: str | None, axes: tuple[str, str] | None, sizes: dict[str, int]
) -> Plane:
    """The plane that the caller asked for; UsageError as `picture` says."""
    return _plane(schedule, *_chosen(schedule, statement, axes, sizes))


def dependent_pairs(
    schedule: Schedule, plane: Plane, dependence: Dependence
) -> tuple[tuple[Cell, Cell], ...]:
    """The pairs (source, sink) of a dependence of the statement on itself that lie in the plane.

    In a reduction every update depends on all earlier ones: of these pairs only those of neighbours are given, of
    which the others follow.
    """
    iterators = plane.statement.iterators
    names = [*iterators, *(f"{i}'" for i in iterators)]
    equal = [f"{n} = {v}" for n, v in plane.parameters.items()]
    equal += [f"{i}{prime} = {v}" for i, v in plane.fixed.items() for prime in ("", "'")]
    pinned = poly.set_text(schedule.scop.parameters, "", names, equal)
    flat = poly.intersect(poly.pairs_text(dependence.relation), pinned)
    places = [iterators.index(a) for a in plane.axes]
    depth = len(iterators)
    found = poly.points(flat, tuple(plane.parameters.items()))
    if dependence.reduction:  # pairs come in order: the first of a source has its nearest sink
        found = tuple({p[:depth]: p for p in reversed(found)}.values())[::-1]
    return tuple(((p[places[0]], p[places[1]]), (p[depth + places[0]], p[depth + places[1]])) for p in found)


def direct_pairs(pairs: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """The pairs of increasing numbers that do not follow from other pairs (the transitive reduction)."""
    after: dict[int, set[int]] = {}
    for a, b in pairs:
        after.setdefault(a, set()).add(b)
    reached: dict[int, int] = {}  # bit k: number k comes after
    direct = set()
    for a in sorted(after, reverse=True):
        seen = 0
        for b in sorted(after[a]):
            if not seen >> b & 1:
                direct.add((a, b))
                seen |= reached.get(b, 0) | 1 << b
        reached[a] = seen
    return direct


def _chosen(
    schedule: Schedule, name: str | None, axes: tuple[str, str] | None, sizes: dict[str, int]
) -> tuple[Statement, tuple[str, str], dict[str, int]]:
    """What the caller asked for, checked."""
    scop = schedule.scop
    if name is None and len(scop.statements) > 1:
        raise UsageError(
            f"{schedule.function.name} has several statements",
            next=f"statement= one of {', '.join(s.name for s in scop.statements)}",
        )
    statement = scop.statement(schedule.statement(name).name) if name is not None else scop.statements[0]
    iterators = statement.iterators
    if axes is None:
        if len(iterators) < 2:
            raise UsageError(
                f"{statement.name} has {len(iterators)} iterators",
                why="the picture of a domain is a plane of two of them",
                next='picture(schedule, "tree")',
            )
        axes = (iterators[0], iterators[1])
    if axes[0] == axes[1] or not set(axes) <= set(iterators):
        raise UsageError(
            f"axes {axes} are not two iterators of {statement.name}", next=f"two of {', '.join(iterators)}"
        )
    missing = [p for p in scop.parameters if p not in sizes]
    if missing:
        raise UsageError(
            f"the picture of {statement.name} needs numbers for {', '.join(missing)}",
            next=f"sizes={{{', '.join(f'{p!r}: 8' for p in missing)}}}",
        )
    others = [i for i in iterators if i not in axes]
    unknown = [n for n in sizes if n not in scop.parameters and n not in others]
    if unknown:
        raise UsageError(
            f"sizes has {', '.join(unknown)}, which nothing in the picture is called",
            next=f"parameters and iterators that are not drawn: {', '.join((*scop.parameters, *others)) or 'none'}",
        )
    return statement, axes, sizes


def _plane(schedule: Schedule, statement: Statement, axes: tuple[str, str], sizes: dict[str, int]) -> Plane:
    scop, iterators = schedule.scop, statement.iterators
    fixed = {i: sizes[i] for i in iterators if i in sizes}
    parameters = {p: sizes[p] for p in scop.parameters}

    def cut(*more: str) -> str:
        equal = [f"{n} = {v}" for n, v in (parameters | fixed).items()]
        return poly.intersect(
            statement.domain, poly.set_text(scop.parameters, statement.name, iterators, (*equal, *more))
        )

    for i in iterators:
        if i not in axes and i not in fixed:
            fixed[i] = _range(statement, cut(), i, sizes)[0]
    spans = [_range(statement, cut(), a, sizes) for a in axes]
    height, width = (high - low + 1 for low, high in spans)
    if height * width > _LIMIT:
        raise UsageError(
            f"the picture of {statement.name} would have {height} x {width} places",
            why=f"more than {_LIMIT} can be neither read nor enumerated quickly",
            next="smaller sizes=, or a program with smaller extents: the order and the tiles look the same",
        )
    found = []
    places = [iterators.index(a) for a in axes]
    for path in poly.paths(scop, schedule.tree):
        if path.statement != statement.name:
            continue
        for point in poly.points(cut(*path.conditions), tuple(parameters.items())):
            values = parameters | dict(zip(iterators, point, strict=True))
            found.append(_instance((point[places[0]], point[places[1]]), path, values))
    return Plane(statement, axes, fixed, parameters, tuple(sorted(found, key=lambda p: p.time)))


def _range(statement: Statement, domain: str, axis: str, sizes: dict[str, int]) -> tuple[int, int]:
    ends = poly.extent(domain, axis)
    if ends is None:
        raise UsageError(
            f"{statement.name} has no iterations to draw",
            why="its domain is empty or unbounded"
            + (f" at {', '.join(f'{n} = {v}' for n, v in sizes.items())}" if sizes else ""),
            next="other numbers in sizes=",
        )
    return ends[0].constant, ends[1].constant


def _instance(cell: Cell, path: Path, values: dict[str, int]) -> Instance:
    time = tuple(e.evaluate(values) for e in path.exprs)
    steps = zip(path.coordinates, path.exprs, time, strict=True)
    levels = [(1 if not isinstance(c, Member) else _level(e), t) for c, e, t in steps]
    return Instance(
        cell, time, tuple(t for n, t in levels if n == 1), tuple(t for n, t in levels if n in (1, 2))
    )


def _level(e: Affine) -> int:
    """0 for a point loop, 1 for a loop over tiles, 2 for a loop over the tiles in a tile."""
    divisions = [atom for atom, _ in e.terms if isinstance(atom, FloorDiv)]
    if not divisions:
        return 0
    inside = any(isinstance(a, Mod) for d in divisions for a, _ in d.dividend.terms)
    return 2 if inside else 1
