"""The declarative form of the DSL: computations given as Python functions of their axes.

f = FunctionBuilder("matmul")
M, N, K = f.sizes("M N K")
A, B = f.input("A", (M, K)), f.input("B", (K, N))
C = f.compute("C", {"i": M, "j": N}, lambda i, j: sum_over({"k": K}, lambda k: A[i, k] * B[k, j]))
function = f.build(outputs=[C])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

from polydl.dsl.einsum import contraction, pairs
from polydl.dsl.expansion import Steps, expand_arg, expand_recurrence, expand_scan
from polydl.dsl.forms import Arg, Extents, OpenAxis, Reduce, Scan, axes_of, extent_of
from polydl.dsl.function import Also, Axis, Computation, Function, Reduction
from polydl.dsl.operators import Values, as_values
from polydl.dsl.polyhedral import loads
from polydl.dsl.ranges import closed
from polydl.dsl.tensor import Layout, Tensor, TensorRole
from polydl.dsl.wellformed import plain_name, require_arguments, require_wellformed
from polydl.dtypes import F32, INDEX, DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import Binary, Const, Expr, ExprLike, Load, Var, as_expr

__all__ = ["FunctionBuilder"]

Body = Callable[..., Values | Reduce | Scan | Arg]


class FunctionBuilder:
    """Collects tensors and computations and makes a `Function`. A name that is taken gets a number appended."""

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise InvalidProgram(f"{name!r} cannot name a function", next='FunctionBuilder("matmul")')
        self.name: str = name
        self._sizes: list[str] = []
        self._tensors: dict[str, Tensor] = {}
        self._computations: dict[str, Computation] = {}
        self._conditions: list[Expr] = []

    def sizes(self, names: str) -> tuple[Var, ...]:
        """Symbolic sizes, space separated."""
        made = tuple(Var(plain_name(n, "a size"), INDEX) for n in names.split())
        self._sizes += [n for n in dict.fromkeys(v.name for v in made) if n not in self._sizes]
        return made

    def assume(self, condition: Expr) -> None:
        """A fact about the sizes (affine)."""
        self._conditions.append(as_expr(condition))

    def input(
        self,
        name: str,
        shape: Sequence[ExprLike],
        dtype: DType = F32,
        *,
        constant: bool = False,
        lower: Sequence[ExprLike] = (),
        layout: Layout | None = None,
    ) -> Tensor:
        """A tensor given by the caller (`constant`: known at build time)."""
        role = TensorRole.CONSTANT if constant else TensorRole.INPUT
        return self._add(name, shape, dtype, role, lower, layout)

    def temporary(
        self,
        name: str,
        shape: Sequence[ExprLike],
        dtype: DType = F32,
        *,
        lower: Sequence[ExprLike] = (),
        layout: Layout | None = None,
    ) -> Tensor:
        """A tensor to be filled by `compute(…, into=…)`."""
        return self._add(name, shape, dtype, TensorRole.TEMPORARY, lower, layout)

    def compute(
        self,
        name: str,
        extents: Extents,
        body: Callable[..., ExprLike | Reduce | Scan | Arg],
        *,
        into: Tensor | None = None,
        at: Callable[..., Sequence[ExprLike]] | None = None,
        where: Callable[..., Expr] | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Define a computation over `extents`; returns the tensor it stores to.

        The body gives a value, or a form of `polydl.dsl.forms`: a reduction, a scan, the place of an extreme. Ranges
        that are not given are inferred from the shapes of what is read. Without `into`, a new temporary of the axes'
        extents is made and each point stores at its own axes. `at` gives other subscripts of the target; `where`
        restricts the domain by an affine condition.
        """
        targets = None if into is None else (into,)
        return self._define((name,), extents, body, targets, at, where, layout)[0]

    def compute_several(
        self,
        names: str,
        extents: Extents,
        body: Body,
        *,
        into: Sequence[Tensor] | None = None,
        at: Callable[..., Sequence[ExprLike]] | None = None,
        where: Callable[..., Expr] | None = None,
    ) -> tuple[Tensor, ...]:
        """As `compute`, with a body that gives tuples (or a reduction or scan of tuples): a tensor for each component.

        All components of a point are computed before the first of them is stored.
        """
        return self._define(tuple(names.split()), extents, body, into, at, where, None)

    def recurrence(
        self,
        name: str,
        extents: Extents,
        step: Callable[..., ExprLike],
        *,
        initial: Steps,
        where: Callable[..., Expr] | None = None,
        boundary: Callable[..., ExprLike] | None = None,
    ) -> Tensor:
        """A tensor whose first axis is time: `step(u, t, …)` computes u[t, …] from earlier times of u.

        u = f.recurrence("u", {"t": (1, T), "i": N}, lambda u, t, i: (u[t - 1, i - 1] + u[t - 1, i + 1]) / 2,
                         initial=lambda i: x[i], where=lambda t, i: and_(i >= 1, i < N - 1))

        `initial` gives the values before the first time, over the other axes; a sequence of h functions gives those of
        the h times before it. Where the affine condition `where` does not hold, u is `boundary(t, …)`, or stays what it
        was initially. The tensor holds every time; u[t] with the last t is the result. Statements: `NAME_start`,
        `NAME_boundary`, `NAME_step`.
        """

        def single(*arguments: object) -> Values:
            return (step(*arguments),)

        single.__signature__ = signature(step)  # type: ignore[attr-defined]
        start = (initial,) if callable(initial) else tuple(initial)
        return expand_recurrence(self, (name,), extents, single, (start,), where, boundary)[0]

    def recurrences(
        self,
        names: str,
        extents: Extents,
        step: Callable[..., tuple[ExprLike, ...]],
        *,
        initial: Sequence[Callable[..., ExprLike]],
        where: Callable[..., Expr] | None = None,
    ) -> tuple[Tensor, ...]:
        """As `recurrence`, of tensors that are computed from each other: `step(u, v, …, t, …)` gives a tuple."""
        start = tuple((x,) for x in initial)
        return expand_recurrence(self, tuple(names.split()), extents, step, start, where, None)

    def einsum(self, spec: str, *operands: Tensor, name: str = "einsum") -> Tensor:
        """numpy's einsum: repeated subscripts are summed, or those that `->` leaves out; `...` stands for leading axes.

        Three and more operands are combined from the left, two at a time.
        """
        rest = list(operands)
        for part in pairs(spec, len(operands)):
            extents, body = contraction(part, rest[:2])
            last = len(rest) <= 2
            rest[:2] = [self.compute(name if last else f"{name}_part", extents, body)]
        return rest[0]

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All tensors so far, by name."""
        return self._tensors

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name as it stands now."""
        if name not in self._tensors:
            raise InvalidProgram(
                f"{self.name} has no tensor '{name}'", next=f"one of {', '.join(self._tensors)}"
            )
        return self._tensors[name]

    def build(self, outputs: Sequence[Tensor]) -> Function:
        """The finished function; `outputs` become its output tensors, in order."""
        given: Sequence[Any] = outputs
        names: list[str] = []
        for t in given:
            name = t.name if isinstance(t, Tensor) else repr(t)
            if name not in self._tensors or name in names:
                raise InvalidProgram(
                    f"{name} cannot be an output of {self.name}",
                    why="outputs are different tensors that were computed with this builder",
                )
            names.append(name)
        for name in names:
            if self._tensors[name].role is not TensorRole.TEMPORARY:
                raise InvalidProgram(
                    f"{name} is an input and cannot be an output", next="copy it with compute()"
                )
            self._tensors[name] = replace(self._tensors[name], role=TensorRole.OUTPUT)
        rest = [t for n, t in self._tensors.items() if n not in names]
        tensors = (*rest, *(self._tensors[n] for n in names))
        function = Function(
            self.name,
            tuple(self._sizes),
            tensors,
            tuple(self._computations.values()),
            tuple(self._conditions),
        )
        require_wellformed(function)
        return function

    def _define(
        self,
        names: tuple[str, ...],
        extents: Extents,
        body: Body,
        into: Sequence[Tensor] | None,
        at: Callable[..., Sequence[ExprLike]] | None,
        where: Callable[..., Expr] | None,
        layout: Layout | None,
    ) -> tuple[Tensor, ...]:
        outer = axes_of(extents, body, prefix="i")
        variables = [a.var for a in outer]
        require_arguments(body, variables, f"the body of {names[0]}")
        result = body(*variables)
        index: tuple[Expr, ...] = tuple(variables)
        if at is not None:
            require_arguments(at, variables, f"at of {names[0]}")
            places: Any = at(*variables)
            index = tuple(as_expr(x) for x in (places if isinstance(places, tuple | list) else (places,)))
        values = as_values(result) if not isinstance(result, Reduce | Scan | Arg) else result.values
        if len(values) != len(names) or (into is not None and len(into) != len(names)):
            raise InvalidProgram(
                f"the body of {names[0]} gives {len(values)} values for {len(names)} tensors",
                next="compute_several() stores tuples",
            )
        inner = result.axes if isinstance(result, Reduce | Arg) else ()
        _require_distinct(names[0], outer, inner)
        read = [x for e in values for x in loads(e)]
        read += [Load(t.name, index, t.dtype) for t in into or () if len(index) == t.rank]
        axes = closed(names[0], (*outer, *inner), read, self._tensors)
        if where is not None:
            require_arguments(where, variables, f"where of {names[0]}")
        conditions = _conjuncts(as_expr(where(*variables))) if where is not None else []
        match result:
            case Arg():
                return (expand_arg(self, names[0], axes, len(outer), result, into, at, where, layout),)
            case Scan():
                if at is not None or where is not None:
                    raise InvalidProgram(
                        f"the scan {names[0]} has a condition or subscripts of its own",
                        next="compute what is to be scanned first, and select from the result",
                    )
                return expand_scan(self, names, axes, result, into, layout)
            case Reduce(op=op, init=init):
                conditions += [c for e in result.conditions for c in _conjuncts(e)]
                reduction = Reduction(op, tuple(a.name for a in inner), init[0])
                return self._append(names, axes, conditions, values, reduction, init, into, index, layout)
            case _:
                return self._append(names, axes, conditions, values, None, (), into, index, layout)

    def _append(
        self,
        names: Sequence[str],
        axes: tuple[Axis, ...],
        conditions: Sequence[Expr],
        values: Sequence[Expr],
        reduction: Reduction | None,
        init: Sequence[Expr],
        into: Sequence[Tensor] | None,
        index: tuple[Expr, ...],
        layout: Layout | None,
    ) -> tuple[Tensor, ...]:
        """A computation with ranges for all axes, storing to `into` or to new temporaries."""
        unique = self._unique(names[0])
        if into is None:
            kept = [a for a in axes if reduction is None or a.name not in reduction.axes]
            into = [self._target(n, kept, v.dtype, layout) for n, v in zip(names, values, strict=True)]
        for tensor, value in zip(into, values, strict=True):
            if value.dtype != tensor.dtype:
                raise InvalidProgram(
                    f"computation {unique} stores {value.dtype} values into the {tensor.dtype} tensor {tensor.name}"
                )
            if len(index) != tensor.rank:
                raise InvalidProgram(
                    f"computation {unique} stores at {len(index)} subscripts, {tensor.name} has {tensor.rank}"
                )
        starts: Sequence[Expr | None] = init or [None] * len(values)
        also = tuple(
            Also(t.name, index, v, e) for t, v, e in zip(into[1:], values[1:], starts[1:], strict=True)
        )
        self._computations[unique] = Computation(
            unique, axes, tuple(conditions), into[0].name, index, values[0], reduction, also
        )
        return tuple(into)

    def _target(self, name: str, axes: Sequence[Axis], dtype: DType, layout: Layout | None) -> Tensor:
        """A temporary with an element for each point of the axes."""
        if any(a.lower != as_expr(0) and not isinstance(a.lower, Const) for a in axes):
            raise InvalidProgram(
                f"computation {name} has an axis with a symbolic lower bound", next="give into="
            )
        lower = tuple(a.lower for a in axes) if any(a.lower != as_expr(0) for a in axes) else ()
        shape = tuple(extent_of(a) for a in axes)
        return self._add(name, shape, dtype, TensorRole.TEMPORARY, lower, layout)

    def _add(
        self,
        name: str,
        shape: Sequence[ExprLike],
        dtype: DType,
        role: TensorRole,
        lower: Sequence[ExprLike],
        layout: Layout | None,
    ) -> Tensor:
        unique = self._unique(name)
        if not isinstance(dtype, DType):
            raise InvalidProgram(
                f"{dtype!r} is no element type of {unique}", next="one of polydl.dtypes: F32, I64, …"
            )
        if not isinstance(shape, tuple | list):
            raise InvalidProgram(
                f"the shape of {unique} is a {type(shape).__name__}", next="write a tuple: (N, 3)"
            )
        tensor = Tensor(
            unique, dtype, tuple(as_expr(s) for s in shape), role, tuple(as_expr(x) for x in lower), layout
        )
        self._tensors[unique] = tensor
        return tensor

    def _unique(self, name: str) -> str:
        if not isinstance(name, str):
            raise InvalidProgram(f"{name!r} cannot be the name of a tensor", next="give a text")
        base = "".join(ch if ch.isascii() and (ch.isalnum() or ch == "_") else "_" for ch in name) or "t"
        base = base if not base[0].isdigit() else f"t{base}"
        candidate, n = base, 1
        while not self._free(candidate):
            candidate, n = f"{base}_{n}", n + 1
        return candidate

    def _free(self, name: str) -> bool:
        """Is the name unused, also by the `NAME_init` statement of a reduction?"""
        taken = {name, f"{name}_init", name.removesuffix("_init")}
        return not taken & (self._tensors.keys() | self._computations.keys())


def _require_distinct(name: str, outer: Sequence[Axis | OpenAxis], inner: Sequence[Axis | OpenAxis]) -> None:
    if {a.name for a in outer} & {a.name for a in inner}:
        raise InvalidProgram(f"computation {name} uses one name for an outer and a reduction axis")


def _conjuncts(condition: Expr) -> list[Expr]:
    """The conditions whose conjunction `condition` is: each then applies to those axes only that it mentions."""
    if isinstance(condition, Binary) and condition.op == "and":
        return _conjuncts(condition.a) + _conjuncts(condition.b)
    return [condition]
