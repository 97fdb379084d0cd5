"""What a certificate is about, read from its JSON: the program, its original order, and the new schedule.

    parameters   names of the symbolic sizes            context      a condition on them
    tensors      name -> [[lower, upper], ...]          reassociate  whether reductions may be combined in any order
    statements   in textual order: name, iterators, domain (a condition), accesses [kind, tensor, [subscript or null]],
                 reduction (the operator of its update accesses, or null)
    original, schedule   trees, of nodes
                 {"band": [{"loop", "binding", "times": {statement: term}}], "below": node}
                 {"sequence": [{"take": {statement: condition}, "below": node}, ...]}
                 {"take": {statement: condition}, "below": node}, {"allocate": tensor, "below": node}, {"leaf": true}

The meaning is the one of `polydl.poly.tree`: band members extend the time of the statements below, the children of a
sequence run one after the other, and what is left equal runs in textual order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from polydl.certificate.terms import Condition, Every, Term, read_condition, read_term
from polydl.errors import InvalidProgram

__all__ = ["Access", "Loop", "Path", "Program", "Split", "Statement", "Step", "read_program"]

_KINDS: Final = ("read", "write", "update")
_ALWAYS: Final = Every(())


@dataclass(frozen=True, slots=True)
class Access:
    """A subscript None may be anything."""

    kind: str
    tensor: str
    subscripts: tuple[Term | None, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    name: str
    iterators: tuple[str, ...]
    domain: Condition
    accesses: tuple[Access, ...]
    reduction: str | None


@dataclass(frozen=True, slots=True)
class Loop:
    """One coordinate of time: a loop of the tree."""

    name: str
    binding: str
    time: Term


@dataclass(frozen=True, slots=True)
class Step:
    """One coordinate of time: which child of a sequence is taken."""

    index: int


@dataclass(frozen=True, slots=True)
class Path:
    """How a statement gets from the root to a leaf; `allocated`: tensors with the number of coordinates outside."""

    statement: str
    coordinates: tuple[Loop | Step, ...]
    conditions: tuple[Condition, ...]
    allocated: tuple[tuple[str, int], ...]

    def shared(self, other: Path) -> int:
        """How many first coordinates are the same node of the tree."""
        count = 0
        for a, b in zip(self.coordinates, other.coordinates, strict=False):
            if isinstance(a, Step) and a != b:
                break
            count += 1
        return count


@dataclass(frozen=True, slots=True)
class Split:
    """Filters that share out the instances of a statement: those with all of `outer` go where one of `taken` holds."""

    statement: str
    outer: tuple[Condition, ...]
    taken: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Program:
    parameters: tuple[str, ...]
    context: Condition
    tensors: tuple[tuple[str, tuple[tuple[Term, Term], ...]], ...]
    statements: tuple[Statement, ...]
    reassociate: bool
    original: tuple[Path, ...]
    schedule: tuple[Path, ...]
    splits: tuple[Split, ...]  # of the schedule

    def statement(self, name: str) -> Statement:
        return next(s for s in self.statements if s.name == name)


def read_program(data: Any) -> Program:
    """The statement of a certificate. InvalidProgram where it is not one."""
    try:
        return _program(data)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        _refuse(f"{type(error).__name__} {error}")


def _refuse(why: str) -> NoReturn:
    raise InvalidProgram("the certificate does not state a program", why=why)


def _program(data: Any) -> Program:
    parameters = _names(data["parameters"])
    tensors = []
    for name, box in data["tensors"].items():
        tensors.append((_name(name), tuple((read_term(low), read_term(high)) for low, high in box)))
    ranks = {name: len(box) for name, box in tensors}
    statements = tuple(_statement(s, ranks) for s in data["statements"])
    names = [s.name for s in statements]
    for s in statements:
        if {*s.iterators} & {*parameters} or len({*s.iterators}) != len(s.iterators):
            _refuse(f"the iterators of {s.name} are not names of their own")
    if len(set(names)) != len(names) or len(ranks) != len(tensors) or len(set(parameters)) != len(parameters):
        _refuse("a name is given twice")
    original, schedule, splits = list[Path](), list[Path](), list[Split]()
    roots = [Path(n, (), (), ()) for n in names]
    _walk(data["original"], roots, original, [], set())
    _walk(data["schedule"], roots, schedule, splits, set())
    if any(p.conditions or p.allocated for p in original) or len(original) != len(names):
        _refuse("the original order has conditions or allocations")
    if any(isinstance(c, Loop) and c.binding != "sequential" for p in original for c in p.coordinates):
        _refuse("the original order is not sequential")
    return Program(
        parameters,
        read_condition(data["context"]),
        tuple(tensors),
        statements,
        data["reassociate"] is True,
        tuple(original),
        tuple(schedule),
        tuple(splits),
    )


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value or "'" in value:
        _refuse(f"{value!r} is no name")
    return value


def _names(values: Any) -> tuple[str, ...]:
    return tuple(map(_name, values))


def _statement(data: Any, ranks: Mapping[str, int]) -> Statement:
    accesses = []
    for kind, tensor, subscripts in data["accesses"]:
        terms = tuple(None if t is None else read_term(t) for t in subscripts)
        if kind not in _KINDS or ranks[tensor] != len(terms) or (kind != "read" and None in terms):
            _refuse(f"{data['name']} has an access {kind} {tensor} of the wrong kind or rank")
        accesses.append(Access(kind, tensor, terms))
    reduction = data["reduction"]
    if reduction is None and any(a.kind == "update" for a in accesses):
        _refuse(f"{data['name']} updates without an operator")
    return Statement(
        _name(data["name"]),
        _names(data["iterators"]),
        read_condition(data["domain"]),
        tuple(accesses),
        None if reduction is None else _name(reduction),
    )


def _walk(node: Any, here: list[Path], found: list[Path], splits: list[Split], loops: set[str]) -> None:
    """Collect the paths below a node, and what its filters share out."""
    match node:
        case {"leaf": True}:
            found += here
        case {"band": list(listed), "below": below}:
            for member in listed:
                loop, times = _name(member["loop"]), member["times"]
                if loop in loops:
                    _refuse(f"two loops are called {loop}")
                loops.add(loop)
                if set(times) != {p.statement for p in here}:
                    _refuse(f"loop {loop} does not give a time to each statement in it")
                here = [
                    Path(
                        p.statement,
                        (*p.coordinates, Loop(loop, str(member["binding"]), read_term(times[p.statement]))),
                        p.conditions,
                        p.allocated,
                    )
                    for p in here
                ]
            _walk(below, here, found, splits, loops)
        case {"sequence": list(children)}:
            _share(children, here, splits)
            for k, child in enumerate(children):
                stepped = [
                    Path(p.statement, (*p.coordinates, Step(k)), p.conditions, p.allocated) for p in here
                ]
                _walk(child["below"], _taken(child, stepped), found, splits, loops)
        case {"take": dict(), "below": below}:
            _share([node], here, splits)
            _walk(below, _taken(node, here), found, splits, loops)
        case {"allocate": tensor, "below": below}:
            name = _name(tensor)
            if any(name == t for p in here for t, _ in p.allocated):
                _refuse(f"{name} is allocated inside its own allocation")
            here = [
                Path(p.statement, p.coordinates, p.conditions, (*p.allocated, (name, len(p.coordinates))))
                for p in here
            ]
            _walk(below, here, found, splits, loops)
        case _:
            _refuse("a node of a tree is of no known kind")


def _share(children: list[Any], here: list[Path], splits: list[Split]) -> None:
    reaching = {p.statement for p in here}
    if any(not set(child["take"]) <= reaching for child in children):
        _refuse("a filter takes a statement that does not reach it")
    for p in here:
        taken = tuple(read_condition(c["take"][p.statement]) for c in children if p.statement in c["take"])
        if taken != (_ALWAYS,):
            splits.append(Split(p.statement, p.conditions, taken))


def _taken(child: Any, here: list[Path]) -> list[Path]:
    found = []
    for p in here:
        if p.statement in child["take"]:
            condition = read_condition(child["take"][p.statement])
            conditions = p.conditions if condition == _ALWAYS else (*p.conditions, condition)
            found.append(Path(p.statement, p.coordinates, conditions, p.allocated))
    return found
