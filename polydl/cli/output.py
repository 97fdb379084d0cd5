"""Writing results all at once or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from polydl.errors import UsageError

__all__ = ["atomic_directory", "atomic_file", "check_writable", "remove_partial"]

_MANIFEST: Final = "manifest.json"  # tells a package, which may be replaced, from somebody's folder
_MAX_MANIFEST: Final = 64 << 20


def _partial(path: Path, pid: int) -> Path:
    return path.parent / f".polydl-partial-{pid}-{path.name}"


def remove_partial(path: Path, pid: int) -> None:
    """Remove what process `pid` left unfinished of `path`."""
    left = _partial(_absolute(path), pid)
    if left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def check_writable(path: Path, *, directory: bool) -> None:
    """UsageError, before any work is done, where `path` cannot be written or holds something that is not ours."""
    path = _absolute(path)
    if directory and path.is_dir():
        others = sorted({entry.name for entry in path.iterdir()} - _package_files(path))
        if others:
            raise UsageError(
                f"'{path}' holds other things: {', '.join(others[:5])}",
                why="only an earlier package is replaced",
                next="name a new folder with -o, or move them away",
            )
    elif path.exists() and directory != path.is_dir():
        kind = "a file" if directory else "a folder"
        raise UsageError(f"'{path}' is {kind}", next="name another place with -o")
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder '{folder}'", where=f"-o {path}", next=f"mkdir -p '{folder}'")
    probe = _partial(path, os.getpid())
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot write '{path}'", why=error.strerror or str(error), next="name another place with -o"
        ) from None


def _package_files(path: Path) -> set[str]:
    """The files that the package at `path` says it has; empty where there is none."""
    try:
        with (path / _MANIFEST).open("rb") as stream:
            document = json.loads(stream.read(_MAX_MANIFEST))
        return {_MANIFEST, *document["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A place to write `path` to; it appears under its name only when the block ends well."""
    path = _absolute(path)
    check_writable(path, directory=False)
    partial = _partial(path, os.getpid())
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise UsageError(f"cannot write '{path}'", why=error.strerror or str(error)) from error
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """A folder to be made and filled; it takes the place of `path` (or an earlier package there) when all went well."""
    path = _absolute(path)
    check_writable(path, directory=True)
    partial = _partial(path, os.getpid())
    old = _partial(path.with_name(f"{path.name}-replaced"), os.getpid())
    try:
        partial.mkdir()
        yield partial / "new"
        if path.is_dir():
            os.replace(path, old)
            try:
                os.replace(partial / "new", path)
            except BaseException:
                os.replace(old, path)
                raise
        else:
            os.replace(partial / "new", path)
    except OSError as error:
        raise UsageError(f"cannot write '{path}'", why=error.strerror or str(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
