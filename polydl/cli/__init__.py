"""The command `polydl`: one module per verb, none of which imports the compiler before it runs."""

from __future__ import annotations

from polydl.cli.app import app, main

__all__ = ["app", "main"]
