"""Every statement instance of a small program, run by hand: what the judge must agree with, and what must come out.

Nothing here asks the package: domains, subscripts, times and values are computed point by point in Python. What is
shared with it are the classes that programs and trees are made of.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from polydl.dsl import Function, TensorRole
from polydl.dsl.function import StatementDef
from polydl.ir.expr import Binary, Call, Cast, Const, Expr, Load, Select, Unary, Var
from polydl.poly.tree import Allocate, Band, Filter, Leaf, Mark, Tree
from polydl.poly.tree import Sequence as SequenceNode
from polydl.vocabulary import Binding
from tests.oracle.conditions import Values, affine_value, condition_holds, index_value

__all__ = ["BrokenContract", "Sizes", "outcome", "same_sources", "tree_is_legal"]

Sizes = dict[str, int]
Bag = Counter[tuple[int, bool]]  # terms with their signs
Cell = tuple[str, object, tuple[int, ...]]  # tensor, the storage's arrival, subscripts


class BrokenContract(Exception):
    """The tree does not run every instance exactly once, each at a time of its own."""


@dataclass(frozen=True)
class Time:
    loop: str  # "" for the position in a sequence
    binding: Binding
    value: int


@dataclass
class Run:
    """One instance of a statement at its time; `places` maps an allocated tensor to the arrival that made it."""

    statement: StatementDef
    values: Values
    times: tuple[Time, ...] = ()
    places: dict[str, object] = field(default_factory=dict)

    @property
    def name(self) -> tuple[str, tuple[int, ...]]:
        return self.statement.name, tuple(self.values[a.name] for a in self.statement.axes)


def instances(s: StatementDef, sizes: Sizes) -> Iterator[Values]:
    """The points of a domain in lexicographic order."""

    def descend(depth: int, values: dict[str, int]) -> Iterator[Values]:
        if depth == len(s.axes):
            if all(index_value(c, values) for c in s.conditions):
                yield dict(values)
            return
        axis = s.axes[depth]
        low, high = index_value(axis.lower, values), index_value(axis.upper, values)
        assert low is not None
        assert high is not None
        for value in range(low, high):
            yield from descend(depth + 1, {**values, axis.name: value})

    yield from descend(0, dict(sizes))


def runs(function: Function, tree: Tree | None, sizes: Sizes) -> list[Run]:
    """All instances with their times; without a tree, in the order of the text."""
    return list(_runs(function, tree, tuple(sizes.items())))


@lru_cache(maxsize=32)  # asked for the order, the sources and the values, and for each candidate again
def _runs(function: Function, tree: Tree | None, listed: tuple[tuple[str, int], ...]) -> tuple[Run, ...]:
    sizes = dict(listed)
    everything = [Run(s, v) for s in function.statements() for v in instances(s, sizes)]
    if tree is None:
        return tuple(everything)
    done = list(_walk(tree, everything, ()))
    if sorted(r.name for r in done) != sorted(r.name for r in everything):
        raise BrokenContract
    if len({(r.statement.name, tuple((t.loop, t.value) for t in r.times)) for r in done}) != len(done):
        raise BrokenContract
    names = [m.name for node in _nodes(tree) if isinstance(node, Band) for m in node.members]
    if len(set(names)) != len(names):
        raise BrokenContract
    return tuple(done)


def _nodes(tree: Tree) -> Iterator[Tree]:
    yield tree
    match tree:
        case SequenceNode(children=children):
            for c in children:
                yield from _nodes(c)
        case Leaf():
            pass
        case _:
            yield from _nodes(tree.child)


def _walk(tree: Tree, here: list[Run], place: tuple[int, ...]) -> Iterator[Run]:
    match tree:
        case Leaf():
            yield from here
        case Mark(child=child):
            yield from _walk(child, here, place)
        case Allocate(tensor=tensor, child=child):
            made = [Run(r.statement, r.values, r.times, {**r.places, tensor: (place, r.times)}) for r in here]
            yield from _walk(child, made, (*place, 0))
        case Band(members=members, child=child):
            later = []
            for r in here:
                times = []
                for m in members:
                    found = [e for s, e in m.exprs if s == r.statement.name]
                    if len(found) != 1:
                        raise BrokenContract
                    times.append(Time(m.name, m.binding, affine_value(found[0], r.values)))
                later.append(Run(r.statement, r.values, (*r.times, *times), r.places))
            yield from _walk(child, later, (*place, 0))
        case SequenceNode(children=children):
            for k, branch in enumerate(children):
                chosen = [
                    Run(r.statement, r.values, (*r.times, Time("", Binding.SEQUENTIAL, k)), r.places)
                    for r in here
                    for s in branch.selections
                    if s.statement == r.statement.name and condition_holds(s.condition, r.values)
                ]
                yield from _walk(branch.child, chosen, (*place, k))
        case Filter():
            raise BrokenContract


def in_order(listed: Sequence[Run], function: Function, *, reverse: bool = False) -> list[Run]:
    """The instances one after the other; `reverse`: concurrent loops from their ends."""
    text = {s.name: k for k, s in enumerate(function.statements())}

    def key(r: Run) -> tuple[int, ...]:
        concurrent = (Binding.PARALLEL, Binding.VECTOR) if reverse else ()
        return (*(-t.value if t.binding in concurrent else t.value for t in r.times), text[r.statement.name])

    return sorted(listed, key=key)


# ---- order ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Touch:
    """An access of one instance: its position in the original order, and what it does to the cell."""

    run: int
    writes: bool
    updates: str  # by this operator; "": not


def touches(s: StatementDef, values: Values) -> Iterator[tuple[str, tuple[int, ...], bool, str]]:
    """The cells that an instance accesses: tensor, subscripts, whether it writes, the operator that it updates by."""
    op, value = _update(s)
    for load in _loads(value):
        yield load.buffer, _cell(load.index, values), False, ""
    yield s.target, _cell(s.index, values), True, op


def _update(s: StatementDef, alone: bool = True) -> tuple[str, Expr]:
    """The operator that a statement updates its cell by ("": it does not), and with what.

    So does an assignment of the old contents combined with something else, where each axis has a subscript to itself:
    no two of its instances meet in a cell (with `alone`; what is computed is a sum in any case).
    """
    op, value = s.op if isinstance(s.op, str) else "", s.value
    if isinstance(value, Binary) and not op and value.op in ("add", "mul", "min", "max"):
        old = Load(s.target, s.index, value.dtype)
        chosen = {name for e in s.index if (name := _only_name(e))}
        if old in (value.a, value.b) and (not alone or {a.name for a in s.axes} <= chosen):
            return value.op, value.b if value.a == old else value.a
    return op, value


def _only_name(e: Expr) -> str:
    """The variable of a subscript without quotients and with no other variable; "" where it is not so."""
    match e:
        case Var(name=name):
            return name
        case Binary(op="add" | "sub" | "mul", a=a, b=b):
            return _only_name(a if isinstance(b, Const) else b) if Const in (type(a), type(b)) else ""
        case _:
            return ""


def _loads(e: Expr) -> Iterator[Load]:
    match e:
        case Load():
            yield e
        case Unary(operand=x) | Cast(operand=x):
            yield from _loads(x)
        case Binary(a=a, b=b):
            yield from _loads(a)
            yield from _loads(b)
        case Select(cond=c, a=a, b=b):
            for x in (c, a, b):
                yield from _loads(x)
        case Call(operands=operands):
            for x in operands:
                yield from _loads(x)
        case Const() | Var():
            pass
        case _:
            raise AssertionError(f"{e} in a program")


def _cell(index: Sequence[Expr], values: Values) -> tuple[int, ...]:
    found = []
    for e in index:
        value = index_value(e, values)
        assert value is not None, "these programs have no data-dependent subscripts"
        found.append(value)
    return tuple(found)


def original(function: Function, sizes: Sizes) -> list[Run]:
    """The instances in the order that says what the function means."""
    return (
        in_order(runs(function, function.order, sizes), function)
        if function.order
        else runs(function, None, sizes)
    )


def tree_is_legal(function: Function, tree: Tree, sizes: Sizes, reassociate: bool) -> bool:
    """Whether every conflicting pair of instances keeps its original order and storage. Raises `BrokenContract`."""
    timed = {r.name: r for r in runs(function, tree, sizes)}
    allocated = {n.tensor for n in _nodes(tree) if isinstance(n, Allocate)}
    before = [timed[r.name] for r in original(function, sizes)]
    cells: dict[tuple[str, tuple[int, ...]], list[Touch]] = defaultdict(list)
    for k, r in enumerate(before):
        for tensor, cell, writes, updates in touches(r.statement, r.values):
            if tensor in allocated and tensor not in r.places:
                return False
            cells[tensor, cell].append(Touch(k, writes, updates))
    for (tensor, _), listed in cells.items():
        for a, b in itertools.combinations(listed, 2):
            if a.run == b.run or not (a.writes or b.writes):
                continue
            first, second = before[a.run], before[b.run]
            if tensor in allocated and first.places[tensor] != second.places[tensor]:
                return False
            reduction = a.updates != "" and a.updates == b.updates
            if not _ordered(first, second, reduction and reassociate):
                return False
    return True


def _ordered(a: Run, b: Run, free: bool) -> bool:
    """Whether the first surely runs before the second; of a free pair, that they surely run one after the other."""
    for s, t in zip(a.times, b.times, strict=False):
        if s.value != t.value:
            combined = free and a.statement.name == b.statement.name  # lanes are, within one statement
            if s.binding is Binding.PARALLEL or (s.binding is Binding.VECTOR and not combined):
                return False
            return free or s.value < t.value
    return True  # equal times: the order of the text, which was the original one


# ---- sources of values -----------------------------------------------------------------------------------------------


def same_sources(before: Function, after: Function, sizes: Sizes) -> bool:
    """Whether, in the original order of `after`, every read sees the same write with the cells of both functions."""
    statements = {s.name: s for s in before.statements()}
    last: dict[tuple[str, tuple[int, ...]], object] = {}
    other: dict[tuple[str, tuple[int, ...]], object] = {}
    for r in original(after, sizes):
        old, new = statements[r.statement.name], r.statement
        for x, y in zip(_loads(old.value), _loads(new.value), strict=True):
            seen = last.get((x.buffer, _cell(x.index, r.values)))
            if seen != other.get((y.buffer, _cell(y.index, r.values))):
                return False
        here, there = (old.target, _cell(old.index, r.values)), (new.target, _cell(new.index, r.values))
        if new.op is not None and last.get(here) != other.get(there):
            return False
        last[here] = other[there] = r.name
    return True


# ---- values --------------------------------------------------------------------------------------------------------


class Terms:
    """Values as terms over the inputs. Equal terms have equal numbers; sums of a reduction have no order."""

    def __init__(self, reassociate: bool) -> None:
        self.reassociate = reassociate
        self.numbers: dict[object, int] = {}
        self.terms: list[tuple[object, ...]] = []
        self.bags: dict[tuple[str, int], Bag] = {}

    def term(self, *parts: object) -> int:
        if parts not in self.numbers:
            self.numbers[parts] = len(self.terms)
            self.terms.append(parts)
        return self.numbers[parts]

    def combined(self, op: str, old: int, new: int) -> int:
        """`old op new` of a reduction's update; free of order, a sum is the bag of all its summands."""
        if not self.reassociate:
            return self.term(op, old, new)
        bag = _counted(op, self._bag(op, old) + self._bag(op, new))
        if list(bag.values()) == [1] and all(positive for _, positive in bag):
            return next(part for part, _ in bag)
        return self.term("reduced", op, tuple(sorted(bag.items())))

    def _bag(self, op: str, x: int) -> Bag:
        """The operands of a combination, each with its sign, and how often they occur (at all, for extremes).

        Each is taken apart once: a value that is added to itself again and again has exponentially many operands.
        """
        if (op, x) not in self.bags:
            self.bags[op, x] = self._operands(op, x)
        return self.bags[op, x]

    def _operands(self, op: str, x: int) -> Bag:
        match self.terms[x]:
            case ("reduced", kind, tuple() as items) if kind == op:
                bag = Counter(dict(items))
            case ("constant", value) if value in _NEUTRAL[op]:
                bag = Counter()
            case ("add", int() as a, int() as b) if op == "add":
                bag = self._bag(op, a) + self._bag(op, b)
            case ("sub", int() as a, int() as b) if op == "add":
                bag = self._bag(op, a) + _negated(self._bag(op, b))
            case ("neg", int() as a) if op == "add":
                bag = _negated(self._bag(op, a))
            case _:
                bag = Counter({(x, True): 1})
        return _counted(op, bag)


