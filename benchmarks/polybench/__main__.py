"""`python -m benchmarks.polybench`: the kernels against compilers of C, side by side."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.polybench.candidates import race_candidates
from benchmarks.polybench.kernel import SIZE_NAMES
from benchmarks.polybench.kernels import KERNELS
from benchmarks.polybench.measure import CONTESTANTS, Result, geometric_mean, measure, ratios
from polydl.errors import PolydlError, UsageError

app = typer.Typer(add_completion=False)
_DISTURBED = 0.15  # of the multiply-adds; two virtual cores on one real one lack half


@app.command(help=__doc__)
def race(
    kernels: Annotated[
        list[str] | None, typer.Argument(help="which of the thirty; all if none is named")
    ] = None,
    size: Annotated[str, typer.Option(help=f"data set: {', '.join(SIZE_NAMES)}")] = "LARGE",
    threads: Annotated[str, typer.Option(help="numbers of threads, with commas")] = "1",
    against: Annotated[str, typer.Option(help="who takes part, with commas")] = ",".join(CONTESTANTS),
    rounds: Annotated[int, typer.Option(min=1, help="most timed runs of each")] = 5,
    seconds: Annotated[float, typer.Option(min=0.0, help="no further run after this much time of one")] = 3.0,
    candidates: Annotated[
        bool,
        typer.Option(
            help="instead: each schedule that polydl considers, its predicted and its measured time"
        ),
    ] = False,
    symbolic: Annotated[
        bool,
        typer.Option(help="compile the C for any size; by default extents are constants, as in PolyBench"),
    ] = False,
    file: Annotated[
        Path | None, typer.Option("--json", help="write everything measured to this file")
    ] = None,
) -> None:
    names = kernels or list(KERNELS)
    unknown = [name for name in names if name not in KERNELS]
    if unknown:
        raise UsageError(f"unknown kernels: {', '.join(unknown)}", why=f"there are {', '.join(KERNELS)}")
    if candidates:
        for count in _counts(threads):
            _predictions(names, size, count, rounds)
        return
    contestants = [name for name in against.split(",") if name]
    status = Console(stderr=True)
    results: list[Result] = []
    with TemporaryDirectory() as folder, status.status("starting") as line:
        for count in _counts(threads):
            for name in names:
                line.update(f"{name} {size}, {count} thread{'s' if count > 1 else ''}")
                results.append(
                    measure(
                        KERNELS[name],
                        size,
                        contestants,
                        Path(folder),
                        threads=count,
                        rounds=rounds,
                        seconds=seconds,
                        constants=not symbolic,
                    )
                )
                if file is not None:  # kept up to date: a long measurement may be stopped
                    file.write_text(json.dumps([result.as_json() for result in results], indent=1) + "\n")
    _report(results, contestants)


def _predictions(names: Sequence[str], size: str, threads: int, rounds: int) -> None:
    table = Table(title=f"{size}, {threads} thread{'s' if threads > 1 else ''}", title_justify="left")
    for heading in (
        "kernel",
        "schedule",
        "predicted Mcycles",
        "measured ms",
        "predicted/measured, of the chosen one",
    ):
        table.add_column(heading, justify="left" if heading in ("kernel", "schedule") else "right")
    for name in names:
        found = list(race_candidates(KERNELS[name], size, threads=threads, rounds=rounds))
        scale = next((c.cycles / c.seconds for c in found if c.chosen), math.nan)
        for c in found:
            table.add_row(
                name,
                f"{c.label}{' *' if c.chosen else ''}",
                f"{c.cycles / 1e6:.2f}",
                f"{c.seconds * 1e3:.2f}",
                f"{c.cycles / c.seconds / scale:.2f}",
            )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _counts(text: str) -> list[int]:
    cores = len(os.sched_getaffinity(0))
    counts = [int(word) for word in text.split(",") if word.strip().isdigit()]
    if not counts or len(counts) != len(text.split(",")) or not all(1 <= n <= cores for n in counts):
        raise UsageError(f"threads {text!r} are not numbers from 1 to {cores}")
    return counts


def _report(results: Sequence[Result], contestants: Sequence[str]) -> None:
    first, *others = contestants
    console = Console(width=None if sys.stdout.isatty() else 160)
    for count in dict.fromkeys(result.threads for result in results):
        rows = [result for result in results if result.threads == count]
        table = Table(title=f"{rows[0].size}, {count} thread{'s' if count > 1 else ''}", title_justify="left")
        table.add_column("kernel")
        for name in contestants:
            table.add_column(f"{name} ms", justify="right")
        table.add_column(f"{first} GFLOP/s", justify="right")
        table.add_column("of peak", justify="right")
        table.add_column("compile s", justify="right")
        for name in others:
            table.add_column(f"over {name}", justify="right")
        for result in rows:
            entry = result.entries[0]
            table.add_row(
                result.kernel,
                *("—" if e.failure else f"{e.seconds * 1e3:.2f}" for e in result.entries),
                "—" if entry.failure else f"{result.flops / entry.seconds / 1e9:.2f}",
                "—" if entry.failure else f"{result.flops / entry.seconds / result.peak:.0%}",
                f"{entry.compile_seconds:.2f}",
                *(
                    _ratio(ratios([result], first, name).get((result.kernel, count), math.nan))
                    for name in others
                ),
            )
        means = [geometric_mean(ratios(rows, first, name).values()) for name in others]
        table.add_section()
        table.add_row("geometric mean", *[""] * (len(contestants) + 3), *map(_ratio, means))
        console.print(table)
    for result in results:
        for entry in result.entries:
            if entry.failure:
                console.print(
                    f"{result.kernel}, {result.threads}: {entry.contestant}: {entry.failure}", soft_wrap=True
                )
        if result.disturbance > _DISTURBED:
            console.print(
                f"{result.kernel}, {result.threads}: disturbed: in one round the cores did "
                f"{result.disturbance:.0%} fewer multiply-adds than in another; repeat on a quiet machine",
                soft_wrap=True,
            )


def _ratio(value: float) -> str:
    return "—" if math.isnan(value) else f"{value:.2f}"


def main() -> None:
    """The command; errors on stderr with their exit code."""
    try:
        app()
    except PolydlError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
