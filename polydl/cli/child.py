"""--timeout and --max-memory: the same command in a child process that can be stopped at any moment.

Native code (isl, LLVM, a compiled kernel) cannot be interrupted from within its own process, and a memory limit may
end it by a signal. So the command line is run again in a child that inherits stdin, stdout and stderr; the parent
does nothing but wait, stop it, and say what happened.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polydl.cli.console import quantity
from polydl.cli.output import remove_partial
from polydl.errors import CompileTimeout, ResourceLimit, RunError, UsageError

__all__ = ["Limits", "inside", "restricted", "supervise"]

_MARK: Final = "POLYDL_SUPERVISED_BY"
_GRACE: Final = 2.0  # seconds to tidy up after SIGTERM before SIGKILL


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of wall time and bytes of address space; None: no limit."""

    timeout: float | None
    memory: int | None

    @property
    def any(self) -> bool:
        return self.timeout is not None or self.memory is not None


def inside() -> bool:
    """Whether this process is the supervised child (the mark names the parent, so grandchildren do not inherit it)."""
    return os.environ.get(_MARK) == str(os.getppid())


@contextlib.contextmanager
def restricted(limits: Limits) -> Iterator[None]:
    """The memory limit holds for this process inside the block; afterwards there is room again to say what happened."""
    if limits.memory is None:
        yield
        return
    try:
        import resource
    except ImportError:
        raise UsageError("--max-memory is not available on this system", next="leave it out") from None
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY and limits.memory > hard:
        raise UsageError(f"--max-memory: the system allows {quantity(hard, 'B')} at most")
    used = _address_space()
    if limits.memory <= used:
        raise UsageError(
            f"--max-memory of {quantity(limits.memory, 'B')} is too little",
            why=f"the command itself takes {quantity(used, 'B')} of address space",
            next="give it more, for example 4G",
        )
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    """Bytes of address space that this process has now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def supervise(arguments: Sequence[str], limits: Limits, output: object) -> int:
    """Run `polydl ARGUMENTS` in a child within `limits`; its exit code.

    `output` is the verb's output path, if it has one: what a killed child left half-written beside it is removed.
    Errors: CompileTimeout; ResourceLimit or RunError when a signal ended the child.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "polydl", *arguments], env={**os.environ, _MARK: str(os.getpid())}
    )
    try:
        code = process.wait(limits.timeout)
    except subprocess.TimeoutExpired:
        _stop(process, output)
        raise CompileTimeout(
            f"stopped after {limits.timeout:g} s",
            why="--timeout was reached",
            next="give --timeout more, or leave it out",
        ) from None
    except BaseException:  # Ctrl-C reaches the child too; whatever happens, no child survives its parent
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        _stop(process, output)
        raise
    if code >= 0:
        return code
    _stop(process, output)
    name = signal.Signals(-code).name
    if limits.memory is not None:
        raise ResourceLimit(
            f"the command was ended by {name}",
            why=f"most likely the limit of {quantity(limits.memory, 'B')} (--max-memory)",
            next="give --max-memory more, or leave it out",
        )  # fmt: skip
    raise RunError(f"the command was ended by {name}")


def _stop(process: subprocess.Popen[bytes], output: object) -> None:
    """Ask, then insist; then tidy up after it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if isinstance(output, Path):
        remove_partial(output, process.pid)
