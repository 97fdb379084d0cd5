"""Automatic scheduling without search: orders, strategies for each nest, and a cost model that picks."""

from polydl.scheduler.automatic.choose import optimize
from polydl.scheduler.automatic.predict import predicted_time

__all__ = ["optimize", "predicted_time"]
