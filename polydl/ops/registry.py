"""The table of operators and the one door into it.

An operator is a function `f(b, node, *inputs)` that appends computations to the builder `b` and returns the tensors of
its results. It sees a validated node, static shapes, and the values of those inputs that are known at build time.
Inputs that only decide shapes or attributes (`static`) must be known; their tensors are never read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any, Final

import numpy as np

from polydl.dsl import FunctionBuilder, Tensor
from polydl.dtypes import DType
from polydl.errors import InvalidModel, InvalidProgram, UnsupportedOperator
from polydl.ir.expr import as_expr

__all__ = ["Array", "Attribute", "OpNode", "Result", "lower", "operator", "static_inputs", "supported"]

Array = np.ndarray[Any, Any]
Attribute = int | float | str | bytes | tuple[Any, ...] | Array
Result = Tensor | tuple[Tensor | None, ...]
Lowering = Callable[..., Result]

_DEFAULT_DOMAINS: Final = ("", "ai.onnx")


@dataclass(frozen=True, slots=True, eq=False)
class OpNode:
    """One ONNX node with everything about it that is known at build time.

    `constants` holds the values of the inputs that are known, by position. `outputs` gives name, type and shape of each
    output; an empty name says that nobody wants it. `input_shapes` gives the logical shape of those inputs whose tensor
    has a halo (an index box larger than the value; its surplus elements are zero).
    """

    op_type: str
    domain: str
    name: str
    opset: int
    attributes: Mapping[str, Attribute]
    constants: Mapping[int, Array]
    outputs: tuple[tuple[str, DType, tuple[int, ...]], ...]
    input_shapes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The node for a message."""
        domain = "" if self.domain in _DEFAULT_DOMAINS else f"{self.domain}."
        return f"node '{self.name}' ({domain}{self.op_type}, opset {self.opset})"

    @property
    def output(self) -> str:
        """Name of the first output."""
        return self.outputs[0][0]

    @property
    def dtype(self) -> DType:
        """Type of the first output."""
        return self.outputs[0][1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.outputs[0][2]

    def wants(self, i: int) -> bool:
        """Does anybody use output `i`?"""
        return i < len(self.outputs) and self.outputs[i][0] != ""

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return int(self._get(name, default, int))

    def number(self, name: str, default: float) -> float:
        """A float attribute."""
        return float(self._get(name, default, (int, float)))

    def string(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self._get(name, default, (str, bytes))
        return value.decode() if isinstance(value, bytes) else str(value)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list attribute; None where it is not set."""
        value = self._get(name, None, (tuple, list, np.ndarray, type(None)))
        return None if value is None else tuple(int(v) for v in value)

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of floats; empty where it is not set."""
        return tuple(float(v) for v in self._get(name, (), (tuple, list, np.ndarray)))

    def _get(self, name: str, default: Any, kinds: type | tuple[type, ...]) -> Any:
        value = self.attributes.get(name, default)
        if not isinstance(value, kinds):
            raise InvalidModel(
                f"attribute '{name}' has the wrong type {type(value).__name__}",
                where=self.where,
                why=f"value {value!r}",
            )
        return value

    def static(self, i: int, given: Tensor | None) -> Array | None:
        """The value of input `i`, which must be known at build time; None where the input is absent."""
        if i in self.constants:
            return self.constants[i]
        if given is None:
            return None
        raise self.refuse(
            f"input {i} ('{given.name}') must be known at build time", why="it decides the shape of a result"
        )

    def static_ints(self, i: int, given: Tensor | None) -> tuple[int, ...] | None:
        """`static` as a tuple of integers."""
        value = self.static(i, given)
        return None if value is None else tuple(int(v) for v in np.asarray(value).reshape(-1))

    def static_number(self, i: int, given: Tensor | None) -> int | float | None:
        """`static` as one number."""
        value = self.static(i, given)
        if value is None:
            return None
        if value.size != 1:
            raise self.invalid(f"input {i} should be one number, it is {list(value.shape)}")
        number: int | float = value.item()
        return number

    def refuse(self, what: str, *, why: str = "", attribute: str = "") -> UnsupportedOperator:
        """The error that says what of this node is not supported."""
        if attribute:
            what = f"attribute {attribute}={self.attributes.get(attribute)!r}: {what}"
        return UnsupportedOperator(
            f"{self.op_type} is not supported in this form: {what}",
            where=self.where,
            why=why,
            next="run `polydl inspect` on the model to list every such node at once",
        )

    def invalid(self, what: str) -> InvalidModel:
        """The error for a node that breaks ONNX's own rules."""
        return InvalidModel(f"{self.op_type}: {what}", where=self.where)


@dataclass(frozen=True, slots=True)
class _Entry:
    """`required` inputs are never absent; there are at most `most` (None: any number)."""

    lowering: Lowering
    static: Callable[[int], frozenset[int]]
    required: int
    most: int | None


_TABLE: Final[dict[tuple[str, str], _Entry]] = {}


def operator(
    *names: str, domain: str = "", static: Sequence[int] | Callable[[int], Sequence[int]] = ()
) -> Callable[[Lowering], Lowering]:
    """Register a function for the operators `names`. `static`: the inputs (by position, or as a function of the opset)
    whose values must be known at build time."""

    def positions(opset: int) -> frozenset[int]:
        return frozenset(static(opset) if callable(static) else static)

    def register(f: Lowering) -> Lowering:
        inputs = list(signature(f).parameters.values())[2:]
        required = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in inputs)
        most = None if any(p.kind is p.VAR_POSITIONAL for p in inputs) else len(inputs)
        for name in names:
            key = (domain, name)
            if key in _TABLE:
                raise InvalidProgram(f"operator {name} is registered twice")
            _TABLE[key] = _Entry(f, positions, required, most)
        return f

    return register


def supported() -> set[tuple[str, str]]:
    """All (domain, operator) pairs that can be lowered; the default domain is the empty string."""
    return set(_TABLE)


def static_inputs(op_type: str, domain: str, opset: int) -> frozenset[int]:
    """Positions of the inputs whose values must be known at build time; nothing reads their tensors."""
    entry = _TABLE.get(_key(op_type, domain))
    return entry.static(opset) if entry is not None else frozenset()


def _key(op_type: str, domain: str) -> tuple[str, str]:
    return ("" if domain in _DEFAULT_DOMAINS else domain, op_type)


def lower(b: FunctionBuilder, node: OpNode, inputs: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """Append the node's computations to `b`; one tensor per output of the node, None for outputs nobody wants.

    Raises UnsupportedOperator where the operator, or this form of it, is not supported.
    """
    entry = _TABLE.get(_key(node.op_type, node.domain))
    if entry is None:
        raise node.refuse("there is no such operator in the table")
    views = [_logical(node, i, x) for i, x in enumerate(inputs)]
    if len(views) < entry.required or (entry.most is not None and len(views) > entry.most):
        raise node.invalid(f"{len(views)} inputs, it takes {entry.required} to {entry.most}")
    for i in range(entry.required):
        if views[i] is None and i not in node.constants:
            raise node.invalid(f"input {i} is missing")
    made = entry.lowering(b, node, *views)
    results = made if isinstance(made, tuple) else (made,)
    if len(results) < len(node.outputs):
        extra = [name for name, _, _ in node.outputs[len(results) :] if name]
        if extra:
            raise node.refuse(f"output {extra[0]!r} is not computed")
    checked: list[Tensor | None] = []
    for i, (name, dtype, shape) in enumerate(node.outputs):
        if not name:
            checked.append(None)
            continue
        result = results[i]
        if result is None:
            raise node.refuse(f"output {i} ('{name}') is not computed")
        if result.dtype != dtype or result.extents != shape:
            raise InvalidModel(
                f"{node.op_type} computes {result.dtype}{list(result.extents)} for output '{name}'",
                where=node.where,
                why=f"the model says {dtype}{list(shape)}",
            )
        checked.append(result)
    return tuple(checked)


def _logical(node: OpNode, i: int, x: Tensor | None) -> Tensor | None:
    """`x` without its halo: the index box of the value itself. The builder still knows the whole tensor."""
    if x is None or i not in node.input_shapes:
        return x
    return replace(x, shape=tuple(as_expr(n) for n in node.input_shapes[i]), lower=())
