"""What every verb shares: its common options, and how it ends when something goes wrong."""

from __future__ import annotations

import errno
import functools
import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_type_hints

import typer

from polydl import config
from polydl.cli import child
from polydl.cli.console import Console
from polydl.cli.parse import parse_bytes, parse_seconds
from polydl.errors import PolydlError, ResourceLimit, UsageError

__all__ = ["INTERRUPTED", "Common", "verb"]

INTERRUPTED: Final = 130
_PANEL: Final = "Common options"


@dataclass(frozen=True, slots=True)
class Common:
    """The options that every verb has. `threads` is None where the default of the machine is meant."""

    console: Console
    threads: int | None
    seed: int
    timeout: float | None  # seconds
    max_memory: int | None  # bytes


def _options(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print machine-readable JSON on stdout.", rich_help_panel=_PANEL)
    ] = False,
    verbose: Annotated[
        int,
        typer.Option("--verbose", "-v", count=True, help="Say more; twice for all.", rich_help_panel=_PANEL),
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only results and errors.", rich_help_panel=_PANEL)
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Threads to run on; default: all cores.", rich_help_panel=_PANEL),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random inputs.", rich_help_panel=_PANEL)] = 0,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Stop after 90, 90s, 5m or 1h; exit code 5.", rich_help_panel=_PANEL
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Limit of address space: 512M, 4G.", rich_help_panel=_PANEL),
    ] = None,
) -> None:
    """Carries the declarations of the common options; never called."""


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """The typer command of `function(..., common: Common)`.

    The parameter `common` is replaced by the common options. With --timeout or --max-memory the whole command runs in
    a child process that can be stopped at any moment, also inside native code. Errors end the command with their
    exit code and a text of what, where, why and what next; POLYDL_DEBUG=1 adds the traceback.
    """

    @functools.wraps(function)
    def command(ctx: typer.Context, **values: Any) -> None:
        console = Console(
            json=values.pop("as_json"),
            verbosity=-1 if values.pop("quiet") else values.pop("verbose", 0),
        )
        values.pop("verbose", None)
        with _Guard(console):
            common = Common(
                console,
                values.pop("threads"),
                values.pop("seed"),
                parse_seconds(values.pop("timeout"), "--timeout"),
                parse_bytes(values.pop("max_memory"), "--max-memory"),
            )
            limits = child.Limits(common.timeout, common.max_memory)
            if limits.any and not child.inside():
                code = child.supervise(ctx.find_root().obj, limits, values.get("output"))
                raise typer.Exit(code)
            with child.restricted(limits):
                function(**values, common=common)

    command.__signature__ = _signature(function)  # type: ignore[attr-defined]
    del command.__wrapped__  # typer must see the new signature only
    command.__annotations__ = {p.name: p.annotation for p in _signature(function).parameters.values()}
    return command


def _signature(function: Callable[..., None]) -> inspect.Signature:
    """`ctx`, the parameters of `function` without `common`, then the common options; annotations resolved."""

    def resolved(f: Callable[..., None]) -> list[inspect.Parameter]:
        hints = get_type_hints(f, include_extras=True)
        return [
            p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for p in inspect.signature(f).parameters.values()
            if p.name != "common"
        ]

    ctx = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    return inspect.Signature([ctx, *resolved(function), *resolved(_options)])


class _Guard:
    """Turns whatever a verb raises into a message and an exit code."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        match error:
            case None | SystemExit() | typer.Exit() | typer.Abort() | BrokenPipeError():
                return
            case KeyboardInterrupt():
                self.console.note("interrupted; nothing was written")
                raise typer.Exit(INTERRUPTED) from None
            case Exception():
                self._end(_explained(error), error)
            case _:
                return

    def _end(self, shown: PolydlError, cause: BaseException) -> None:
        if config.debug():
            self.console.raw("".join(traceback.format_exception(cause)))
        self.console.error(shown)
        raise typer.Exit(shown.exit_code) from None


def _explained(error: Exception) -> PolydlError:
    """What is said of `error`; one that nobody foresaw is a defect of polydl, unless the system refused something."""
    text = " ".join(str(error).split())[:300]
    match error:
        case PolydlError():
            return error
        case MemoryError():
            return _out_of_memory(text)
        case OSError() if error.errno == errno.ENOMEM:
            return _out_of_memory(text)
        case ImportError() if (
            "map segment" in text or "allocate memory" in text
        ):  # a limit met while loading a library
            return _out_of_memory(text)
        case OSError() if error.strerror and error.filename:
            return UsageError(error.strerror, where=str(error.filename))
        case _:
            return PolydlError(
                f"unexpected {type(error).__name__}: {text}",
                why="this is a defect of polydl, not of your command",
                next="run again with POLYDL_DEBUG=1 and report the traceback and the model or program",
            )


def _out_of_memory(text: str) -> ResourceLimit:
    return ResourceLimit("out of memory", why=text, next="give --max-memory more, or use smaller inputs")
