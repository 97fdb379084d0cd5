"""Predicted against measured: every schedule that automatic scheduling considers for a kernel, compiled and timed.

The cost model ranks; a candidate that is measured faster than one predicted faster is a bug of the model.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

import polydl
from benchmarks.polybench.kernel import Data, Kernel
from polydl.scheduler.automatic import predicted_time
from polydl.scheduler.automatic.choose import candidates, optimize
from polydl.scheduler.recipes import schedule_as_written
from polydl.scheduler.schedule import Schedule

__all__ = ["Candidate", "race_candidates"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A schedule with its predicted time in cycles at typical sizes, and the median of its runs in seconds."""

    label: str
    schedule: Schedule
    cycles: float
    seconds: float
    chosen: bool


def race_candidates(kernel: Kernel, size: str, *, threads: int, rounds: int) -> Iterator[Candidate]:
    """The order as written and every candidate, each compiled and run `rounds` times on fresh data."""
    program = polydl.loops(threads=threads)(kernel.function)
    target = replace(program.target, cores=threads)
    chosen = optimize(program.function, target)
    found: dict[Schedule, str] = {schedule_as_written(program.function, target): "as written"}
    for number, schedule in enumerate(candidates(program.function, target), 1):
        found.setdefault(schedule, f"candidate {number}")
    sizes = {n: v for n, v in kernel.at(size).items() if n in kernel.parameters()}
    fresh = kernel.data(size)
    for schedule, label in found.items():
        compiled = program.scheduled(schedule)
        compiled.compile()
        samples = []
        for _ in range(rounds):
            data: Data = {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in fresh.items()}
            call = compiled.bind(**sizes, **data)
            start = time.perf_counter()
            call()
            samples.append(time.perf_counter() - start)
        yield Candidate(
            label,
            schedule,
            predicted_time(schedule, target),
            statistics.median(samples),
            schedule.tree == chosen.tree,
        )