def _counted(op: str, bag: Bag) -> Bag:
    return Counter(dict.fromkeys(bag, 1)) if op in ("min", "max") else bag


def _negated(bag: Bag) -> Bag:
    return Counter({(part, not positive): count for (part, positive), count in bag.items()})


_NEUTRAL = {"add": (0.0, 0), "mul": (1.0, 1), "max": (float("-inf"),), "min": (float("inf"),)}


def outcome(
    function: Function,
    tree: Tree | None,
    sizes: Sizes,
    terms: Terms,
    *,
    reverse: bool = False,
    garbage: bool = False,
) -> dict[tuple[str, tuple[int, ...]], int]:
    """What the results hold after a run in the order of a tree (None: of the function), cell by cell, as terms.

    What nobody has stored is the same everywhere, with `garbage` another value in each cell.
    """
    order = (
        original(function, sizes)
        if tree is None
        else in_order(runs(function, tree, sizes), function, reverse=reverse)
    )
    roles = {t.name: t.role for t in function.tensors}
    memory: dict[Cell, int] = {}

    def before(tensor: str, cell: tuple[int, ...]) -> int:
        if roles[tensor] in (TensorRole.TEMPORARY, TensorRole.OUTPUT):
            return terms.term("undefined", tensor, cell) if garbage else terms.term("undefined")
        return terms.term("given", tensor, cell)

    def load(tensor: str, cell: tuple[int, ...], r: Run) -> int:
        key = (tensor, r.places.get(tensor), cell)
        return memory[key] if key in memory else before(tensor, cell)

    def value(e: Expr, r: Run) -> int:
        match e:
            case Const(value=v):
                return terms.term("constant", float(v))
            case Var(name=name):
                return terms.term("constant", float(r.values[name]))
            case Load(buffer=tensor, index=index):
                return load(tensor, _cell(index, r.values), r)
            case Unary(op=op, operand=x):
                return terms.term(op, value(x, r))
            case Cast(operand=x, dtype=dtype):
                return terms.term("cast", dtype.name, value(x, r))
            case Binary(op=op, a=a, b=b):
                return terms.term(op, value(a, r), value(b, r))
            case Select(cond=c, a=a, b=b):
                return terms.term("select", value(c, r), value(a, r), value(b, r))
            case _:
                raise AssertionError(f"{e} in a program")

    for r in order:
        s = r.statement
        cell = _cell(s.index, r.values)
        op, operand = _update(s, alone=False)
        new = value(operand, r)
        if op:
            new = terms.combined(op, load(s.target, cell, r), new)
        memory[s.target, r.places.get(s.target), cell] = new
    results = (TensorRole.OUTPUT, TensorRole.INOUT)
    found = {(tensor, cell): v for (tensor, _, cell), v in memory.items() if roles[tensor] in results}
    return {
        where: v for where, v in found.items() if v != before(*where)
    }  # adding nothing to a cell is no change
