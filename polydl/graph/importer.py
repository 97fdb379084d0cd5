"""From an ONNX file to a `Graph`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx

from polydl.dtypes import DType
from polydl.errors import InvalidModel, UnsupportedOperator, UsageError
from polydl.graph.inference import Inference, Problem
from polydl.graph.ir import Graph, Node, Value
from polydl.graph.legacy import upgrade
from polydl.graph.limits import DEFAULT_LIMITS, Limits
from polydl.graph.loading import TensorReader, read_model
from polydl.graph.oldest import OLDEST_READ, as_operator_set_six
from polydl.graph.protobuf import dtype_of, type_name
from polydl.graph.seeds import draw
from polydl.graph.structure import (
    as_input,
    check_rules,
    default_opset,
    inline_functions,
    live_nodes,
    schema_of,
    sorted_nodes,
)

__all__ = ["Supported", "import_model", "load_model", "refuse", "unsupported"]

_MISSING: Final = "no such operator in the table"

Supported = Callable[[str], bool]
"""Can the operator of that name (default domain) be compiled?"""


def load_model(
    path: str | os.PathLike[str],
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    dims: Mapping[str, int] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    supported: Supported | None = None,
) -> Graph:
    """The model in `path` with every shape static.

    `shapes` gives inputs their shapes, `dims` gives named dimensions their sizes. Raises InvalidModel for a file
    that is no valid model, ResourceLimit for one that asks for more than `limits`, UsageError where a dimension has
    no size, and UnsupportedOperator, listing all nodes at once, where `supported` (default: the operator table) says
    no.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(
            f"a model is given as a {type(path).__name__} instead of the path of a file",
            next="save it first: onnx.save(model, 'model.onnx')",
        )
    file = Path(path)
    return import_model(
        read_model(file, limits),
        str(file),
        file.parent,
        shapes=shapes,
        dims=dims,
        limits=limits,
        supported=supported,
    )


def import_model(
    model: onnx.ModelProto,
    where: str,
    folder: Path,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    dims: Mapping[str, int] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    supported: Supported | None = None,
) -> Graph:
    """`load_model` of a message in memory, which is modified. `where` names it; external data lies in `folder`."""
    opset = default_opset(model, where)
    limits.check_nodes(len(model.graph.node), where)
    if opset < OLDEST_READ:
        as_operator_set_six(model, opset, where)
        opset = OLDEST_READ
    tensors = _take_initialisers(model, where)
    model = inline_functions(model, limits, where)
    graph = model.graph
    ordered = sorted_nodes(graph.node, {i.name for i in graph.input}, where)
    del graph.node[:]
    graph.node.extend(ordered)
    if all(schema_of(n, opset) is not None for n in ordered):
        check_rules(model, where)
    allowed = supported or _in_table
    state = Inference(opset, where, TensorReader(folder, limits), limits, compiled=allowed)
    declared = [i for i in graph.input if i.name not in tensors]
    for value in bind_inputs(declared, shapes or {}, dims or {}, limits, where):
        state.values[value.name] = value
    nodes = live_nodes(ordered, [o.name for o in graph.output])
    needed = {i for n in nodes for i in n.input} | {o.name for o in graph.output}
    for name, t in tensors.items():
        if name in needed:
            state.add_constant(name, state.reader.read(t, f"{where}, initialiser '{name}'"))
    state.used.update(o.name for o in graph.output)
    state.walk(nodes)
    if state.problems:
        refuse([*state.problems, *_beyond(nodes, state, allowed)], where)
    outputs = _outputs(graph, state, where)
    kept = _needed(state, outputs)
    names = {*(i.name for i in declared), *outputs, *(v for n in kept for v in (*n.inputs, *n.outputs))}
    result = Graph(
        graph.name,
        opset,
        tuple(i.name for i in declared),
        outputs,
        tuple(kept),
        state.constants,
        {k: v for k, v in state.values.items() if k in names},
    )
    result = draw(upgrade(result))
    refuse(unsupported(result, allowed), where)
    result.verify()
    return result


