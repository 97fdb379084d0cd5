"""A Pad with zeros before a convolution (or with what a pool ignores, before a pool) becomes that operator's own
padding."""

from __future__ import annotations

import numpy as np

from polydl.graph.editor import Editor
from polydl.graph.ir import Graph, Node
from polydl.graph.passes.common import rebuilt

__all__ = ["absorb_pads"]


def absorb_pads(graph: Graph) -> Graph:
    """`Conv(Pad(x))` -> `Conv(x)` with larger pads; AveragePool where padding is counted; MaxPool of minus
    infinity."""
    e = Editor(graph)
    for node in e.walk():
        if node.op_type not in ("Conv", "AveragePool", "MaxPool") or len(node.outputs) != 1:
            continue
        pad = e.producer(node.inputs[0], "Pad")
        found = _constant_pad(e, pad) if pad is not None else None
        if pad is None or found is None or node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            continue
        (low, high), value = found
        rank = len(e.values[pad.inputs[0]].shape)
        spatial = rank - 2
        own = node.integers("pads") or (0,) * (2 * spatial)
        extra: dict[str, int] = {}
        match node.op_type:
            case "Conv":
                fits = value == 0
            case "AveragePool":
                fits = value == 0 and not node.integer("ceil_mode", 0) and node.opset >= 7
                fits &= bool(node.integer("count_include_pad", 0)) or not any(own)
                extra = {"count_include_pad": 1}
            case _:
                # A window inside the padding alone would be -inf either way; larger pads than the kernel are not
                # allowed.
                kernel = node.integers("kernel_shape")
                fits = value == -np.inf and not node.integer("ceil_mode", 0)
                fits &= all(p < k for p, k in zip((*low[2:], *high[2:]), kernel * 2, strict=True))
        if node.op_type == "AveragePool":
            kernel = node.integers("kernel_shape")
            total = [a + b for a, b in zip((*low[2:], *high[2:]), own, strict=True)]
            fits &= all(p < k for p, k in zip(total, kernel * 2, strict=True))
        if not fits or any(low[:2]) or any(high[:2]) or min((*low, *high)) < 0:
            continue
        pads = tuple(a + b for a, b in zip((*low[2:], *high[2:]), own, strict=True))
        rebuilt(e, node, (pad.inputs[0], *node.inputs[1:]), pads=pads, auto_pad="NOTSET", **extra)
    return e.finish()


def _constant_pad(e: Editor, pad: Node) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], float] | None:
    """Amounts before and after every axis, and the value, of a Pad in constant mode; None where they are not known."""
    if pad.text("mode", "constant") != "constant":
        return None
    rank = len(e.values[pad.inputs[0]].shape)
    if pad.opset < 11:
        amounts, value = pad.integers("pads"), pad.number("value", 0.0)
        axes = tuple(range(rank))
    else:
        array = e.constant(pad.input(1))
        given = e.scalar(pad.input(2)) if pad.input(2) else 0.0
        chosen = e.constant(pad.input(3)) if pad.input(3) else np.arange(rank)
        if array is None or given is None or chosen is None:
            return None
        amounts, value = tuple(int(a) for a in array), given
        axes = tuple(int(a) % rank for a in chosen)
    low, high = [0] * rank, [0] * rank
    for k, axis in enumerate(axes):
        low[axis], high[axis] = amounts[k], amounts[k + len(axes)]
    return (tuple(low), tuple(high)), value
