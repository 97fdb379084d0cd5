"""Random small programs and schedule trees for them, most of them keeping the tree's structural contract."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from polydl.poly import (
    Access,
    AccessKind,
    Affine,
    Allocate,
    Band,
    Box,
    Filter,
    Leaf,
    Mark,
    Member,
    Scop,
    Selection,
    Sequence,
    Statement,
    Tree,
)
from polydl.poly.affine import constant, dim
from polydl.vocabulary import Binding, Memory

NAMES = ("i", "j", "k")
SIZES = (-30, 60)  # every subscript below stays inside


@st.composite
def programs(draw: st.DrawFn) -> Scop:
    """One to three statements of up to three loops over at most 4 iterations each, sharing two or three tensors."""
    parameters = draw(st.sampled_from([(), (), ("N",)]))
    ranks = {"A": draw(st.integers(0, 2)), "B": draw(st.integers(1, 2))}
    statements = tuple(draw(_statement(f"S{k}", parameters, ranks)) for k in range(draw(st.integers(1, 3))))
    boxes = tuple((t, Box((constant(SIZES[0]),) * r, (constant(SIZES[1]),) * r)) for t, r in ranks.items())
    context = "[N] -> { : 1 <= N <= 4 }" if parameters else ""
    return Scop(parameters, context, boxes, statements)


@st.composite
def _statement(draw: st.DrawFn, name: str, parameters: tuple[str, ...], ranks: dict[str, int]) -> Statement:
    iterators = NAMES[: draw(st.sampled_from([0, 1, 1, 2, 2, 2, 3]))]
    conditions = []
    for d, i in enumerate(iterators):
        lower, upper = "0", str(draw(st.integers(1, 4 if len(iterators) < 3 else 3)))
        if d and draw(st.integers(0, 3)) == 0:
            lower = draw(st.sampled_from(iterators[:d]))
        elif d and draw(st.integers(0, 3)) == 0:
            upper = f"{draw(st.sampled_from(iterators[:d]))} + 1"
        elif parameters and draw(st.booleans()):
            upper = "N"
        conditions.append(f"{lower} <= {i} < {upper}")
    head = f"[{', '.join(parameters)}] -> " if parameters else ""
    tail = f" : {' and '.join(conditions)}" if conditions else ""
    domain = f"{head}{{ {name}[{', '.join(iterators)}]{tail} }}"
    reduction = draw(st.sampled_from([None, None, None, "add", "add", "max"]))
    target = draw(st.sampled_from(sorted(ranks)))
    kind = AccessKind.UPDATE if reduction else AccessKind.WRITE
    accesses = [Access(kind, target, draw(_cell(iterators, ranks[target])))]
    for _ in range(draw(st.integers(0, 2))):
        tensor = draw(st.sampled_from(sorted(ranks)))
        cell: tuple[Affine | None, ...] = draw(_cell(iterators, ranks[tensor]))
        if cell and draw(st.integers(0, 9)) == 0:
            cell = (None, *cell[1:])
        accesses.append(Access(AccessKind.READ, tensor, cell))
    return Statement(name, iterators, domain, tuple(accesses), reduction)


@st.composite
def _cell(draw: st.DrawFn, iterators: tuple[str, ...], rank: int) -> tuple[Affine, ...]:
    return tuple(draw(_subscript(iterators)) for _ in range(rank))


@st.composite
def _subscript(draw: st.DrawFn, iterators: tuple[str, ...]) -> Affine:
    if not iterators or draw(st.integers(0, 7)) == 0:
        return constant(draw(st.integers(0, 1)))
    first = dim(draw(st.sampled_from(iterators)))
    match draw(st.integers(0, 9)):
        case 0:
            return first + dim(draw(st.sampled_from(iterators)))
        case 1:
            return first - dim(draw(st.sampled_from(iterators)))
        case 2:
            return first // 2
        case 3:
            return first % 2
        case 4:
            return first * -1 + 3
        case 5 | 6:
            return first + draw(st.integers(-1, 1))
        case _:
            return first


@dataclass(slots=True)
class _Left:
    """What of a statement is still to be scheduled below: its remaining time expressions, outermost first."""

    name: str
    times: list[Affine]


@st.composite
def trees(draw: st.DrawFn, scop: Scop) -> Tree:
    """A tree for a program: tiles, permutations, skews, shifts, reversals, fusions, distributions, splits, bindings."""
    left = [_Left(s.name, draw(_times(s.iterators))) for s in scop.statements]
    counter = [0]
    body = draw(_subtree(scop, left, counter, 3))
    if draw(st.integers(0, 7)) == 0:
        tensor = draw(st.sampled_from([t for t, _ in scop.tensors]))
        body = Allocate(tensor, Memory.LOCAL, body)
    return body


@st.composite
def _times(draw: st.DrawFn, iterators: tuple[str, ...]) -> list[Affine]:
    """Time expressions that together tell all instances apart (nearly always)."""
    base = [dim(i) for i in iterators]
    if len(base) > 1 and draw(st.integers(0, 2)) == 0:
        a, b = draw(st.permutations(range(len(base))))[:2]
        base[a] = base[a] + base[b] * draw(st.sampled_from([1, 1, 2, -1]))
    times: list[tuple[Affine, ...]] = []
    for time in base:
        match draw(st.integers(0, 9)):
            case 0 | 1 | 2:
                size = draw(st.integers(2, 3))
                shift = draw(st.sampled_from([0, 0, 1]))
                times.append(((time + shift) // size, (time + shift) % size))
            case 3:
                times.append((time * -1 + 3,))
            case 4:
                times.append((time + draw(st.integers(-2, 2)),))
            case _:
                times.append((time,))
    flat = [t for pair in times for t in pair]
    if draw(st.booleans()):
        flat = list(draw(st.permutations(flat)))
    if flat and draw(st.integers(0, 39)) == 0:
        flat.pop()  # breaks the contract
    return flat


@st.composite
def _subtree(draw: st.DrawFn, scop: Scop, left: list[_Left], counter: list[int], splits: int) -> Tree:
    if not any(s.times for s in left) and (len(left) == 1 or draw(st.booleans())):
        return Leaf()
    choice = draw(st.integers(0, 9))
    if len(left) > 1 and (choice < 4 or not any(s.times for s in left)):
        return draw(_distribution(scop, left, counter, splits))
    if choice == 4 and splits and any(scop.statement(s.name).iterators for s in left):
        return draw(_index_set_split(scop, left, counter, splits - 1))
    if choice == 5:
        return Mark("note", draw(_subtree(scop, left, counter, splits)))
    members = []
    for _ in range(draw(st.integers(1, max(1, min(3, max(len(s.times) for s in left)))))):
        exprs = tuple(
            (s.name, s.times[0] if s.times else constant(draw(st.sampled_from([0, 0, 1])))) for s in left
        )
        left = [_Left(s.name, s.times[1:]) for s in left]
        binding = draw(
            st.sampled_from(
                [Binding.SEQUENTIAL] * 9
                + [Binding.PARALLEL, Binding.PARALLEL, Binding.VECTOR, Binding.UNROLL]
            )
        )
        counter[0] += 1
        members.append(Member(f"loop.{counter[0]}", exprs, binding))
    child = draw(_subtree(scop, left, counter, splits))
    if draw(st.integers(0, 15)) == 0:
        child = Allocate(draw(st.sampled_from([t for t, _ in scop.tensors])), Memory.LOCAL, child)
    return Band(tuple(members), child)


@st.composite
def _distribution(draw: st.DrawFn, scop: Scop, left: list[_Left], counter: list[int], splits: int) -> Tree:
    order = list(draw(st.permutations(left))) if draw(st.integers(0, 2)) == 0 else left
    cut = draw(st.integers(1, len(order) - 1))
    groups = [order[:cut], order[cut:]]
    filters = []
    for group in groups:
        below = draw(_subtree(scop, group, counter, splits))
        filters.append(Filter(tuple(Selection(s.name) for s in group), below))
    return Sequence(tuple(filters))


@st.composite
def _index_set_split(draw: st.DrawFn, scop: Scop, left: list[_Left], counter: list[int], splits: int) -> Tree:
    """Some statement runs partly in one child and partly in another; the others run in either."""
    chosen = draw(st.sampled_from([s for s in left if scop.statement(s.name).iterators]))
    iterator = draw(st.sampled_from(scop.statement(chosen.name).iterators))
    bound = draw(st.integers(0, 3))
    first = [Selection(chosen.name, f"{iterator} <= {bound}")]
    second = [Selection(chosen.name, f"{iterator} > {bound}")]
    if draw(st.integers(0, 29)) == 0:
        second = [Selection(chosen.name, f"{iterator} > {bound + 1}")]  # breaks the contract
    one, two = [chosen], [chosen]
    for other in left:
        if other is not chosen:
            if draw(st.booleans()):
                one.append(other)
                first.append(Selection(other.name))
            else:
                two.append(other)
                second.append(Selection(other.name))
    parts = [(first, one), (second, two)]
    if draw(st.booleans()):
        parts.reverse()
    return Sequence(
        tuple(Filter(tuple(s), draw(_subtree(scop, group, counter, splits))) for s, group in parts)
    )
