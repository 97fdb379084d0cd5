"""`polydl show`: every stage between the model and the machine code."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from polydl.cli.common import Common
from polydl.cli.source import Dims, ModelPath, Request, Shapes, TargetName

__all__ = ["Stage", "show"]


class Stage(str, Enum):
    """The stages of the pipeline, in order."""

    GRAPH = "graph"
    GROUPS = "groups"
    TREE = "tree"
    AST = "ast"
    LOOPS = "loops"
    LLVM = "llvm"
    ASM = "asm"
    TREE_SVG = "tree.svg"
    DEPENDENCES_SVG = "dependences.svg"


def show(
    path: ModelPath,
    stage: Annotated[Stage, typer.Option("--stage", "-s", help="Which stage to print.")] = Stage.GROUPS,
    group: Annotated[
        str | None,
        typer.Option(
            "--group", "-g", help="Only this fusion group (names: --stage groups).", show_default=False
        ),
    ] = None,
    target: TargetName = "native",
    shapes: Shapes = None,
    dims: Dims = None,
    *,
    common: Common,
) -> None:
    """Print a stage of the compilation: the graph, fusion groups, schedule trees, isl AST, loops, LLVM IR, assembly.

    The stages tree.svg and dependences.svg are pictures of one group.

    Examples:

    polydl show model.onnx --stage groups

    polydl show model.onnx --stage loops --group conv1

    polydl show model.onnx --stage tree.svg --group conv1 > conv1.svg
    """
    request = Request.of(path, target, shapes, dims, "f32")
    from polydl.compiler import stages

    with common.console.progress(f"compiling {path.name}") as progress:
        text = stages(
            request.path,
            stage.value,
            group=group,
            target=request.target,
            shapes=request.shapes,
            dims=request.dims,
            progress=progress,
        )
    common.console.result({"model": path, "stage": stage.value, "group": group, "text": text}, text)
