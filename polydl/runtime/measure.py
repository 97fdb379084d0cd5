"""Samples of running times and what is said about them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from polydl.artifact import StepInfo

__all__ = ["StepTime", "Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of repeated runs."""

    best: float
    median: float
    samples: tuple[float, ...]

    @classmethod
    def of(cls, samples: Sequence[float]) -> Timing:
        """`samples` in seconds, at least one."""
        return cls(min(samples), statistics.median(samples), tuple(samples))


@dataclass(frozen=True, slots=True)
class StepTime:
    """The time of one step; rates are of the median."""

    step: StepInfo
    timing: Timing

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def seconds(self) -> float:
        return self.timing.median

    @property
    def flops_per_second(self) -> float:
        return self.step.flops / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        return self.step.bytes / self.seconds if self.seconds else 0.0
