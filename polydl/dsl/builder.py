"""The declarative form of the DSL: computations given as Python functions of their axes.

f = FunctionBuilder("matmul")
M, N, K = f.sizes("M N K")
A, B = f.input("A", (M, K)), f.input("B", (K, N))
C = f.compute("C", {"i": M, "j": N}, lambda i, j: sum_over({"k": K}, lambda k: A[i, k] * B[k, j]))
function = f.build(outputs=[C])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from polydl.dsl.function import Axis, Computation, Function, Reduction, identity
from polydl.dsl.tensor import Layout, Tensor, TensorRole
from polydl.dtypes import F32, INDEX, DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import Binary, Const, Expr, ExprLike, Var, as_expr

__all__ = [
    "Extents",
    "FunctionBuilder",
    "Reduce",
    "max_over",
    "min_over",
    "prod_over",
    "reduce_over",
    "sum_over",
]

Extent = ExprLike | tuple[ExprLike, ExprLike]
Extents = Mapping[str, Extent] | Sequence[Extent]
"""Axis name -> extent or (lower, upper); a plain sequence names the axes after the body's parameters, or i0, i1, …"""


@dataclass(frozen=True, slots=True)
class Reduce:
    """A reduction in a body: only allowed as the whole value of a computation."""

    op: str
    axes: tuple[Axis, ...]
    value: Expr
    init: Expr | None
    conditions: tuple[Expr, ...] = ()


def reduce_over(
    op: str,
    extents: Extents,
    body: Callable[..., ExprLike],
    init: ExprLike | None = None,
    where: Callable[..., Expr] | None = None,
) -> Reduce:
    """The values of `body` at all points of `extents` combined by `op` from `init` on (default: op's identity)."""
    axes = _axes(extents, body, prefix="r")
    variables = [a.var for a in axes]
    value = as_expr(body(*variables))
    start = identity(op, value.dtype) if init is None else as_expr(init, value.dtype)
    return Reduce(op, axes, value, start, (where(*variables),) if where is not None else ())


def sum_over(extents: Extents, body: Callable[..., ExprLike]) -> Reduce:
    return reduce_over("add", extents, body)


def prod_over(extents: Extents, body: Callable[..., ExprLike]) -> Reduce:
    return reduce_over("mul", extents, body)


def max_over(extents: Extents, body: Callable[..., ExprLike]) -> Reduce:
    return reduce_over("max", extents, body)


def min_over(extents: Extents, body: Callable[..., ExprLike]) -> Reduce:
    return reduce_over("min", extents, body)


