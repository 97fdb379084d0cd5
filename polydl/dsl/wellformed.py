"""What a function built by hand must keep: names that isl and C can spell, variables and tensors that exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from inspect import signature
from typing import Any, Final

from polydl.dsl.function import Computation, Function
from polydl.dsl.polyhedral import loads
from polydl.dsl.tensor import TensorRole
from polydl.errors import InvalidProgram
from polydl.ir.expr import Expr, Var, as_expr, walk

__all__ = ["RESERVED", "plain_name", "require_arguments", "require_wellformed"]

RESERVED: Final = frozenset(  # words of isl's notation
    (
        "and", "or", "not", "exists", "implies", "true", "false", "mod", "floor", "floord", "ceild", "min", "max",
        "infty", "infinity", "NaN", "rat",
    )
)  # fmt: skip
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def plain_name(name: Any, what: str) -> str:
    """`name`, where it can name an axis or a size; InvalidProgram where it cannot."""
    if not isinstance(name, str) or not _PLAIN.fullmatch(name):
        raise InvalidProgram(
            f"{name!r} cannot be the name of {what}",
            next="use ASCII letters, digits and _, with a letter first",
        )
    if name in RESERVED:
        raise InvalidProgram(f"the name '{name}' of {what} is reserved", next=f"call it {name}_")
    return name


def require_arguments(function: Callable[..., Any], given: Sequence[object], what: str) -> None:
    """InvalidProgram where `function` cannot be called with the axes."""
    if not callable(function):
        raise InvalidProgram(f"{what} is a {type(function).__name__}, not a function of its axes")
    try:
        signature(function).bind(*given)
    except TypeError as error:
        raise InvalidProgram(
            f"{what} takes other arguments than its {len(given)} axes", why=str(error)
        ) from None
    except ValueError:  # a function without a signature, which only a call can tell
        pass


def require_wellformed(function: Function) -> None:
    """InvalidProgram where a variable is no size or axis, a tensor is not the function's, or one is read before
    anything is stored there."""
    sizes = set(function.sizes)
    for t in function.tensors:
        _require_known(f"the shape of {t.name}", (*t.shape, *t.lower), sizes)
    _require_known("what is assumed", function.conditions, sizes)
    held = {t.name for t in function.of_role(TensorRole.INPUT, TensorRole.CONSTANT, TensorRole.INOUT)}
    held |= {t.name for t in function.tensors if as_expr(0) in t.shape}  # where nothing can be stored
    for c in function.computations:
        known = set(sizes)
        for axis in c.axes:
            _require_known(f"the range of {axis.name} of {c.name}", (axis.lower, axis.upper), known)
            known.add(axis.name)
        _require_known(c.name, _expressions(c), known)
        held |= {c.target, *(x.target for x in c.also)}
        for load in (x for e in _expressions(c) for x in loads(e)):
            if load.buffer not in held:
                raise InvalidProgram(
                    f"{c.name} reads {load.buffer}, where nothing is stored before",
                    why=""
                    if load.buffer in {t.name for t in function.tensors}
                    else "it is of another function",
                    next="compute what is read first",
                )
    for t in function.of_role(TensorRole.OUTPUT):
        if t.name not in held:
            raise InvalidProgram(f"nothing is stored to the output {t.name}", next="compute it")


def _expressions(c: Computation) -> Iterable[Expr]:
    yield from c.conditions
    yield from (*c.index, c.value)
    for x in c.also:
        yield from (*x.index, x.value)


def _require_known(where: str, expressions: Iterable[Expr], known: set[str]) -> None:
    for e in expressions:
        for v in walk(e):
            if isinstance(v, Var) and v.name not in known:
                raise InvalidProgram(
                    f"{v.name} in {where} is neither a size nor an axis further outside",
                    next=f'declare a size: sizes("{v.name}")',
                )
