"""`polydl show`: every stage between the model, or the program, and the machine code."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polydl.cli.common import Common
from polydl.cli.output import atomic_file, check_writable
from polydl.cli.parse import parse_dims
from polydl.cli.program import ProgramPath
from polydl.cli.source import (
    Dims,
    Order,
    OrderName,
    PathOrProgram,
    Request,
    Shapes,
    TargetName,
    require_model,
)
from polydl.errors import UsageError
from polydl.targets import parse as parse_target

if TYPE_CHECKING:
    from polydl.compiler import Plane

__all__ = ["Stage", "show"]


class Stage(str, Enum):
    """The stages of the pipeline, in order."""

    GRAPH = "graph"
    GROUPS = "groups"
    TREE = "tree"
    DEPENDENCES = "dependences"
    DOMAIN = "domain"
    AST = "ast"
    LOOPS = "loops"
    LLVM = "llvm"
    ASM = "asm"


_DRAWN = (Stage.TREE, Stage.DEPENDENCES, Stage.DOMAIN)
_SUFFIXES = (".svg", ".png")


def show(
    path: PathOrProgram,
    stage: Annotated[
        Stage | None,
        typer.Option(
            "--stage",
            "-s",
            help="Which stage; default: groups of a model, tree of a program.",
            show_default=False,
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group", "-g", help="Only this fusion group (names: --stage groups).", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A file instead of stdout; .svg or .png: tree, dependences or domain as a picture.",
            show_default=False,
        ),
    ] = None,
    statement: Annotated[
        str | None,
        typer.Option(help="Whose iterations the picture of a domain shows.", show_default=False),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(metavar="I,J", help="The plane of that picture: down, right.", show_default=False),
    ] = None,
    order: OrderName = Order.COMPILED,
    target: TargetName = "native",
    shapes: Shapes = None,
    dims: Dims = None,
    *,
    common: Common,
) -> None:
    """Show a stage of the compilation: graph, fusion groups, schedule trees, isl AST, loops, LLVM IR, assembly.

    Of a model, or of a program in a Python file. Trees, dependences and iteration domains are drawn with -o.

    Examples:

    polydl show model.onnx --stage groups

    polydl show model.onnx --stage loops --group conv1

    polydl show model.onnx --stage tree --group conv1 -o conv1.svg

    polydl show kernels.py:seidel --order written

    polydl show kernels.py:seidel --stage domain --dim T=4 --dim N=8 --axes t,i -o seidel.png
    """
    program = ProgramPath.of(path)
    chosen = stage or (Stage.GROUPS if program is None else Stage.TREE)
    picture = output is not None and output.suffix in _SUFFIXES
    if picture and chosen not in _DRAWN:
        raise UsageError(
            f"the stage {chosen.value} is no picture",
            next=f"--stage with one of {', '.join(s.value for s in _DRAWN)}, or -o FILE.txt",
        )
    if output is not None:
        check_writable(output, directory=False)
    wanted = f"{chosen.value}.svg" if picture else chosen.value
    if program is None:
        require_model(order)
        text = _of_model(path, wanted, group, target, shapes, dims, (statement, axes), common)
    else:
        text = _of_program(program, wanted, group, order, target, shapes, dims, (statement, axes))
    data = {"source": path, "stage": chosen.value, "group": group}
    if output is None:
        common.console.result({**data, "text": text}, text)
        return
    from polydl.scheduler.pictures import png_of

    content = png_of(text) if output.suffix == ".png" else f"{text.rstrip()}\n".encode()
    with atomic_file(output) as partial:
        partial.write_bytes(content)
    common.console.result({**data, "output": output})
    common.console.note(f"wrote {output}")


def _of_model(
    path: Path,
    stage: str,
    group: str | None,
    target: str,
    shapes: list[str] | None,
    dims: list[str] | None,
    plane: tuple[str | None, str | None],
    common: Common,
) -> str:
    request = Request.of(path, target, shapes, dims, "f32")
    from polydl.compiler import stages

    with common.console.progress(f"compiling {path.name}") as progress:
        return stages(
            request.path,
            stage,
            group=group,
            target=request.target,
            shapes=request.shapes,
            dims=request.dims,
            plane=_plane(*plane, {}),
            progress=progress,
        )


def _of_program(
    program: ProgramPath,
    stage: str,
    group: str | None,
    order: Order,
    target: str,
    shapes: list[str] | None,
    dims: list[str] | None,
    plane: tuple[str | None, str | None],
) -> str:
    """`--dim` gives the sizes of a picture of a domain their numbers."""
    machine = parse_target(target)
    if group is not None or shapes or stage in (Stage.GRAPH.value, Stage.GROUPS.value):
        raise UsageError(
            f"{program.file} holds programs, not a model",
            why="graph, groups, --group and --shape are of models",
            next="tree, dependences, domain, ast, loops, llvm or asm",
        )
    from polydl.compiler import schedule_stage

    sizes = parse_dims(dims or ())
    schedule = program.schedule(order, machine)
    missing = [p for p in schedule.scop.parameters if p not in sizes]
    if stage == "domain.svg" and missing:
        raise UsageError(
            f"the picture of a domain needs numbers for {', '.join(missing)}",
            next=" ".join(f"--dim {p}=8" for p in missing),
        )
    return schedule_stage(schedule, stage, machine, _plane(*plane, sizes))


def _plane(statement: str | None, axes: str | None, sizes: dict[str, int]) -> Plane:
    from polydl.compiler import Plane

    if axes is None:
        return Plane(statement, None, sizes)
    down, comma, right = (part.strip() for part in axes.partition(","))
    if not (down and comma and right) or "," in right:
        raise UsageError(f"--axes '{axes}' are not two iterators", next="write for example --axes i,j")
    return Plane(statement, (down, right), sizes)
