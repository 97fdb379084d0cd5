"""isl's scheduler on the dependences of a program: an affine order with deep permutable, coincident bands, as our tree.

isl chooses one affine expression per statement and band member such that no dependence runs backwards, dependences
that share data stay close (proximity), and loops carry nothing where that is possible (coincidence). The result is a
proposal: like any other tree it is judged by `legality.check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import islpy

from polydl.errors import NotApplicable, PolyhedralBlowup
from polydl.poly.affine import Affine, dim
from polydl.poly.isl import budget, guarded, map_of, set_of, thread_context
from polydl.poly.model import Dependence, Scop
from polydl.poly.sets import restrict, single_affine
from polydl.poly.tree import Band, Filter, Leaf, Member, Selection, Sequence, Tree

__all__ = ["AffineSchedule", "BandFacts", "SchedulerOptions", "affine_schedule"]

_OPERATIONS = 20_000_000  # a second or two; beyond, the dependences are too many for integer programming


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """What isl's scheduler prefers.

    `fuse`: "max" fuses whatever shares a permutable band, "moderate" keeps components apart that would lose
    parallelism, "min" puts every strongly connected component in nests of its own. `outer_coincidence`: the outermost
    loop of every band must carry nothing where that is possible.
    """

    fuse: str = "moderate"
    outer_coincidence: bool = False


@dataclass(frozen=True, slots=True)
class BandFacts:
    """What isl says of a band: its loops by name, which of them carry nothing, and whether any may be exchanged."""

    loops: tuple[str, ...]
    coincident: tuple[bool, ...]
    permutable: bool


@dataclass(frozen=True, slots=True)
class AffineSchedule:
    tree: Tree
    bands: tuple[BandFacts, ...]


def affine_schedule(
    scop: Scop,
    dependences: tuple[Dependence, ...],
    options: SchedulerOptions = SchedulerOptions(),
    *,
    reassociate: bool = True,
    operations: int = _OPERATIONS,
) -> AffineSchedule:
    """The order that isl's scheduler finds for the program.

    `reassociate`: dependences within reductions do not restrict the order; they still count as near and as not
    concurrent. PolyhedralBlowup where `operations` do not suffice, which is estimated before where isl's own count of
    them would miss it; NotApplicable where isl finds no order, or one that no affine expression of each statement says.
    """
    if _eliminations(dependences) > operations:
        raise PolyhedralBlowup(
            f"isl's scheduler would need more than its budget of {operations} operations",
            why="a dependence between two statements has too many dimensions that do not follow from each other",
            next="give temporaries a place for each iteration (Expand), or order the loops by hand",
        )
    with budget(operations):
        domain = islpy.UnionSet.empty(islpy.Space.params_alloc(thread_context(), 0))
        for statement in scop.statements:
            domain = domain.union(islpy.UnionSet.from_set(restrict(scop, statement, ())))
        nothing = islpy.UnionMap.empty(domain.get_space())
        strict = near = nothing
        for d in dependences:
            pairs = islpy.UnionMap.from_map(map_of(d.relation))
            near = near.union(pairs)
            if not (d.reduction and reassociate):
                strict = strict.union(pairs)
        constraints = islpy.ScheduleConstraints.on_domain(domain)
        if scop.context:
            constraints = constraints.set_context(set_of(scop.context).params())
        constraints = constraints.set_validity(strict.coalesce())
        constraints = constraints.set_coincidence(near.coalesce())
        constraints = constraints.set_proximity(near.coalesce())
        with _preferring(thread_context(), options):
            schedule = constraints.compute_schedule()
        reader = _Reader(scop)
        tree = reader.tree(schedule.get_root().child(0), tuple(s.name for s in scop.statements))
    return AffineSchedule(tree, tuple(reader.bands))


@guarded
def _eliminations(dependences: tuple[Dependence, ...]) -> int:
    """About how many steps isl takes to say what each dependence demands of a schedule's coefficients: it eliminates
    Farkas' multipliers one by one, which its own count of operations leaves out.

    The result doubles with each dimension in which the two ends are free, the work is cubic in it: with 9 of them isl
    takes some 3 seconds for one convex part, with 6 some milliseconds. Of the dependences of a statement on itself isl
    looks at the distances alone, which are cheap.
    """
    total = 0
    for d in (d for d in dependences if d.source != d.sink):
        listed = map_of(d.relation).get_basic_map_list()
        kinds = islpy.dim_type
        for k in range(listed.n_basic_map()):
            part = listed.get_at(k)
            matrix = part.equalities_matrix(kinds.out, kinds.in_, kinds.param, kinds.cst, kinds.div)
            total += 8 ** max(0, part.dim(kinds.in_) + part.dim(kinds.out) - matrix.rows())
    return total


@contextmanager
def _preferring(context: islpy.Context, options: SchedulerOptions) -> Iterator[None]:
    """The options in force inside; isl's defaults afterwards, for the context is shared by all calls of the thread."""
    outer = context.get_schedule_outer_coincidence()
    whole = context.get_schedule_whole_component()
    serial = context.get_schedule_serialize_sccs()
    context.set_schedule_outer_coincidence(int(options.outer_coincidence))
    context.set_schedule_whole_component(int(options.fuse == "max"))
    context.set_schedule_serialize_sccs(int(options.fuse == "min"))
    try:
        yield
    finally:
        context.set_schedule_outer_coincidence(outer)
        context.set_schedule_whole_component(whole)
        context.set_schedule_serialize_sccs(serial)


