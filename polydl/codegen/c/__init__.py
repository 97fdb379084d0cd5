"""The C back end: programs of loop IR to one readable C file."""

from __future__ import annotations

from polydl.codegen.c.compile import artifact_of, emit_c

__all__ = ["artifact_of", "emit_c"]
