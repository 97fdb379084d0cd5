"""Whether two programs compute the same: the judge of transformations that change statements.

Statements may be added, dropped, split or read from copies. Compared are the values: what the results hold at the end,
and what each store that both programs have stores. A read leads to the store that it sees (`flow.py`); where that is
one that only one program has, its value is put in its place. A sum leads to all its terms, those of partial sums that
start from nothing included, each of which must be there exactly once. All this in the original orders; that the new
schedule keeps the new one is the business of `legality.py`.

That a common store stores the same at an instance is assumed where an instance of it is read, and proven once for all:
an induction over the order of the new program.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import islpy

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine
from polydl.poly.compared import (
    Different,
    Given,
    Instance,
    Node,
    Spelled,
    Sum,
    Term,
    copies,
    different,
    expanded,
    inside,
    instance_text,
    restricted,
    seen,
    twice,
)
from polydl.poly.explain import smallest_point
from polydl.poly.flow import Apply, Flow, Index, Meaning, Read, Store
from polydl.poly.isl import guarded, map_of
from polydl.poly.sets import relation_text
from polydl.poly.summands import has_terms, terms, with_terms

__all__ = ["OtherValue", "other_value"]

_DEEP: Final = 40  # values put into each other; a chain of copies is a few


@dataclass(frozen=True, slots=True)
class OtherValue:
    """What would have another value: an instance of `statement`, or a cell of the result `tensor`.

    `wanted` and `found` are what it depends on before and after the change: `x[3]`, `s(2, 1)`, or in words.
    """

    parameters: tuple[tuple[str, int], ...]
    statement: str
    tensor: str
    at: tuple[int, ...]
    wanted: str
    found: str
    statements: tuple[str, ...]

    @property
    def reason(self) -> str:
        sizes = f" (with {', '.join(f'{n} = {v}' for n, v in self.parameters)})" if self.parameters else ""
        place = ", ".join(map(str, self.at))
        what = f"{self.statement}({place})" if self.statement else f"{self.tensor}[{place}]"
        return f"the value of {what} depends on {self.wanted}, but would then depend on {self.found}{sizes}."


@guarded
def other_value(before: Meaning, after: Meaning, same_order: bool, reassociate: bool) -> OtherValue | None:
    """A value that the new program would not compute as the old one does; None if it computes the same.

    `same_order`: what both have runs in the same order in both. `reassociate`: sums have no order. NotApplicable where
    values depend on data-dependent places of tensors that are stored to.
    """
    return _other_value(before, after, same_order, reassociate)


@lru_cache(maxsize=256)
def _other_value(before: Meaning, after: Meaning, same_order: bool, reassociate: bool) -> OtherValue | None:
    return _Comparison(before, after, same_order, reassociate).verdict()


class _Comparison:
    def __init__(self, before: Meaning, after: Meaning, same_order: bool, reassociate: bool) -> None:
        self.old, self.new = Flow(before), Flow(after)
        self.same_order, self.reassociate = same_order, reassociate
        mine = {(s.statement, s.number): s for s in before.stores}
        self.kept: dict[Store, Store] = {}  # of the new program -> of the old one
        for s in after.stores:
            other = mine.get((s.statement, s.number))
            if other is not None and _same_instances(before, other, after, s):
                self.kept[s] = other
        self.demanded: dict[Store, None] = {}
        self.proven: set[tuple[object, ...]] = set()
        self.still: dict[str, bool] = {}

    def verdict(self) -> OtherValue | None:
        for tensor in self.old.meaning.results:
            try:
                self._result(tensor)
            except Different as other:
                return self._example("", tensor, other)
        done = 0
        while done < len(self.demanded):
            new = list(self.demanded)[done]
            done += 1
            old = self.kept[new]
            try:
                self._kept(old, new)
            except Different as other:
                return self._example(new.statement, "", other)
        return None

    def _example(self, statement: str, tensor: str, other: Different) -> OtherValue:
        values, at = smallest_point(other.points.identity())
        scop = self.old.meaning.scop
        parameters = tuple((p, values.get(p, 0)) for p in scop.parameters)
        depth = (
            len(scop.statement(statement).iterators) if statement else len(dict(scop.tensors)[tensor].lower)
        )
        return OtherValue(
            parameters, statement, tensor, at[:depth], other.wanted, other.found, other.statements
        )

    # ---- what must be the same -----------------------------------------------------------------------------------

    def _unmoved(self, tensor: str) -> bool:
        """Whether the same stores write the tensor, at the same places and in the same order."""
        if tensor not in self.still:
            old, new = self.old.meaning.into(tensor), self.new.meaning.into(tensor)
            self.still[tensor] = (
                self.same_order
                and len(old) == len(new)
                and all(self.kept.get(n) == o and n.access == o.access for o, n in zip(old, new, strict=True))
            )
        return self.still[tensor]

    def _unmoved_read(self, a: Spelled, b: Spelled, tensor: str) -> bool:
        """Whether the reads of both are those of the same instances of a common statement, of a tensor that stays."""
        common = a.statement == b.statement and a.statement in {s.statement for s in self.kept}
        return common and self._unmoved(tensor) and bool(a.at.is_equal(b.at))

    def _demand(self, stores: tuple[Store, ...]) -> None:
        self.demanded.update(dict.fromkeys(stores))

    def _result(self, tensor: str) -> None:
        if self._unmoved(tensor):
            self._demand(self.new.meaning.into(tensor))
            return
        cells = self.old.final(tensor), self.new.final(tensor)
        first, second = (list(seen(tensor, None, s)) for s in cells)
        self._pairwise(first, second, 0)

    def _kept(self, old: Store, new: Store) -> None:
        domain = self.new.domain(new.statement).identity()
        self._same(Spelled(old.statement, old.value, domain), Spelled(new.statement, new.value, domain), 0)

    # ---- comparing -----------------------------------------------------------------------------------------------

    def _same(self, a: Node, b: Node, deep: int) -> None:
        """Raise `Different` unless both have the same value at all points."""
        if deep > _DEEP:
            raise NotApplicable(
                "the values of the new statements are put into each other too often to compare"
            )
        match a, b:
            case Spelled(value=Apply(label=x, operands=xs)), Spelled(value=Apply(label=y, operands=ys)):
                if x != y or len(xs) != len(ys):
                    raise different(a, b)
                for p, q in zip(xs, ys, strict=True):
                    self._same(Spelled(a.statement, p, a.at), Spelled(b.statement, q, b.at), deep)
            case Spelled(value=Index(x)), Spelled(value=Index(y)):
                first, second = self._index(self.old, a, x), self._index(self.new, b, y)
                if not first.is_equal(second):
                    raise different(a, b, first.subtract(second).domain())
            case Spelled(value=Read(x)), Spelled(value=Read(y)):
                if x == y and self._unmoved_read(a, b, x.tensor):
                    self._demand(self.new.meaning.into(x.tensor))
                else:
                    self._pairwise(expanded(self.old, a), expanded(self.new, b), deep)
            case Spelled(value=Read()), _:
                self._pairwise(expanded(self.old, a), [b], deep)
            case _, Spelled(value=Read()):
                self._pairwise([a], expanded(self.new, b), deep)
            case Given(), Given():
                if a.tensor != b.tensor:
                    raise different(a, b)
                if not a.at.is_equal(b.at):
                    raise different(a, b, a.at.subtract(b.at).domain())
            case Sum(), Sum():
                self._sums(a, b, deep)
                self._same(a.origin, b.origin, deep)
            case Sum(), _ if not has_terms(self.old, a, self.reassociate):
                self._same(a.origin, b, deep)
            case _, Sum() if not has_terms(self.new, b, self.reassociate):
                self._same(a, b.origin, deep)
            case Instance(), Instance() if self.kept.get(b.store) == a.store and a.at.is_equal(b.at):
                self._demand((b.store,))
            case _, Instance() if b.store not in self.kept or copies(b.store) or isinstance(a, Spelled):
                self._same(a, inside(b), deep + 1)
            case Instance(), _ if (
                a.store not in self.kept.values() or copies(a.store) or isinstance(b, Spelled)
            ):
                self._same(inside(a), b, deep + 1)
            case _:
                raise different(a, b)

    def _pairwise(self, first: list[Node], second: list[Node], deep: int) -> None:
        """The same, where both have other origins at other points."""
        for a in first:
            for b in second:
                common = a.at.domain().intersect(b.at.domain())
                if not common.is_empty():
                    self._same(restricted(a, common), restricted(b, common), deep)

    # ---- sums ----------------------------------------------------------------------------------------------------

    def _sums(self, a: Sum, b: Sum, deep: int) -> None:
        """The terms of both: each of the one exactly once in the other."""
        mine = dict(a.added)
        same = (
            len(mine) == len(b.added)
            and self.same_order
            and all(
                s in self.kept and self.kept[s] in mine and mine[self.kept[s]].is_equal(m) for s, m in b.added
            )
        )
        if same:
            self._demand(tuple(s for s, _ in b.added))
            return
        if a.op != b.op or not a.op:
            a, b = (with_terms(f, n, self.reassociate) for f, n in ((self.old, a), (self.new, b)))
        if a.op != b.op or not a.op:
            raise NotApplicable(
                "several operators update one place, or another one than before",
                why="the values of such updates can only be compared where nothing changes",
            )
        first, second = list(terms(self.old, a, self.reassociate)), list(terms(self.new, b, self.reassociate))
        if not self.reassociate:
            self._in_order(a, b)
        left = list(second)
        for term in first:
            wrong: Different | None = None
            for other in left:
                try:
                    if self._same_terms(term, other, deep):
                        left.remove(other)
                        break
                except Different as different:
                    wrong = wrong or different
            else:
                raise wrong or self._lost(term, second)
        if left:
            raise self._gained(left[0])

    def _same_terms(self, a: Term, b: Term, deep: int) -> bool:
        """Whether both are the same terms of the same points, once each; False where they are no counterparts."""
        (minus, mine, value, at), (less, other, term, there) = a, b
        names = self.old.meaning.scop.statement(mine).iterators
        known = self.new.meaning.scop.statement(other).iterators
        if minus != less or not set(names) <= set(known):
            return False
        text = relation_text(self.old.meaning.scop.parameters, other, known, mine, names, "")
        to_mine = map_of(text)
        found = there.apply_range(to_mine)
        if not found.is_equal(at):
            lost, more = at.subtract(found), found.subtract(at)
            raise self._lost(a, [b]) if not lost.is_empty() else self._gained((minus, mine, value, more))
        once = there.domain_map().range_product(there.range_map().apply_range(to_mine))
        if len(known) > len(names) and not once.is_injective():
            raise Different(
                twice(once).unwrap().domain(), "each term once", f"some of {other} twice", (other,)
            )
        key = mine, value, other, term, str(there.range())
        if key not in self.proven:
            here = there.range().identity()
            try:
                self._same(
                    Spelled(mine, value, to_mine.intersect_domain(there.range())),
                    Spelled(other, term, here),
                    deep + 1,
                )
            except Different as different:
                first = different.points.identity() if different.points.space == here.domain().space else here
                raise Different(
                    there.intersect_range(first.domain()).domain(),
                    different.wanted,
                    different.found,
                    different.statements,
                ) from None
            self.proven.add(key)
        return True

    def _in_order(self, a: Sum, b: Sum) -> None:
        """NotApplicable unless the one statement that adds does so in the order of the one that did."""
        if len(a.added) == len(b.added) == 1:
            (s, _), (t, _) = a.added[0], b.added[0]
            names = self.old.meaning.scop.statement(s.statement).iterators
            known = self.new.meaning.scop.statement(t.statement).iterators
            if set(names) <= set(known):
                before = self.old.before(s.statement, s.access, s.statement, s.access)
                after = self.new.before(t.statement, t.access, t.statement, t.access)
                if after is None:
                    return
                text = relation_text(
                    self.old.meaning.scop.parameters, t.statement, known, s.statement, names, ""
                )
                moved = after.apply_domain(map_of(text)).apply_range(map_of(text))
                if before is not None and moved.is_subset(before):
                    return
        raise NotApplicable("terms would be added in another order", why="the schedule's policy forbids it")

    # ---- differences ---------------------------------------------------------------------------------------------

    def _lost(self, term: Term, others: list[Term]) -> Different:
        _, name, _, at = term
        for _, _, _, m in others if len(others) == 1 else ():
            known = self.new.meaning.scop.statement(others[0][1]).iterators
            names = self.old.meaning.scop.statement(name).iterators
            text = relation_text(self.old.meaning.scop.parameters, others[0][1], known, name, names, "")
            rest = at.subtract(m.apply_range(map_of(text)))
            at = rest if not rest.is_empty() else at
        return Different(
            at.domain(), f"the term of {instance_text(at, name)}", "everything but that", (name,)
        )

    def _gained(self, term: Term) -> Different:
        _, name, _, at = term
        return Different(
            at.domain(), "everything but it", f"the term of {instance_text(at, name)} too", (name,)
        )

    def _index(self, flow: Flow, a: Spelled, e: Affine) -> islpy.Map:
        scop = flow.meaning.scop
        text = relation_text(
            scop.parameters, a.statement, scop.statement(a.statement).iterators, "", ("v'",), f"v' = {e}"
        )
        return a.at.apply_range(map_of(text))


def _same_instances(before: Meaning, old: Store, after: Meaning, new: Store) -> bool:
    s, t = before.scop.statement(old.statement), after.scop.statement(new.statement)
    return (s.iterators, s.domain, old.access.kind, s.reduction) == (
        t.iterators,
        t.domain,
        new.access.kind,
        t.reduction,
    )