class _Reader:
    """isl's schedule tree read node by node; loops get the name of the iterator that they are, else `c`."""

    def __init__(self, scop: Scop) -> None:
        self.scop = scop
        self.bands: list[BandFacts] = []
        self.taken: set[str] = set()

    def tree(self, node: islpy.ScheduleNode, statements: tuple[str, ...]) -> Tree:
        kind = islpy.schedule_node_type
        match node.get_type():
            case kind.leaf:
                return Leaf()
            case kind.band:
                return self._band(node, statements)
            case kind.sequence | kind.set:
                branches = []
                for k in range(node.n_children()):
                    below = node.get_child(k)
                    chosen = _names(below.filter_get_filter(), statements)
                    branches.append(
                        Filter(tuple(Selection(s) for s in chosen), self.tree(below.get_child(0), chosen))
                    )
                return Sequence(tuple(branches))
            case other:
                raise NotApplicable(f"isl's scheduler made a node of kind {other}")

    def _band(self, node: islpy.ScheduleNode, statements: tuple[str, ...]) -> Tree:
        partial = node.band_get_partial_schedule()
        loops = []
        for k in range(node.band_n_member()):
            time = partial.get_union_pw_aff(k)
            exprs = tuple((s, self._expr(time, s)) for s in statements)
            loops.append(Member(self._name(exprs), exprs))
        names = tuple(m.name for m in loops)
        coincident = tuple(bool(node.band_member_get_coincident(k)) for k in range(len(loops)))
        self.bands.append(BandFacts(names, coincident, bool(node.band_get_permutable())))
        child = self.tree(node.get_child(0), statements)
        return Band(tuple(loops), child) if loops else child

    def _expr(self, time: islpy.UnionPwAff, name: str) -> Affine:
        statement = self.scop.statement(name)
        found: list[islpy.PwAff] = []
        listed = time.get_pw_aff_list()
        for k in range(listed.n_pw_aff()):
            piece = listed.get_at(k)
            if piece.domain().get_tuple_name() == name:
                found.append(piece)
        if len(found) != 1:
            raise NotApplicable(f"isl's scheduler does not say when '{name}' runs")
        piece = found[0]
        for k, iterator in enumerate(statement.iterators):
            piece = piece.set_dim_id(islpy.dim_type.in_, k, islpy.Id(iterator, context=piece.get_ctx()))
        value = single_affine(piece)
        if value is None:
            raise NotApplicable(f"isl's scheduler runs '{name}' in several orders")
        return value

    def _name(self, exprs: tuple[tuple[str, Affine], ...]) -> str:
        base = "c"
        for statement, e in exprs:
            iterators = self.scop.statement(statement).iterators
            match = [i for i in iterators if (e - dim(i)).is_constant]
            if match:
                base = match[0]
                break
        name, n = base, 2
        while name in self.taken:
            name, n = f"{base}{n}", n + 1
        self.taken.add(name)
        return name


def _names(chosen: islpy.UnionSet, statements: tuple[str, ...]) -> tuple[str, ...]:
    """The statements in a filter, in textual order."""
    listed = chosen.get_set_list()
    present = {listed.get_at(k).get_tuple_name() for k in range(listed.n_set())}
    return tuple(s for s in statements if s in present)
