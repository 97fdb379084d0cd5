"""What a body may give besides a value: a reduction, a scan, or the place of an extreme, over further axes.

reduce_over("add", {"k": K}, lambda k: A[i, k])      one value for each point: all terms combined
scan_over("add", "k", A[i, k])                       at k: the terms up to k combined (a prefix sum)
argmax_over({"k": K}, lambda k: A[i, k])             the k of the greatest term, the first of several

Each stands alone: it is the whole of what the body gives. Axes without a range are inferred (see `ranges`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from polydl.dsl.function import Axis, Combiner, identity
from polydl.dsl.operators import Operator, Values, as_values
from polydl.dsl.wellformed import plain_name, require_arguments
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const, Expr, ExprLike, Var, as_expr

__all__ = [
    "Arg", "Extents", "OpenAxis", "Reduce", "Scan", "argmax_over", "argmin_over", "axes_of", "extent_of", "max_over",
    "min_over", "prod_over", "reduce_over", "scan_over", "sum_over",
]  # fmt: skip

Extent: TypeAlias = ExprLike | tuple[ExprLike, ExprLike] | None
Extents: TypeAlias = str | Mapping[str, Extent] | Sequence[Extent]
"""Axis name -> extent, (lower, upper), or None for a range to be inferred; a plain sequence names the axes after the
body's parameters, or i0, i1, …; a string of names leaves all ranges open."""


@dataclass(frozen=True, slots=True)
class OpenAxis:
    """An axis whose range is to be inferred."""

    name: str

    @property
    def var(self) -> Var:
        return Var(self.name)


