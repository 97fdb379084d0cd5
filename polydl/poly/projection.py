"""Projections: which values some expressions of a statement take together, as inequalities."""

from __future__ import annotations

import islpy

from polydl.poly.affine import Affine
from polydl.poly.isl import guarded, map_of
from polydl.poly.model import Scop
from polydl.poly.sets import from_isl, header, restrict

__all__ = ["image", "same_domain"]


@guarded
def image(
    scop: Scop, statement: str, exprs: tuple[Affine, ...], names: tuple[str, ...]
) -> tuple[Affine, ...]:
    """Affine expressions over `names` and the parameters, none negative wherever `exprs` take the values of `names`.

    All values that some instance has meet them; others may too (the hull is taken, divisions are left out).
    """
    s = scop.statement(statement)
    text = ", ".join(map(str, exprs))
    values = map_of(f"{header(scop.parameters)}{{ {statement}[{', '.join(s.iterators)}] -> [{text}] }}")
    found = values.intersect_domain(restrict(scop, s, ())).range()
    context = restrict(scop, s, ()).params()
    hull = found.gist_params(context).remove_divs().simple_hull().remove_redundancies()
    for k, name in enumerate(names):
        hull = hull.set_dim_name(islpy.dim_type.set, k, name)
    result: list[Affine] = []
    listed = hull.get_constraint_list()
    for k in range(listed.n_constraint()):
        constraint = listed.get_at(k)
        value = from_isl(constraint.get_aff())
        if value is not None:
            result += [value, -value] if constraint.is_equality() else [value]
    return tuple(result)


@guarded
def same_domain(first: Scop, second: Scop, statement: str) -> bool:
    """Whether a statement has the same instances in both models, iterators matched by name."""
    a, b = first.statement(statement), second.statement(statement)
    order = ", ".join(a.iterators)
    sets = []
    for scop, s in ((first, a), (second, b)):
        onto = map_of(f"{header(scop.parameters)}{{ {s.name}[{', '.join(s.iterators)}] -> [{order}] }}")
        sets.append(onto.intersect_domain(restrict(scop, s, ())).range())
    return bool(sets[0].is_equal(sets[1]))
