"""The pipeline, readable from top to bottom: from a model or a function to an artifact that runs.

model ─ import ─ optimise ─ groups ─ layouts ─► one Function a group
Function ─ recipe, or the user's schedule ─► Schedule ─ lower ─► Kernel ─► Program ─ back end ─► Artifact ─► Module
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polydl import poly
from polydl.artifact import Artifact, TensorSpec
from polydl.codegen.assemble import Part, assemble, program_of
from polydl.codegen.c import compile_to_c
from polydl.codegen.embed import write_object, write_shared, write_source
from polydl.codegen.llvm import compile_program, emit_asm, emit_llvm
from polydl.codegen.lower import lower
from polydl.codegen.program import Program, Slot, Space, Step
from polydl.config import dump_directory
from polydl.dsl import Function, TensorRole
from polydl.dtypes import by_name
from polydl.errors import UsageError
from polydl.graph.cost import group_cost
from polydl.graph.groups import Group
from polydl.graph.importer import load_model
from polydl.graph.ir import Graph
from polydl.graph.layout import Layouts, arrange, storage_bytes
from polydl.graph.lowering import LoweredGroup, constant_array, lower_group
from polydl.graph.memory import Location, Where, plan_memory
from polydl.graph.passes import optimize
from polydl.ir import print_kernel
from polydl.peak import Peak, measure_peak
from polydl.runtime import Module, save
from polydl.scheduler.pictures import PICTURES, picture
from polydl.scheduler.recipes import default_schedule
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target, parse

__all__ = [
    "Compiled",
    "GroupReport",
    "Peak",
    "Plane",
    "build",
    "compile_function",
    "compile_graph",
    "compile_model",
    "measure_peak",
    "program_of",
    "schedule_stage",
    "stages",
]

Progress = Callable[[str, int, int], None]
"""Told (what is being done, steps done, steps in all)."""

_SPACES = {Where.INPUT: Space.INPUT, Where.OUTPUT: Space.OUTPUT, Where.ARENA: Space.WORKSPACE}


@dataclass(frozen=True, slots=True)
class GroupReport:
    """One step of a compiled network: operators, schedule and why it is legal; arithmetic and least traffic."""

    name: str
    nodes: tuple[str, ...]
    schedule: str
    proof: str
    flops: int
    bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A compiled model in memory. `groups` are in the order of the artifact's steps."""

    artifact: Artifact
    weights: np.ndarray[Any, Any]
    graph: Graph
    groups: tuple[GroupReport, ...]
    program: Program
    target: Target

    def module(self, threads: int | None = None) -> Module:
        """The model, loaded into this process. InvalidPackage where the code is for another machine."""
        return Module(self.artifact, self.weights, threads=threads)

    def save(
        self, directory: str | os.PathLike[str], *, format: str = "dir", info: Mapping[str, Any] | None = None
    ) -> None:
        """Write the model: `dir` (a package), or `o` (object file), `so` (library), `c` (source) with a C header."""
        match format:
            case "dir":
                text = "\n".join(f"{g.name}\n{g.schedule}\n{g.proof}\n" for g in self.groups)
                save(self.artifact, self.weights, directory, info=info, files={"schedules.txt": text})
            case "o":
                write_object(self.artifact, self.weights, directory)
            case "so":
                write_shared(self.artifact, self.weights, directory)
            case "c":
                source, artifact = compile_to_c(self.program, self.target)
                write_source(artifact, source, self.weights, directory)
            case _:
                raise UsageError(f"unknown format '{format}'", next="use dir, o, so or c")


def build(
    path: str | os.PathLike[str],
    *,
    target: str = "native",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dims: Mapping[str, int] | None = None,
    threads: int | None = None,
) -> Module:
    """An ONNX model compiled for this machine and loaded: call it with numpy arrays."""
    return compile_model(path, target=target, shapes=shapes, dims=dims).module(threads)


