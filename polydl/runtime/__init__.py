"""Loading and calling what was compiled."""

from polydl.runtime.measure import StepTime, Timing
from polydl.runtime.module import BoundCall, Module

__all__ = ["BoundCall", "Module", "StepTime", "Timing"]
