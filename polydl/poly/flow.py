"""What the reads of a program see: the store that came last, and the updates of a reduction since then.

A program is here its stores, each with the value that it stores as a tree over reads; operations are opaque labels.
Sources are exact, over relations between instances: of the stores before a read, those that no later one covers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import islpy

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine
from polydl.poly.dependences import ordered_pairs
from polydl.poly.isl import set_of
from polydl.poly.model import Access, AccessKind, Scop
from polydl.poly.paths import Path, paths
from polydl.poly.sets import access_relation, box_text, restrict
from polydl.poly.tree import Tree

__all__ = ["Apply", "Flow", "Index", "Meaning", "Read", "Sources", "Store", "Value", "joined"]


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation, or a constant; of the labels only "add", "sub" and "neg" mean something here."""

    label: object
    operands: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """The value of an affine expression over iterators and sizes."""

    value: Affine


@dataclass(frozen=True, slots=True)
class Read:
    access: Access


Value: TypeAlias = Apply | Index | Read


@dataclass(frozen=True, slots=True)
class Store:
    """What all instances of a statement store, or add by the statement's operator (an UPDATE), at one access."""

    statement: str
    number: int  # of the places that the statement stores to
    access: Access
    value: Value
    op: str = ""  # of an update

    @property
    def updates(self) -> bool:
        return self.access.kind is AccessKind.UPDATE


@dataclass(frozen=True, slots=True)
class Meaning:
    """A program in its original order. `neutral`: pairs of an operator and a value that it changes nothing with."""

    scop: Scop
    tree: Tree
    stores: tuple[Store, ...]
    results: tuple[str, ...]
    neutral: frozenset[tuple[str, Value]]

    def into(self, tensor: str) -> tuple[Store, ...]:
        return tuple(s for s in self.stores if s.access.tensor == tensor)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a read's value comes from: relations from the reading instances (or the cells of a result).

    `written`: the last store before; `added`: the updates since then; `given`: the readers before whom nobody has
    stored.
    """

    written: tuple[tuple[Store, islpy.Map], ...]
    added: tuple[tuple[Store, islpy.Map], ...]
    given: islpy.Set


def joined(domains: list[islpy.Set], space: islpy.Set) -> islpy.Set:
    """The union of sets; `space` has their coordinates."""
    return reduce(lambda a, b: a.union(b), domains, space.subtract(space))


class Flow:
    """The sources of a program's reads, each found once."""

    def __init__(self, meaning: Meaning) -> None:
        self.meaning = meaning
        self._paths: dict[str, list[Path]] = {}
        for p in paths(meaning.scop, meaning.tree):
            self._paths.setdefault(p.statement, []).append(p)
        self._sources: dict[tuple[str, Access], Sources] = {}
        self._pairs: dict[tuple[str, Access, str, Access], islpy.Map | None] = {}

    def domain(self, statement: str) -> islpy.Set:
        return restrict(self.meaning.scop, self.meaning.scop.statement(statement), ())

    def before(self, source: str, first: Access, sink: str, second: Access) -> islpy.Map | None:
        """`{ source -> sink }` of the instances that meet in a cell, the source first; None if there are none."""
        key = source, first, sink, second
        if key not in self._pairs:
            scop, total = self.meaning.scop, None
            for p in self._paths.get(source, ()):
                for q in self._paths.get(sink, ()):
                    ends = (scop.statement(source), first, p, scop.statement(sink), second, q)
                    part = ordered_pairs(scop, *ends)
                    if part is not None:
                        total = part if total is None else total.union(part)
            self._pairs[key] = total
        return self._pairs[key]

    def final(self, tensor: str) -> Sources:
        """The sources of what a tensor holds at the end; the readers are its cells."""
        scop = self.meaning.scop
        cells = set_of(box_text(scop, tensor, dict(scop.tensors)[tensor]))
        cells = cells.intersect_params(set_of(scop.context).params()) if scop.context else cells
        into = {
            s: access_relation(scop, scop.statement(s.statement), s.access) for s in self.meaning.into(tensor)
        }
        return self._found(cells, {s: m for s, m in into.items() if not m.is_empty()})

    def sources(self, statement: str, read: Access) -> Sources:
        """The sources of a read. NotApplicable where the place depends on data."""
        key = statement, read
        if key not in self._sources:
            if None in read.subscripts:
                raise NotApplicable(
                    f"{statement} reads {read.tensor}, which is stored to, at a place that depends on data",
                    why="which value it reads is known at run time only",
                )
            into = {}
            for s in self.meaning.into(read.tensor):
                found = self.before(s.statement, s.access, statement, read)
                if found is not None:
                    into[s] = found
            self._sources[key] = self._found(self.domain(statement), into)
        return self._sources[key]

    def _found(self, readers: islpy.Set, into: dict[Store, islpy.Map]) -> Sources:
        """`into`: for each store the relation to the readers of its cell that come after it."""
        written: list[tuple[Store, islpy.Map]] = []
        added: list[tuple[Store, islpy.Map]] = []
        seen: list[islpy.Set] = []
        for s, m in into.items():
            for w, later in into.items():
                if not w.updates:
                    covered = self.before(s.statement, s.access, w.statement, w.access)
                    if covered is not None:
                        m = m.subtract(covered.apply_range(later))
            if m.is_empty():
                continue
            (added if s.updates else written).append((s, m.reverse()))
            if not s.updates:
                seen.append(m.range())
        given = readers.subtract(joined(seen, readers)) if seen else readers
        return Sources(tuple(written), tuple(added), given)
