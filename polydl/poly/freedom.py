"""Instances that nothing waits for, or that wait for nothing, within an iteration of the loops outside.

What starts no dependence may run last, after everything else in that iteration, and in any order; what ends none may
run first. In a factorisation whose steps are cut into blocks, that is all of the update but the block's own columns
and rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import islpy

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine
from polydl.poly.isl import guarded, map_of, set_of
from polydl.poly.model import Dependence, Scop
from polydl.poly.paths import Path, paths
from polydl.poly.sets import schedule_text
from polydl.poly.tree import Member, Tree

__all__ = ["free_instances", "undisturbed"]

_TIMES = re.compile(r"\b(\d+)([A-Za-z_])")


@guarded
def free_instances(
    scop: Scop,
    tree: Tree,
    dependences: Iterable[Dependence],
    loop: str,
    *,
    first: bool = False,
    reassociate: bool = True,
) -> dict[str, str]:
    """For each statement inside `loop`, isl text of the condition (over its iterators) that an instance is not the
    source of a dependence (`first`: the sink) whose two ends agree in all loops outside `loop`; "" if none is,
    "false" if all may be. Dependences within reductions do not count where they may be reassociated.

    NotApplicable where such a condition is not affine in the iterators and the coordinates of the outer loops.
    """
    inside = [p for p in paths(scop, tree) if loop in [m.name for m, _ in _loops(p)]]
    if len({p.statement for p in inside}) != len(inside):
        raise NotApplicable(f"a statement stands in several places inside loop {loop}")
    here = {p.statement: _Place(scop, p, [m.name for m, _ in _loops(p)].index(loop)) for p in inside}
    held: dict[str, islpy.Set] = {}
    for d in dependences:
        if d.source not in here or d.sink not in here or (d.reduction and reassociate):
            continue
        source, sink = here[d.source], here[d.sink]
        pairs = map_of(d.relation).intersect_domain(source.instances).intersect_range(sink.instances)
        ends, name = (pairs.range(), d.sink) if first else (pairs.domain(), d.source)
        held[name] = ends if name not in held else held[name].union(ends)
    return {name: place.condition(held.get(name)) for name, place in here.items()}


@guarded
def undisturbed(scop: Scop, path: Path, depth: int, dependences: Iterable[Dependence], tensor: str) -> bool:
    """Whether no cell of `tensor` that an instance on the path changes is touched by another one that agrees with it in
    the first `depth` coordinates, but for the updates of one reduction."""
    place = _Place(scop, path, sum(isinstance(c, Member) for c in path.coordinates[:depth]))
    for d in dependences:
        if d.tensor == tensor and d.source == d.sink == path.statement and not d.reduction:
            pairs = map_of(d.relation).intersect_domain(place.instances)
            if not pairs.intersect_range(place.instances).is_empty():
                return False
    return True


def _loops(path: Path) -> list[tuple[Member, Affine]]:
    return [(c, e) for c, e in zip(path.coordinates, path.exprs, strict=True) if isinstance(c, Member)]


class _Place:
    """The instances of a statement on a path, the outer coordinates as parameters `outer0_`, …"""

    def __init__(self, scop: Scop, path: Path, depth: int) -> None:
        self.statement = scop.statement(path.statement)
        self.outer = {f"outer{k}_": e for k, (_, e) in enumerate(_loops(path)[:depth])}
        text = schedule_text(
            scop.parameters,
            path.statement,
            self.statement.iterators,
            (),
            tuple(self.outer.items()),
            path.conditions,
        )
        domain = set_of(self.statement.domain)
        if scop.context:
            domain = domain.intersect_params(set_of(scop.context).params())
        self.instances = map_of(text).domain().intersect(domain)  # [outer] -> { S[iterators] }

    def condition(self, held: islpy.Set | None) -> str:
        if held is None:
            return ""
        free = _solid(self.instances.subtract(held.compute_divs()).coalesce(), self.instances)
        if free.is_empty():
            return "false"
        shown = free.gist(self.instances).coalesce()
        return "" if shown.plain_is_universe() else self._text(shown)

    def _text(self, shown: islpy.Set) -> str:
        text = str(shown)
        body = text[text.index("{") + 1 : text.rindex("}")]
        listed = f"{self.statement.name}[{', '.join(self.statement.iterators)}]"
        parts = []
        for piece in body.split(";"):
            head, _, constraints = piece.partition(":")
            if head.strip() != listed or re.search(r"exists|mod|floor", constraints):
                raise NotApplicable(f"the free instances of {self.statement.name} are no affine condition")
            parts.append(f"({constraints.strip()})" if constraints.strip() else "1 = 1")
        condition = _TIMES.sub(r"\1*\2", " or ".join(parts))
        for name, value in self.outer.items():
            condition = re.sub(rf"\b{name}(?!\w)", f"({value})", condition)
        return condition


def _solid(free: islpy.Set, instances: islpy.Set) -> islpy.Set:
    """Without the parts of lower dimension (the last column alone, say): any part of what is free is free as well."""
    least = min((_equalities(x) for x in _parts(instances)), default=0)
    kept = [x for x in _parts(free) if _equalities(x) <= least]
    result = islpy.Set.empty(free.get_space())
    for x in kept:
        result = result.union(islpy.Set.from_basic_set(x))
    return result.coalesce()


def _parts(s: islpy.Set) -> list[islpy.BasicSet]:
    listed = s.get_basic_set_list()
    return [listed.get_at(k) for k in range(listed.n_basic_set())]


def _equalities(part: islpy.BasicSet) -> int:
    kinds = islpy.dim_type
    return int(part.equalities_matrix(kinds.set, kinds.param, kinds.cst, kinds.div).rows())