def compile_model(
    path: str | os.PathLike[str],
    *,
    target: str = "native",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dims: Mapping[str, int] | None = None,
    precision: str = "f32",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Compiled:
    """Compile an ONNX model.

    `shapes` and `dims` fix what the file leaves open. `threads` does not change the code; it is a call's business.
    Raises InvalidModel, UnsupportedOperator (all at once), ResourceLimit, UsageError, UnknownTarget.
    """
    machine = parse(target)
    _require_precision(precision)
    report = progress or _silent
    report("reading the model", 0, 1)
    graph = load_model(path, shapes=shapes, dims=dims)
    return compile_graph(graph, Path(path).stem, target=machine, progress=report)


def compile_graph(
    graph: Graph, name: str, *, target: str | Target = "native", progress: Progress | None = None
) -> Compiled:
    """Compile an imported network under `name`. Raises UnsupportedOperator, ResourceLimit, UnknownTarget."""
    machine = parse(target) if isinstance(target, str) else target
    network = _Network.of(graph, machine, progress or _silent)
    parts = network.parts()
    assembly = assemble(
        name, parts, network.specs(network.graph.inputs), network.specs(network.graph.outputs)
    )
    network.progress("generating code", len(parts), len(parts) + 1)
    artifact = compile_program(assembly.program, machine)
    network.progress("done", 1, 1)
    return Compiled(
        artifact,
        assembly.constants,
        network.graph,
        tuple(map(network.report, network.steps, assembly.program.steps)),
        assembly.program,
        machine,
    )


def compile_function(
    what: Function | Schedule, *, target: str | Target = "native", threads: int | None = None
) -> Module:
    """A function, scheduled by recipe, or a schedule, compiled and loaded: call it with inputs and constants, in order.

    Arrays are in storage order (the tensors' layouts; row-major unless they say otherwise).
    """
    machine = parse(target) if isinstance(target, str) else target
    if not isinstance(what, Function | Schedule):
        raise UsageError(
            f"a {type(what).__name__} cannot be compiled",
            next="give a Function (build() makes one), or a Schedule",
        )
    schedule = what if isinstance(what, Schedule) else default_schedule(what, machine)
    in_place = bool(schedule.function.of_role(TensorRole.INOUT))
    return Module(compile_program(program_of(schedule), machine), threads=threads, in_place=in_place)


def stages(
    path: str | os.PathLike[str],
    stage: str,
    *,
    group: str | None = None,
    target: str = "native",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dims: Mapping[str, int] | None = None,
    plane: Plane | None = None,
    progress: Progress | None = None,
) -> str:
    """A stage of the compilation as text: graph or groups, or a stage of `schedule_stage`, of one group or of all.

    What is drawn (tree.svg, dependences.svg, domain.svg) is of one group.
    """
    machine = parse(target)
    network = _Network.of(load_model(path, shapes=shapes, dims=dims), machine, progress or _silent)
    if stage == "graph":
        return str(network.graph)
    chosen = [s for s in network.steps if group is None or s.name == group]
    if not chosen:
        raise UsageError(
            f"there is no group '{group}'", next=f"one of {', '.join(s.name for s in network.steps)}"
        )
    if stage == "groups":
        return "\n".join(network.describe(s) for s in chosen)
    if stage.endswith(".svg"):
        if len(chosen) != 1:
            raise UsageError(
                f"{stage} is a picture of one group, and there are {len(chosen)}",
                next=f"--group with one of {', '.join(s.name for s in chosen)}",
            )
        return schedule_stage(network.schedule(chosen[0]), stage, machine, plane)
    return "\n".join(f"# {s.name}\n{schedule_stage(network.schedule(s), stage, machine)}" for s in chosen)


@dataclass(frozen=True, slots=True)
class Plane:
    """What the picture of a domain shows; see `polydl.scheduler.picture`."""

    statement: str | None = None
    axes: tuple[str, str] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


def schedule_stage(schedule: Schedule, stage: str, machine: Target, plane: Plane | None = None) -> str:
    """A stage of one schedule as text: explanation, tree, dependences, domain, ast, loops, llvm or asm.

    tree.svg, dependences.svg and domain.svg are pictures; of a domain that `plane` chooses.
    """
    match stage:
        case "explanation":
            return schedule.explain()
        case "tree":
            return poly.format_tree(schedule.tree)
        case "dependences":
            return "\n".join(
                f"{d.kind.value} on {d.tensor}{' (reduction)' if d.reduction else ''}: {d.relation}"
                for d in schedule.dependences
            )
        case "domain":
            return "\n".join(s.domain for s in schedule.scop.statements)
        case "ast":
            return poly.format_ast(poly.generate(schedule.scop, schedule.tree))
        case "loops":
            return print_kernel(lower(schedule))
        case "llvm":
            return emit_llvm(lower(schedule), machine)
        case "asm":
            return emit_asm(lower(schedule), machine)
        case "domain.svg":
            chosen = plane or Plane()
            return picture(
                schedule, "domain", statement=chosen.statement, axes=chosen.axes, sizes=chosen.sizes
            )
        case _ if stage.removesuffix(".svg") in PICTURES:
            return picture(schedule, stage.removesuffix(".svg"))
        case _:
            raise UsageError(
                f"there is no stage '{stage}' of one schedule",
                next="explanation, tree, dependences, domain, ast, loops, llvm or asm",
            )


def _silent(what: str, done: int, total: int) -> None:
    """No progress wanted."""


def _require_precision(precision: str) -> None:
    if by_name(precision).name != "f32":
        raise UsageError(
            f"precision '{precision}' is not available",
            why="models are compiled in f32",
            next="--precision f32",
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """A group that computes something, with the name of its step."""

    name: str
    lowered: LoweredGroup


@dataclass(frozen=True, slots=True, eq=False)
class _Network:
    """A model on its way: optimised graph, groups, layouts, and one function for each group that computes something."""

    graph: Graph
    groups: tuple[Group, ...]
    layouts: Layouts
    steps: tuple[_Step, ...]
    machine: Target
    progress: Progress
    schedules: dict[Function, Schedule] = field(default_factory=dict)
    proofs: dict[Function, str] = field(default_factory=dict)

    @staticmethod
    def of(graph: Graph, machine: Target, progress: Progress) -> _Network:
        graph, groups, layouts = arrange(optimize(graph), machine.lanes(4))
        working = [g for g in groups if g.name not in layouts.free]
        steps = tuple(_Step(g.name, lower_group(graph, g, layouts)) for g in working)
        return _Network(graph, groups, layouts, steps, machine, progress)

    def schedule(self, step: _Step) -> Schedule:
        """The recipe's schedule; equal functions share it."""
        function = step.lowered.function
        if function not in self.schedules:
            self.schedules[function] = default_schedule(function, self.machine)
        return self.schedules[function]

    def parts(self) -> list[Part]:
        """What the program is assembled from, in order."""
        plan = plan_memory(self.graph, self.groups, self.layouts)
        parts = []
        for k, step in enumerate(self.steps):
            self.progress(f"scheduling {step.name}", k, len(self.steps) + 1)
            schedule = self.schedule(step)
            low = step.lowered
            slots = {
                b.tensor: (_slot(plan.locations[b.value]), self._bytes(b.value))
                for b in (*low.inputs, *low.outputs)
            }
            constants = {b.tensor: constant_array(self.graph, b) for b in low.constants}
            cost = group_cost(self.graph, low.group)
            self._dump(step, schedule)
            parts.append(Part(step.name, schedule, slots, constants, plan.bytes, (cost.flops, cost.bytes)))
        return parts

    def _dump(self, step: _Step, schedule: Schedule) -> None:
        """Write the stages of a group where POLYDL_DUMP asks for them."""
        folder = dump_directory()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for stage in ("tree", "ast", "loops", "llvm"):
                (folder / f"{step.name}.{stage}").write_text(schedule_stage(schedule, stage, self.machine))

    def _bytes(self, value: str) -> int:
        return storage_bytes(self.graph.values[value], self.layouts.of(value))

    def specs(self, names: tuple[str, ...]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(n, self.graph.values[n].dtype, self.graph.values[n].shape) for n in names)

    def report(self, step: _Step, compiled: Step) -> GroupReport:
        """What `explain` says about a step."""
        schedule = self.schedule(step)
        nodes = tuple(n.op_type for n in step.lowered.group.nodes)
        trace = "\n".join(str(t) for t in schedule.trace)
        text = f"{poly.format_tree(schedule.tree)}\n{trace}".strip()
        function = step.lowered.function
        if function not in self.proofs:
            self.proofs[function] = schedule.proof()
        return GroupReport(step.name, nodes, text, self.proofs[function], compiled.flops, compiled.bytes)

    def describe(self, step: _Step) -> str:
        """A group as text: its operators, and where its values lie."""
        group = step.lowered.group
        places = [
            f"  {v}: {self.graph.values[v]} {self.layouts.of(v)}" for v in (*group.inputs, *group.outputs)
        ]
        return "\n".join([str(group), *places])


def _slot(location: Location) -> Slot:
    return Slot(_SPACES[location.where], location.index, location.offset)
