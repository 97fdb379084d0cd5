"""The parameters of a transformation have the types that it declares, whoever made it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from polydl.errors import InvalidProgram

__all__ = ["require_parameters"]


def require_parameters(transform: Any) -> None:
    """InvalidProgram where a field of the transformation holds something else than it is declared to, or it is none."""
    if not hasattr(transform, "rewrite") or isinstance(transform, type):
        raise InvalidProgram(
            f"{transform!r} is no transformation", next="give a value, such as Split('i', 8)"
        )
    for name, hint in _declared(cast(Hashable, type(transform))):
        value = getattr(transform, name)
        if not _fits(value, hint):
            raise InvalidProgram(
                f"{type(transform).__name__}.{name} cannot be {value!r}",
                why=f"it is a {_spelled(hint)}",
            )


@cache
def _declared(cls: Hashable) -> tuple[tuple[str, Any], ...]:
    declaring: Any = cls
    hints = get_type_hints(declaring)
    return tuple((f.name, hints[f.name]) for f in fields(declaring))


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a declared type; what is neither a class, a tuple nor a choice is taken for granted."""
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        each = (
            (arguments[0],) * len(value) if Ellipsis in arguments and isinstance(value, tuple) else arguments
        )
        return isinstance(value, tuple) and len(value) == len(each) and all(map(_fits, value, each))
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, h) for h in arguments)
    if not isinstance(hint, type) or get_origin(hint) is not None:
        return True
    return isinstance(value, hint) and (hint is not int or not isinstance(value, bool))


def _spelled(hint: Any) -> str:
    """The type as people write it."""
    if get_origin(hint) is tuple:
        return f"tuple of {_spelled(get_args(hint)[0])}s"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_spelled(h) for h in get_args(hint))
    return "None" if hint is NoneType else getattr(hint, "__name__", str(hint))
