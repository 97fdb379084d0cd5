"""Random small programs: in-place updates, triangular domains, strides, several statements, reductions, any order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from polydl.dsl import Function, TensorRole
from polydl.dsl.capture_tree import Loop, Node, reduced_axes, sorted_axes, tree_of
from polydl.dsl.function import Axis, Computation, Reduction
from polydl.dsl.tensor import Tensor
from polydl.dtypes import F32
from polydl.ir.expr import Binary, Const, Expr, Load, Var, as_expr, maximum, walk
from polydl.scheduler import Reorder, Schedule, Split, Transform
from polydl.scheduler.instructions import Instruction, declare

__all__ = ["DOT", "KINDS", "Program", "kinds", "pipeline", "products", "random_program", "sums"]

LOW, EXTENT = -12, 40  # every subscript below stays inside
MOST = 4  # of the symbolic size, so that all its values can be tried
NAMES = ("i", "j", "k")


@dataclass(frozen=True)
class Program:
    """A function with the sizes to try it at, and whether its reductions may be reassociated."""

    function: Function
    sizes: tuple[dict[str, int], ...]
    reassociate: bool

    def schedule(self) -> Schedule:
        return Schedule.of(self.function, reassociate=self.reassociate)


def random_program(r: Random) -> Program:
    """A program of at most a few hundred statement instances."""
    return _tried(r, r.choice((_pipeline, _stores, _stores, _loops, _loops))(r))


def pipeline(r: Random) -> Program:
    """Arrays computed one after the other."""
    return _tried(r, _pipeline(r))


def _tried(r: Random, function: Function) -> Program:
    sizes = tuple({"N": n} for n in range(1, MOST + 1)) if function.sizes else ({},)
    return Program(function, sizes, r.random() < 0.7)


KINDS: Final = (
    "in place",
    "triangular",
    "strided",
    "several statements",
    "reduction",
    "symbolic",
    "loops as written",
)


def kinds(function: Function) -> set[str]:
    """What is in a program, of `KINDS`."""
    found = {"symbolic"} if function.sizes else set()
    if function.order is not None:
        found.add("loops as written")
    if len(function.computations) > 1:
        found.add("several statements")
    for c in function.computations:
        read = [x for x in walk(c.value) if isinstance(x, Load)]
        if any(x.buffer == c.target for x in read):
            found.add("in place")
        if c.reduction is not None:
            found.add("reduction")
        names = {a.name for a in c.axes}
        if any(
            isinstance(v, Var) and v.name in names for a in c.axes for v in (*walk(a.lower), *walk(a.upper))
        ):
            found.add("triangular")
        subscripts = [e for index in (c.index, *(x.index for x in read)) for i in index for e in walk(i)]
        if any(isinstance(e, Binary) and e.op in ("mul", "floordiv", "mod") for e in subscripts):
            found.add("strided")
    return found


# ---- products for an instruction -----------------------------------------------------------------------------------


DOT = "dot2x2"  # the instruction for tests: c[j] += sum of a[t] * b[t, j]


def _dot() -> Instruction:
    two, j, t = as_expr(2), Var("j"), Var("t")
    a = Tensor("a", F32, (two,), TensorRole.INPUT)
    b = Tensor("b", F32, (two, two), TensorRole.INPUT)
    c = Tensor("c", F32, (two,), TensorRole.INOUT)
    axes = (Axis("j", as_expr(0), two), Axis("t", as_expr(0), two))
    dot = Computation(DOT, axes, (), "c", (j,), a[t] * b[t, j], Reduction("add", ("t",), None))
    return Instruction(DOT, Function(DOT, (), (a, b, c), (dot,)))


def products(r: Random) -> tuple[Program, tuple[Transform, ...]]:
    """A product with two columns, and what makes its innermost loops the instruction."""
    declare(_dot())
    n, depth = r.randint(1, 3), r.randint(2, 5)
    x = _wide("x", 1, TensorRole.INPUT)
    w = Tensor("w", F32, (as_expr(8), as_expr(2)), TensorRole.INPUT)
    y = Tensor("y", F32, (as_expr(8), as_expr(2)), TensorRole.INOUT)
    i, j, k = Var("i"), Var("j"), Var("k")
    axes = (
        Axis("i", as_expr(0), as_expr(n)),
        Axis("j", as_expr(0), as_expr(2)),
        Axis("k", as_expr(0), as_expr(depth)),
    )
    row = r.choice((i, i, i + 1))
    c = Computation(
        "s0", axes, (), "y", (row, j), x[i * r.choice((0, 1)) + k] * w[k, j], Reduction("add", ("k",), None)
    )
    function = _function("products", [x, w, y], [c])
    order = r.choice((("i", "k.o", "j", "k.i"), ("k.o", "i", "j", "k.i")))
    return Program(function, ({},), True), (Split("k", 2), Reorder(order))


def sums(r: Random) -> Program:
    """Sums over one or two axes into places that the others choose, in boxes and triangles, some without a term."""
    symbolic = r.random() < 0.3
    tensors = [
        _wide("x", 1, TensorRole.INPUT),
        _wide("u", 1, TensorRole.TEMPORARY),
        _wide("y", 2, TensorRole.INOUT),
    ]
    computations: list[Computation] = []
    for s in range(r.choice((1, 1, 2))):
        kept = [
            Axis("i", as_expr(0), Var("N") if symbolic and r.random() < 0.5 else as_expr(r.randint(1, 4)))
        ]
        if r.random() < 0.4:
            kept.append(
                Axis("j", as_expr(0), as_expr(r.randint(1, 3)) if r.random() < 0.6 else kept[0].var + 1)
            )
        high: Expr = Var("N") if symbolic and r.random() < 0.7 else as_expr(r.randint(1, 4))
        shape = r.random()
        low = kept[-1].var + r.choice((0, 1)) if shape < 0.25 else as_expr(0)
        reduced = [Axis("k", low, kept[-1].var + r.choice((0, 1)) if shape > 0.75 else high)]
        if r.random() < 0.3:
            reduced.append(Axis("l", as_expr(0), as_expr(2)))
        variables = [a.var for a in (*kept, *reduced)]
        index = (kept[0].var + r.choice((-1, 0, 1)), kept[-1].var if len(kept) > 1 else as_expr(0))
        given = tensors[: 1 + s]
        value: Expr = r.choice(given)[r.choice(variables) + r.choice((-1, 0, 1)),]
        value = Binary("sub", value, r.choice(given)[r.choice(variables),])
        target = "u" if s == 0 and r.random() < 0.4 else "y"
        reduction = Reduction(r.choice(("add", "add", "max")), tuple(a.name for a in reduced), None)
        computations.append(
            Computation(
                f"s{s}", (*kept, *reduced), (), target, index[: 1 if target == "u" else 2], value, reduction
            )
        )
    sizes = tuple({"N": n} for n in range(1, MOST + 1)) if symbolic else ({},)
    return Program(_function("sums", tensors, computations, None, symbolic), sizes, True)


def _wide(name: str, rank: int, role: TensorRole) -> Tensor:
    return Tensor(name, F32, (as_expr(EXTENT),) * rank, role, (as_expr(LOW),) * rank)


def _function(
    name: str,
    tensors: list[Tensor],
    computations: list[Computation],
    order: object = None,
    symbolic: bool = False,
) -> Function:
    """The function, with results last."""
    results = (TensorRole.OUTPUT, TensorRole.INOUT)
    sorted_tensors = sorted(tensors, key=lambda t: t.role in results)
    sizes, conditions = (("N",), (Var("N") >= 1, Var("N") <= MOST)) if symbolic else ((), ())
    return Function(name, sizes, tuple(sorted_tensors), tuple(computations), conditions, order)  # type: ignore[arg-type]


# ---- producers and consumers -----------------------------------------------------------------------------------------


def _pipeline(r: Random) -> Function:
    """Whole arrays computed one after the other: neighbours, transposed reads, strides, sums, updates in place."""
    rank, n = r.choice((1, 2, 2)), r.randint(2, 5)
    symbolic = r.random() < 0.2
    extent: Expr = Var("N") if symbolic else as_expr(n)
    given = _wide("x", rank, TensorRole.INPUT)
    tensors, known = [given], [given]
    computations: list[Computation] = []
    count = r.randint(2, 4)
    for s in range(count):
        axes = tuple(Axis(NAMES[d], as_expr(0), extent) for d in range(rank))
        variables = tuple(a.var for a in axes)
        last = s == count - 1
        role = TensorRole.OUTPUT if last or r.random() < 0.15 else TensorRole.TEMPORARY
        target = Tensor(f"t{s}", F32, (extent,) * rank, role)
        conditions: tuple[Expr, ...] = ()

        def read(variables: tuple[Expr, ...] = variables) -> Expr:
            source = r.choice(known[-2:])
            return source[_near(r, source, variables, extent)]

        value: Expr = read() + read() if r.random() < 0.7 else read()
        reduction = None
        if r.random() < 0.3:
            axis = Axis("q", as_expr(0), extent if r.random() < 0.5 else as_expr(r.randint(1, 3)))
            if rank == 2 and r.random() < 0.3:
                axis = Axis("q", as_expr(0), Var("i") + 1)
            wide = [t for t in known if t.lower]
            source = r.choice(wide)
            index = [r.choice((axis.var, v, v + axis.var)) for v in variables]
            axes = (*axes, axis)
            value = source[tuple(index[: source.rank])]
            op = r.choice(("add", "max"))
            reduction = Reduction(op, ("q",), Const(0.0, F32))
        elif known[-1].role is TensorRole.TEMPORARY and not known[-1].lower and r.random() < 0.25:
            target = known[-1]  # updated in place
            if r.random() < 0.5:
                conditions = (variables[0] >= 1,)
        computations.append(Computation(f"s{s}", axes, conditions, target.name, variables, value, reduction))
        if target not in tensors:
            tensors.append(target)
            known.append(target)
    if all(t.role is not TensorRole.OUTPUT for t in tensors):
        tensors[-1] = replace(tensors[-1], role=TensorRole.OUTPUT)
    return _function("pipeline", tensors, computations, None, symbolic)


def _near(r: Random, source: Tensor, variables: tuple[Expr, ...], extent: Expr) -> tuple[Expr, ...]:
    """A place near a point: anything in a wide tensor, whole points or their transposition in a tight one."""
    index = list(variables)
    if len(index) == 2 and r.random() < 0.2:
        index.reverse()
    if source.lower:
        return tuple(v * r.choice((1, 1, 1, 2)) + r.choice((-1, 0, 0, 1)) for v in index[: source.rank])
    if r.random() < 0.4:
        d = r.randrange(len(index))
        index[d] = extent - 1 - index[d] if r.random() < 0.3 else maximum_of_zero(r, index[d])
    return tuple(index[: source.rank])


def maximum_of_zero(r: Random, v: Expr) -> Expr:
    """A subscript inside a tight tensor: the point itself, or every second one."""
    return v // 2 if r.random() < 0.5 else v - v % 2


# ---- several stores into the same tensors --------------------------------------------------------------------------


def _stores(r: Random) -> Function:
    """Statements over boxes and triangles that store to and read from a few tensors at affine places."""
    symbolic = r.random() < 0.25
    tensors = [
        _wide("x", 1, TensorRole.INPUT),
        _wide("t", r.randint(0, 2), TensorRole.TEMPORARY),
        _wide("u", r.randint(1, 2), TensorRole.TEMPORARY),
        _wide("y", r.randint(1, 2), TensorRole.OUTPUT),
    ]
    computations = [_statement(r, f"s{k}", tensors, symbolic) for k in range(r.randint(1, 3))]
    return _function("stores", tensors, computations, None, symbolic)


def _statement(r: Random, name: str, tensors: list[Tensor], symbolic: bool) -> Computation:
    axes: list[Axis] = []
    for d in range(r.choice((1, 2, 2, 2, 3))):
        low: Expr = as_expr(0)
        high: Expr = as_expr(r.randint(2, 4) if d < 2 else 2)
        if axes and r.random() < 0.3:
            other = r.choice(axes).var
            low, high = (other, high) if r.random() < 0.4 else (low, other + 1)
        elif symbolic and r.random() < 0.5:
            high = Var("N")
        axes.append(Axis(NAMES[d], low, high))
    variables = [a.var for a in axes]
    conditions: tuple[Expr, ...] = ()
    if len(axes) > 1 and r.random() < 0.15:
        conditions = (variables[0] + variables[1] <= r.randint(1, 4),)
    target = r.choice(tensors[1:])
    index = tuple(_subscript(r, variables) for _ in range(target.rank))
    value = _value(r, tensors, variables)
    if target.rank and r.random() < 0.6:  # in place: from a neighbour
        value = Binary("sub", value, target[tuple(e + r.choice((-1, -1, 0, 1)) for e in index)])
    reduction = None
    if r.random() < 0.3:
        reduced = reduced_axes(axes, index)
        if reduced:
            init = Const(0.0, F32) if r.random() < 0.4 and _box(axes, index, reduced, conditions) else None
            reduction = Reduction(r.choice(("add", "max")), reduced, init)
            return Computation(
                name, sorted_axes(tuple(axes), reduced), conditions, target.name, index, value, reduction
            )
    return Computation(name, tuple(axes), conditions, target.name, index, value, reduction)


def _box(
    axes: list[Axis], index: tuple[Expr, ...], reduced: tuple[str, ...], conditions: tuple[Expr, ...]
) -> bool:
    """Whether the remaining axes have bounds of their own and alone choose the cell: it can have an initial value."""
    bounds = [e for a in axes if a.name not in reduced for e in (a.lower, a.upper)]
    used = {v.name for e in (*bounds, *index) for v in walk(e) if isinstance(v, Var)}
    return not used & set(reduced) and not conditions


def _subscript(r: Random, variables: list[Var]) -> Expr:
    if not variables or r.random() < 0.08:
        return as_expr(r.randint(0, 1))
    v: Expr = r.choice(variables)
    match r.randrange(10):
        case 0:
            return v + r.choice(variables)
        case 1:
            return v * 2 + r.randint(-1, 1)
        case 2:
            return v // 2
        case 3:
            return as_expr(3) - v
        case 4 | 5:
            return v + r.choice((-1, 1))
        case _:
            return v


def _value(r: Random, tensors: list[Tensor], variables: list[Var]) -> Expr:
    parts: list[Expr] = []
    for _ in range(r.randint(1, 2)):
        t = r.choice((*tensors, *tensors[1:], *tensors[1:]))
        parts.append(t[tuple(_subscript(r, variables) for _ in range(t.rank))])
    value = parts[0]
    for p in parts[1:]:
        value = Binary("sub", value, p) if r.random() < 0.5 else maximum(value, p)
    return value


# ---- loops as written ----------------------------------------------------------------------------------------------


@dataclass
class _Writer:
    """Writes loops with statements anywhere in them, scalars and all, as a program with an order of its own."""

    r: Random
    symbolic: bool
    tensors: list[Tensor]
    computations: list[Computation] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    scaled: dict[str, Expr] = field(default_factory=dict)  # iterator -> its value, with strides

    def block(self, depth: int) -> list[Node]:
        nodes: list[Node] = []
        for _ in range(self.r.choice((1, 2, 2, 3))):
            if len(self.computations) >= 5:
                break
            if depth < 3 and self.r.random() < (0.8 if depth == 0 else 0.35):
                nodes.append(self.loop(depth))
            elif depth or self.r.random() < 0.5:
                nodes.append(self.statement())
        return nodes or [self.statement()]

    def loop(self, depth: int) -> Loop:
        name = NAMES[depth]
        low: Expr = as_expr(0)
        high: Expr = as_expr(self.r.randint(2, 4) if depth < 2 else 2)
        if self.loops and self.r.random() < 0.25:
            outer = self.loops[-1].axis.var
            low, high = (outer, high) if self.r.random() < 0.4 else (low, outer + 1)
        elif self.symbolic and self.r.random() < 0.5:
            high = Var("N")
        loop = Loop(Axis(name, low, high), (), self.r.choice((1, 1, 1, -1)))
        self.loops.append(loop)
        self.scaled[name] = Var(name) * 2 if self.r.random() < 0.2 else Var(name)
        loop.body.extend(self.block(depth + 1))
        self.loops.pop()
        del self.scaled[name]
        return loop

    def statement(self) -> str:
        r, name = self.r, f"s{len(self.computations)}"
        axes = tuple(loop.axis for loop in self.loops)
        values = list(self.scaled.values())
        target = r.choice(self.tensors[1:])
        index = tuple(self.place(values) for _ in range(target.rank))
        source = r.choice((*self.tensors, *self.tensors[1:]))
        value: Expr = source[tuple(self.place(values) for _ in range(source.rank))]
        if r.random() < 0.4:
            scalar = next(t for t in self.tensors if t.name == "t")
            value = Binary("sub", value, scalar[tuple(self.place(values) for _ in range(scalar.rank))])
        if target.rank and r.random() < 0.35:
            value = Binary("sub", value, target[tuple(e + r.choice((-1, -1, 0, 1)) for e in index)])
        reduced = reduced_axes(axes, index)
        reduction = None
        if axes and reduced and r.random() < 0.35:
            reduction = Reduction(r.choice(("add", "max")), reduced, None)
            axes = sorted_axes(axes, reduced)
        self.computations.append(Computation(name, axes, (), target.name, index, value, reduction))
        return name

    def place(self, values: list[Expr]) -> Expr:
        r = self.r
        if not values or r.random() < 0.1:
            return as_expr(r.randint(0, 1))
        v = r.choice(values)
        match r.randrange(8):
            case 0:
                return v + r.choice(values)
            case 1 | 2:
                return v + r.choice((-1, 1))
            case 3:
                return as_expr(3) - v
            case _:
                return v


def _loops(r: Random) -> Function:
    tensors = [
        _wide("x", 1, TensorRole.INPUT),
        _wide("t", r.choice((0, 0, 1)), TensorRole.TEMPORARY),
        _wide("u", r.choice((1, 2)), TensorRole.TEMPORARY),
        _wide("y", r.choice((1, 2)), TensorRole.INOUT),
    ]
    symbolic = r.random() < 0.25
    writer = _Writer(r, symbolic, tensors)
    nodes = writer.block(0)
    return _function("loops", tensors, writer.computations, tree_of(nodes), symbolic)
