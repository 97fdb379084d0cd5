"""Contestants on one kernel in turns: outputs compared first, then times, and what they say together."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.peak import Peak
from benchmarks.polybench import baseline, compiled
from benchmarks.polybench.kernel import Data, Kernel, difference
from polydl.errors import PolydlError, UsageError

__all__ = ["CONTESTANTS", "POLYDL", "Entry", "Result", "geometric_mean", "measure", "ratios"]

POLYDL: Final = "polydl"
CONTESTANTS: Final = (POLYDL, *baseline.BASELINES)

_LONG: Final = 0.5  # seconds; a first run of that length is no warm-up but a measurement


@dataclass(frozen=True, slots=True)
class Entry:
    """What one contestant did: seconds of every timed run, or why there are none."""

    contestant: str
    samples: tuple[float, ...] = ()
    compile_seconds: float = 0.0
    error: float = 0.0  # largest difference from the first C, relative to the output's largest value
    failure: str = ""

    @property
    def seconds(self) -> float:
        """The median run; NaN if there is none."""
        return statistics.median(self.samples) if self.samples else math.nan


@dataclass(frozen=True, slots=True)
class Result:
    """One kernel at one data set and number of threads. Entries in the order of the contestants."""

    kernel: str
    size: str
    threads: int
    flops: float
    tolerance: float
    # float64 operations a second of multiply-adds on registers: before the first round and after each
    peaks: tuple[float, ...]
    entries: tuple[Entry, ...]

    @property
    def peak(self) -> float:
        """Float64 operations a second that the cores can do: the median of the rounds."""
        return statistics.median(self.peaks)

    @property
    def disturbance(self) -> float:
        """The largest part of the best round's peak that another round lacked: cores that others had."""
        return 1 - min(self.peaks) / max(self.peaks)

    def entry(self, contestant: str) -> Entry | None:
        return next((e for e in self.entries if e.contestant == contestant), None)

    def as_json(self) -> dict[str, Any]:
        """Everything measured, as plain values."""
        return {
            "kernel": self.kernel,
            "size": self.size,
            "threads": self.threads,
            "flops": self.flops,
            "tolerance": self.tolerance,
            "peaks": list(self.peaks),
            "entries": [
                {
                    "contestant": e.contestant,
                    "seconds": e.seconds if e.samples else None,
                    "samples": list(e.samples),
                    "compile_seconds": e.compile_seconds,
                    "error": e.error if math.isfinite(e.error) else None,
                    "failure": e.failure,
                }
                for e in self.entries
            ],
        }


@dataclass(slots=True)
class _Turn:
    name: str
    call: Callable[[Data], Callable[[], None]] | None = None
    compile_seconds: float = 0.0
    samples: list[float] = field(default_factory=list)
    error: float = 0.0
    failure: str = ""


def measure(
    kernel: Kernel,
    size: str,
    contestants: Sequence[str],
    folder: Path,
    *,
    threads: int,
    rounds: int,
    seconds: float,
    constants: bool,
) -> Result:
    """Race the contestants: build all, compare outputs with those of the first C that runs, then time them in turns.

    Every run starts from fresh data; only the kernel is timed. Rounds rotate the order and end after `rounds`, or when
    the timed runs of one contestant have taken `seconds`. Whoever is wrong is named and not timed.
    """
    unknown = [name for name in contestants if name not in CONTESTANTS]
    if unknown or not contestants:
        raise UsageError(
            f"unknown contestants: {', '.join(unknown) or 'none given'}",
            why=f"there are {', '.join(CONTESTANTS)}",
        )
    turns = [_prepare(kernel, size, name, folder, threads, constants) for name in contestants]
    fresh = kernel.data(size)
    wanted: Data | None = None
    for turn in sorted(turns, key=lambda turn: turn.name == POLYDL):  # plain C says what is right
        if turn.call is None:
            continue
        data = _copy(fresh)
        spent = _time(turn.call, data)
        if spent >= _LONG:
            turn.samples.append(spent)
        if wanted is None:
            wanted = data
        turn.error = difference(kernel, fresh, data, wanted)
        if not turn.error <= kernel.tolerance:
            turn.failure = f"wrong: differs by {turn.error:.1e}, {kernel.tolerance:.0e} is allowed"
            turn.samples.clear()
            turn.call = None
    running = [turn for turn in turns if turn.call is not None]
    peak = Peak(threads, bits=64)
    peak.run()
    peaks = [_rate(peak)]
    for number in range(rounds):
        for turn in running[number % len(running) :] + running[: number % len(running)]:
            if turn.call is not None and sum(turn.samples) < seconds and len(turn.samples) < rounds:
                turn.samples.append(_time(turn.call, _copy(fresh)))
        peaks.append(_rate(peak))
    entries = tuple(Entry(t.name, tuple(t.samples), t.compile_seconds, t.error, t.failure) for t in turns)
    flops = kernel.flops(**kernel.at(size))
    return Result(kernel.name, size, threads, flops, kernel.tolerance, tuple(peaks), entries)


def _prepare(kernel: Kernel, size: str, name: str, folder: Path, threads: int, constants: bool) -> _Turn:
    turn = _Turn(name)
    start = time.perf_counter()
    try:
        if name == POLYDL:
            turn.call = compiled.build(kernel, threads=threads).bound(size)
        elif why := baseline.available(name):
            turn.failure = why
        else:
            turn.call = baseline.build(kernel, size, name, folder, constants=constants)
    except PolydlError as error:
        turn.failure = error.what
    turn.compile_seconds = time.perf_counter() - start
    return turn


def _copy(data: Data) -> Data:
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in data.items()}


def _rate(peak: Peak) -> float:
    start = time.perf_counter()
    peak.run()
    return peak.flops / (time.perf_counter() - start)


def _time(bind: Callable[[Data], Callable[[], None]], data: Data) -> float:
    call = bind(data)
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratios(results: Iterable[Result], contestant: str, against: str) -> Mapping[tuple[str, int], float]:
    """How many times as fast as `against` the contestant is, by kernel and number of threads, where both ran."""
    found = {}
    for result in results:
        mine, other = result.entry(contestant), result.entry(against)
        if mine is not None and other is not None and mine.samples and other.samples:
            found[result.kernel, result.threads] = other.seconds / mine.seconds
    return found


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean; NaN of nothing."""
    logarithms = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logarithms)) if logarithms else math.nan
