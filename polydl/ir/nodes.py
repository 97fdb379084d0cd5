"""Hash-consed expression nodes: structurally equal nodes are one object, so that identity is equality."""

from __future__ import annotations

from typing import assert_never

from polydl.dtypes import BOOL, DType
from polydl.ir.expr import (
    Binary,
    Broadcast,
    Call,
    Cast,
    Const,
    Expr,
    Load,
    Ramp,
    ReduceLanes,
    Select,
    Unary,
    Var,
)

__all__ = ["Nodes", "literal_of"]


class Nodes:
    """The nodes built so far, with their lanes and sort keys. A node's key names its operands by identity."""

    def __init__(self) -> None:
        self._nodes: dict[object, Expr] = {}
        self._lanes: dict[int, int] = {}
        self._keys: dict[int, str] = {}

    def intern(self, key: object, node: Expr, lanes: int) -> Expr:
        """The one node of `key` (built of operands' identities)."""
        found = self._nodes.get(key)
        if found is None:
            self._nodes[key] = found = node
            self._lanes[id(node)] = lanes
        return found

    def lanes_of(self, e: Expr) -> int:
        return self._lanes[id(e)]

    def literal(self, value: int, dtype: DType) -> Expr:
        found = self._nodes.get((value, dtype.name))
        return found if found is not None else self.intern((value, dtype.name), Const(value, dtype), 1)

    def binary(self, op: str, a: Expr, b: Expr) -> Expr:
        found = self._nodes.get((op, id(a), id(b)))
        if found is not None:
            return found
        return self.intern((op, id(a), id(b)), Binary(op, a, b), max(self._lanes[id(a)], self._lanes[id(b)]))

    def fit(self, e: Expr, lanes: int) -> Expr:
        """`e`, repeated where simplification lost the vector that gave it `lanes`."""
        if self._lanes[id(e)] == lanes:
            return e
        return self.intern(("broadcast", id(e), lanes), Broadcast(e, lanes), lanes)

    def truth(self, value: bool) -> Expr:
        """The literal `true` or `false`."""
        constant = Const(value, BOOL)
        return self.intern(constant, constant, 1)

    def key(self, e: Expr) -> str:
        """A structural sort key of a node: variables by name, then everything else, vectors last."""
        found = self._keys.get(id(e))
        if found is None:
            found = self._keys[id(e)] = _text(e, self)
        return found


def literal_of(e: Expr | None) -> Const | None:
    """The constant that every lane of `e` has."""
    if isinstance(e, Broadcast):
        e = e.operand
    return e if isinstance(e, Const) else None


def _text(e: Expr, nodes: Nodes) -> str:
    match e:
        case Var(name):
            return " " + name
        case Const(value, dtype):
            return f"{value}:{dtype.name}"
        case Binary(op, a, b):
            return f"{op}({nodes.key(a)},{nodes.key(b)})"
        case Load(buffer, index, _, mask):
            return f"{buffer}[{','.join(map(nodes.key, index))}|{'' if mask is None else nodes.key(mask)}]"
        case Unary(op, x):
            return f"{op}({nodes.key(x)})"
        case Call(function, operands):
            return f"{function}({','.join(map(nodes.key, operands))})"
        case Select(c, a, b):
            return f"select({nodes.key(c)},{nodes.key(a)},{nodes.key(b)})"
        case Cast(dtype, x):
            return f"{dtype.name}({nodes.key(x)})"
        case Ramp(x, stride, lanes):
            return f"~ramp({nodes.key(x)},{stride},{lanes})"
        case Broadcast(x, lanes):
            return f"~broadcast({nodes.key(x)},{lanes})"
        case ReduceLanes(op, x):
            return f"~{op}({nodes.key(x)})"
        case _:
            assert_never(e)
