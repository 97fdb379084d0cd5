"""The types of the scalars that a captured program assigns to."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from polydl.dsl.capture import Source
from polydl.dsl.tensor import Tensor
from polydl.dtypes import BOOL, F64, INDEX, DType, by_name
from polydl.errors import InvalidProgram

__all__ = ["scalar_types"]


def scalar_types(source: Source, body: Sequence[ast.stmt], arrays: Mapping[str, Tensor]) -> dict[str, DType]:
    """Every assigned name with the type of its values: that of the typed floating-point operands, else f64 or i64."""
    found: dict[str, list[ast.expr]] = {}
    given: dict[str, DType] = {}
    for node in (n for s in body for n in ast.walk(s)):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AugAssign(target=ast.Name(id=name), value=value)
            ):
                found.setdefault(name, []).append(value)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                for target, value in zip(names, values, strict=False):
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(value)
            case ast.Assign(targets=[_, _, *_] as names, value=value):
                for target in names:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(value)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=note, value=value):
                dtype = _annotated(source, note)
                if given.setdefault(name, dtype) != dtype:
                    raise source.error(note, f"{name} is a {given[name]} elsewhere", next="use another name")
                found.setdefault(name, []).extend([] if value is None else [value])
    types: dict[str, DType] = dict(given)
    changed = True
    while changed:
        changed = False
        for name, values in found.items():
            if name not in types:
                known = [t for v in values for t in _operand_types(v, arrays, types) if t.is_float]
                if known:
                    types[name] = known[0]
                    changed = True
    types |= dict.fromkeys(_truths(found, arrays, types), BOOL)
    for name, values in found.items():
        if name not in types:
            known = [t for v in values for t in _operand_types(v, arrays, types) if t != BOOL]
            types[name] = F64 if any(map(_is_fractional, values)) else (known or [INDEX])[0]
    return types


def _truths(
    found: Mapping[str, Sequence[ast.expr]], arrays: Mapping[str, Tensor], types: Mapping[str, DType]
) -> set[str]:
    """The names that are assigned True and False alone, also by way of each other."""
    names = {n for n, values in found.items() if values and n not in types}
    while True:
        scalars = {**types, **dict.fromkeys(names, BOOL)}
        kept = {n for n in names if all(_is_truth(v, arrays, scalars) for v in found[n])}
        if kept == names:
            return kept
        names = kept


def _is_truth(value: ast.expr, arrays: Mapping[str, Tensor], scalars: Mapping[str, DType]) -> bool:
    """Whether a value is True or False."""
    match value:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Constant(value=bool()):
            return True
        case ast.BoolOp(values=values):
            return all(_is_truth(v, arrays, scalars) for v in values)
        case ast.BinOp(left=a, op=ast.BitAnd() | ast.BitOr() | ast.BitXor(), right=b):
            return _is_truth(a, arrays, scalars) and _is_truth(b, arrays, scalars)
        case ast.UnaryOp(op=ast.Invert(), operand=a):
            return _is_truth(a, arrays, scalars)
        case ast.IfExp(body=a, orelse=b):
            return _is_truth(a, arrays, scalars) and _is_truth(b, arrays, scalars)
        case ast.Name() | ast.Subscript():
            return BOOL in _operand_types(value, arrays, scalars)
        case _:
            return False


def _is_fractional(value: ast.expr) -> bool:
    """Whether a value without typed floating-point operands is one nevertheless."""
    return any(
        isinstance(n, ast.Div | ast.Call) or (isinstance(n, ast.Constant) and isinstance(n.value, float))
        for n in ast.walk(value)
    )


def _annotated(source: Source, note: ast.expr) -> DType:
    text = note.value if isinstance(note, ast.Constant) else ast.unparse(note)
    try:
        return by_name(str(text))
    except InvalidProgram as error:
        raise source.error(note, error.what, next=error.next) from None


def _operand_types(
    node: ast.expr, arrays: Mapping[str, Tensor], scalars: Mapping[str, DType]
) -> Iterator[DType]:
    """The types of the arrays and scalars in a value, outside of subscripts and conditions."""
    match node:
        case ast.Subscript(value=ast.Attribute()):
            pass
        case ast.Subscript(value=inner):
            yield from _operand_types(inner, arrays, scalars)
        case ast.Name(id=name):
            if name in arrays:
                yield arrays[name].dtype
            elif name in scalars:
                yield scalars[name]
        case ast.IfExp(body=a, orelse=b):
            yield from _operand_types(a, arrays, scalars)
            yield from _operand_types(b, arrays, scalars)
        case ast.Call(args=arguments):
            for a in arguments:
                yield from _operand_types(a, arrays, scalars)
        case ast.BinOp(left=a, right=b):
            yield from _operand_types(a, arrays, scalars)
            yield from _operand_types(b, arrays, scalars)
        case ast.UnaryOp(operand=a):
            yield from _operand_types(a, arrays, scalars)
        case _:
            pass
