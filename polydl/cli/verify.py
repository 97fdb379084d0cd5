"""`polydl verify`: is the compiled network right? And, with labelled samples, how good is it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from polydl.artifact import TensorSpec
from polydl.cli.arrays import Arrays, load_archive, load_inputs, random_inputs
from polydl.cli.common import Common
from polydl.cli.compare import OutputError, Reference, compare, engine, merge
from polydl.cli.console import table
from polydl.cli.parse import Accuracy
from polydl.cli.source import Dims, ModelPath, Precision, Request, Shapes, TargetName
from polydl.errors import InvalidInput, UsageError, VerificationFailed

__all__ = ["Samples", "verify"]

_LABELS = "labels"


def verify(
    path: ModelPath,
    data: Annotated[
        Path | None,
        typer.Option(
            help="An .npz of many samples, stacked along the first axis; with an array 'labels' accuracy is printed.",
            show_default=False,
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="FILE|NAME=FILE", help="Inputs of one run: .npz, or NAME=FILE.npy."
        ),
    ] = None,
    random: Annotated[int, typer.Option(min=1, max=100_000, help="Random runs, where no data is given.")] = 3,
    package: Annotated[
        Path | None,
        typer.Option(help="Check this package of the model instead of compiling it now.", show_default=False),
    ] = None,
    against: Annotated[Reference, typer.Option(help="Whom to compare with.")] = Reference.ONNX,
    rtol: Annotated[float, typer.Option(min=0.0, help="Relative tolerance.")] = Accuracy().rtol,
    atol: Annotated[float, typer.Option(min=0.0, help="Absolute tolerance.")] = Accuracy().atol,
    target: TargetName = "native",
    shapes: Shapes = None,
    dims: Dims = None,
    precision: Precision = "f32",
    *,
    common: Common,
) -> None:
    """Compare a compiled model with a reference, output by output. Exit code 4 where they differ.

    Examples:

    polydl verify model.onnx

    polydl verify model.onnx --data holdout.npz --against ort
    """
    request = Request.of(path, target, shapes, dims, precision)
    if data is not None and inputs:
        raise UsageError("--data and -i are both given", next="--data for many samples, -i for one run")
    if path.is_dir():
        raise UsageError(
            f"'{path}' is a package, which holds no model to compare with",
            next=f"polydl verify MODEL.onnx --package '{path}'",
        )
    accuracy = Accuracy(rtol, atol)
    source = Request.of(package, "native", None, None, "f32") if package is not None else request
    with source.module(common) as module:
        samples = _samples(module.inputs, data, inputs, random, common.seed)
        other = engine(against, path, threads=module.threads)
        found: dict[str, list[OutputError]] = {spec.name: [] for spec in module.outputs}
        right = {"polydl": 0, other.name: 0}
        with common.console.progress("verifying") as progress:
            for k, (arrays, labels) in enumerate(samples):
                got = list(module.run(arrays).values())
                wanted = other.run(arrays)
                for spec, a, b in zip(module.outputs, got, wanted, strict=True):
                    found[spec.name].append(compare(spec.name, a, b, accuracy))
                if labels is not None:
                    right["polydl"] += _hits(got[0], labels)
                    right[other.name] += _hits(wanted[0], labels)
                progress("runs", k + 1, samples.runs)
    _report(
        request, samples, [merge(errors) for errors in found.values()], right, other.name, accuracy, common
    )


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs of `runs` runs; `labels`, where there are any, one per sample along the first axis."""

    arrays: Sequence[Arrays]
    labels: NDArray[Any] | None
    origin: str

    @property
    def runs(self) -> int:
        return len(self.arrays)

    def __iter__(self) -> Iterator[tuple[Arrays, NDArray[Any] | None]]:
        if self.labels is None:
            return ((arrays, None) for arrays in self.arrays)
        return zip(self.arrays, np.split(self.labels, self.runs), strict=True)


