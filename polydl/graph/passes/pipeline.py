"""The order of the graph passes."""

from __future__ import annotations

from typing import Final

from polydl.graph.ir import Graph
from polydl.graph.limits import DEFAULT_LIMITS, Limits
from polydl.graph.passes.affine import absorb_affine, lower_batchnorm, matmul_bias, merge_affine
from polydl.graph.passes.cse import share_common
from polydl.graph.passes.fold import fold_constants
from polydl.graph.passes.pads import absorb_pads
from polydl.graph.passes.patterns import recognise_gelu, recognise_layer_norm, recognise_swish
from polydl.graph.passes.simplify import merge_movements, remove_no_ops

__all__ = ["optimize"]

_ROUNDS: Final = 20  # real models settle in two to four; the graph is valid after each


def optimize(graph: Graph, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """An equivalent graph (up to rounding in folded weights) with less to compute."""
    for _ in range(_ROUNDS):
        before = graph
        graph = fold_constants(graph, limits)
        graph = remove_no_ops(graph)
        graph = merge_movements(graph)
        graph = share_common(graph)
        graph = absorb_pads(graph)
        graph = absorb_affine(graph)
        graph = matmul_bias(graph)
        graph = recognise_layer_norm(graph)
        graph = recognise_gelu(graph)
        graph = recognise_swish(graph)
        graph = merge_affine(graph)
        if graph is before:
            after = lower_batchnorm(graph)
            if after is graph:
                return graph
            graph = after
    return graph
