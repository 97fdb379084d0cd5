"""Aligned memory for workspaces and weights."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polydl.errors import ResourceLimit

__all__ = ["HUGE_PAGE", "MAX_BYTES", "address", "aligned_bytes", "as_bytes"]

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
