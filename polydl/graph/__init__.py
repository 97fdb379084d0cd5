"""Networks: graph IR, ONNX import, graph passes, fusion groups, layouts and the memory plan.

graph = optimize(load_model("net.onnx"))
graph, groups, layouts = arrange(graph, block=16)
functions = [lower_group(graph, g, layouts) for g in groups if g.name not in layouts.free]
memory = plan_memory(graph, groups, layouts)
"""

from polydl.graph.groups import Group, GroupKind, make_groups
from polydl.graph.importer import load_model, unsupported
from polydl.graph.ir import Graph, Node, Value
from polydl.graph.layout import arrange
from polydl.graph.limits import DEFAULT_LIMITS, Limits
from polydl.graph.lowering import Binding, LoweredGroup, constant_array, lower_group
from polydl.graph.memory import Location, MemoryPlan, Where, plan_memory
from polydl.graph.passes import optimize
from polydl.graph.placement import Layouts, Placement, Slice

__all__ = [
    "DEFAULT_LIMITS",
    "Binding",
    "Graph",
    "Group",
    "GroupKind",
    "Layouts",
    "Limits",
    "Location",
    "LoweredGroup",
    "MemoryPlan",
    "Node",
    "Placement",
    "Slice",
    "Value",
    "Where",
    "arrange",
    "constant_array",
    "load_model",
    "lower_group",
    "make_groups",
    "optimize",
    "plan_memory",
    "unsupported",
]
