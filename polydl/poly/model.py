"""The polyhedral model of a function: statements over iteration domains, their accesses, and the dependences.

Everything here is text and numbers: values compare, hash and pickle; isl objects are made on demand by the modules
that compute (`sets.py` caches them per thread).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from polydl.poly.affine import Affine

__all__ = ["Access", "AccessKind", "Box", "Dependence", "DependenceKind", "Scop", "Statement"]


class AccessKind(str, Enum):
    READ = "read"
    WRITE = "write"
    UPDATE = "update"  # read-modify-write by an associative and commutative operator: a reduction


@dataclass(frozen=True, slots=True)
class Access:
    """`{ S[iterators] -> tensor[subscripts] }`. A subscript None is data-dependent: any in range (reads only)."""

    kind: AccessKind
    tensor: str
    subscripts: tuple[Affine | None, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """The index range of a tensor, per dimension `lower <= x < upper`, affine in the parameters."""

    lower: tuple[Affine, ...]
    upper: tuple[Affine, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """`domain`: isl text of one set with tuple `name[iterators]`; `reduction`: the operator of its UPDATE accesses.

    Equal names are equal operators: statements that update one cell by the same one may be exchanged.
    """

    name: str
    iterators: tuple[str, ...]
    domain: str
    accesses: tuple[Access, ...]
    reduction: str | None = None


@dataclass(frozen=True, slots=True)
class Scop:
    """A static control part. `statements` are in textual order; `context`: isl text of the parameters' constraints."""

    parameters: tuple[str, ...]
    context: str
    tensors: tuple[tuple[str, Box], ...]
    statements: tuple[Statement, ...]

    def __hash__(self) -> int:
        """Of little, for it is asked for often: caches are keyed by the whole model."""
        return hash((self.parameters, self.context, len(self.tensors), len(self.statements)))

    def statement(self, name: str) -> Statement:
        return next(s for s in self.statements if s.name == name)


class DependenceKind(str, Enum):
    FLOW = "flow"
    ANTI = "anti"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Dependence:
    """`source` instances must run before the related `sink` instances (isl text of `{ Source[..] -> Sink[..] }`).

    `reduction`: both ends update by one operator, so their order is free where reassociation is allowed, but
    they may not run at the same time: lanes are combined within one statement only. `distance`: the constant
    difference sink - source of the iterators where source and sink are one statement and it is constant, else None.
    """

    kind: DependenceKind
    source: str
    sink: str
    tensor: str
    relation: str
    reduction: bool = False
    distance: tuple[int, ...] | None = None
