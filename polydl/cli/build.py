"""`polydl build`: a model in, a package out."""

from __future__ import annotations

import hashlib
import json
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polydl._version import __version__
from polydl.artifact import TensorSpec
from polydl.cli.arrays import random_inputs
from polydl.cli.common import Common
from polydl.cli.compare import OutputError, Reference, compare, engine
from polydl.cli.console import jsonable, quantity, seconds
from polydl.cli.output import atomic_directory, check_writable
from polydl.cli.parse import Accuracy, parse_accuracy
from polydl.cli.source import Dims, ModelPath, Precision, Request, Shapes, TargetName, signature
from polydl.errors import InvalidPackage, VerificationFailed

if TYPE_CHECKING:
    from polydl.compiler import Compiled

__all__ = ["Format", "build"]


class Format(str, Enum):
    """What `build` writes."""

    DIR = "dir"
    SO = "so"
    OBJECT = "o"
    C = "c"


def build(
    path: ModelPath,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The folder to write; default: MODEL.polydl", show_default=False),
    ] = None,
    target: TargetName = "native",
    shapes: Shapes = None,
    dims: Dims = None,
    precision: Precision = "f32",
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="dir: package that `polydl run` loads; so, o, c: library, object or source with a C header.",
        ),
    ] = Format.DIR,
    accuracy: Annotated[
        str | None,
        typer.Option(
            help="Largest difference from the reference, default rtol=1e-3,atol=1e-4.", show_default=False
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--verify/--no-verify", help="Compare with the reference evaluator before writing."),
    ] = True,
    *,
    common: Common,
) -> None:
    """Compile a model to a package on disk. No compiler or linker is needed for the default format.

    Examples:

    polydl build model.onnx -o out/

    polydl build model.onnx -o out/ --dim N=8 --target x86-64-avx2

    polydl build model.onnx -o out/ --format c --timeout 5m --max-memory 4G
    """
    request = Request.of(path, target, shapes, dims, precision)
    tolerance = parse_accuracy(accuracy)
    place = output if output is not None else path.with_name(f"{path.stem}.polydl")
    check_writable(place, directory=True)
    begin = time.perf_counter()
    compiled = request.compile(common)
    took = time.perf_counter() - begin
    info: dict[str, Any] = {"accuracy": {"rtol": tolerance.rtol, "atol": tolerance.atol}}
    errors = _verify(compiled, request, tolerance, common) if check else None
    if errors is not None:
        info["measured_error"] = {e.name: {"max_abs": e.max_abs, "max_rel": e.max_rel} for e in errors}
    with atomic_directory(place) as folder:
        compiled.save(folder, format=form.value, info=info)
        if form is not Format.DIR:
            _describe(folder, form, compiled, request, info)
    files = {p.name: p.stat().st_size for p in sorted(place.iterdir())}
    artifact = compiled.artifact
    common.console.result(
        {
            "output": place,
            "format": form.value,
            "target": request.target,
            "inputs": _described(artifact.inputs),
            "outputs": _described(artifact.outputs),
            "groups": len(compiled.groups),
            "flops": sum(step.flops for step in artifact.steps),
            "compile_seconds": took,
            "files": files,
            **info,
        }
    )
    console = common.console
    console.note(
        f"compiled {path.name} for {request.target} in {seconds(took)}: {len(compiled.groups)} groups, "
        f"{quantity(sum(step.flops for step in artifact.steps), 'FLOP')}"
    )
    console.note(f"  {signature(artifact.inputs)}  ->  {signature(artifact.outputs)}", level=1)
    if errors is not None:
        worst = max(e.max_abs for e in errors)
        console.note(f"verified against the reference evaluator: largest difference {worst:.2g}")
    console.note(f"wrote {place} ({quantity(sum(files.values()), 'B')})")
    if form is Format.DIR:
        console.note(f"next: polydl run {place}", level=0)


def _describe(folder: Path, form: Format, compiled: Compiled, request: Request, info: dict[str, Any]) -> None:
    """Write the `manifest.json` of a library, object or source; a package writes its own."""
    artifact = compiled.artifact
    document = {
        "format": f"polydl-{form.value}",
        "polydl_version": __version__,
        "target": {"name": request.target, "triple": artifact.triple, "features": artifact.features},
        "inputs": _described(artifact.inputs),
        "outputs": _described(artifact.outputs),
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in sorted(folder.iterdir())
        },
        "info": info,
    }
    (folder / "manifest.json").write_text(json.dumps(jsonable(document), indent=1) + "\n")


def _described(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
    return [{"name": spec.name, "dtype": spec.dtype.name, "shape": spec.shape} for spec in specs]


def _verify(
    compiled: Compiled, request: Request, tolerance: Accuracy, common: Common
) -> list[OutputError] | None:
    """Compare with the reference on seeded inputs; None where the code is for another machine."""
    try:
        module = compiled.module(common.threads)
    except InvalidPackage as error:
        common.console.note(f"not verified: {error.what}")
        return None
    with module:
        inputs = random_inputs(module.inputs, common.seed)
        got = module.run(inputs)
    with common.console.progress("reference evaluator") as progress:
        progress("one run", 0, 1)
        wanted = engine(Reference.ONNX, request.path).run(inputs)
    errors = [compare(n, a, w, tolerance) for (n, a), w in zip(got.items(), wanted, strict=True)]
    bad = [error for error in errors if not error.ok]
    if bad:
        raise VerificationFailed(
            f"the compiled network differs from the reference in {', '.join(e.name for e in bad)}",
            where=bad[0].trouble, why="nothing was written",
            next=f"polydl verify {request.path} shows every output; --accuracy sets the tolerance",
        )  # fmt: skip
    return errors
