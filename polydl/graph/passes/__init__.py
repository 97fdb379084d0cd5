"""Graph passes: functions Graph -> Graph that keep what is computed."""

from polydl.graph.passes.pipeline import optimize

__all__ = ["optimize"]