class _Form:
    """What a body gives as a whole. Arithmetic on it is refused with what to do instead."""

    __slots__ = ()

    def _refused(self, *_: object) -> NoReturn:
        raise InvalidProgram(
            f"a {type(self).__name__} is the whole body of a computation, not a part of an expression",
            next='compute it first: s = f.compute("s", …), and use s[i] in the next computation',
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refused
    __neg__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = _refused


@dataclass(frozen=True, slots=True)
class Reduce(_Form):
    """All points of `axes` combined. `values`, and `init` where it is given, have one entry for each component."""

    op: str | Combiner
    axes: tuple[Axis | OpenAxis, ...]
    values: tuple[Expr, ...]
    init: tuple[Expr, ...]
    conditions: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan(_Form):
    """The points up to each point of `axis` (from it on: `reverse`) combined; without itself where `exclusive`."""

    op: str | Combiner
    axis: str
    values: tuple[Expr, ...]
    init: tuple[Expr, ...] | None
    exclusive: bool
    reverse: bool


@dataclass(frozen=True, slots=True)
class Arg(_Form):
    """The place of the extreme value (`op` max or min) over `axes`, counted in row-major order."""

    op: str
    axes: tuple[Axis | OpenAxis, ...]
    value: Expr
    conditions: tuple[Expr, ...]

    @property
    def values(self) -> tuple[Expr, ...]:
        return (self.value,)


def reduce_over(
    op: str | Operator,
    extents: Extents,
    body: Callable[..., Values],
    init: Values | None = None,
    where: Callable[..., Expr] | None = None,
) -> Reduce:
    """The values of `body` at all points of `extents` combined by `op` from `init` on (default: op's identity).

    `op`: add, mul, min, max, and, or, bitand, bitor, bitxor, or an `Operator`; only that takes tuples. `where`: an
    affine condition on the points.
    """
    axes = axes_of(extents, body, prefix="r")
    variables = [a.var for a in axes]
    require_arguments(body, variables, "the body of a reduction")
    values = as_values(body(*variables))
    operator = _operator(op, values)
    conditions = (as_expr(where(*variables)),) if where is not None else ()
    return Reduce(operator, axes, values, _start(operator, values, init), conditions)


def sum_over(extents: Extents, body: Callable[..., ExprLike]) -> Reduce:
    return reduce_over("add", extents, body)


def prod_over(extents: Extents, body: Callable[..., ExprLike]) -> Reduce:
    return reduce_over("mul", extents, body)


def max_over(extents: Extents, body: Callable[..., ExprLike]) -> Reduce:
    return reduce_over("max", extents, body)


def min_over(extents: Extents, body: Callable[..., ExprLike]) -> Reduce:
    return reduce_over("min", extents, body)


def scan_over(
    op: str | Operator,
    axis: str,
    value: Values,
    init: Values | None = None,
    *,
    exclusive: bool = False,
    reverse: bool = False,
) -> Scan:
    """At each point of the computation's `axis`: the values up to it combined by `op`, after `init`.

    `exclusive`: without the point's own value, so that the first is `init` (default: op's identity). `reverse`: from
    the last point down.
    """
    values = as_values(value)
    operator = _operator(op, values)
    start = None if init is None and not exclusive else _start(operator, values, init)
    return Scan(operator, axis, values, start, exclusive, reverse)


def argmax_over(
    extents: Extents, body: Callable[..., ExprLike], where: Callable[..., Expr] | None = None
) -> Arg:
    """The place of the greatest value: the axis' value, or over several axes the point's number in row-major order.

    The first of several equal ones; a nan counts as the greatest. Its type is i64.
    """
    return _arg("max", extents, body, where)


def argmin_over(
    extents: Extents, body: Callable[..., ExprLike], where: Callable[..., Expr] | None = None
) -> Arg:
    """As `argmax_over`, of the least value; a nan counts as the least."""
    return _arg("min", extents, body, where)


def _arg(op: str, extents: Extents, body: Callable[..., ExprLike], where: Callable[..., Expr] | None) -> Arg:
    axes = axes_of(extents, body, prefix="r")
    variables = [a.var for a in axes]
    require_arguments(body, variables, "the body of a reduction")
    return Arg(
        op, axes, as_expr(body(*variables)), (as_expr(where(*variables)),) if where is not None else ()
    )


def _operator(op: str | Operator, values: tuple[Expr, ...]) -> str | Combiner:
    if isinstance(op, Operator):
        return op.of([v.dtype for v in values])
    identity(op, values[0].dtype)
    if len(values) != 1:
        raise InvalidProgram(
            f"'{op}' combines single values, the body gives {len(values)}", next="write an Operator"
        )
    return op


def _start(op: str | Combiner, values: tuple[Expr, ...], init: Values | None) -> tuple[Expr, ...]:
    if init is None:
        neutral: tuple[Const, ...] = (
            op.identity if isinstance(op, Combiner) else (identity(op, values[0].dtype),)
        )
        return neutral
    given = init if isinstance(init, tuple) else (init,)
    if len(given) != len(values):
        raise InvalidProgram(f"{len(given)} initial values are given for {len(values)} values")
    return tuple(as_expr(x, v.dtype) for x, v in zip(given, values, strict=True))


def axes_of(extents: Extents, body: Callable[..., object], prefix: str) -> tuple[Axis | OpenAxis, ...]:
    """The axes that `extents` describes."""
    named: list[tuple[str, Extent]]
    if isinstance(extents, str):
        named = [(n, None) for n in extents.split()]
    elif isinstance(extents, Mapping):
        named = list(extents.items())
    else:
        named = list(zip(_axis_names(body, len(extents), prefix), extents, strict=True))
    axes: list[Axis | OpenAxis] = []
    for name, extent in named:
        plain_name(name, "an axis")
        if name in {a.name for a in axes}:
            raise InvalidProgram(f"two axes are called {name}", next="give each a name of its own")
        if isinstance(extent, tuple) and len(extent) != 2:
            raise InvalidProgram(
                f"the range of axis {name} is {len(extent)} values",
                next="write (lower, upper), or the extent",
            )
        if extent is None:
            axes.append(OpenAxis(name))
            continue
        lower, upper = extent if isinstance(extent, tuple) else (0, extent)
        axes.append(Axis(name, as_expr(lower), as_expr(upper)))
    return tuple(axes)


def _axis_names(body: Callable[..., object], count: int, prefix: str) -> list[str]:
    parameters = inspect.signature(body).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return names if len(names) == count and not variadic else [f"{prefix}{i}" for i in range(count)]


def extent_of(axis: Axis) -> Expr:
    """How many values an axis has, as simple as it can be said."""
    if axis.lower == as_expr(0):
        return axis.upper
    if isinstance(axis.lower, Const) and isinstance(axis.upper, Const):
        return as_expr(int(axis.upper.value) - int(axis.lower.value))
    return axis.upper - axis.lower
