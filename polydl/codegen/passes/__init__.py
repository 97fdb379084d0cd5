"""Passes over the loop IR: how one iteration is spelled in instructions."""

from __future__ import annotations

from polydl.codegen.passes.accumulate import accumulate
from polydl.codegen.passes.flatten import flatten
from polydl.codegen.passes.parallel import distribute, shared_buffers
from polydl.codegen.passes.promote import promote
from polydl.codegen.passes.transpose import Transpose
from polydl.codegen.passes.unroll import Unroll
from polydl.codegen.passes.vectorize import Vectorize
from polydl.codegen.passes.windows import Windows

__all__ = [
    "Transpose",
    "Unroll",
    "Vectorize",
    "Windows",
    "accumulate",
    "distribute",
    "flatten",
    "promote",
    "shared_buffers",
]
