"""The functions that captured programs call, by their names in Python and in the modules math and numpy."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from polydl.dsl.capture_arithmetic import Value, number, power
from polydl.dtypes import BOOL, F64, INDEX, DType, from_numpy
from polydl.ir.expr import Binary, Call, Cast, Const, Expr, Select, Unary

if TYPE_CHECKING:
    from polydl.dsl.capture_values import Scope

__all__ = ["BUILTINS", "called"]

BUILTINS: Final[dict[str, Any]] = {
    "min": min, "max": max, "abs": abs, "pow": pow, "float": float, "int": int, "bool": bool, "round": round,
    "range": range, "len": len,
}  # fmt: skip
_FUNCTIONS: Final[dict[str, str]] = {  # of the modules math and numpy -> of the DSL
    "exp": "exp", "log": "log", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tan": "tan", "tanh": "tanh",
    "sinh": "sinh", "cosh": "cosh", "asin": "asin", "acos": "acos", "atan": "atan", "arcsin": "asin",
    "arccos": "acos", "arctan": "atan", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "erf": "erf", "pow": "pow", "power": "pow", "floor": "floor",
    "ceil": "ceil", "trunc": "trunc", "fmod": "fmod", "fma": "fma", "rint": "round_even", "round": "round_even",
    "isnan": "isnan", "isinf": "isinf",
}  # fmt: skip
_EXTREMES: Final = {"min": "min", "max": "max", "minimum": "min", "maximum": "max", "fmin": "", "fmax": ""}
_ARITIES: Final = {"pow": 2, "fmod": 2, "fma": 3}


def _float(x: Expr, value: float) -> Const:
    return Const(value, x.dtype)


_COMPOSED: Final[dict[str, tuple[int, Callable[..., Expr]]]] = {  # number of operands, and what they become
    "log2": (1, lambda x: Call("log", (x,)) * _float(x, 1.0 / math.log(2.0))),
    "log10": (1, lambda x: Call("log", (x,)) * _float(x, 1.0 / math.log(10.0))),
    "exp2": (1, lambda x: Call("pow", (_float(x, 2.0), x))),
    "square": (1, lambda x: x * x),
    "hypot": (2, lambda x, y: Call("sqrt", (x * x + y * y,))),
    "sign": (1, lambda x: Select(x > 0.0, _float(x, 1.0), Select(x < 0.0, _float(x, -1.0), x))),
    "isfinite": (1, lambda x: Unary("not", Binary("or", Call("isnan", (x,)), Call("isinf", (x,))))),
}


def called(scope: Scope, node: ast.Call) -> Value:
    """The value of a call."""
    extent = scope.extent(node)
    if extent is not None:
        return extent
    target = scope.outer(node.func)
    name = getattr(target, "__name__", "")
    home = getattr(target, "__module__", None) or "numpy"
    known = target is not None and home.split(".")[0] in ("math", "numpy", "builtins")
    if node.keywords or not known:
        raise scope.source.error(
            node,
            f"'{ast.unparse(node.func)}' cannot be called here",
            why="a captured program calls functions of math and numpy on single values only",
            next=f"use one of {_offered()}",
        )
    if name == "where" and len(node.args) == 3:
        sides = scope.balanced(node, scope.value(node.args[1]), scope.value(node.args[2]))
        return Select(scope.condition(node.args[0]), *sides)
    operands = [scope.value(a) for a in node.args]
    if isinstance(target, type) and len(operands) == 1:
        dtype = {float: F64, int: INDEX, bool: BOOL}.get(target)
        if dtype is not None or issubclass(target, np.generic):
            return _cast(scope, node, operands[0], dtype or from_numpy(target))
    if name in ("abs", "fabs", "absolute") and len(operands) == 1:
        x = number(operands[0])
        return abs(x) if isinstance(x, int | float) else Unary("abs", x)
    if _EXTREMES.get(name) and len(operands) >= 2:
        return _extreme(scope, node, _EXTREMES[name], operands)
    function = _FUNCTIONS.get(name)
    if function == "pow" and len(operands) == 2:
        return power(scope, node, *operands)
    floats = [x.dtype for x in operands if not isinstance(x, int | float) and x.dtype.is_float]
    dtype = floats[0] if floats else F64
    arity, composed = _COMPOSED.get(name, (0, None))
    wanted = arity if composed is not None else _ARITIES.get(function or "", 1)
    if (function is None and composed is None) or len(operands) != wanted:
        raise scope.source.error(
            node,
            f"there is no function {ast.unparse(node.func)} of {len(operands)} values",
            next=f"use one of {_offered()}",
        )
    values = tuple(scope.convert(node, x, dtype) for x in operands)
    return composed(*values) if composed is not None else Call(function or "", values)


def _offered() -> str:
    return f"abs, min, max, {', '.join(sorted({*_FUNCTIONS, *_COMPOSED}))}, where"


def _extreme(scope: Scope, node: ast.Call, op: str, operands: list[Value]) -> Value:
    first, *rest = operands
    for x in rest:
        if isinstance(first, int | float) and isinstance(x, int | float):
            first = min(first, x) if op == "min" else max(first, x)
        else:
            first = Binary(op, *scope.balanced(node, first, x))
    return first


def _cast(scope: Scope, node: ast.AST, value: Value, dtype: DType) -> Expr:
    if isinstance(value, int | float):
        whole = dtype.is_integer and math.isfinite(value)
        return scope.literal(node, int(value) if whole else value, dtype)
    return value if value.dtype == dtype else Cast(dtype, value)
