"""From a schedule to loop IR: the AST that isl generates, with addresses, local storage and barriers made explicit.

Every subscript is written over the statement's iterators first, redirected through the tensor's layout, made relative
to the window that an `Allocate` keeps, and only then simplified with the ranges of the loops around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from polydl import poly
from polydl.codegen.ahead import prefetches
from polydl.codegen.instances import at_once, bounds_checks, guarded_loads
from polydl.config import verify_passes
from polydl.dsl.function import StatementDef
from polydl.dsl.polyhedral import from_affine, to_affine
from polydl.dsl.tensor import Tensor, TensorRole
from polydl.dtypes import INDEX
from polydl.errors import InvalidProgram
from polydl.ir.expr import (
    Binary,
    Const,
    Expr,
    Load,
    Select,
    Unary,
    Var,
    and_,
    as_expr,
    minimum,
    substitute,
    transform,
)
from polydl.ir.kernel import (
    Alloc,
    Barrier,
    Block,
    Buffer,
    Check,
    For,
    If,
    Kernel,
    Param,
    Role,
    Stmt,
    Store,
)
from polydl.ir.rewrite import block, walk_stmts
from polydl.ir.simplify import simplify_kernel
from polydl.ir.verify import verify
from polydl.poly import Allocate, Ast, BlockNode, CallNode, ForNode, IfNode, Member, Node, Op, Path
from polydl.poly.affine import Affine
from polydl.poly.model import Access, Box
from polydl.scheduler.prefetch import prefetched
from polydl.scheduler.schedule import Schedule
from polydl.scheduler.tensorise import tensorised
from polydl.vocabulary import Binding, Memory

__all__ = ["lower"]

_LINE: Final = 64  # bytes
_SET_STRIDE: Final = (
    2048  # bytes: rows of a local buffer this far apart would crowd into a few sets of the cache
)

_ROLES: Final = {
    TensorRole.INPUT: Role.INPUT,
    TensorRole.CONSTANT: Role.CONSTANT,
    TensorRole.OUTPUT: Role.OUTPUT,
    TensorRole.INOUT: Role.INOUT,
    TensorRole.TEMPORARY: Role.WORKSPACE,
}


def lower(schedule: Schedule, name: str | None = None) -> Kernel:
    """The kernel that runs `schedule`; its parameters are the function's tensors that are not allocated locally."""
    return _Lowering(schedule).kernel(name or schedule.function.name)


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of a tensor's storage that one arrival at an `Allocate` touches: per dimension base and extent."""

    bases: tuple[Affine, ...]  # over the schedule's coordinates, called as poly.iterator_names says
    extents: tuple[int, ...]


