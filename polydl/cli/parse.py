"""Values of options: durations, sizes, shapes, dimensions, tolerances. All errors are UsageError (exit code 2)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from polydl.errors import UsageError

__all__ = ["Accuracy", "parse_accuracy", "parse_bytes", "parse_dims", "parse_seconds", "parse_shapes"]

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}
_BYTES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_MAX_EXTENT: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Accuracy:
    """`|got - wanted| <= atol + rtol * |wanted|`, element by element."""

    rtol: float = 1e-3
    atol: float = 1e-4

    def __str__(self) -> str:
        return f"rtol={self.rtol:g},atol={self.atol:g}"


def parse_seconds(text: str | None, option: str) -> float | None:
    """Seconds of "90", "1.5s", "5m" or "1h"."""
    return None if text is None else _scaled(text, option, _SECONDS, "90, 90s, 5m or 1h")


def parse_bytes(text: str | None, option: str) -> int | None:
    """Bytes of "1048576", "512M", "4G" or "4GiB"."""
    if text is None:
        return None
    return int(_scaled(re.sub(r"(?i)(?<=[kmgt])i?b?$", "", text), option, _BYTES, "512M or 4G"))


def _scaled(text: str, option: str, units: dict[str, int], example: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-z]?)", text.strip().lower())
    if match is None or match[2] not in units or float(match[1]) <= 0 or len(match[1]) > 18:
        raise UsageError(f"{option} '{text}' is not understood", next=f"write for example {option} {example}")
    return float(match[1]) * units[match[2]]


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """`x=1,3,224,224` (any number of them) by input name; the name may itself contain `=`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, equals, extents = text.rpartition("=")
        if not equals or not name:
            raise UsageError(
                f"--shape '{text}' names no input", next="write for example --shape x=1,3,224,224"
            )
        if name in shapes:
            raise UsageError(f"--shape is given twice for '{name}'")
        parts = [part for part in extents.split(",") if part] if extents else []
        shapes[name] = tuple(_extent(part, f"--shape {text}", "x=1,3,224,224") for part in parts)
    return shapes


def parse_dims(texts: Sequence[str]) -> dict[str, int]:
    """`N=4` (any number of them) by the name of the symbolic size."""
    dims: dict[str, int] = {}
    for text in texts:
        name, equals, extent = text.rpartition("=")
        if not equals or not name:
            raise UsageError(f"--dim '{text}' names no size", next="write for example --dim N=4")
        if name in dims:
            raise UsageError(f"--dim is given twice for '{name}'")
        dims[name] = _extent(extent, f"--dim {text}", "N=4")
    return dims


def _extent(text: str, where: str, example: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,19}\s*", text) or int(text) > _MAX_EXTENT:
        raise UsageError(
            f"'{text.strip()}' is not an extent", where=where, why="extents are whole numbers from 0 to 2^63-1",
            next=f"write for example {example}",
        )  # fmt: skip
    return int(text)


def parse_accuracy(text: str | None) -> Accuracy:
    """`rtol=1e-3,atol=1e-5`, either part optional."""
    values = asdict(Accuracy())
    for part in (text or "").split(","):
        if not part.strip():
            continue
        name, _, number = part.strip().partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if name not in values or not 0 <= value < math.inf:
            raise UsageError(
                f"--accuracy '{text}' is not understood",
                where=part,
                next="write for example rtol=1e-3,atol=1e-5",
            )
        values[name] = value
    return Accuracy(**values)
