"""The verbs of `polydl`, put together. Exit codes: 0 ok, 1 error, 2 usage, 3 unsupported model, 4 verification failed,
5 timeout, 130 interrupted."""

from __future__ import annotations

import signal
import sys
from typing import Annotated, Any

import typer
import typer.core

from polydl._version import __version__
from polydl.cli.bench import bench
from polydl.cli.build import build
from polydl.cli.common import INTERRUPTED, verb
from polydl.cli.doctor import doctor
from polydl.cli.explain import explain
from polydl.cli.inspect import inspect
from polydl.cli.run import run
from polydl.cli.show import show
from polydl.cli.verify import verify

__all__ = ["app", "main"]

_VERBS = (inspect, build, run, bench, verify, show, explain, doctor)


class _Group(typer.core.TyperGroup):
    """Remembers the command line in `ctx.obj`: --timeout and --max-memory run it again in a child process."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        extra.setdefault("obj", tuple(args))
        return super().make_context(info_name, args, parent, **extra)


app = typer.Typer(
    name="polydl",
    cls=_Group,
    help="Compile neural networks and loop nests to fast machine code with the polyhedral model.",
    epilog="Start with:  polydl doctor   ·   polydl build model.onnx -o out/   ·   polydl run out/",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _verb in _VERBS:
    app.command(_verb.__name__)(verb(_verb))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"polydl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def _terminate(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)  # unwinds, so that partly written files are removed


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