@dataclass
class _Lowering:
    schedule: Schedule
    paths: tuple[Path, ...] = field(init=False)
    definitions: dict[str, StatementDef] = field(init=False)
    tensors: dict[str, Tensor] = field(init=False)
    windows: dict[str, _Window] = field(init=False, default_factory=dict)
    checks: dict[str, int] = field(init=False, default_factory=dict)
    inside_parallel: bool = field(init=False, default=False)
    steps: dict[str, int] = field(init=False, default_factory=dict)  # of the loops around
    names: dict[str, Expr] = field(
        init=False, default_factory=dict
    )  # isl iterator -> its value, of the loops around

    def __post_init__(self) -> None:
        s = self.schedule
        self.paths = poly.paths(s.scop, s.tree)
        self.definitions = {d.name: d for d in s.function.statements()}
        self.tensors = {t.name: t for t in s.function.tensors}
        for node in poly.walk(s.tree):
            if isinstance(node, Allocate):
                self.windows[node.tensor] = self._window(node.tensor)

    def kernel(self, name: str) -> Kernel:
        """The whole kernel, simplified."""
        s = self.schedule
        body = self._node(poly.generate(s.scop, s.tree), 0, ()) if self.paths else Block(())
        params = tuple(
            Param(Buffer(t.name, t.dtype, t.storage.shape), _ROLES[t.role])
            for t in s.function.tensors
            if t.name not in self.windows
        )
        kernel = simplify_kernel(Kernel(name, s.function.sizes, params, body))
        if verify_passes():
            verify(kernel)
        return kernel

    def _window(self, tensor: str) -> _Window:
        """The window of an allocated tensor, computed on its storage subscripts."""
        scop = self.schedule.scop
        storage = self.tensors[tensor].storage

        def stored(a: Access) -> Access:
            if a.tensor != tensor:
                return a
            index = [None if x is None else from_affine(x) for x in a.subscripts]
            if any(x is None for x in index):
                raise InvalidProgram(f"local tensor {tensor} is read at a data-dependent place")
            return replace(
                a, subscripts=tuple(to_affine(e) for e in storage.apply([x for x in index if x is not None]))
            )

        statements = tuple(replace(st, accesses=tuple(map(stored, st.accesses))) for st in scop.statements)
        upper = tuple(to_affine(x) or Affine(()) for x in storage.shape)
        box = Box(tuple(Affine(()) for _ in upper), upper)
        tensors = tuple((n, box if n == tensor else b) for n, b in scop.tensors)
        stored_scop = replace(scop, statements=statements, tensors=tensors)
        found = poly.footprint(stored_scop, self.schedule.tree, tensor)
        return _Window(found.bases, found.extents)

    # -- control structure ---------------------------------------------------------------------------------------

    def _node(self, node: Node, depth: int, placed: tuple[str, ...]) -> Stmt:
        """`node`, inside loops of dimensions below `depth`, with the allocations `placed` already around it."""
        here = [a for a in self._allocations(node) if a.tensor not in placed]
        inner = self._structure(node, depth, (*placed, *(a.tensor for a in here)))
        return self._around(here, inner)

    def _around(self, allocations: Iterable[Allocate], inner: Stmt) -> Stmt:
        for a in allocations:
            inner = Alloc(self._local_buffer(a), inner)
        return inner

    def _sequence(self, children: Sequence[Node], depth: int, placed: tuple[str, ...]) -> Stmt:
        """Nodes one after the other; neighbours of one arrival at an allocation share its storage."""
        groups: list[tuple[tuple[Allocate, ...], list[Node]]] = []
        last: tuple[object, ...] = ()
        for child in children:
            here = tuple(a for a in self._allocations(child) if a.tensor not in placed)
            arrival = tuple(self._arrival(child, a.tensor) for a in here)
            outside = tuple(x[0] for x in arrival)
            later = bool(groups) and groups[-1][0] == here and outside == tuple(x[0] for x in last)  # type: ignore[index]
            if here and later and all(x[1] < y[1] for x, y in zip(last, arrival, strict=True)):  # type: ignore[index]
                groups[-1][1].append(child)
            else:
                groups.append((here, [child]))
            last = arrival
        parts = []
        for here, nodes in groups:
            inside = (*placed, *(a.tensor for a in here))
            inner = self._joined(nodes, [self._node(n, depth, inside) for n in nodes])
            parts.append(self._around(here, inner))
        return self._joined([BlockNode(tuple(nodes)) for _, nodes in groups], parts)

    def _joined(self, nodes: Sequence[Node], stmts: Sequence[Stmt]) -> Stmt:
        """The statements in order; in a parallel region with barriers between those that depend on each other."""
        done: list[Stmt] = []
        since: set[str] = set()  # statements that have run since the last barrier
        region = not self.inside_parallel and any(map(_is_parallel, stmts))
        for node, stmt in zip(nodes, stmts, strict=True):
            names = {c.statement for c in _calls(node)}
            if region and self._depend(since, names):
                done.append(Barrier())
                since = set()
            done.append(stmt)
            since |= names
        return done[0] if len(done) == 1 else Block(tuple(done))

    def _depend(self, first: set[str], second: set[str]) -> bool:
        """Whether some dependence connects the two sets of statements."""
        return any(
            (d.source in first and d.sink in second) or (d.source in second and d.sink in first)
            for d in self.schedule.dependences
        )

    def _arrival(self, node: Node, tensor: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The children taken at sequences outside and inside of the allocation of `tensor`, on the way to `node`."""
        path = self.paths[next(iter(_calls(node))).path]
        depth = next(d for d, a in path.allocations if a.tensor == tensor)
        outside, inside = path.coordinates[:depth], path.coordinates[depth:]
        return (
            tuple(c.index for c in outside if isinstance(c, poly.Position)),
            tuple(c.index for c in inside if isinstance(c, poly.Position)),
        )

    def _allocations(self, node: Node) -> list[Allocate]:
        """The allocations inside of which all of `node` is: every loop still to come in it is further in."""
        first = min((n.dim for n in _loops(node)), default=None)
        found: dict[str, Allocate] = {}
        for call in _calls(node):
            for outside, a in self.paths[call.path].allocations:
                if first is None or outside <= first:
                    found[a.tensor] = a
        return list(found.values())

    def _structure(self, node: Node, depth: int, placed: tuple[str, ...]) -> Stmt:
        match node:
            case BlockNode(children=children):
                return self._sequence(children, depth, placed)
            case ForNode(dim=d, lower=lower, upper=upper, step=step, body=body):
                member = self._member(node)
                first, end, length = self._ast(lower), self._ast(upper), None
                outer = dict(self.names), self.inside_parallel
                self.names[node.iterator] = Var(member.name)
                guard: Expr | None = None
                if member.binding in (Binding.VECTOR, Binding.UNROLL):
                    first, end, step, length, guard = self._spelled(member, node.iterator, first, end, step)
                self.inside_parallel |= member.binding is Binding.PARALLEL
                self.steps[member.name] = step
                inner = self._node(body, d + 1, placed)
                inner = inner if guard is None else If(guard, inner)
                self.names, self.inside_parallel = outer
                names = {c.statement for c in _calls(body)}
                if (
                    not self.inside_parallel
                    and _is_parallel(inner)
                    and member.binding is not Binding.PARALLEL
                ):
                    inner = Block((inner, Barrier())) if self._depend(names, names) else inner
                owned = self._owned(body, d) if member.binding in (Binding.SEQUENTIAL, Binding.VECTOR) else ()
                spelling = tensorised(self.paths[next(iter(_calls(body))).path]).get(d, "")
                return For(member.name, first, end, inner, member.binding, step, length, owned, spelling)
            case IfNode(cond=cond, then=then, otherwise=otherwise):
                other = None if otherwise is None else self._node(otherwise, depth, placed)
                return If(self._ast(cond), self._node(then, depth, placed), other)
            case CallNode():
                return self._call(node)
            case _:
                assert_never(node)

    def _owned(self, body: Node, depth: int) -> tuple[str, ...]:
        """The tensor that an innermost loop of dimension `depth` updates and, at other places, reads."""
        listed = {c.path for c in _calls(body)}
        if len(listed) != 1 or any(self._member(n).binding is Binding.SEQUENTIAL for n in _loops(body)):
            return ()
        path = self.paths[listed.pop()]
        s = self.definitions[path.statement]
        reads = any(load.buffer == s.target for load, _ in guarded_loads(s.value))
        if not isinstance(s.op, str) or not reads or s.target in self.windows:
            return ()
        alone = poly.undisturbed(self.schedule.scop, path, depth, self.schedule.dependences, s.target)
        return (s.target,) if alone else ()

    def _spelled(
        self, member: Member, iterator: str, first: Expr, end: Expr, step: int
    ) -> tuple[Expr, Expr, int, int | None, Expr | None]:
        """Bounds, step, planned length and guard of a vector or unrolled loop: it counts from 0 in steps of 1.

        Where the first iteration is not known, all that are possible are spelled, each under a guard, so that registers
        are addressed by constants.
        """
        span = self.schedule.member_range(member.name)
        plain = member.binding is Binding.UNROLL
        if first == as_expr(0) and step == 1:
            if plain and span is not None and not isinstance(end, Const):
                end = minimum(end, span[1] + 1)  # which the loops outside may imply, but only together
            return first, end, 1, None if plain or span is None else span[1] + 1, None
        if isinstance(first, Const) or span is None or step != 1:
            length = None if plain or span is None else (span[1] - span[0]) // step + 1
            self.names[iterator] = first + Var(member.name) * step
            return as_expr(0), (end - first + (step - 1)) // step, 1, length, None
        coordinate = Var(member.name) + span[0] if span[0] else Var(member.name)
        self.names[iterator] = coordinate
        count = span[1] - span[0] + 1
        guard = and_(coordinate >= first, coordinate < end)
        return as_expr(0), as_expr(count), 1, None if plain else count, guard

    def _member(self, node: ForNode) -> Member:
        call = next(iter(_calls(node)))
        coordinate = self.paths[call.path].coordinates[node.dim]
        if not isinstance(coordinate, Member):
            raise InvalidProgram("a loop over the positions of a sequence", where=str(coordinate))
        return coordinate

    def _ast(self, e: Ast) -> Expr:
        match e:
            case int():
                return as_expr(e)
            case str():
                return self.names.get(e, Var(e))
            case Op(op="neg", args=(a,)):
                return Unary("neg", self._ast(a))
            case Op(op="select", args=(c, a, b)):
                return Select(self._ast(c), self._ast(a), self._ast(b))
            case Op(op=op, args=args):
                first, *rest = (self._ast(a) for a in args)
                for x in rest:
                    first = Binary(op, first, x)
                return first
            case _:
                assert_never(e)

    # -- statements ----------------------------------------------------------------------------------------------

    def _call(self, node: CallNode) -> Stmt:
        """One statement instance: `target[index] = value` with storage addresses."""
        definition = self.definitions[node.statement]
        path = self.paths[node.path]
        bindings = dict(zip((a.name for a in definition.axes), map(self._ast, node.arguments), strict=True))
        names = poly.iterator_names(self.schedule.scop, len(path.exprs))
        # A loop that runs is its own coordinate; the others are what the instance makes of them.
        coordinates = [
            self.names[n] if n in self.names else substitute(from_affine(e), bindings)
            for n, e in zip(names, path.exprs, strict=True)
        ]

        def address(name: str, index: Sequence[Expr]) -> tuple[Expr, ...]:
            subscripts = self.tensors[name].storage.apply(index)
            window = self.windows.get(name)
            if window is None:
                return subscripts
            values: dict[str, Expr] = dict(zip(names, coordinates, strict=True))
            return tuple(
                as_expr(0) if extent == 1 else s - substitute(from_affine(base), values)
                for s, base, extent in zip(subscripts, window.bases, window.extents, strict=True)
            )

        def access(e: Expr) -> Expr:
            return Load(e.buffer, address(e.buffer, e.index), e.dtype) if isinstance(e, Load) else e

        guards = self._bounds_checks(definition)
        stores = []
        for place in definition.stores():
            index = address(place.target, [substitute(i, bindings) for i in place.index])
            stores.append(Store(place.target, index, transform(substitute(place.value, bindings), access)))
        checks = [replace(g, cond=transform(substitute(g.cond, bindings), access)) for g in guards]
        shapes = {t.name: t.storage.shape for t in self.schedule.function.tensors}
        ahead = prefetches(stores, prefetched(path), shapes, self.steps)
        return block([*checks, *ahead, at_once(stores)])

    def _bounds_checks(self, definition: StatementDef) -> list[Check]:
        """Run-time checks of the subscripts in a statement that are not affine, over its iterators."""
        found: dict[Expr, Check] = {}
        for load, when in (x for value in definition.values for x in guarded_loads(value)):
            for inside, message in bounds_checks(definition, self.tensors, load, when):
                code = self.checks.setdefault(message, len(self.checks) + 1)
                found.setdefault(inside, Check(inside, code, message))
        return list(found.values())

    def _local_buffer(self, a: Allocate) -> Buffer:
        t = self.tensors[a.tensor]
        extents = list(self.windows[a.tensor].extents)
        if a.memory is Memory.LOCAL and len(extents) > 1 and extents[-1] * t.dtype.bytes % _SET_STRIDE == 0:
            extents[-1] += _LINE // t.dtype.bytes
        return Buffer(t.name, t.dtype, tuple(Const(e, INDEX) for e in extents), a.memory)


def _loops(node: Node) -> Iterable[ForNode]:
    match node:
        case ForNode(body=body):
            yield node
            yield from _loops(body)
        case BlockNode(children=children):
            for c in children:
                yield from _loops(c)
        case IfNode(then=then, otherwise=otherwise):
            yield from _loops(then)
            if otherwise is not None:
                yield from _loops(otherwise)
        case CallNode():
            return
        case _:
            assert_never(node)


def _is_parallel(s: Stmt) -> bool:
    return any(isinstance(x, For) and x.binding is Binding.PARALLEL for x in walk_stmts(s))


def _calls(node: Node) -> Iterable[CallNode]:
    match node:
        case ForNode(body=body):
            yield from _calls(body)
        case BlockNode(children=children):
            for c in children:
                yield from _calls(c)
        case IfNode(then=then, otherwise=otherwise):
            yield from _calls(then)
            if otherwise is not None:
                yield from _calls(otherwise)
        case CallNode():
            yield node
        case _:
            assert_never(node)