class FunctionBuilder:
    """Collects tensors and computations and makes a `Function`. A name that is taken gets a number appended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sizes: list[str] = []
        self._tensors: dict[str, Tensor] = {}
        self._computations: dict[str, Computation] = {}
        self._conditions: list[Expr] = []

    def sizes(self, names: str) -> tuple[Var, ...]:
        """Symbolic sizes, space separated."""
        made = tuple(Var(n, INDEX) for n in names.split())
        self._sizes += [v.name for v in made if v.name not in self._sizes]
        return made

    def assume(self, condition: Expr) -> None:
        """A fact about the sizes (affine)."""
        self._conditions.append(condition)

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
        body: Callable[..., ExprLike | Reduce],
        *,
        into: Tensor | None = None,
        at: Callable[..., Sequence[ExprLike]] | None = None,
        where: Callable[..., Expr] | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Define a computation over `extents`; returns the tensor it stores to.

        Without `into`, a new temporary of the axes' extents is made and each point stores at its own axes. `at` gives
        other subscripts of the target; `where` restricts the domain by an affine condition.
        """
        axes = _axes(extents, body, prefix="i")
        variables = [a.var for a in axes]
        result = body(*variables)
        conditions = _conjuncts(where(*variables)) if where is not None else []
        reduction = None
        all_axes = axes
        if isinstance(result, Reduce):
            taken = {a.name for a in axes}
            if taken & {a.name for a in result.axes}:
                raise InvalidProgram(f"computation {name} uses one name for an outer and a reduction axis")
            all_axes = axes + result.axes
            conditions += [c for e in result.conditions for c in _conjuncts(e)]
            value = result.value
            reduction = Reduction(result.op, tuple(a.name for a in result.axes), result.init)
        else:
            value = as_expr(result)
        unique = self._unique(name)
        if into is None:
            if any(a.lower != as_expr(0) and not isinstance(a.lower, Const) for a in axes):
                raise InvalidProgram(
                    f"computation {name} has an axis with a symbolic lower bound", next="give into="
                )
            lower = tuple(a.lower for a in axes) if any(a.lower != as_expr(0) for a in axes) else ()
            shape = tuple(_extent(a) for a in axes)
            into = self._add(unique, shape, value.dtype, TensorRole.TEMPORARY, lower, layout)
        if value.dtype != into.dtype:
            raise InvalidProgram(
                f"computation {name} stores {value.dtype} values into the {into.dtype} tensor {into.name}"
            )
        index = tuple(as_expr(x) for x in at(*variables)) if at is not None else tuple(variables)
        if len(index) != into.rank:
            raise InvalidProgram(
                f"computation {name} stores at {len(index)} subscripts, {into.name} has {into.rank}"
            )
        self._computations[unique] = Computation(
            unique, all_axes, tuple(conditions), into.name, index, value, reduction
        )
        return into

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name as it stands now."""
        if name not in self._tensors:
            raise InvalidProgram(f"{self.name} has no tensor '{name}'", next=f"one of {list(self._tensors)}")
        return self._tensors[name]

    def build(self, outputs: Sequence[Tensor]) -> Function:
        """The finished function; `outputs` become its output tensors, in order."""
        names = [t.name for t in outputs]
        for name in names:
            if self._tensors[name].role is not TensorRole.TEMPORARY:
                raise InvalidProgram(
                    f"{name} is an input and cannot be an output", next="copy it with compute()"
                )
            self._tensors[name] = replace(self._tensors[name], role=TensorRole.OUTPUT)
        rest = [t for n, t in self._tensors.items() if n not in names]
        tensors = (*rest, *(self._tensors[n] for n in names))
        return Function(
            self.name,
            tuple(self._sizes),
            tensors,
            tuple(self._computations.values()),
            tuple(self._conditions),
        )

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
        tensor = Tensor(
            unique, dtype, tuple(as_expr(s) for s in shape), role, tuple(as_expr(x) for x in lower), layout
        )
        self._tensors[unique] = tensor
        return tensor

    def _unique(self, name: str) -> str:
        base = "".join(ch if ch.isalnum() or ch == "_" else "_" for ch in name) or "t"
        base = base if not base[0].isdigit() else f"t{base}"
        candidate, n = base, 1
        while not self._free(candidate):
            candidate, n = f"{base}_{n}", n + 1
        return candidate

    def _free(self, name: str) -> bool:
        """Is the name unused, also by the `NAME_init` statement of a reduction?"""
        taken = {name, f"{name}_init", name.removesuffix("_init")}
        return not taken & (self._tensors.keys() | self._computations.keys())


def _conjuncts(condition: Expr) -> list[Expr]:
    """The conditions whose conjunction `condition` is: each then applies to those axes only that it mentions."""
    if isinstance(condition, Binary) and condition.op == "and":
        return _conjuncts(condition.a) + _conjuncts(condition.b)
    return [condition]


def _axes(extents: Extents, body: Callable[..., object], prefix: str) -> tuple[Axis, ...]:
    if isinstance(extents, Mapping):
        named = list(extents.items())
    else:
        named = list(zip(_axis_names(body, len(extents), prefix), extents, strict=True))
    axes = []
    for name, extent in named:
        lower, upper = extent if isinstance(extent, tuple) else (0, extent)
        axes.append(Axis(name, as_expr(lower), as_expr(upper)))
    return tuple(axes)


def _axis_names(body: Callable[..., object], count: int, prefix: str) -> list[str]:
    parameters = inspect.signature(body).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return names if len(names) == count and not variadic else [f"{prefix}{i}" for i in range(count)]


def _extent(axis: Axis) -> Expr:
    if axis.lower == as_expr(0):
        return axis.upper
    if isinstance(axis.lower, Const) and isinstance(axis.upper, Const):
        return as_expr(int(axis.upper.value) - int(axis.lower.value))
    return axis.upper - axis.lower
