"""Results as a table for people and as JSON for machines."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from benchmarks.race import Entry, Result

__all__ = ["as_json", "explanations", "table"]


# Alone, the threads of the peak got 91 to 99 % of two cores in their worst round; beside one busy program, 52 %.
_UNDISTURBED = 0.85


def _rate(result: Result, seconds: float) -> tuple[float, str]:
    """10^9 operations (or, without contractions, bytes) per second."""
    if result.flops:
        return result.flops / seconds / 1e9, "GFLOP/s"
    return result.bytes / seconds / 1e9, "GB/s"


def _cell(result: Result, entry: Entry) -> str:
    if entry.seconds is None:
        return "[dim]—[/]"
    rate, unit = _rate(result, entry.seconds)
    text = f"{entry.seconds * 1e3:.3g} ms"
    if unit == "GB/s":
        return f"{text}  {rate:.1f} GB/s"
    if result.peak:
        return f"{text}  {100 * result.flops / entry.seconds / result.peak:.0f} %"
    return f"{text}  {rate:.0f} GF/s"


def table(results: Sequence[Result], title: str) -> Table:
    """One row per case and number of threads; a cell is the median time and the percentage of the FMA peak."""
    drawn = Table(
        title=title,
        caption="time of one run, and percent of the FMA peak measured in the same rounds (padding is not counted)",
    )
    drawn.add_column("case")
    drawn.add_column("threads", justify="right")
    drawn.add_column("GFLOP", justify="right")
    drawn.add_column("peak GFLOP/s", justify="right")
    peers = list(dict.fromkeys(entry.peer for result in results for entry in result.entries))
    for peer in peers:
        drawn.add_column(peer, justify="right")
    drawn.add_column("polydl / fastest", justify="right")
    drawn.add_column("max error", justify="right")
    for result in results:
        entries = {entry.peer: entry for entry in result.entries}
        best = result.fastest_peer
        cells = []
        for peer in peers:
            text = _cell(result, entries[peer])
            cells.append(f"[bold]{text}[/]" if entries[peer] is best else text)
        errors = [
            entry.error
            for entry in result.entries
            if entry.error is not None and entry.peer != result.reference
        ]
        drawn.add_row(
            result.case,
            str(result.threads),
            f"{result.flops / 1e9:.3g}" if result.flops else "—",
            f"{result.peak / 1e9:.0f}" if result.peak else "—",
            *cells,
            "—" if result.ratio is None else f"{result.ratio:.2f}",
            f"{max(errors):.1e}" if errors else "—",
        )
    return drawn


def explanations(results: Sequence[Result]) -> list[str]:
    """Who could not take part and why, each reason once; and which races other programs disturbed."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for entry in result.entries:
            if entry.failure is not None:
                reasons.setdefault((entry.peer, entry.failure), []).append(f"{result.case}/{result.threads}")
    lines = []
    for (peer, failure), where in reasons.items():
        places = "everywhere" if len(where) == len(results) else ", ".join(where)
        lines.append(f"{peer} did not take part ({places}): {failure}")
    for result in results:
        if result.available is not None and result.available < _UNDISTURBED:
            lines.append(
                f"{result.case}/{result.threads} was disturbed: in one round only {100 * result.available:.0f} % of "
                f"{result.threads} cores were free; do not trust its times, repeat on a quiet machine"
            )
    return lines


def as_json(results: Sequence[Result], settings: dict[str, Any]) -> dict[str, Any]:
    """Everything measured; times in seconds, rates in operations per second."""
    return {
        "machine": {"processor": platform.processor() or platform.machine(), "system": platform.platform()},
        "settings": settings,
        "results": [
            {
                "case": result.case,
                "threads": result.threads,
                "flops": result.flops,
                "nominal_flops": result.nominal_flops,
                "bytes": result.bytes,
                "peak_flops_per_second": result.peak,
                "cores_available": result.available,
                "reference": result.reference,
                "polydl_over_fastest_peer": result.ratio,
                "fastest_peer": result.fastest_peer.peer if result.fastest_peer else None,
                "peers": {
                    entry.peer: {
                        "median_seconds": entry.seconds,
                        "best_seconds": entry.best if entry.rounds else None,
                        "round_medians": entry.rounds,
                        "load_seconds": entry.load_seconds,
                        "flops_per_second": result.flops / entry.seconds if entry.seconds else None,
                        "nominal_flops_per_second": result.nominal_flops / entry.seconds
                        if entry.seconds
                        else None,
                        "max_error": entry.error,
                        "failure": entry.failure,
                    }
                    for entry in result.entries
                },
            }
            for result in results
        ],
    }
