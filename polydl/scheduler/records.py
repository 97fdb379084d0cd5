"""Transformations as records: from JSON, and from the text that `repr` prints. Nothing is evaluated."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Final, get_type_hints

from polydl.dsl.tensor import Layout
from polydl.errors import InvalidProgram
from polydl.scheduler.affine_order import AffineOrder, SeparateTiles
from polydl.scheduler.bindings import Parallel, Sequential, Unroll, Vectorize
from polydl.scheduler.compute import Accumulate, Inline, Privatize
from polydl.scheduler.copies import CopyInOut
from polydl.scheduler.diamonds import Diamond
from polydl.scheduler.expansion import Expand
from polydl.scheduler.folding import Contract, Fold
from polydl.scheduler.instances import RunFirst
from polydl.scheduler.jam import FuseShifted, UnrollAndJam
from polydl.scheduler.loops import Collapse, Distribute, Fuse, Reorder, Split, Tile
from polydl.scheduler.meaning import Rebase
from polydl.scheduler.motion import Reverse, Shift, Skew
from polydl.scheduler.packing import Pack
from polydl.scheduler.partial_sums import PartialSums
from polydl.scheduler.partition import IndexSetSplit, Separate
from polydl.scheduler.placement import ComputeAt
from polydl.scheduler.prefetch import Prefetch, ReadAhead
from polydl.scheduler.schedule import Transform
from polydl.scheduler.storage import Local, SetLayout, SetMemory
from polydl.scheduler.tensorise import Tensorise
from polydl.scheduler.terms import SplitSum
from polydl.scheduler.unimodular import Unimodular
from polydl.vocabulary import Memory

__all__ = ["TRANSFORMS", "from_json", "from_text"]

TRANSFORMS: Final[dict[str, type[Transform]]] = {
    t.__name__: t
    for t in (
        Accumulate, AffineOrder, Collapse, ComputeAt, Contract, CopyInOut, Diamond, Distribute, Expand, Fold, Fuse,
        FuseShifted, IndexSetSplit, Inline, Local, Pack, Parallel, PartialSums, Prefetch, Privatize, ReadAhead,
        Rebase, Reorder, Reverse, RunFirst, Separate, SeparateTiles, Sequential, SetLayout, SetMemory, Shift, Skew,
        Split, SplitSum, Tensorise, Tile, Unimodular, Unroll, UnrollAndJam, Vectorize,
    )
}  # fmt: skip


def from_json(data: Mapping[str, Any]) -> Transform:
    """The transformation that `to_json` made `data` of; InvalidProgram where it is none."""
    name = data.get("transform")
    cls = _class(name if isinstance(name, str) else repr(name))
    return _make(cls, {k: v for k, v in data.items() if k != "transform"})


def from_text(text: str) -> Transform:
    """The transformation that `repr` printed as `text`; InvalidProgram where it is none."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidProgram(f"'{text}' is not a transformation", why=str(error)) from None
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise InvalidProgram(f"'{text}' is not a transformation", next="write e.g. Split('i', 8)")
    cls = _class(tree.func.id)
    names = [f.name for f in fields(cls)]
    if len(tree.args) > len(names):
        raise InvalidProgram(f"{cls.__name__} has {len(names)} fields, '{text}' gives {len(tree.args)}")
    values: dict[str, Any] = {n: _literal(a, text) for n, a in zip(names, tree.args, strict=False)}
    for keyword in tree.keywords:
        if keyword.arg is None or keyword.arg in values:
            raise InvalidProgram(f"'{text}' gives a field twice or by '**'")
        values[keyword.arg] = _literal(keyword.value, text)
    return _make(cls, values)


def _class(name: str) -> type[Transform]:
    if name not in TRANSFORMS:
        raise InvalidProgram(f"there is no transformation '{name}'", next=f"one of {', '.join(TRANSFORMS)}")
    return TRANSFORMS[name]


def _literal(node: ast.expr, text: str) -> Any:
    """A constant of the text as the plain data that JSON would hold."""
    match node:
        case ast.Constant(value=str() | int() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
            return -value
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return [_literal(e, text) for e in elements]
        case ast.Attribute(value=ast.Name(id="Memory"), attr=name) if name in Memory.__members__:
            return Memory[name].value
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="Layout"), attr="parse"),
            args=[ast.Constant(value=str() as value)],
            keywords=[],
        ):
            return value
        case _:
            raise InvalidProgram(f"'{ast.unparse(node)}' cannot stand in a transformation", where=text)


def _make(cls: type[Transform], values: Mapping[str, Any]) -> Transform:
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    unknown = sorted(set(values) - set(known))
    missing = [n for n, f in known.items() if n not in values and f.default is MISSING]
    if unknown or missing:
        what = f"no field {', '.join(unknown)}" if unknown else f"no value for {', '.join(missing)}"
        raise InvalidProgram(f"{cls.__name__}: {what}", next=f"its fields are {', '.join(known)}")
    return cls(**{n: _decode(hints[n], v, f"{cls.__name__}.{n}") for n, v in values.items()})


def _decode(hint: Any, value: Any, where: str) -> Any:
    """Plain data as a field of type `hint`."""
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str):
        return value
    if hint in (tuple[str, ...], tuple[int, ...]) and isinstance(value, list | tuple):
        return tuple(_decode(hint.__args__[0], v, where) for v in value)
    if hint == tuple[tuple[int, ...], ...] and isinstance(value, list | tuple):
        return tuple(_decode(tuple[int, ...], row, where) for row in value)
    if hint == Layout | None and value is None:
        return None
    if hint in (Layout, Layout | None) and isinstance(value, str):
        return Layout.parse(value)
    if hint is Memory and value in {m.value for m in Memory}:
        return Memory(value)
    raise InvalidProgram(f"{where} cannot be {value!r}", why=f"it is a {getattr(hint, '__name__', hint)}")
