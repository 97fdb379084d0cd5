"""The options that say what to compile, and the way from a path to a module."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polydl.artifact import TensorSpec
from polydl.cli.common import Common
from polydl.cli.parse import parse_dims, parse_shapes
from polydl.errors import UsageError
from polydl.targets import parse as parse_target

if TYPE_CHECKING:
    from polydl.compiler import Compiled
    from polydl.runtime import Module

__all__ = [
    "Dims",
    "ModelPath",
    "Order",
    "OrderName",
    "PathOrPackage",
    "PathOrProgram",
    "Precision",
    "Request",
    "Shapes",
    "TargetName",
    "check_exists",
    "require_model",
    "signature",
]

_PANEL = "What to compile"


class Order(str, Enum):
    """Which schedule of a program is meant."""

    WRITTEN = "written"
    COMPILED = "compiled"
    OPTIMIZED = "optimized"


ModelPath = Annotated[
    Path, typer.Argument(metavar="MODEL.onnx", help="An ONNX model file.", show_default=False)
]
PathOrPackage = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL.onnx|PACKAGE",
        help="An ONNX model, or a folder that `polydl build` wrote.",
        show_default=False,
    ),
]
PathOrProgram = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL.onnx|FILE.py:NAME",
        help="An ONNX model, or a program in a Python file: plain loops, a Function or a Schedule.",
        show_default=False,
    ),
]
OrderName = Annotated[
    Order,
    typer.Option(
        "--order",
        help="Of a program: as written, as a call runs it, or polydl.optimize's.",
        rich_help_panel=_PANEL,
    ),
]
TargetName = Annotated[
    str,
    typer.Option(
        "--target",
        help="native, x86-64, x86-64-avx2, x86-64-avx512 or aarch64, each with any +feature.",
        rich_help_panel=_PANEL,
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape", metavar="X=1,3,224,224", help="Shape of an input; repeatable.", rich_help_panel=_PANEL
    ),
]
Dims = Annotated[
    list[str] | None,
    typer.Option(
        "--dim", metavar="N=1", help="Value of a symbolic size; repeatable.", rich_help_panel=_PANEL
    ),
]
Precision = Annotated[
    str, typer.Option("--precision", help="Arithmetic of the compiled network: f32.", rich_help_panel=_PANEL)
]


def require_model(order: Order) -> None:
    """UsageError where an order is asked for that only programs have."""
    if order is not Order.COMPILED:
        raise UsageError(
            f"--order {order.value} is for programs, FILE.py:NAME",
            why="the groups of a model are scheduled by recipes",
            next="leave it out",
        )


@dataclass(frozen=True, slots=True)
class Request:
    """What to compile, parsed from the command line."""

    path: Path
    target: str
    shapes: dict[str, tuple[int, ...]]
    dims: dict[str, int]
    precision: str

    @classmethod
    def of(
        cls, path: Path, target: str, shapes: list[str] | None, dims: list[str] | None, precision: str
    ) -> Request:
        """UsageError for values that cannot be parsed, unknown targets and a path that is not there."""
        check_exists(path)
        parse_target(target)
        return cls(path, target, parse_shapes(shapes or ()), parse_dims(dims or ()), precision)

    def compile(self, common: Common) -> Compiled:
        """Compile the model, with live progress."""
        if self.path.is_dir():
            raise UsageError(f"'{self.path}' is a folder, not a model", next="give the .onnx file")
        from polydl.compiler import compile_model

        with common.console.progress(f"compiling {self.path.name}") as progress:
            return compile_model(
                self.path,
                target=self.target,
                shapes=self.shapes,
                dims=self.dims,
                precision=self.precision,
                threads=common.threads,
                progress=progress,
            )

    def module(self, common: Common) -> Module:
        """Load the package at `path`, or compile the model there."""
        if not self.path.is_dir():
            return self.compile(common).module(common.threads)
        if self.shapes or self.dims or self.target != "native" or self.precision != "f32":
            raise UsageError(
                f"'{self.path}' is a package, which is compiled already",
                why="--target, --shape, --dim and --precision are for models",
                next="leave them out, or build the model again with them",
            )
        from polydl.runtime import load

        return load(self.path, threads=common.threads, verify=True)


def check_exists(path: Path) -> None:
    """UsageError where there is nothing at `path`."""
    if not path.exists():
        raise UsageError(
            f"there is no '{path}'", next="check the path; relative ones start at the current folder"
        )


def signature(specs: tuple[TensorSpec, ...]) -> str:
    """`x: f32[1, 3, 224, 224], mask: bool[1]`."""
    return ", ".join(f"{spec.name}: {spec.dtype}[{', '.join(map(str, spec.shape))}]" for spec in specs)
