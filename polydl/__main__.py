"""`python -m polydl` is the command `polydl`."""

from __future__ import annotations

from polydl.cli.app import main

if __name__ == "__main__":
    main()
