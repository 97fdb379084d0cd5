"""Arrays from and to .npy and .npz files that nobody vouches for, and seeded random inputs.

Nothing is unpickled, and every header is checked against the file's size and the machine's memory before a single
element is allocated.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from polydl.artifact import TensorSpec
from polydl.cli.output import atomic_file
from polydl.errors import InvalidInput, ResourceLimit, UsageError

__all__ = ["Arrays", "check_output_name", "load_archive", "load_inputs", "random_inputs", "save_outputs"]

Arrays = dict[str, NDArray[Any]]

_MAX_MEMBERS: Final = 10_000
_MAX_HEADER: Final = 1 << 16
_DAMAGE: Final = (ValueError, SyntaxError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error,
                  NotImplementedError, RuntimeError, UnicodeDecodeError)  # fmt: skip


def load_inputs(given: Sequence[str], specs: Sequence[TensorSpec]) -> Arrays:
    """The arrays of `-i` options: `FILE.npz` (by member name), `NAME=FILE.npy`, or `FILE.npy` for the only input.

    Whether they fit the model is left to the module. Errors: InvalidInput, ResourceLimit, UsageError.
    """
    arrays: Arrays = {}
    for text in given:
        name, path = _named(text, specs)
        found = load_archive(path) if path.suffix == ".npz" else {name: _load_npy(path)}
        for key, array in found.items():
            if key in arrays:
                raise UsageError(f"input '{key}' is given twice", where=f"-i {text}")
            arrays[key] = array
    return arrays


def _named(text: str, specs: Sequence[TensorSpec]) -> tuple[str, Path]:
    """The input that `text` is for ("" where the file names its arrays) and the file."""
    path = Path(text)
    name = ""
    if "=" in text and not path.exists():
        name, _, rest = text.rpartition("=")
        path = Path(rest)
    match path.suffix:
        case ".npz" if not name:
            return "", path
        case ".npz":
            raise UsageError(f"-i {text}: an .npz names its arrays itself", next=f"write -i {path}")
        case ".npy" if name:
            return name, path
        case ".npy" if len(specs) == 1:
            return specs[0].name, path
        case ".npy":
            names = ", ".join(spec.name for spec in specs)
            raise UsageError(
                f"-i {text} names no input", why=f"the inputs are {names}", next=f"write -i NAME={path}"
            )
        case other:
            raise UsageError(
                f"-i {text}: '{other or path.name}' files are not read",
                next="give an .npy or .npz that numpy.save or numpy.savez wrote",
            )


def load_archive(path: Path) -> Arrays:
    """Every array of an .npz file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise ResourceLimit(
                    f"'{path}' holds {len(members)} arrays", why=f"the limit is {_MAX_MEMBERS}"
                )
            _check_memory(sum(member.file_size for member in members), str(path))
            arrays: Arrays = {}
            for member in members:
                with archive.open(member) as stream:
                    name = member.filename.removesuffix(".npy")
                    arrays[name] = _read(stream, member.file_size, f"{path}, array '{name}'")
            return arrays
    except OSError as error:
        raise _unreadable(path, error) from None
    except _DAMAGE as error:
        raise _damaged(str(path), error) from error


def _load_npy(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as stream:
            return _read(stream, os.fstat(stream.fileno()).st_size, str(path))
    except OSError as error:
        raise _unreadable(path, error) from None
    except _DAMAGE as error:
        raise _damaged(str(path), error) from error


def _read(stream: IO[bytes], size: int, where: str) -> NDArray[Any]:
    """One array in .npy form from a stream of `size` bytes."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise InvalidInput(f"unknown .npy version {version[0]}.{version[1]}", where=where)
    shape, fortran, dtype = readers[version](stream, max_header_size=_MAX_HEADER)
    if dtype.hasobject:
        raise InvalidInput(
            "an array of Python objects is not read", where=where, why="it would have to be unpickled",
            next="save an array of numbers",
        )  # fmt: skip
    if dtype.names is not None or dtype.subdtype is not None or any(extent < 0 for extent in shape):
        raise InvalidInput(f"an array of type {dtype} and shape {shape} is not read", where=where)
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > size:
        raise InvalidInput(
            f"the header promises {wanted} bytes, the file has at most {size}",
            where=where,
            why="it is truncated or damaged",
        )
    _check_memory(wanted, where)
    data = stream.read(wanted)
    if len(data) != wanted:
        raise InvalidInput(
            f"{wanted} bytes expected, {len(data)} found", where=where, why="the file is truncated"
        )
    array = np.frombuffer(bytearray(data), dtype)
    return array.reshape(shape[::-1]).transpose() if fortran else array.reshape(shape)


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot read '{path}'", why=error.strerror or str(error))


def _damaged(where: str, error: Exception) -> InvalidInput:
    return InvalidInput(
        "not a file of numpy arrays", where=where, why=f"{error}" or type(error).__name__,
        next="write it with numpy.save or numpy.savez",
    )  # fmt: skip


def _check_memory(size: int, where: str) -> None:
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > available // 2:
        raise ResourceLimit(
            f"arrays of {size} bytes are too large",
            where=where,
            why=f"this machine has {available} bytes of memory",
        )


def random_inputs(specs: Sequence[TensorSpec], seed: int) -> Arrays:
    """Seeded inputs: floats normally distributed, integers and booleans 0 or 1 (valid indices of any axis above 1)."""
    generator = np.random.default_rng(seed)
    arrays: Arrays = {}
    for spec in specs:
        shape = tuple(extent for extent in spec.shape if isinstance(extent, int))
        if len(shape) != len(spec.shape):
            unknown = ", ".join(extent for extent in spec.shape if isinstance(extent, str))
            raise UsageError(
                f"input '{spec.name}' has the symbolic sizes {unknown}",
                next="give its values with -i, or fix the sizes",
            )
        _check_memory(
            math.prod(shape) * max(spec.dtype.bytes, 8), f"random input '{spec.name}' of shape {shape}"
        )
        if spec.dtype.is_float:
            arrays[spec.name] = generator.standard_normal(shape).astype(spec.dtype.numpy)
        else:
            arrays[spec.name] = generator.integers(0, 2, shape).astype(spec.dtype.numpy)
    return arrays


def save_outputs(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `.npz` (any number of arrays) or `.npy` (exactly one), all at once or not at all."""
    check_output_name(path, len(arrays))
    with atomic_file(path) as partial, partial.open("wb") as stream:
        if path.suffix == ".npy":
            (array,) = arrays.values()
            np.lib.format.write_array(stream, array, allow_pickle=False)
            return
        with zipfile.ZipFile(stream, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)


def check_output_name(path: Path, count: int) -> None:
    """UsageError unless `count` arrays can be written to a file of this name."""
    if path.suffix not in (".npz", ".npy"):
        raise UsageError(
            f"-o {path}: outputs are written as .npz or .npy", next=f"write -o {path.with_suffix('.npz')}"
        )
    if path.suffix == ".npy" and count != 1:
        raise UsageError(
            f"-o {path}: an .npy holds one array, the model has {count} outputs",
            next=f"write -o {path.with_suffix('.npz')}",
        )
