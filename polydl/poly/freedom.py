"""Instances that nothing waits for, or that wait for nothing, within an iteration of the loops outside.

What starts no dependence may run last, after everything else in that iteration, and in any order; what ends none may
run first. In a factorisation whose steps are cut into blocks, that is all of the update but the block's own columns
and rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import islpy

from polydl.errors import NotApplicable
from polydl.poly.isl import guarded, map_of, set_of
from polydl.poly.model import Dependence, Scop
from polydl.poly.paths import Path, paths
from polydl.poly.places import Place, coordinates
from polydl.poly.sets import primed, relation_text
from polydl.poly.tree import Member, Tree

__all__ = ["free_columns", "free_instances", "undisturbed"]


@guarded
def free_instances(
    scop: Scop,
    tree: Tree,
    dependences: Iterable[Dependence],
    loop: str,
    *,
    first: bool = False,
    carried: bool = False,
    reassociate: bool = True,
) -> dict[str, str]:
    """For each statement inside `loop`, isl text of the condition (over its iterators) that an instance is not the
    source of a dependence (`first`: the sink) whose two ends agree in all loops outside `loop` (`carried`: and differ
    in `loop` itself); "" if none is, "false" if all may be.

    Dependences within reductions do not count where they may be reassociated. Parts of lower dimension than the
    statement's own are left out. NotApplicable where such a condition is not affine in the iterators and the
    coordinates of the outer loops.
    """
    inside = [p for p in paths(scop, tree) if loop in _names(p)]
    if len({p.statement for p in inside}) != len(inside):
        raise NotApplicable(f"a statement stands in several places inside loop {loop}")
    here = {p.statement: Place(scop, p, _names(p).index(loop)) for p in inside}
    times = {p.statement: coordinates(p)[_names(p).index(loop)][1] for p in inside}
    held: dict[str, islpy.Set] = {}
    for d in dependences:
        if d.source not in here or d.sink not in here or (d.reduction and reassociate):
            continue
        source, sink = here[d.source], here[d.sink]
        pairs = map_of(d.relation).intersect_domain(source.instances).intersect_range(sink.instances)
        if carried:
            iterators = sink.statement.iterators
            distance = primed(times[d.sink], iterators) - times[d.source]
            outputs = [f"{i}'" for i in iterators]
            apart = relation_text(
                scop.parameters, d.source, source.statement.iterators, d.sink, outputs, f"{distance} != 0"
            )
            pairs = pairs.intersect(map_of(apart))
        ends, name = (pairs.range(), d.sink) if first else (pairs.domain(), d.source)
        held[name] = ends if name not in held else held[name].union(ends)
    found = {}
    for name, place in here.items():
        free = place.instances
        if name in held:
            free = _solid(free.subtract(held[name].compute_divs()).coalesce(), free)
        found[name] = "false" if free.is_empty() else place.condition(free)
    return found


@guarded
def free_columns(
    scop: Scop,
    tree: Tree,
    dependences: Iterable[Dependence],
    loop: str,
    column: str,
) -> dict[str, str]:
    """For each statement inside `column`, a loop in branches of `loop`, isl text of the condition (over its iterators)
    that it is in a column, an iteration of that loop, of which no statement beside it needs anything within an
    iteration of the loops outside `loop`; "" if it always is, "false" if never.

    What columns need of each other does not count. NotApplicable as in `free_instances`.
    """
    inside = [p for p in paths(scop, tree) if loop in _names(p)]
    if len({p.statement for p in inside}) != len(inside):
        raise NotApplicable(f"a statement stands in several places inside loop {loop}")
    here = {p.statement: Place(scop, p, _names(p).index(loop)) for p in inside}
    to_column: dict[str, islpy.Map] = {}
    for p in inside:
        if column in _names(p):
            e = coordinates(p)[_names(p).index(column)][1]
            iterators = here[p.statement].statement.iterators
            to_column[p.statement] = map_of(
                relation_text(scop.parameters, p.statement, iterators, "", ("c",), f"c = {e}")
            )
    needed: islpy.Set | None = None
    for d in dependences:
        if d.source in to_column and d.sink in here and d.sink not in to_column:
            pairs = map_of(d.relation).intersect_domain(here[d.source].instances)
            found = pairs.intersect_range(here[d.sink].instances).domain().apply(to_column[d.source])
            needed = found if needed is None else needed.union(found)
    if needed is not None:
        for place in here.values():  # where some statement never runs, more may count as needed
            needed = needed.gist_params(set_of(place.statement.domain).params())
    result = {}
    for name, columns in to_column.items():
        free = here[name].instances
        if needed is not None:
            held = needed.apply(columns.reverse()).intersect(free)
            free = _solid(free.subtract(held.compute_divs()).coalesce(), free)
        result[name] = "false" if free.is_empty() else here[name].condition(free)
    return result


@guarded
def undisturbed(scop: Scop, path: Path, depth: int, dependences: Iterable[Dependence], tensor: str) -> bool:
    """Whether no cell of `tensor` that an instance on the path changes is touched by another one that agrees with it in
    the first `depth` coordinates, but for the updates of one reduction."""
    place = Place(scop, path, sum(isinstance(c, Member) for c in path.coordinates[:depth]))
    for d in dependences:
        if d.tensor == tensor and d.source == d.sink == path.statement and not d.reduction:
            pairs = map_of(d.relation).intersect_domain(place.instances)
            if not pairs.intersect_range(place.instances).is_empty():
                return False
    return True


def _names(path: Path) -> list[str]:
    return [m.name for m, _ in coordinates(path)]


def _solid(free: islpy.Set, instances: islpy.Set) -> islpy.Set:
    """Without the parts of lower dimension (the last column alone, say): any part of what is free is free as well."""
    least = min((_equalities(x) for x in _parts(instances)), default=0)
    result = islpy.Set.empty(free.get_space())
    for x in _parts(free):
        if _equalities(x) <= least:
            result = result.union(islpy.Set.from_basic_set(x))
    return result.coalesce()


def _parts(s: islpy.Set) -> list[islpy.BasicSet]:
    listed = s.get_basic_set_list()
    return [listed.get_at(k) for k in range(listed.n_basic_set())]


def _equalities(part: islpy.BasicSet) -> int:
    kinds = islpy.dim_type
    return int(part.equalities_matrix(kinds.set, kinds.param, kinds.cst, kinds.div).rows())
