"""Packed copies: a tile of a tensor copied into storage of its own, in the order the inner loops read it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from polydl.dsl.function import Axis, Computation, Function
from polydl.dsl.polyhedral import from_affine, loads, to_affine
from polydl.dsl.tensor import Layout, Tensor, TensorRole
from polydl.errors import NotApplicable
from polydl.ir.expr import Const, Expr, Load, Var, as_expr, transform
from polydl.poly.affine import Affine, FloorDiv, Mod, dim
from polydl.poly.tree import Allocate, Band, Filter, Leaf, Member, Selection, Sequence, Tree, statements_below
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import Path, at, band_of, normalise, replace_at, unique_name
from polydl.vocabulary import Memory

__all__ = ["Pack"]


@dataclass(frozen=True, slots=True)
class Pack(Transform):
    """Copy what one iteration of a loop reads of a tensor into fresh local storage, and read it from there.

    rewrite:  band(…, L, rest)  ->  band(…, L, allocate(P, sequence(copy P[L…, x] = T[x], rest reading P)))
    The copy is an ordinary computation whose domain includes the tile coordinates; `layout` (over T's dimensions) is
    the order of the copy. Its loops are named `P.x0`, `P.x1`, ….
    legal if: T is not written between the copy and its reads (the judge sees the copy as any other statement)
    """

    tensor: str
    loop: str
    statement: str
    layout: Layout | None = None
    memory: Memory = Memory.LOCAL
    name: str = ""

    def rewrite(self, schedule: Schedule) -> Rewritten:
        function, tree = schedule.function, schedule.tree
        reader = function.computation(self.statement)
        reads = [x for x in dict.fromkeys(loads(reader.value)) if x.buffer == self.tensor]
        if not reads:
            raise NotApplicable(f"{self.statement} does not read {self.tensor}")
        path, band, position = band_of(tree, self.loop)
        around = _members_around(tree, path) + list(band.members[: position + 1])
        if self.statement not in statements_below(band.child) and self.statement not in dict(
            band.members[position].exprs
        ):
            raise NotApplicable(f"{self.statement} is not inside loop {self.loop}")
        exprs = [m.expr(self.statement) for m in around]
        coordinates = [f"t{i}" for i in range(len(around))]
        ranges = schedule.axis_ranges(self.statement)
        window = _window(reads, exprs, coordinates, ranges, self)

        tensor = function.tensor(self.tensor)
        packed_name = _fresh(function, self.name or f"{self.tensor}_packed")
        prefix_axes = []
        for c, m in zip(coordinates, around, strict=True):
            span = schedule.member_range(m.name)
            if span is None:
                raise NotApplicable(f"the extent of loop {m.name} is symbolic", next="pack inside loops of constant extent")
            prefix_axes.append(Axis(c, as_expr(span[0]), as_expr(span[1] + 1)))
        copy, packed = _copy(tensor, packed_name, prefix_axes, window, self.layout)
        prefix = [from_affine(e) for e in exprs]

        def redirect(e: Expr) -> Expr:
            if isinstance(e, Load) and e.buffer == self.tensor:
                return Load(packed_name, (*prefix, *e.index), e.dtype)
            return e

        changed = replace(reader, value=transform(reader.value, redirect))
        computations: list[Computation] = []
        for c in function.computations:
            if c.name == reader.name:
                computations += [copy, changed]
            else:
                computations.append(c)
        new_function = replace(
            function, computations=tuple(computations), tensors=_insert_temporary(function.tensors, packed)
        )
        new_tree = _insert_copy(tree, path, position, around, copy, self.memory)
        return Rewritten(new_tree, new_function)


def _members_around(tree: Tree, path: Path) -> list[Member]:
    """The members of all bands on the way to `path`."""
    found: list[Member] = []
    for depth in range(len(path)):
        node = at(tree, path[:depth])
        if isinstance(node, Band):
            found += node.members
    return found


def _digits(iterator: str, exprs: list[Affine], names: list[str]) -> tuple[Affine, int] | None:
    """What the coordinates fix of an iterator: `iterator = base + [0, rest)`, rest 1 if wholly; None if nothing."""
    base, rest = Affine(()), 0
    remaining: Affine = dim(iterator)
    progress = True
    while progress and rest != 1:
        progress = False
        for e, name in zip(exprs, names, strict=True):
            if e == remaining:
                return base + dim(name), 1
            match e.terms:
                case ((FloorDiv(dividend, size), 1),) if e.constant == 0 and dividend == remaining:
                    base, rest, remaining = base + dim(name) * size, size, remaining % size
                    progress = True
                    break
                case _:
                    continue
    return (base, rest) if rest else None


def _window(
    reads: list[Load], exprs: list[Affine], names: list[str], ranges: dict[str, tuple[int, int]], t: Pack
) -> list[tuple[Affine, int]]:
    """Per tensor dimension, the lowest subscript read in one iteration (over the coordinates) and the extent."""
    windows: list[tuple[Affine, int]] = []
    for k in range(len(reads[0].index)):
        spans = []
        for read in reads:
            subscript = to_affine(read.index[k])
            if subscript is None:
                raise NotApplicable(f"{t.statement} reads {t.tensor} at a data-dependent place")
            low, width = Affine((), subscript.constant), 1
            for atom, c in subscript.terms:
                if isinstance(atom, FloorDiv | Mod) or c < 0:
                    raise NotApplicable(f"subscript {subscript} of {t.tensor} is not a sum of loop iterators")
                fixed = _digits(atom, exprs, names)
                if fixed is None:
                    if atom not in ranges:
                        raise NotApplicable(f"axis {atom} has a symbolic extent")
                    start, end = ranges[atom]
                    fixed = Affine((), start), end - start + 1
                low, width = low + fixed[0] * c, width + c * (fixed[1] - 1)
            spans.append((low, width))
        base = spans[0][0]
        offsets = [s[0] - base for s in spans]
        if not all(o.is_constant for o in offsets):
            raise NotApplicable(f"the reads of {t.tensor} in {t.statement} are not a constant distance apart")
        first = min(o.constant for o in offsets)
        last = max(o.constant + s[1] for o, s in zip(offsets, spans, strict=True))
        windows.append((base + first, last - first))
    return windows


def _copy(
    tensor: Tensor, name: str, prefix: list[Axis], window: list[tuple[Affine, int]], layout: Layout | None
) -> tuple[Computation, Tensor]:
    """The copying computation `P[t…, x…] = T[x…]` and the tensor P."""
    axes, conditions = [], []
    for k, (base, extent) in enumerate(window):
        x = Axis(f"x{k}", from_affine(base), from_affine(base + extent))
        axes.append(x)
        low, upper = tensor.origin[k], tensor.shape[k] + tensor.origin[k]
        conditions += [x.var >= low, x.var < (Const(upper.value, low.dtype) if isinstance(upper, Const) else upper)]
    counts = tuple(as_expr(int(a.upper.value) - int(a.lower.value)) for a in prefix)  # type: ignore[union-attr]
    shape = (*counts, *tensor.shape)
    lower = (*(a.lower for a in prefix), *tensor.origin)
    storage: Layout | None = None
    if layout is not None:
        dims = tuple(f"t{i}" for i in range(len(prefix)))
        storage = Layout((*dims, *layout.dims), (*(Var(d) for d in dims), *layout.index), (*counts, *layout.shape))
    packed = Tensor(name, tensor.dtype, shape, TensorRole.TEMPORARY, lower, storage)
    variables = (*(a.var for a in prefix), *(a.var for a in axes))
    value = tensor[tuple(a.var for a in axes)]
    return Computation(name, (*prefix, *axes), tuple(conditions), name, variables, value), packed


def _insert_copy(
    tree: Tree, path: Path, position: int, around: list[Member], copy: Computation, memory: Memory
) -> Tree:
    """The tree with the copy scheduled first in each iteration of the loop at `path`, `position`."""
    coordinates = [a.name for a in copy.axes[: len(around)]]
    exprs = {m.name: (copy.name, dim(c)) for m, c in zip(around, coordinates, strict=True)}

    def extended(m: Member) -> Member:
        return replace(m, exprs=(*m.exprs, exprs[m.name])) if m.name in exprs else m

    for depth in range(len(path) + 1):
        node = at(tree, path[:depth])
        if isinstance(node, Band):
            tree = replace_at(tree, path[:depth], Band(tuple(map(extended, node.members)), node.child))
        elif isinstance(node, Filter):
            selections = (*node.selections, Selection(copy.name))
            tree = replace_at(tree, path[:depth], Filter(selections, node.child))
    band = at(tree, path)
    if not isinstance(band, Band):
        raise NotApplicable("the loop has moved")
    inner = band.members[position + 1 :]
    rest = normalise(Band(inner, band.child)) if inner else band.child
    others = Filter(tuple(Selection(s) for s, _ in band.members[position].exprs if s != copy.name), rest)
    taken: list[str] = []
    loops = []
    for a in copy.axes[len(around) :]:
        taken.append(unique_name(tree, f"{copy.name}.{a.name}", taken))
        loops.append(Member(taken[-1], ((copy.name, dim(a.name)),)))
    filling = Filter((Selection(copy.name),), Band(tuple(loops), Leaf()))
    body = Allocate(copy.target, memory, Sequence((filling, others)))
    return replace_at(tree, path, Band(band.members[: position + 1], body))


def _fresh(function: Function, base: str) -> str:
    taken = {t.name for t in function.tensors} | {c.name for c in function.computations}
    candidate, n = base, 2
    while candidate in taken:
        candidate, n = f"{base}{n}", n + 1
    return candidate


def _insert_temporary(tensors: tuple[Tensor, ...], new: Tensor) -> tuple[Tensor, ...]:
    return (*(t for t in tensors if t.role is not TensorRole.OUTPUT), new, *(t for t in tensors if t.role is TensorRole.OUTPUT))