def unsupported(graph: Graph, supported: Supported | None = None) -> list[Problem]:
    """All nodes of `graph` whose operator is not in the table."""
    allowed = supported or _in_table
    return [Problem(n.op_type, n.name, _MISSING) for n in graph.nodes if not allowed(n.op_type)]


def _beyond(nodes: Iterable[onnx.NodeProto], state: Inference, allowed: Supported) -> list[Problem]:
    """What else is not in the table: among the nodes understood, and among those behind a node that was not."""
    behind = [n for n in nodes if state.unknown & set(n.input) and schema_of(n, state.opset) is not None]
    found = [(n.op_type, n.name) for n in state.nodes] + [(n.op_type, n.name) for n in behind]
    known = {p.node for p in state.problems}
    return [Problem(op, name, _MISSING) for op, name in found if not allowed(op) and name not in known]


def refuse(problems: Iterable[Problem], where: str) -> None:
    """UnsupportedOperator that lists all `problems` by operator; nothing where there are none."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for p in problems:
        grouped.setdefault((p.operator, p.why), []).append(p.node)
    if not grouped:
        return
    lines = []
    for (operator, why), nodes in sorted(grouped.items()):
        shown = ", ".join(nodes[:8]) + (f" and {len(nodes) - 8} more" if len(nodes) > 8 else "")
        lines.append(f"{operator} ({len(nodes)}): {shown}: {why}")
    names = sorted({operator for operator, _ in grouped})
    raise UnsupportedOperator(
        f"{len(names)} operator{'s' if len(names) > 1 else ''} of the model cannot be compiled: {', '.join(names)}",
        where=where,
        why="\n    ".join(["", *lines]),
        next="replace them in the model, or add them: an operator is one function in polydl/ops (CONTRIBUTING.md)",
    )


def bind_inputs(
    inputs: Sequence[onnx.ValueInfoProto],
    shapes: Mapping[str, Sequence[int]],
    dims: Mapping[str, int],
    limits: Limits,
    where: str,
) -> list[Value]:
    """The inputs with static shapes. UsageError listing every option that is missing, unknown or contradictory."""
    names = [i.name for i in inputs]
    symbols = sorted({d.dim_param for i in inputs for d in i.type.tensor_type.shape.dim if d.dim_param})
    wrong = [
        f"--shape {n}=…: the model has no such input (it has {', '.join(names) or 'none'})"
        for n in shapes
        if n not in names
    ]
    wrong += [
        f"--dim {n}=…: the model has no such dimension (it has {', '.join(symbols) or 'none'})"
        for n in dims
        if n not in symbols
    ]
    wrong += [f"--dim {n}={v}: a size is at least 1" for n, v in dims.items() if v < 1]
    if wrong:
        raise UsageError("the sizes given do not fit the model", where=where, why="; ".join(wrong))
    bound = dict(dims)
    needed: list[str] = []
    result = []
    for i in inputs:
        dtype = _input_dtype(i, where)
        tensor = i.type.tensor_type
        declared = list(tensor.shape.dim)
        given = shapes.get(i.name)
        place = f"{where}, input '{i.name}'"
        if given is not None:
            shape = tuple(int(d) for d in given)
            _check_shape(shape, i, place, bound)
        elif not tensor.HasField("shape"):
            needed.append(f"--shape {i.name}=…")
            continue
        else:
            found = [_size(d, bound) for d in declared]
            if None in found:
                free = [d.dim_param for d, s in zip(declared, found, strict=True) if s is None]
                if all(free):
                    needed += [f"--dim {name}=…" for name in free if f"--dim {name}=…" not in needed]
                else:
                    sizes = ",".join(
                        d.dim_param or "?" if s is None else str(s)
                        for d, s in zip(declared, found, strict=True)
                    )
                    needed.append(f"--shape {i.name}={sizes}")
                continue
            shape = tuple(s for s in found if s is not None)
        if any(d < 0 for d in shape):
            raise InvalidModel(f"input '{i.name}' has a negative dimension: {list(shape)}", where=where)
        limits.check_tensor(shape, dtype.bytes, place)
        result.append(Value(i.name, dtype, shape))
    if needed:
        raise UsageError(
            "the model has dimensions without a size",
            where=where,
            why="shapes are static in this version",
            next=f"add {' '.join(needed)}",
        )
    return result


def _size(d: onnx.TensorShapeProto.Dimension, bound: Mapping[str, int]) -> int | None:
    if d.HasField("dim_value"):
        return int(d.dim_value)
    return bound.get(d.dim_param) if d.dim_param else None


def _check_shape(shape: tuple[int, ...], i: onnx.ValueInfoProto, place: str, bound: dict[str, int]) -> None:
    if any(d < 1 for d in shape):
        raise UsageError(f"--shape {i.name}={','.join(map(str, shape))}: a size is at least 1", where=place)
    tensor = i.type.tensor_type
    if not tensor.HasField("shape"):
        return
    declared = list(tensor.shape.dim)
    expected = ",".join(str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in declared)
    fits = len(declared) == len(shape)
    for d, s in zip(declared, shape, strict=False):
        if d.HasField("dim_value") or d.dim_param in bound:
            fits &= s == _size(d, bound)
        elif d.dim_param:
            bound[d.dim_param] = s
    if not fits:
        raise UsageError(
            f"--shape {i.name}={','.join(map(str, shape))} does not fit the model",
            where=place,
            why=f"the model declares [{expected}]",
            next="give sizes for the open dimensions only",
        )


def _input_dtype(i: onnx.ValueInfoProto, where: str) -> DType:
    if not i.type.HasField("tensor_type"):
        raise UnsupportedOperator(
            f"input '{i.name}' is not a tensor", where=where, why=f"it is a {i.type.WhichOneof('value')}"
        )
    dtype = dtype_of(i.type.tensor_type.elem_type)
    if dtype is None:
        raise UnsupportedOperator(
            f"input '{i.name}' has {type_name(i.type.tensor_type.elem_type)} elements",
            where=where,
            why="polydl has no such element type",
        )
    return dtype


def _take_initialisers(model: onnx.ModelProto, where: str) -> dict[str, onnx.TensorProto]:
    """Moves the initialisers out of the message; declarations stand for them, so that checks cost nothing."""
    graph = model.graph
    if graph.sparse_initializer:
        raise UnsupportedOperator("the model has sparse initialisers", where=where, next="store them densely")
    inputs = [i.name for i in graph.input]
    for name in {n for n in inputs if inputs.count(n) > 1}:
        raise InvalidModel(f"input '{name}' is declared twice", where=where)
    tensors: dict[str, onnx.TensorProto] = {}
    for t in graph.initializer:
        if t.name in tensors:
            raise InvalidModel(f"initialiser '{t.name}' is defined twice", where=where)
        tensors[t.name] = t
    graph.ClearField("initializer")
    present = set(inputs)
    graph.input.extend(as_input(t) for n, t in tensors.items() if n not in present)
    return tensors


def _outputs(graph: onnx.GraphProto, state: Inference, where: str) -> tuple[str, ...]:
    names = [o.name for o in graph.output]
    for o in graph.output:
        if o.name not in state.values and o.name not in state.unknown:
            raise InvalidModel(f"output '{o.name}' is defined nowhere", where=where)
        declared = dtype_of(o.type.tensor_type.elem_type)
        actual = state.values.get(o.name)
        if declared is not None and actual is not None and declared != actual.dtype:
            raise InvalidModel(
                f"output '{o.name}' is declared {declared}, but its node computes {actual.dtype}", where=where
            )
    if len(set(names)) != len(names):
        raise InvalidModel("an output is listed twice", where=where)
    return tuple(names)


def _needed(state: Inference, outputs: Iterable[str]) -> list[Node]:
    """The nodes that the outputs need; constants that only folded nodes read are dropped."""
    needed = set(outputs)
    kept = []
    for n in reversed(state.nodes):
        if needed & set(n.outputs):
            needed |= set(n.inputs)
            kept.append(n)
    for name in [c for c in state.constants if c not in needed]:
        del state.constants[name], state.values[name]
    return kept[::-1]


def _in_table(op_type: str) -> bool:
    from polydl.ops import registry  # late: reading a model to inspect it needs no operators

    return ("", op_type) in registry.supported()
