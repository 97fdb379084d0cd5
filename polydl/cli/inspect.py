"""`polydl inspect`: what is in a model, before anything is compiled."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from polydl.cli.common import Common
from polydl.cli.console import quantity, table
from polydl.cli.source import Dims, ModelPath, Request, Shapes

if TYPE_CHECKING:
    from polydl.graph import Graph

__all__ = ["inspect"]


def inspect(path: ModelPath, shapes: Shapes = None, dims: Dims = None, *, common: Common) -> None:
    """Show a model's inputs, outputs, operators and weights, and which operators cannot be compiled.

    Examples:

    polydl inspect model.onnx

    polydl inspect model.onnx --dim N=1 -v
    """
    request = Request.of(path, "native", shapes, dims, "f32")
    from polydl.graph.importer import load_model, unsupported

    graph = load_model(
        request.path, shapes=request.shapes, dims=request.dims, supported=lambda _operator: True
    )
    missing = Counter(problem.operator for problem in unsupported(graph))
    common.console.result(
        _data(request, graph, missing), _text(request, graph, missing, common.console.verbosity)
    )


def _data(request: Request, graph: Graph, missing: Counter[str]) -> dict[str, Any]:
    def described(names: tuple[str, ...]) -> list[dict[str, Any]]:
        return [
            {"name": n, "dtype": graph.values[n].dtype.name, "shape": graph.values[n].shape} for n in names
        ]

    return {
        "model": request.path,
        "name": graph.name,
        "opset": graph.opset,
        "inputs": described(graph.inputs),
        "outputs": described(graph.outputs),
        "operators": graph.histogram(),
        "unsupported": dict(missing),
        "nodes": len(graph.nodes),
        "constants": len(graph.constants),
        "parameters": sum(array.size for array in graph.constants.values()),
        "constant_bytes": sum(array.nbytes for array in graph.constants.values()),
        "largest_value_bytes": max((value.bytes for value in graph.values.values()), default=0),
    }


def _text(request: Request, graph: Graph, missing: Counter[str], verbosity: int) -> str:
    data = _data(request, graph, missing)
    rows = [("model", f"{request.path} ({graph.name or 'unnamed'}), opset {graph.opset}")]
    rows += [("input", f"{name}: {graph.values[name]}") for name in graph.inputs]
    rows += [("output", f"{name}: {graph.values[name]}") for name in graph.outputs]
    rows.append(("nodes", str(len(graph.nodes))))
    rows.append(("weights", f"{data['parameters']:,} parameters, {quantity(data['constant_bytes'], 'B')}"))
    lines = [table(rows), ""]
    counts = [
        (operator, str(count), "not compiled yet" if missing[operator] else "")
        for operator, count in graph.histogram().items()
    ]
    lines.append(table(counts, header=("operator", "nodes", ""), right=(1,)))
    if verbosity > 0:
        lines += ["", str(graph)]
    return "\n".join(lines)
