"""`python -m benchmarks networks` and `python -m benchmarks kernels`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.cases import GOALS, Case, kernels, network
from benchmarks.peers import PEERS
from benchmarks.race import Result, race
from benchmarks.report import as_json, explanations, table
from models import NETWORKS
from polydl.errors import PolydlError, UsageError

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

Threads = Annotated[str, typer.Option(help="numbers of threads, with commas")]
Peers = Annotated[str, typer.Option(help=f"who takes part, with commas: {', '.join(PEERS)}")]
Rounds = Annotated[int, typer.Option(min=1, help="rounds of turns")]
Seconds = Annotated[float, typer.Option(min=0.001, help="length of one turn")]
Json = Annotated[Path | None, typer.Option("--json", help="write everything measured to this file")]


def _measure(
    cases: Iterable[Callable[[], Case]],
    title: str,
    *,
    threads: str,
    peers: str,
    rounds: int,
    seconds: float,
    file: Path | None,
) -> None:
    """Race every case at every number of threads; the table on stdout, progress on stderr."""
    counts, names = _counts(threads), [name for name in peers.split(",") if name]
    unknown = [name for name in names if name not in PEERS]
    if unknown or not names:
        raise UsageError(
            f"unknown peers: {', '.join(unknown) or peers!r}", why=f"there are {', '.join(PEERS)}"
        )
    results: list[Result] = []
    status = Console(stderr=True)
    try:
        with status.status("starting") as line:
            for make in cases:
                case = make()
                for count in counts:
                    results.append(
                        race(
                            case,
                            names,
                            count,
                            rounds=rounds,
                            seconds=seconds,
                            progress=line.update,
                        )
                    )
    finally:  # after Ctrl-C too: what has been measured is shown
        if results:
            console = Console()
            if not console.is_terminal:
                console = Console(width=200)
            console.print(table(results, title))
            for text in explanations(results):
                status.print(text, markup=False)
            if file is not None:
                settings = {"threads": counts, "peers": names, "rounds": rounds, "seconds": seconds}
                file.write_text(json.dumps(as_json(results, settings), indent=1) + "\n")


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = [0]
    if min(counts) < 1:
        raise UsageError(
            f"--threads {text}: not a list of positive numbers", next="for example --threads 1,2"
        )
    return counts


@app.command()
def networks(
    names: Annotated[list[str] | None, typer.Argument(help="networks of models/, or .onnx files")] = None,
    every: Annotated[bool, typer.Option("--all", help="every network of models/")] = False,
    threads: Threads = "1,2",
    peers: Peers = "polydl,ort,openvino,torch,torch-compile",
    rounds: Rounds = 7,
    seconds: Seconds = 0.25,
    file: Json = None,
) -> None:
    """Whole networks, batch 1, float32."""
    chosen = names or (list(NETWORKS) if every else list(GOALS))
    cases = [lambda name=name: network(name) for name in chosen]
    _measure(cases, "networks", threads=threads, peers=peers, rounds=rounds, seconds=seconds, file=file)


@app.command("kernels")
def kernels_command(
    filters: Annotated[
        list[str] | None, typer.Argument(help="parts of names: gemm, conv3x3, depthwise, …")
    ] = None,
    threads: Threads = "1,2",
    peers: Peers = "polydl,ort,openvino,torch,numpy",
    rounds: Rounds = 7,
    seconds: Seconds = 0.05,
    file: Json = None,
) -> None:
    """Single operators: matrix products (named MxNxK), the convolutions of ResNet and MobileNet, softmax, layernorm."""
    cases = [lambda case=case: case for case in kernels(filters or [])]
    _measure(cases, "kernels", threads=threads, peers=peers, rounds=rounds, seconds=seconds, file=file)


def main() -> None:
    try:
        app()
    except PolydlError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
