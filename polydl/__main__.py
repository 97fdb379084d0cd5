"""`python -m polydl` and the console script: the command, with a Ctrl-C minded from its first moment on."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command. Nothing is imported before: loading takes time in which it may be interrupted, too."""
    try:
        from polydl.cli.app import main as command

        command()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was written\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
