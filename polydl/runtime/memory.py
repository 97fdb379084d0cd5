"""Aligned memory for workspaces and weights."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polydl.artifact import TemporarySpec
from polydl.errors import ResourceLimit

__all__ = ["HUGE_PAGE", "MAX_BYTES", "address", "aligned_bytes", "as_bytes", "physical_bytes", "room_for"]

HUGE_PAGE: Final = 2 << 20
MAX_BYTES: Final = 1 << 46  # no machine has more; larger numbers are damage


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """`size` zeroed bytes, 4096-aligned; from 2 MiB on aligned to huge pages, which the kernel is asked to use.

    Nothing is touched: the kernel hands out pages at first use. ResourceLimit when the machine has no room.
    """
    huge = size >= HUGE_PAGE
    room = max(size, 1) + (HUGE_PAGE if huge else 0)
    if not 0 <= size <= MAX_BYTES:
        raise ResourceLimit(
            f"a buffer of {size} bytes is beyond any machine", why=f"the limit is {MAX_BYTES} bytes"
        )
    try:
        block = mmap.mmap(-1, room)
    except (OSError, ValueError, OverflowError) as error:
        raise ResourceLimit(
            f"no room for a buffer of {size} bytes",
            why=str(error),
            next="use a smaller batch or fewer threads",
        ) from error
    flat = np.frombuffer(block, np.uint8)
    if not huge:
        return flat[:size]
    if hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    start = -flat.ctypes.data % HUGE_PAGE
    return flat[start : start + size]


def room_for(
    temporaries: Sequence[TemporarySpec], sizes: Mapping[str, int], held: list[NDArray[np.uint8]]
) -> None:
    """Make `held` one buffer for each temporary, at least as large as these sizes ask for; large ones are kept.

    ResourceLimit where they are larger than the machine's memory.
    """
    wanted = [t.bytes(sizes) for t in temporaries]
    if sum(wanted) > min(MAX_BYTES, physical_bytes()):
        raise ResourceLimit(
            f"the temporaries of {sum(wanted)} bytes are larger than this machine's memory",
            where=", ".join(f"{t.name}: {n}" for t, n in zip(temporaries, wanted, strict=True)),
            next="use smaller sizes, or a schedule that stores less",
        )
    if not held:
        held += [aligned_bytes(n) for n in wanted]
    for k, size in enumerate(wanted):
        if held[k].nbytes < size:
            held[k] = aligned_bytes(size)


def physical_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def as_bytes(data: Any) -> NDArray[np.uint8]:
    """A flat byte view of contiguous `data` (bytes, memoryview, mmap, array), without a copy."""
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    return np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)


def address(array: NDArray[Any]) -> int:
    """The address of the first element of a dense array."""
    try:  # a quarter of the time of `ndarray.ctypes`, for writable arrays that are not empty
        return ctypes.addressof(_byte.from_buffer(array.data))
    except (TypeError, ValueError, BufferError):
        return int(array.ctypes.data)


_byte: Final = ctypes.c_char
