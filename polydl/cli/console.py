"""What people and programs see: notes, errors and progress on stderr; results on stdout, as text or JSON."""

from __future__ import annotations

import contextlib
import json as jsonlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polydl.errors import PolydlError

__all__ = ["Console", "Progress", "jsonable", "plain", "quantity", "seconds", "table"]

Progress = Callable[[str, int, int], None]  # (stage, done, total)


def plain(text: str) -> str:
    """`text` without control characters: names from a model file must not steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def seconds(value: float) -> str:
    """A duration in a unit that suits it."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1 or unit == "µs":
            return f"{value * factor:.3g} {unit}" if value * factor < 1000 else f"{value * factor:.0f} {unit}"
    raise AssertionError


def quantity(value: float, unit: str) -> str:
    """A number with a decimal prefix: 1.82 GFLOP, 45.3 MB."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def jsonable(value: Any) -> Any:
    """`value` as what JSON can hold; NaN and infinities become strings, since JSON has none."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case np.generic():
            return jsonable(value.item())
        case np.ndarray():
            return jsonable(value.tolist())
        case Mapping():
            return {str(key): jsonable(entry) for key, entry in value.items()}
        case Path():
            return str(value)
        case list() | tuple() | set() | frozenset():
            return [jsonable(entry) for entry in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return jsonable(asdict(value))
        case _:
            return str(value)


class Console:
    """Where a verb writes. `verbosity`: -1 quiet, 0 normal, 1 and 2 more."""

    def __init__(self, *, json: bool = False, verbosity: int = 0) -> None:
        self.json, self.verbosity = json, verbosity
        self._printed = False

    # for people

    def note(self, text: str, *, level: int = 0) -> None:
        """A line on stderr, unless the user wants to see less than `level`."""
        if self.verbosity >= level:
            self.raw(plain(text) + "\n")

    def raw(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def error(self, error: PolydlError) -> None:
        """What, where, why and what next; with --json, unless there is a result, the same on stdout."""
        parts = {"what": error.what, "where": error.where, "why": error.why, "next": error.next}
        if self.json and not self._printed:
            self.result({"error": {"kind": type(error).__name__, **parts}, "exit_code": error.exit_code})
        color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        bold, red, end = ("\x1b[1m", "\x1b[1;31m", "\x1b[0m") if color else ("", "", "")
        lines = [f"{red}error:{end} {plain(error.what)}"]
        for label in ("where", "why", "next"):
            text = plain(parts[label])
            if text:  # a text of several lines begins with an empty one
                lines.append(
                    f"  {bold}{label}{end}"
                    + (text if text[0] == "\n" else text.rjust(len(text) + 6 - len(label)))
                )
        self.raw("\n".join(lines) + "\n")

    # for everybody

    def result(self, data: Any, text: str = "") -> None:
        """The result of the command on stdout: `data` with --json, else `text`. Called once."""
        self._printed = True
        if self.json:
            sys.stdout.write(
                jsonlib.dumps(jsonable(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            )
        elif text:
            sys.stdout.write(plain(text).rstrip("\n") + "\n")
        sys.stdout.flush()

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """A live bar on a terminal; with -v a line per stage elsewhere; else nothing."""
        if self.verbosity < 0 or not sys.stderr.isatty():
            yield self._stages(title)
            return
        from rich.console import Console as Rich
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Bar(*columns, console=Rich(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=None)

            def report(stage: str, done: int, total: int) -> None:
                bar.update(task, description=f"{title}: {plain(stage)}", completed=done, total=total or None)

            yield report

    def _stages(self, title: str) -> Progress:
        last = ""

        def report(stage: str, done: int, total: int) -> None:
            nonlocal last
            if stage != last:
                last = stage
                self.note(f"{title}: {stage}" + (f" ({total})" if total else ""), level=1)

        return report


def table(rows: Sequence[Sequence[str]], *, header: Sequence[str] = (), right: Sequence[int] = ()) -> str:
    """Aligned columns, two spaces apart; the columns in `right` are right-aligned."""
    lines = [list(header), *map(list, rows)] if header else [list(row) for row in rows]
    if not lines:
        return ""
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    cells = [
        [
            cell.rjust(w) if k in right else cell.ljust(w)
            for k, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    out = ["  ".join(line).rstrip() for line in cells]
    if header:
        out.insert(1, "  ".join("-" * w for w in widths).rstrip())
    return "\n".join(out)
