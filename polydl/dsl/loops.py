"""Plain Python loops as a front end: a static control part captured from the source of a function.

    def trisolv(L: "f64[N, N]", x: "f64[N]", b: "f64[N]"):
        for i in range(N):
            x[i] = b[i]
            for j in range(i):
                x[i] -= L[i, j] * x[j]
            x[i] /= L[i, i]

    function = capture(trisolv).function

What is captured: `for` over `range` with bounds affine in outer iterators and sizes (`min` and `max` of such at the
inner side, any constant step but 0), `if` over affine conditions, assignments to array elements and to scalars, and
`assert` of affine conditions on the sizes, which the program then takes for granted. The original order of the
statement instances is Python's; it is the function's explicit `order`.

Numbers are numpy's: integers wrap, and `min` and `max` give nan where an operand is nan.

Updates by an associative operator (`+=`, `-=`, `*=`, and `x = min(x, …)`) of a cell that some loop around does not
choose are reductions: their instances may be reordered where the policy allows reassociation.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from polydl.dsl.capture import (
    ArrayParameter,
    Parameter,
    SizeParameter,
    Source,
    outside,
    read_parameters,
)
from polydl.dsl.capture_arithmetic import combine
from polydl.dsl.capture_bounds import prove_bounds, prove_set
from polydl.dsl.capture_ranges import loop_over
from polydl.dsl.capture_tree import Loop, Node, reduced_axes, sorted_axes, tree_of
from polydl.dsl.capture_types import scalar_types
from polydl.dsl.capture_updates import as_update
from polydl.dsl.capture_values import Scope
from polydl.dsl.function import Also, Computation, Function, Reduction
from polydl.dsl.polyhedral import loads
from polydl.dsl.tensor import Tensor, TensorRole
from polydl.dsl.wellformed import RESERVED
from polydl.ir.expr import Binary, Expr, Unary, Var, as_expr, eq

__all__ = ["Captured", "capture"]

_ASSIGNMENTS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "mod",
    ast.Pow: "pow", ast.BitAnd: "bitand", ast.BitOr: "bitor", ast.BitXor: "bitxor", ast.LShift: "shl",
    ast.RShift: "shr",
}  # fmt: skip
_ASSOCIATIVE: Final = frozenset({"add", "mul", "min", "max"})
_BITWISE: Final = frozenset({"bitand", "bitor", "bitxor"})


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A captured program: its parameters in Python's order, the function that it is, and the sizes that stand for
    computed extents, each with what it equals."""

    parameters: tuple[Parameter, ...]
    function: Function
    computed: tuple[tuple[str, Expr], ...] = ()


def capture(python: Callable[..., Any]) -> Captured:
    """Capture a Python function. InvalidProgram, with file, line and a caret, for what is not a static control part.

    OutOfBounds, with an example, where an affine subscript can leave its array.
    """
    source = Source.of(python)
    return _Capture(source, Scope(source, outside(python))).run()


