"""Runs a grouped, placed and lowered network on one block of bytes, as compiled code will: functions are interpreted on
arrays gathered from the arena through its tensors' layouts, and its results are scattered back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polydl.dsl import Function, Tensor
from polydl.dsl.interpret import interpret
from polydl.dsl.tensor import numbers
from polydl.graph import (
    Graph,
    Group,
    Layouts,
    MemoryPlan,
    Where,
    arrange,
    constant_array,
    lower_group,
    plan_memory,
)
from polydl.graph.ir import Array
from polydl.ir.interpret import evaluate_array

_POISON = 0xFF  # NaN as a float, -1 as an integer


def storage_index(tensor: Tensor) -> Array:
    """Position in storage (elements) of every logical element."""
    layout = tensor.storage
    origin = numbers(tensor.origin)
    grids = np.meshgrid(
        *(np.arange(o, o + n) for o, n in zip(origin, tensor.extents)), indexing="ij", sparse=True
    )
    env = dict(zip(layout.dims, grids))
    places = [np.broadcast_to(evaluate_array(e, env, lambda *_: None), tensor.extents) for e in layout.index]
    if not places:
        return np.zeros((), np.int64)
    return np.ravel_multi_index(places, numbers(layout.shape))


class Machine:
    def __init__(self, graph: Graph, groups: Sequence[Group], layouts: Layouts, plan: MemoryPlan) -> None:
        self.graph, self.groups, self.layouts, self.plan = graph, groups, layouts, plan

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        g = self.graph
        self.arena = np.full(self.plan.bytes, _POISON, np.uint8)
        self.inputs = [np.ascontiguousarray(inputs[i]).reshape(-1).view(np.uint8) for i in g.inputs]
        self.outputs = [np.full(g.values[o].bytes, _POISON, np.uint8) for o in g.outputs]
        for group in self.groups:
            if group.name in self.layouts.free:
                continue
            lowered = lower_group(g, group, self.layouts)
            arrays = {b.tensor: constant_array(g, b) for b in lowered.constants}
            for b in lowered.inputs:
                tensor = lowered.function.tensor(b.tensor)
                arrays[b.tensor] = self._memory(b.value, tensor)[storage_index(tensor)]
            results = interpret(lowered.function, arrays)
            for b in lowered.outputs:
                tensor = lowered.function.tensor(b.tensor)
                self._memory(b.value, tensor)[storage_index(tensor)] = results[b.tensor]
        return {
            o: self.outputs[k].view(g.values[o].dtype.numpy).reshape(g.values[o].shape)
            for k, o in enumerate(g.outputs)
        }

    def _memory(self, value: str, tensor: Tensor) -> Array:
        location = self.plan.locations[value]
        block = {Where.INPUT: self.inputs, Where.OUTPUT: self.outputs}.get(location.where)
        memory = self.arena if block is None else block[location.index]
        size = int(np.prod(numbers(tensor.storage.shape), dtype=np.int64)) * tensor.dtype.bytes
        assert location.offset + size <= len(memory), (value, location, size)
        return memory[location.offset : location.offset + size].view(tensor.dtype.numpy)


def run_lowered(graph: Graph, inputs: Mapping[str, Array], block: int | None) -> dict[str, Array]:
    """The outputs of `graph` computed by its lowered groups."""
    graph, groups, layouts = arrange(graph, block)
    return Machine(graph, groups, layouts, plan_memory(graph, groups, layouts)).run(inputs)


def functions_of(graph: Graph, block: int | None) -> list[Function]:
    """All functions of the network."""
    graph, groups, layouts = arrange(graph, block)
    return [lower_group(graph, g, layouts).function for g in groups if g.name not in layouts.free]


def plan_of(graph: Graph, block: int | None) -> MemoryPlan:
    """The network's memory plan."""
    return plan_memory(*arrange(graph, block))
