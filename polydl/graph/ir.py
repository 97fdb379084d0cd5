"""The graph: a network as nodes over named values.

Semantic contract
-----------------
* A `Graph` is in static single assignment form: every value name is defined once, as an input, a constant, or the
  output of one node. `nodes` are in a topological order: every input of a node is defined before it.
* Every value that is mentioned has an entry in `values` with its element type and static shape. The empty name stands
  for an omitted optional input or output.
* A `Node` means what ONNX says about `op_type` of the default domain at operator set `opset`; attributes that the
  schema gives a default are present. There are no subgraphs and no functions.
* Graphs are immutable: passes make new ones (see `editor.py`). Arrays in `constants` are never written to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from polydl.dtypes import DType
from polydl.errors import InvalidProgram

__all__ = ["Array", "AttributeValue", "Graph", "Node", "Value"]

Array = np.ndarray[Any, Any]
AttributeValue = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | Array


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor flowing through the graph. `shape` is static; `()` is a scalar."""

    name: str
    dtype: DType
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * self.dtype.bytes

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator. `inputs` and `outputs` are value names; `""` is an omitted one. Compared by identity."""

    name: str
    op_type: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    domain: str = ""

    def input(self, index: int) -> str:
        """The name of input `index`, `""` where it is omitted."""
        return self.inputs[index] if index < len(self.inputs) else ""

    @property
    def output(self) -> str:
        """The first output."""
        return self.outputs[0]

    def integer(self, name: str, default: int = 0) -> int:
        """An integer attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise InvalidProgram(f"attribute '{name}' of {self.op_type} '{self.name}' is not an integer")
        return value

    def number(self, name: str, default: float = 0.0) -> float:
        """A float attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int | float):
            raise InvalidProgram(f"attribute '{name}' of {self.op_type} '{self.name}' is not a number")
        return float(value)

    def text(self, name: str, default: str = "") -> str:
        """A string attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise InvalidProgram(f"attribute '{name}' of {self.op_type} '{self.name}' is not a string")
        return value

    def integers(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A list-of-integers attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, tuple):
            raise InvalidProgram(f"attribute '{name}' of {self.op_type} '{self.name}' is not a list")
        return tuple(int(v) for v in value)


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """See the module's contract. `opset` is the model's; a node made by a pass may have a newer one."""

    name: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    values: Mapping[str, Value]

    def producers(self) -> dict[str, Node]:
        """Value name -> the node that makes it."""
        return {o: n for n in self.nodes for o in n.outputs if o}

    def consumers(self) -> dict[str, list[Node]]:
        """Value name -> the nodes that read it (once for each reading input); no entry where nothing reads it."""
        result: dict[str, list[Node]] = {}
        for n in self.nodes:
            for i in n.inputs:
                if i:
                    result.setdefault(i, []).append(n)
        return result

    def verify(self) -> None:
        """InvalidProgram where the module's contract is broken."""
        defined = set(self.inputs)
        if len(defined) != len(self.inputs) or defined & set(self.constants):
            raise InvalidProgram("a graph input is defined twice", where=self.name)
        defined |= set(self.constants)
        for n in self.nodes:
            for i in n.inputs:
                if i and i not in defined:
                    raise InvalidProgram(
                        f"{n.op_type} '{n.name}' reads '{i}' before it is defined", where=self.name
                    )
            for o in n.outputs:
                if o in defined:
                    raise InvalidProgram(f"{n.op_type} '{n.name}' defines '{o}' again", where=self.name)
                if o:
                    defined.add(o)
        for o in self.outputs:
            if o not in defined:
                raise InvalidProgram(f"output '{o}' is not defined", where=self.name)
        for v in defined:
            if v not in self.values:
                raise InvalidProgram(f"value '{v}' has no type", where=self.name)
        for name, array in self.constants.items():
            if tuple(array.shape) != self.values[name].shape or array.dtype != self.values[name].dtype.numpy:
                raise InvalidProgram(f"constant '{name}' does not have its declared type", where=self.name)

    def histogram(self) -> dict[str, int]:
        """Operator -> number of nodes, most frequent first."""
        return dict(Counter(n.op_type for n in self.nodes).most_common())

    def __str__(self) -> str:
        size = sum(a.nbytes for a in self.constants.values())
        lines = [f"graph {self.name or 'unnamed'}  opset {self.opset}"]
        lines += [f"  input  {i}: {self.values[i]}" for i in self.inputs]
        lines += [f"  output {o}: {self.values[o]}" for o in self.outputs]
        lines.append(f"  {len(self.constants)} constants, {size} bytes; {len(self.nodes)} nodes")
        lines += [f"  {self.show(n)}" for n in self.nodes]
        return "\n".join(lines) + "\n"

    def show(self, n: Node) -> str:
        """One node as a line of text."""
        results = ", ".join(f"{o}: {self.values[o]}" if o in self.values else o or "_" for o in n.outputs)
        operands = ", ".join(self._operand(i) for i in n.inputs)
        attributes = "".join(
            f" {k}={_attribute(v)}" for k, v in sorted(n.attributes.items()) if not isinstance(v, tuple) or v
        )
        return f"{results} = {n.op_type}({operands}){attributes}"

    def _operand(self, name: str) -> str:
        array = self.constants.get(name)
        if array is None:
            return name or "_"
        if array.size <= 4:
            return f"{self.values[name].dtype} {np.array2string(array, separator=',').replace(chr(10), '')}"
        return f"{name}: {self.values[name]}"


def _attribute(v: AttributeValue) -> str:
    if isinstance(v, np.ndarray):
        return np.array2string(v, separator=",", threshold=8).replace("\n", "")
    if isinstance(v, tuple):
        return "(" + ",".join(map(str, v)) + ")"
    return str(v)