@dataclass
class _Capture:
    source: Source
    scope: Scope
    parameters: list[Parameter] = field(default_factory=list)
    conditions: list[Expr] = field(default_factory=list)  # on the sizes
    computations: list[Computation] = field(default_factory=list)
    origins: dict[str, ast.stmt] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)  # around the statement at hand
    guards: list[Expr] = field(default_factory=list)  # likewise
    counts: dict[str, int] = field(default_factory=dict)  # assignments to each name
    computed: list[tuple[str, Expr]] = field(default_factory=list)  # sizes, and what they equal
    depth: int = 0  # of ifs
    known: frozenset[str] = frozenset()  # scalars that have a value wherever the place at hand is reached
    read: set[str] = field(default_factory=set)  # arrays and scalars, by the statements so far
    doubtful: set[str] = field(default_factory=set)  # scalars read where they may have none

    def run(self) -> Captured:
        self._read_parameters()
        body = self.source.tree.body
        self._count_assignments(body)
        for name, dtype in scalar_types(self.source, body, self.scope.arrays).items():
            if name not in self.scope.arrays and name not in self.scope.numbers:
                self.scope.arrays[name] = Tensor(name, dtype, (), TensorRole.TEMPORARY)
        nodes: list[Node] = []
        self._block(body, nodes)
        if not self.computations:
            raise self.source.error(
                self.source.tree, f"{self.source.name} computes nothing", next="assign to array elements"
            )
        function = self._function(nodes)
        prove_bounds(self.scope, function, self.origins)
        prove_set(self.scope, function, self.origins, sorted(self.doubtful))
        return Captured(tuple(self.parameters), function, tuple(self.computed))

    # -- names ---------------------------------------------------------------------------------------------------

    def _read_parameters(self) -> None:
        self.parameters = list(read_parameters(self.source))
        numbers = self.scope.numbers
        for p in self.parameters:
            names = [p.name] if isinstance(p, SizeParameter) else []
            names += [e for e in p.shape if isinstance(e, str)] if isinstance(p, ArrayParameter) else []
            names += [n.id for e in _computed(p) for n in ast.walk(e[1]) if isinstance(n, ast.Name)]
            for name in names:
                numbers[name] = Var(name)
        for name, expression in (e for p in self.parameters for e in _computed(p)):
            extent = self.scope.affine(expression, "an extent")
            self.computed.append((name, extent))
            self.conditions.append(eq(Var(name), extent))
        for p in self.parameters:
            if isinstance(p, SizeParameter):
                continue
            if p.name in numbers:
                raise self.source.error(self.source.tree, f"{p.name} names an array or scalar and a size")
            shape = p.shape if isinstance(p, ArrayParameter) else ()
            extents = tuple(Var(e) if isinstance(e, str) else as_expr(e) for e in shape)
            self.scope.arrays[p.name] = Tensor(p.name, p.dtype, extents, TensorRole.INPUT)
        for name in (*numbers, *self.scope.arrays):
            if name in RESERVED:
                raise self.source.error(
                    self.source.tree, f"the name '{name}' is reserved", next=f"call it {name}_"
                )

    def _count_assignments(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    self.counts[node.id] = self.counts.get(node.id, 0) + 1
                if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                    self.counts[node.target.id] = self.counts.get(node.target.id, 0) + 1

    # -- statements ----------------------------------------------------------------------------------------------

    def _block(self, body: Sequence[ast.stmt], nodes: list[Node]) -> None:
        for k, statement in enumerate(body):
            self._statement(statement, nodes, last=not self.loops and not self.depth and k + 1 == len(body))

    def _statement(self, s: ast.stmt, nodes: list[Node], *, last: bool) -> None:
        match s:
            case ast.For():
                self._for(s, nodes)
            case ast.If(test=test, body=body, orelse=orelse):
                condition = self.scope.affine_condition(test)
                self.depth += 1
                before, branches = self.known, []
                for guard, branch in ((condition, body), (Unary("not", condition), orelse)):
                    self.guards.append(guard)
                    self.known = before
                    self._block(branch, nodes)
                    branches.append(self.known)
                    self.guards.pop()
                self.known = branches[0] & branches[1]
                self.depth -= 1
            case ast.Assign(targets=[ast.Tuple() | ast.List() as target], value=value):
                if not self._is_shape(target, value):
                    self._assign_tuple(s, target.elts, _items(value), nodes)
            case ast.Assign(targets=[target], value=value):
                self._assign(s, target, value, nodes)
            case ast.Assign(targets=targets, value=value):
                self._assign_tuple(s, targets, [value] * len(targets), nodes)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                self._assign(s, target, value, nodes)
            case ast.AnnAssign(target=ast.Name()):
                pass  # a declaration: scalar_types has read it
            case ast.AugAssign(target=target, op=op, value=value) if type(op) in _ASSIGNMENTS:
                self._update(s, target, _ASSIGNMENTS[type(op)], value, nodes)
            case ast.Assert(test=test):
                self._assume(s, test)
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Return(value=None) if last:
                pass
            case _:
                self._unsupported(s)

    def _unsupported(self, s: ast.stmt) -> None:
        name = type(s).__name__.lower()
        why, then = {
            "while": ("the number of iterations is not known", "write a for loop over range"),
            "break": (
                "which iterations run would depend on data",
                "run all iterations, and choose values: x = a if … else b",
            ),
            "continue": (
                "which statements run must be an affine condition",
                "put the rest of the loop under an if",
            ),
            "return": (
                "results are stored in arrays given by the caller",
                "store the result in an array parameter",
            ),
            "expr": ("an expression by itself computes nothing", "assign it to an array element"),
            "functiondef": (
                "only the loops of one function are read",
                "write its statements where it is called",
            ),
        }.get(name, ("it is no part of a static control part", "use for, if, assignments and assert"))
        raise self.source.error(s, f"a statement of kind '{name}' cannot be compiled", why, then)

    def _assume(self, s: ast.Assert, test: ast.expr) -> None:
        if self.loops or self.depth or self.computations:
            raise self.source.error(
                s, "an assert after the beginning of the program", next="put it before the first loop"
            )
        self.conditions.append(self.scope.affine_condition(test))

    def _for(self, s: ast.For, nodes: list[Node]) -> None:
        if not isinstance(s.target, ast.Name):
            raise self.source.error(s.target, "a loop has one iterator", next="for i in range(…)")
        if s.orelse:
            raise self.source.error(
                s.orelse[0], "a for with else cannot be compiled", next="put the statements after the loop"
            )
        name = s.target.id
        if name in self.scope.numbers or name in self.scope.arrays:
            raise self.source.error(
                s.target, f"the iterator {name} hides another {name}", next="give it a name of its own"
            )
        if self.counts[name] > sum(
            isinstance(n, ast.For) and isinstance(n.target, ast.Name) and n.target.id == name
            for n in ast.walk(self.source.tree)
        ):
            raise self.source.error(
                s.target, f"the iterator {name} is also assigned to", next="use another name for the value"
            )
        loop, iterator = loop_over(self.scope, s.iter, name)
        nodes.append(loop)
        self.loops.append(loop)
        self.scope.numbers[name] = iterator
        self.scope.finished.discard(name)
        before = self.known
        self._block(s.body, loop.body)
        self.known = before  # the loop may have no iterations
        del self.scope.numbers[name]
        self.scope.finished.add(name)
        self.loops.pop()

    # -- assignments ---------------------------------------------------------------------------------------------

    def _assign(self, s: ast.stmt, target: ast.expr, value: ast.expr, nodes: list[Node]) -> None:
        once = (
            isinstance(target, ast.Name) and self.counts[target.id] == 1 and not isinstance(s, ast.AnnAssign)
        )
        if isinstance(target, ast.Name) and once and self._names_a_constant(target.id):
            constant = self.scope.constant(value)
            if constant is not None and (isinstance(constant, int | float) or not self.loops):
                self.scope.arrays.pop(target.id, None)
                self.scope.numbers[target.id] = constant
                return
        tensor, index = self._target(target)
        match as_update(self.scope, target, value):
            case (op, rest):
                self._combine(s, tensor, index, op, rest, nodes)
            case None:
                self._store(s, tensor, index, None, self.scope.typed(value, tensor.dtype), nodes)

    def _names_a_constant(self, name: str) -> bool:
        """Whether a scalar that is assigned here and nowhere else has this value wherever it is read."""
        tensor = self.scope.arrays.get(name)
        new = tensor is not None and tensor.role is TensorRole.TEMPORARY and name not in self.read
        return new and not self.depth

    def _assign_tuple(
        self, s: ast.stmt, targets: Sequence[ast.expr], values: Sequence[ast.expr] | None, nodes: list[Node]
    ) -> None:
        """`a, b = x, y` and `a = b = x`: every value is computed before the first of them is stored."""
        if values is None or len(values) != len(targets) or any(isinstance(t, ast.Starred) for t in targets):
            raise self.source.error(
                s, f"{len(targets)} places are assigned at once, not to as many values",
                next="write as many values as places: a, b = x, y",
            )  # fmt: skip
        places = [self._target(t) for t in targets]
        parts = [
            Also(tensor.name, index, self.scope.typed(value, tensor.dtype))
            for (tensor, index), value in zip(places, values, strict=True)
        ]
        (tensor, index), *rest = places
        for other, _ in rest:
            self._written(other)
        self._store(s, tensor, index, None, parts[0].value, nodes, tuple(parts[1:]))

    def _is_shape(self, target: ast.expr, value: ast.expr) -> bool:
        """`n, m = A.shape`: the sizes get other names."""
        match target, value:
            case ast.Tuple(elts=names), ast.Attribute(value=ast.Name(id=array), attr="shape") if (
                array in self.scope.arrays and len(names) == self.scope.arrays[array].rank
            ):
                for name, extent in zip(names, self.scope.arrays[array].shape, strict=True):
                    if not isinstance(name, ast.Name) or self.loops or self.depth or self.counts[name.id] > 1:
                        raise self.source.error(name, "sizes are named once, before the loops")
                    if self.scope.numbers.get(name.id, extent) != extent or name.id in self.scope.arrays:
                        raise self.source.error(name, f"{name.id} is another size, array or scalar already")
                    self.scope.numbers[name.id] = extent
                return True
        return False

    def _target(self, target: ast.expr) -> tuple[Tensor, tuple[Expr, ...]]:
        match target:
            case ast.Subscript():
                return self.scope.access(target, gathers=False)
            case ast.Name(id=name):
                if name in self.scope.numbers:
                    raise self.source.error(
                        target, f"{name} is a size or an iterator and cannot be assigned to"
                    )
                tensor = self.scope.arrays[name]
                if tensor.rank:
                    raise self.source.error(
                        target, f"the whole array {name} is assigned to", next="loop over its elements"
                    )
                if tensor.role is not TensorRole.TEMPORARY:
                    raise self.source.error(
                        target,
                        f"the scalar parameter {name} is assigned to",
                        next="use another name; results are stored in arrays",
                    )
                return tensor, ()
            case _:
                raise self.source.error(
                    target, "this cannot be assigned to", next="assign to one array element or scalar"
                )

    def _update(self, s: ast.stmt, target: ast.expr, op: str, value: ast.expr, nodes: list[Node]) -> None:
        tensor, index = self._target(target)
        bits = op in _BITWISE and tensor.dtype.is_integer
        if op in _ASSOCIATIVE or op == "sub" or bits:
            self._combine(s, tensor, index, op, value, nodes)
        else:
            combined = combine(self.scope, s, op, tensor[index], self.scope.value(value))
            self._store(s, tensor, index, None, self.scope.convert(s, combined, tensor.dtype), nodes)

    def _combine(
        self,
        s: ast.stmt,
        tensor: Tensor,
        index: tuple[Expr, ...],
        op: str,
        value: ast.expr,
        nodes: list[Node],
    ) -> None:
        """An update by an associative operator; `x -= t` adds -t."""
        term = self.scope.typed(value, tensor.dtype)
        self._store(s, tensor, index, "add" if op == "sub" else op, -term if op == "sub" else term, nodes)

    def _store(
        self,
        s: ast.stmt,
        tensor: Tensor,
        index: tuple[Expr, ...],
        op: str | None,
        value: Expr,
        nodes: list[Node],
        also: tuple[Also, ...] = (),
    ) -> None:
        """A statement under the loops and conditions at hand."""
        self._written(tensor)
        read = {load.buffer for e in (value, *(x.value for x in also)) for load in loads(e)}
        read |= {tensor.name} if op is not None else set()
        self.read |= read
        scalars = {n for n in read if self.scope.arrays[n].role is TensorRole.TEMPORARY}
        self.doubtful |= scalars - self.known
        self.known |= {tensor.name, *(x.target for x in also)}
        name = f"S{len(self.computations) + 1}"
        while name in self.scope.arrays or name in self.scope.numbers:
            name = f"{name}_"
        axes = tuple(loop.axis for loop in self.loops)
        reduced = reduced_axes(axes, index) if op is not None else ()
        reduction = Reduction(op, reduced, None) if op is not None and reduced else None
        if op is not None and reduction is None:
            value = Binary(op, tensor[index], value)
        conditions = (*(c for loop in self.loops for c in loop.conditions), *self.guards)
        self.computations.append(
            Computation(
                name, sorted_axes(axes, reduced), conditions, tensor.name, index, value, reduction, also
            )
        )
        self.origins[name] = s
        nodes.append(name)

    def _written(self, tensor: Tensor) -> None:
        if tensor.role is TensorRole.INPUT:
            self.scope.arrays[tensor.name] = replace(tensor, role=TensorRole.INOUT)

    # -- the function --------------------------------------------------------------------------------------------

    def _function(self, nodes: list[Node]) -> Function:
        sizes = tuple(n for n, v in self.scope.numbers.items() if v == Var(n))
        used = {t for c in self.computations for t in (c.target, *(x.target for x in c.also))}
        tensors = tuple(
            t for t in self.scope.arrays.values() if t.role is not TensorRole.TEMPORARY or t.name in used
        )
        positive = tuple(Var(n) >= 0 for n in sizes)
        return Function(
            self.source.tree.name,
            sizes,
            tensors,
            tuple(self.computations),
            (*positive, *self.conditions) if sizes else (),
            tree_of(nodes),
        )


def _computed(p: Parameter) -> tuple[tuple[str, ast.expr], ...]:
    return p.computed if isinstance(p, ArrayParameter) else ()


def _items(node: ast.expr) -> list[ast.expr] | None:
    return node.elts if isinstance(node, ast.Tuple | ast.List) else None
