"""Reduction operators that users write: on single values or on tuples, with an identity, in order or in any order.

LARGEST = Operator(
    "largest",
    lambda a, b: select_first(or_(b[0] > a[0], and_(eq(b[0], a[0]), b[1] < a[1])), b, a),
    identity=(float("-inf"), 1 << 62),
    commutative=True,
)

An operator says what it claims; claims that small numbers refute are refused where the operator is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, TypeAlias

import numpy as np

from polydl.dsl.function import Combiner
from polydl.dtypes import BOOL, DType
from polydl.errors import InvalidProgram
from polydl.ir.expr import Const, Expr, ExprLike, Load, Var, as_expr, select, walk
from polydl.ir.interpret import evaluate_array

__all__ = ["Operator", "Values", "as_values", "select_first"]

Values: TypeAlias = ExprLike | tuple[ExprLike, ...]
"""What a body gives: one value, or a tuple of values."""

_SAMPLES: Final = (1, 2, 3)  # exact in every type; order and ties of them tell operators apart
_MOST_SAMPLES: Final = 27


def as_values(values: Values) -> tuple[Expr, ...]:
    return tuple(as_expr(v) for v in values) if isinstance(values, tuple) else (as_expr(values),)


def select_first(cond: Expr, a: tuple[Expr, ...], b: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """The tuple `a` where `cond`, else the tuple `b`."""
    return tuple(select(cond, x, y) for x, y in zip(a, b, strict=True))


@dataclass(frozen=True, slots=True)
class Operator:
    """`combine(a, b)` gives what has been combined so far, `a`, combined with the next value `b`.

    Both are expressions, or tuples of expressions where values are tuples. `identity`: a number, or one for each
    component; combined with x it is x. `commutative`: the operator is commutative and associative, so values may be
    combined in any order; an operator that is not runs in the order of the axes.
    """

    name: str
    combine: Callable[[Any, Any], Values]
    identity: int | float | bool | tuple[int | float | bool, ...]
    commutative: bool = False

    def of(self, dtypes: Sequence[DType]) -> Combiner:
        """The operator on values of these types; InvalidProgram where it does not fit them, or breaks its word."""
        numbers = self.identity if isinstance(self.identity, tuple) else (self.identity,)
        if len(numbers) != len(dtypes):
            raise InvalidProgram(
                f"operator {self.name} has an identity of {len(numbers)} values, the body gives {len(dtypes)}"
            )
        left = tuple(Var(f"{self.name}.a{k}", t) for k, t in enumerate(dtypes))
        right = tuple(Var(f"{self.name}.b{k}", t) for k, t in enumerate(dtypes))
        single = not isinstance(self.identity, tuple)
        given = self.combine(left[0], right[0]) if single else self.combine(left, right)
        results = as_values(given) if not single else (as_expr(given, dtypes[0]),)  # type: ignore[arg-type]
        self._check_results(results, dtypes, {*left, *right})
        identity = tuple(self._number(x, t) for x, t in zip(numbers, dtypes, strict=True))
        combiner = Combiner(self.name, left, right, results, identity, self.commutative)
        self._check_claims(combiner)
        return combiner

    def _number(self, value: float, dtype: DType) -> Const:
        try:
            number = as_expr(value, dtype)
        except (OverflowError, ValueError) as error:
            raise InvalidProgram(
                f"the identity {value} of operator {self.name} is no {dtype}", why=str(error)
            ) from None
        assert isinstance(number, Const)
        return number

    def _check_results(self, results: Sequence[Expr], dtypes: Sequence[DType], known: set[Var]) -> None:
        found = [e.dtype for e in results]
        if found != list(dtypes):
            raise InvalidProgram(
                f"operator {self.name} makes values of types {', '.join(map(str, found))} of values of types "
                f"{', '.join(map(str, dtypes))}",
                next="give each component the type it had, with cast(dtype, x)",
            )
        for e in (x for r in results for x in walk(r)):
            if isinstance(e, Load) or (isinstance(e, Var) and e not in known):
                raise InvalidProgram(
                    f"operator {self.name} uses {e.name if isinstance(e, Var) else e.buffer}",
                    why="an operator combines two values and knows nothing else",
                    next="make it a component of the values",
                )

    def _check_claims(self, c: Combiner) -> None:
        """InvalidProgram where small numbers show that the identity is none, or that the order matters after all."""
        samples = [(False, True) if v.dtype == BOOL else _SAMPLES for v in c.left]
        points = list(product(*samples))
        points = points[:: max(1, len(points) // _MOST_SAMPLES)]
        columns = [np.array(x, v.dtype.numpy) for x, v in zip(zip(*points, strict=True), c.left, strict=True)]
        start = [np.array(x.value, x.dtype.numpy) for x in c.identity]
        kept = _apply(c, start, columns)
        bad = _first_difference(kept, columns)
        if bad is not None:
            raise InvalidProgram(
                f"{_text(start)} is no identity of operator {self.name}",
                why=f"combined with {_text(columns, bad)} it gives {_text(kept, bad)}",
            )
        if not self.commutative:
            return
        n = len(points)
        a, b, d = (
            [np.asarray(x)[index] for x in columns] for index in np.unravel_index(np.arange(n**3), (n, n, n))
        )
        for law, one, other in (
            ("commutative", _apply(c, a, b), _apply(c, b, a)),
            ("associative", _apply(c, _apply(c, a, b), d), _apply(c, a, _apply(c, b, d))),
        ):
            bad = _first_difference(one, other)
            if bad is not None:
                operands = f"{_text(a, bad)}, {_text(b, bad)}" + (
                    f", {_text(d, bad)}" if law == "associative" else ""
                )
                raise InvalidProgram(
                    f"operator {self.name} is declared commutative, and is not {law}",
                    why=f"{operands} give {_text(one, bad)} one way and {_text(other, bad)} the other way",
                    next="drop commutative=True: values are then combined in order",
                )


def _apply(c: Combiner, a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    names = [v.name for v in (*c.left, *c.right)]
    env = dict(zip(names, (*a, *b), strict=True))
    with np.errstate(all="ignore"):
        return [np.asarray(evaluate_array(e, env, _no_load)) for e in c.results]


def _no_load(buffer: str, index: tuple[Any, ...], where: Any) -> Any:
    raise InvalidProgram(f"an operator reads {buffer}")


def _first_difference(one: Sequence[Any], other: Sequence[Any]) -> int | None:
    """The first sample at which two lists of components differ by more than rounding."""
    differs = np.zeros((), np.bool_)
    for x, y in zip(one, other, strict=True):
        x, y = np.broadcast_arrays(x, y)
        if x.dtype.kind == "f":
            near = np.isclose(x.astype(np.float64), y.astype(np.float64), rtol=1e-2, atol=0.0, equal_nan=True)
            differs = differs | ~near
        else:
            differs = differs | (x != y)
    return int(np.argmax(differs)) if differs.any() else None


def _text(components: Sequence[Any], at: int = 0) -> str:
    values = ", ".join(str(np.atleast_1d(x)[at if np.ndim(x) else 0]) for x in components)
    return f"({values})" if len(components) > 1 else values
