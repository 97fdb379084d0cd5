"""The C back end: programs of loop IR to one readable C file."""

from __future__ import annotations

from polydl.codegen.c.compile import compile_to_c, emit_c

__all__ = ["compile_to_c", "emit_c"]
