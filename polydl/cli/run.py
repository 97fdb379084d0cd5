"""`polydl run`: arrays in, arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polydl.cli.arrays import Arrays, check_output_name, load_inputs, random_inputs, save_outputs
from polydl.cli.common import Common
from polydl.cli.console import table
from polydl.cli.output import check_writable
from polydl.cli.source import Dims, PathOrPackage, Precision, Request, Shapes, TargetName, signature

__all__ = ["run"]

_SHOWN = 6  # leading elements of each output in the summary


def run(
    path: PathOrPackage,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="FILE|NAME=FILE", help="An .npz, or NAME=FILE.npy; repeatable."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the outputs to this .npz or .npy.", show_default=False),
    ] = None,
    target: TargetName = "native",
    shapes: Shapes = None,
    dims: Dims = None,
    precision: Precision = "f32",
    *,
    common: Common,
) -> None:
    """Run a package or a model once. Without -i the inputs are random, from --seed.

    Examples:

    polydl run out/ -i photo.npz -o boxes.npz

    polydl run model.onnx -i x=x.npy --json
    """
    request = Request.of(path, target, shapes, dims, precision)
    if output is not None:
        check_writable(output, directory=False)
    with request.module(common) as module:
        if output is not None:
            check_output_name(output, len(module.outputs))
        if inputs:
            arrays = load_inputs(inputs, module.inputs)
        else:
            arrays = random_inputs(module.inputs, common.seed)
            common.console.note(
                f"no -i given: random inputs from seed {common.seed} for {signature(module.inputs)}"
            )
        results = module.run(arrays)
    if output is not None:
        save_outputs(output, results)
        common.console.note(f"wrote {output}")
    common.console.result(_data(results, output), _text(results))


def _data(results: Arrays, output: Path | None) -> dict[str, object]:
    return {
        "output": output,
        "outputs": {
            name: {"dtype": array.dtype.name, "shape": array.shape, **({} if output else {"data": array})}
            for name, array in results.items()
        },
    }


def _text(results: Arrays) -> str:
    rows = []
    for name, array in results.items():
        flat = array.reshape(-1)
        values = " ".join(f"{value:.6g}" for value in flat[:_SHOWN].tolist())
        rows.append(
            (name, f"{array.dtype}{list(array.shape)}", values + (" …" if flat.size > _SHOWN else ""))
        )
    return table(rows) if rows else ""
