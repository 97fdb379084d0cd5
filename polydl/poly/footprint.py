"""Footprints: which part of a tensor one arrival at its allocation touches, as a box of constant extents."""

from __future__ import annotations

from dataclasses import dataclass

import islpy

from polydl.errors import InvalidProgram, NotApplicable
from polydl.poly.affine import Affine
from polydl.poly.ast import Ast, affine_ast
from polydl.poly.generate import iterator_names
from polydl.poly.isl import guarded, map_of
from polydl.poly.model import Scop
from polydl.poly.paths import paths
from polydl.poly.sets import access_relation, from_isl, restrict, schedule_text, single_affine
from polydl.poly.tree import Tree

__all__ = ["Footprint", "footprint"]

SET = islpy.dim_type.set


@dataclass(frozen=True, slots=True)
class Footprint:
    """Per dimension of the tensor: cells `bases[d] <= x < bases[d] + extents[d]`.

    Bases are over the iterators of the loops outside the allocation (`ast.iterator_names`) and the parameters, as
    `Affine` and as `Ast`.
    """

    bases: tuple[Affine, ...]
    extents: tuple[int, ...]

    def base_asts(self) -> tuple[Ast, ...]:
        return tuple(affine_ast(b) for b in self.bases)


@guarded
def footprint(scop: Scop, tree: Tree, tensor: str) -> Footprint:
    """The smallest box of constant size around what each arrival at `Allocate(tensor)` touches.

    Where a tensor is allocated in several places the box holds for all of them, so their outer loops must agree in
    number. Raises `NotApplicable` where no box of constant size exists.
    """
    touched: islpy.Map | None = None
    depth = -1
    names: tuple[str, ...] = ()
    for path in paths(scop, tree):
        inside = [d for d, node in path.allocations if node.tensor == tensor]
        statement = scop.statement(path.statement)
        accesses = [a for a in statement.accesses if a.tensor == tensor]
        if not inside or not accesses:
            continue
        if depth not in (-1, inside[-1]):
            raise NotApplicable(f"'{tensor}' is allocated at different depths of the tree")
        depth = inside[-1]
        names = iterator_names(scop, depth)
        text = schedule_text(scop.parameters, statement.name, statement.iterators, path.exprs[:depth])
        # { S -> [outer] }
        outer = map_of(text).intersect_domain(restrict(scop, statement, path.conditions))
        for access in accesses:
            # { [outer] -> tensor[cells] }
            cells = outer.reverse().apply_range(access_relation(scop, statement, access))
            touched = cells if touched is None else touched.union(cells)
    if touched is None:
        raise InvalidProgram(f"'{tensor}' is not allocated in the tree, or not accessed below its allocation")
    if touched.is_empty():
        rank = touched.dim(islpy.dim_type.out)
        return Footprint((Affine(()),) * rank, (1,) * rank)
    for d, name in enumerate(names):
        touched = touched.set_dim_name(islpy.dim_type.in_, d, name)
    bases, extents = [], []
    for d in range(touched.dim(islpy.dim_type.out)):
        base, size = _range(touched, d, tensor)
        bases.append(base)
        extents.append(size)
    return Footprint(tuple(bases), tuple(extents))


def _range(touched: islpy.Map, d: int, tensor: str) -> tuple[Affine, int]:
    """The best `base <= cell[d] < base + size` whose base is one affine expression of the outer loops."""
    out = islpy.dim_type.out
    rank = touched.dim(out)
    line = touched.project_out(out, d + 1, rank - d - 1).project_out(out, 0, d).set_tuple_name(out, "x")
    hull = line.coalesce().compute_divs().simple_hull()
    found: list[tuple[int, int, Affine]] = []
    # The smallest cell of all arrivals is a base too, if a wide one.
    smallest = single_affine(line.range().dim_min(0)) if line.range().dim_has_lower_bound(SET, 0) else None
    for base in [*_lower_bounds(hull), *([] if smallest is None else [smallest])]:
        # { [outer] -> x[cell] } to cell - base
        size = _largest(line, base)
        if size is not None:
            found.append((size + 1, len(base.terms), base))
    if not found:
        raise NotApplicable(
            f"dimension {d} of '{tensor}' has no constant extent at its allocation",
            next="allocate it further inside, or give the sizes as constants",
        )
    size, _, base = min(found, key=lambda f: (f[0], f[1], str(f[2])))
    return base, size


def _lower_bounds(hull: islpy.BasicMap) -> list[Affine]:
    """Affine expressions of the inputs below the one output of a relation, from its constraints."""
    inputs = hull.dim(islpy.dim_type.in_)
    names = [hull.get_dim_name(islpy.dim_type.in_, k) for k in range(inputs)]
    flat = hull.wrap().flatten()
    for k, name in enumerate([*names, "cell'"]):
        flat = flat.set_dim_name(SET, k, name)
    found = []
    listed = flat.get_constraint_list()
    for k in range(listed.n_constraint()):
        constraint = listed.get_at(k)
        if constraint.is_lower_bound(SET, inputs):
            value = from_isl(constraint.get_bound(SET, inputs).ceil())
            if value is not None and "cell'" not in value.names():
                found.append(value)
    return found


def _largest(line: islpy.Map, base: Affine) -> int | None:
    """The largest value of `cell - base`; None where unbounded or smaller than zero somewhere."""
    ins, params = islpy.dim_type.in_, islpy.dim_type.param
    names = [line.get_dim_name(ins, k) for k in range(line.dim(ins))]
    listed = [line.get_dim_name(params, k) for k in range(line.dim(params))]
    head = f"[{', '.join(listed)}] -> " if listed else ""
    offset = map_of(f"{head}{{ [[{', '.join(names)}] -> x[cell']] -> [cell' - ({base})] }}")
    image = line.wrap().apply(offset)
    low, high = image.dim_min_val(0), image.dim_max_val(0)
    if not (low.is_int() and high.is_int()) or low.is_neg():
        return None
    return int(high.to_python())
