"""`polydl bench`: how fast a network is, alone or side by side with other engines."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Annotated

import numpy as np
import typer

from polydl.cli.arrays import load_inputs, random_inputs
from polydl.cli.common import Common
from polydl.cli.compare import Reference, engine
from polydl.cli.console import Progress, quantity, seconds, table
from polydl.cli.source import Dims, PathOrPackage, Precision, Request, Shapes, TargetName
from polydl.errors import UsageError

__all__ = ["Peer", "bench", "interleaved"]

_WARMUP = 3


class Peer(str, Enum):
    """Engines that `bench` measures beside polydl."""

    ORT = "ort"
    OPENVINO = "openvino"


def bench(
    path: PathOrPackage,
    against: Annotated[
        list[Peer] | None,
        typer.Option("--against", help="Also measure this engine; repeatable.", show_default=False),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=1_000_000, help="Measured runs of each engine.")] = 50,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="FILE|NAME=FILE", help="An .npz, or NAME=FILE.npy; default: random."
        ),
    ] = None,
    target: TargetName = "native",
    shapes: Shapes = None,
    dims: Dims = None,
    precision: Precision = "f32",
    *,
    common: Common,
) -> None:
    """Measure the time of a run: median, 10th and 90th percentile, GFLOP/s. Engines take turns, round by round,
    each called in its cheapest way: inputs are bound once, outputs are not copied.

    Examples:

    polydl bench out/ --threads 1

    polydl bench model.onnx --against ort --against openvino --threads 2
    """
    request = Request.of(path, target, shapes, dims, precision)
    if against and path.is_dir():
        raise UsageError(
            "--against needs the model, a package holds only compiled code",
            next="polydl bench MODEL.onnx --against …",
        )
    with request.module(common) as module:
        arrays = load_inputs(inputs, module.inputs) if inputs else random_inputs(module.inputs, common.seed)
        ordered = [arrays[spec.name] for spec in module.inputs if spec.name in arrays]
        module.run(arrays)  # complains about inputs that do not fit
        contestants: dict[str, Callable[[], object]] = {"polydl": module.bind(ordered)}
        for peer in dict.fromkeys(against or ()):
            other = engine(Reference(peer.value), path, threads=module.threads)
            contestants[other.name] = other.bind(arrays)
        flops, threads = sum(step.flops for step in module.steps), module.threads
        with common.console.progress("measuring") as progress:
            samples = interleaved(contestants, rounds, progress)
    report = {name: _statistics(times, flops, threads) for name, times in samples.items()}
    ours = report["polydl"]["median"]
    rows = [
        (
            name,
            seconds(r["median"]),
            seconds(r["p10"]),
            seconds(r["p90"]),
            quantity(r["flops_per_second"], "FLOP/s"),
            quantity(r["flops_per_second_per_thread"], "FLOP/s"),
            f"{r['median'] / ours:.2f}x",
        )
        for name, r in report.items()
    ]
    header = ("engine", "median", "p10", "p90", "rate", "per thread", "time / polydl's")
    title = f"{path}, {threads} thread{'s' * (threads > 1)}, {rounds} rounds, {quantity(flops, 'FLOP')} a run"
    common.console.result(
        {"path": path, "threads": threads, "rounds": rounds, "flops": flops, "engines": report},
        f"{title}\n{table(rows, header=header, right=(1, 2, 3, 4, 5, 6))}",
    )


def interleaved(
    contestants: dict[str, Callable[[], object]], rounds: int, progress: Progress
) -> dict[str, list[float]]:
    """Seconds of `rounds` calls of each contestant, taking turns so that drift of the machine hits all alike."""
    for call in contestants.values():
        for _ in range(_WARMUP):
            call()
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for k in range(rounds):
        for name, call in contestants.items():
            start = time.perf_counter_ns()
            call()
            samples[name].append((time.perf_counter_ns() - start) * 1e-9)
        progress("rounds", k + 1, rounds)
    return samples


def _statistics(times: list[float], flops: int, threads: int) -> dict[str, float]:
    p10, median, p90 = (float(q) for q in np.quantile(times, (0.1, 0.5, 0.9)))
    rate = flops / median
    return {
        "median": median,
        "p10": p10,
        "p90": p90,
        "flops_per_second": rate,
        "flops_per_second_per_thread": rate / threads,
    }
