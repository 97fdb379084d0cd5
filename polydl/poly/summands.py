"""The terms of sums: each update of a cell, with those of partial sums that start from nothing in their place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import islpy

from polydl.poly.compared import Different, Instance, Spelled, Sum, Term, expanded, split, twice
from polydl.poly.flow import Flow, Read, Value

__all__ = ["has_terms", "terms", "with_terms"]

_DEEP: Final = 40  # partial sums of partial sums; more than a few are none


def has_terms(flow: Flow, node: Sum, free: bool) -> bool:
    """Whether anything is added, but for partial sums without a term."""
    return not node.op or any(True for _ in terms(flow, node, free))


def with_terms(flow: Flow, node: Sum, free: bool) -> Sum:
    """The sum without partial sums that have no term, by whose operator nothing is combined."""
    parts = (Sum(node.origin, store.op, ((store, m),)) for store, m in node.added)
    added = tuple(p.added[0] for p in parts if has_terms(flow, p, free))
    ops = {store.op for store, _ in added}
    return Sum(node.origin, next(iter(ops)) if len(ops) == 1 else "", added)


def terms(flow: Flow, node: Sum, free: bool, deep: int = 0) -> Iterator[Term]:
    """All that is added, with the terms of partial sums in their place."""
    for store, at in node.added:
        for minus, value in split(store.value, node.op, free):
            inner = None if minus or not free else _partial(flow, node.op, store.statement, value, at, deep)
            if inner is None:
                yield minus, store.statement, value, at
            else:
                yield from inner


def _partial(
    flow: Flow, op: str, statement: str, value: Value, at: islpy.Map, deep: int
) -> list[Term] | None:
    """The terms of a partial sum that is added: one that starts from nothing. None where the value is none."""
    if not isinstance(value, Read) or deep > _DEEP:
        return None
    pairs = at.wrap()  # [point -> adding instance]
    nodes = list(expanded(flow, Spelled(statement, value, at.range_map())))
    inner: list[Term] = []
    for n in nodes:
        origin = n.origin if isinstance(n, Sum) else n
        if not isinstance(origin, Instance) or (op, origin.store.value) not in flow.meaning.neutral:
            return None
        if isinstance(n, Sum):
            if n.op != op:
                return None
            for minus, name, term, m in terms(flow, n, True, deep + 1):
                points = at.domain_map().intersect_domain(pairs)
                both = points.range_product(m)
                if not both.is_injective():
                    raise Different(
                        twice(both).unwrap().domain(), "each term once", f"some of {name} twice", (name,)
                    )
                inner.append((minus, name, term, both.range().unwrap()))
    merged: dict[tuple[bool, str, Value], islpy.Map] = {}
    for minus, name, term, m in inner:
        known = merged.get((minus, name, term))
        if known is not None and not known.intersect(m).is_empty():
            raise Different(known.intersect(m).domain(), "each term once", f"some of {name} twice", (name,))
        merged[minus, name, term] = m if known is None else known.union(m)
    return [(*key, m) for key, m in merged.items()]
