"""What environment variables say; read at each call, so that tests and tools may change them.

`POLYDL_DEBUG=1`    tracebacks beside error messages
`POLYDL_VERIFY=1`   every pass checks its own result (always on in the test suite)
`POLYDL_DUMP=DIR`   every stage of a compilation is written to DIR
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["debug", "dump_directory", "verify_passes"]


def debug() -> bool:
    """Whether errors of the command line come with their traceback."""
    return _is_set("POLYDL_DEBUG")


def verify_passes() -> bool:
    """Whether passes verify what they produce."""
    return _is_set("POLYDL_VERIFY")


def dump_directory() -> Path | None:
    """Where the stages of a compilation are to be written, if anywhere."""
    text = os.environ.get("POLYDL_DUMP", "")
    return Path(text) if text else None


def _is_set(name: str) -> bool:
    return os.environ.get(name, "0") not in ("", "0")