def _samples(
    specs: tuple[TensorSpec, ...], data: Path | None, inputs: list[str] | None, random: int, seed: int
) -> Samples:
    if data is not None:
        return _dataset(load_archive(data), specs, data)
    if inputs:
        return Samples([load_inputs(inputs, specs)], None, ", ".join(inputs))
    return Samples(
        [random_inputs(specs, seed + k) for k in range(random)],
        None,
        f"{random} random inputs from seed {seed}",
    )


def _dataset(arrays: Arrays, specs: tuple[TensorSpec, ...], path: Path) -> Samples:
    """Samples stacked along axis 0, cut into runs of the batch size that the network was compiled for."""
    labels = arrays.pop(_LABELS, None)
    if len(arrays) == 1 and len(specs) == 1:
        arrays = {specs[0].name: next(iter(arrays.values()))}
    if set(arrays) != {spec.name for spec in specs}:
        raise InvalidInput(
            f"'{path}' holds {', '.join(sorted(arrays)) or 'no samples'}", where=str(path),
            why=f"the network's inputs are {', '.join(spec.name for spec in specs)}",
            next="name the arrays after the inputs; the right answers are an array 'labels'",
        )  # fmt: skip
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    batches = {spec.name: spec.shape[0] for spec in specs if spec.shape and isinstance(spec.shape[0], int)}
    runs = {counts[name] // batch for name, batch in batches.items() if batch and counts[name] % batch == 0}
    if (
        len(runs) != 1
        or len(batches) != len(specs)
        or 0 in runs
        or any(counts[n] % max(b, 1) for n, b in batches.items())
    ):
        raise InvalidInput(
            f"the samples in '{path}' cannot be cut into equal runs", where=str(path),
            why=f"lengths {counts}, batch sizes of the network {batches}",
            next="compile for a batch size that divides the number of samples: --shape",
        )  # fmt: skip
    (count,) = runs
    cut = {name: np.split(array, count) for name, array in arrays.items()}
    if labels is not None and (labels.ndim != 1 or len(labels) % count or labels.dtype.kind not in "iu"):
        raise InvalidInput(
            f"'labels' is {labels.dtype}{list(labels.shape)}",
            where=str(path),
            why="one integer per sample is wanted",
        )
    return Samples([{n: parts[k] for n, parts in cut.items()} for k in range(count)], labels, str(path))


def _hits(scores: NDArray[Any], labels: NDArray[Any]) -> int:
    """How many samples have their largest score at their label."""
    classes = scores.reshape(len(labels), -1).argmax(axis=1)
    return int(np.count_nonzero(classes == labels))


def _report(
    request: Request,
    samples: Samples,
    errors: list[OutputError],
    right: dict[str, int],
    reference: str,
    accuracy: Accuracy,
    common: Common,
) -> None:
    bad = [error for error in errors if not error.ok]
    data: dict[str, Any] = {
        "model": request.path,
        "reference": reference,
        "runs": samples.runs,
        "samples": samples.origin,
        "accuracy": {"rtol": accuracy.rtol, "atol": accuracy.atol},
        "outputs": [
            {"name": e.name, "max_abs": e.max_abs, "max_rel": e.max_rel, "ok": e.ok, "trouble": e.trouble}
            for e in errors
        ],
        "ok": not bad,
    }
    lines = [f"{request.path}: {samples.runs} runs ({samples.origin}) compared with {reference}"]
    rows = [(e.name, f"{e.max_abs:.2e}", f"{e.max_rel:.2e}", "ok" if e.ok else "DIFFERS") for e in errors]
    lines.append(
        table(rows, header=("output", "max abs error", "max rel error", str(accuracy)), right=(1, 2))
    )
    if samples.labels is not None:
        total = len(samples.labels)
        data["labels"] = {"total": total, "right": right}
        width = max(map(len, right))
        lines.append(f"accuracy on {total} samples")
        lines += [f"  {n:<{width}}  {100 * hits / total:.2f} %  ({hits} right)" for n, hits in right.items()]
    common.console.result(data, "\n".join(lines))
    if bad:
        raise VerificationFailed(
            f"{len(bad)} of {len(errors)} outputs differ from {reference}",
            where="; ".join(f"{e.name}: {e.trouble}" for e in bad),
            next="polydl show --stage groups lists what was fused; report it with the model if the reference is right",
        )
