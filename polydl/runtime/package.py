"""Packages on disk: a directory with `manifest.json`, `model.o`, `weights.bin` and further files, written as one act.

`save` prepares everything in a hidden directory beside the target and then renames it into place (exchanging it with
an older package in one step where the file system can), so that an interrupted build leaves the old package or none.
`load` checks sizes and the hash of the code always, maps the weights read-only, and compares their hash on request.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polydl.artifact import Artifact
from polydl.errors import InvalidPackage, UsageError
from polydl.runtime.manifest import (
    CODE,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    WEIGHTS,
    FileEntry,
    Manifest,
    decode,
    encode,
    is_file_name,
)
from polydl.runtime.memory import as_bytes
from polydl.runtime.module import Module

__all__ = ["load", "read_manifest", "save"]

_HASH_CHUNK: Final = 1 << 22


def save(
    artifact: Artifact,
    weights: Any,
    directory: str | os.PathLike[str],
    *,
    info: Mapping[str, Any] | None = None,
    files: Mapping[str, str | bytes] | None = None,
) -> Path:
    """Write a package; the same arguments give the same bytes. An older package at `directory` is replaced whole.

    `weights`: any buffer of `artifact.constants_bytes`. `info`: a JSON object for the manifest (tolerances, measured
    error, …). `files`: further files by plain name (`schedules.txt`). Errors: UsageError for a directory that holds
    anything but a polydl package, for bad arguments and for what the file system refuses.
    """
    target = Path(os.path.abspath(directory))
    image = as_bytes(weights)
    if image.nbytes != artifact.constants_bytes:
        raise UsageError(f"the weights have {image.nbytes} bytes, the code wants {artifact.constants_bytes}")
    contents: dict[str, Any] = {CODE: artifact.code, WEIGHTS: image}
    for name, content in sorted((files or {}).items()):
        if not is_file_name(name) or name in contents:
            raise UsageError(f"'{name}' cannot be a further file of a package")
        contents[name] = content.encode() if isinstance(content, str) else content
    entries = {
        name: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for name, data in contents.items()
    }
    contents[MANIFEST] = encode(artifact, entries, info or {})
    try:
        replaces = _replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        try:
            os.chmod(work, 0o777 & ~_umask())  # mkdtemp makes it private
            for name, data in contents.items():
                _write(work / name, data)
            _sync(work)
            if replaces:
                _exchange(work, target)
            else:
                os.rename(work, target)
            _sync(target.parent)
        finally:  # what is left here is the unfinished work, or the package that was replaced
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"cannot write the package {directory}",
            why=error.strerror or str(error),
            next="choose another directory with -o",
        ) from error
    return target


def load(directory: str | os.PathLike[str], threads: int | None = None, *, verify: bool = False) -> Module:
    """Load a package: `threads` as for `Module`; `verify=True` also compares the hashes of weights and further files.

    The code is executed in this process: load only packages whose source you trust. Errors: InvalidPackage when it is
    damaged, of another format version or for another machine; ResourceLimit when its workspace does not fit.
    """
    root = Path(directory)
    manifest = read_manifest(root)
    code = _read(root, CODE, manifest.files[CODE].bytes)
    _compare(root / CODE, code, manifest.files[CODE])
    weights = _map(root, manifest.files[WEIGHTS].bytes)
    for name, entry in manifest.files.items():
        if name == WEIGHTS and verify:
            _compare(root / name, weights, entry)
        elif name not in (CODE, WEIGHTS):
            data = _read(root, name, entry.bytes, contents=verify)
            if verify:
                _compare(root / name, data, entry)
    return Module(replace(manifest.artifact, code=code), weights, threads=threads, info=manifest.info)


def read_manifest(directory: str | os.PathLike[str]) -> Manifest:
    """What the package says about itself, checked; the other files are not touched. InvalidPackage."""
    root = Path(directory)
    if not root.is_dir():
        raise InvalidPackage(
            f"there is no package at {root}", why="it is no directory", next="build one: polydl build"
        )
    return decode(_read(root, MANIFEST, None), str(root / MANIFEST))


# reading


def _open(root: Path, name: str, size: int | None) -> int:
    """A descriptor of a regular file of the package, links refused, its size checked."""
    path = root / name
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InvalidPackage(
            f"the package lacks {name}",
            where=str(path),
            why=error.strerror or str(error),
            next="give a folder that `polydl build` wrote",
        ) from error
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise InvalidPackage(f"{name} is not a plain file", where=str(path))
    if size is not None and found.st_size != size:
        os.close(handle)
        raise InvalidPackage(
            f"{name} has {found.st_size} bytes, the manifest says {size}",
            where=str(path),
            next="build the package again",
        )
    return handle


def _read(root: Path, name: str, size: int | None, *, contents: bool = True) -> bytes:
    """The contents of a file; with `contents=False` only its presence and size are checked."""
    with open(_open(root, name, size), "rb") as file:
        return file.read(MAX_MANIFEST_BYTES + 1 if size is None else size) if contents else b""


def _map(root: Path, size: int) -> NDArray[np.uint8]:
    """The weights, mapped read-only and shared with every process that loads them."""
    handle = _open(root, WEIGHTS, size)
    try:
        if not size:
            return np.empty(0, np.uint8)
        image = mmap.mmap(handle, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    except OSError as error:
        raise InvalidPackage(f"cannot map {WEIGHTS}", where=str(root / WEIGHTS), why=str(error)) from error
    finally:
        os.close(handle)
    image.madvise(mmap.MADV_WILLNEED)
    return np.frombuffer(image, np.uint8)


def _compare(path: Path, data: Any, entry: FileEntry) -> None:
    digest = hashlib.sha256()
    view = memoryview(data)
    for start in range(0, len(view), _HASH_CHUNK):
        digest.update(view[start : start + _HASH_CHUNK])
    if len(view) != entry.bytes or digest.hexdigest() != entry.sha256:
        raise InvalidPackage(
            f"{path.name} is damaged: its hash is not the manifest's",
            where=str(path),
            next="build the package again",
        )


# writing


def _replaceable(target: Path) -> bool:
    """Whether something is to be replaced; UsageError when it is not a package or holds files that no package has."""
    if not os.path.lexists(target):
        return False
    if target.is_symlink() or not target.is_dir():
        raise UsageError(f"{target} exists and is not a directory", next="choose another place with -o")
    present = set(os.listdir(target))
    if not present:
        return True
    try:
        known = {MANIFEST, *read_manifest(target).files}
    except InvalidPackage as error:
        raise UsageError(
            f"{target} exists and is not a polydl package",
            why=error.what,
            next="choose another place with -o, or remove it",
        ) from error
    if present - known:
        raise UsageError(
            f"{target} holds files that are not part of its package: {', '.join(sorted(present - known)[:5])}",
            why="replacing the package would delete them", next="move them away",
        )  # fmt: skip
    return True


def _write(path: Path, data: Any) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """The process's umask; there is no way to read it but to set it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _exchange(new: Path, old: Path) -> None:
    """Swap two directories: in one step by renameat2(RENAME_EXCHANGE), else by renames, undone when one fails."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, exchange = ctypes.c_int(-100), ctypes.c_uint(2)  # AT_FDCWD, RENAME_EXCHANGE
    if rename is not None and rename(here, os.fsencode(new), here, os.fsencode(old), exchange) == 0:
        return
    aside = new.with_suffix(".old")
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except BaseException:
        with contextlib.suppress(OSError):
            os.rename(aside, old)
        raise
    os.rename(aside, new)
