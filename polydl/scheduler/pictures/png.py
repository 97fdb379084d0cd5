"""Pictures as PNG: drawn from their SVG by resvg, which the extra `pictures` installs."""

from __future__ import annotations

import sys
from functools import cache

from polydl.errors import PolydlError, UsageError

__all__ = ["png_of"]

_SCALE = 2.0  # pixels for each of the SVG: legible on screens of high density
_LETTER = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><style>.m{font-family:%s}</style>'
    '<text class="m" x="2" y="15" font-size="14">%s</text></svg>'
)


def png_of(svg: str) -> bytes:
    """A picture, as `picture` gives it, as the bytes of a PNG file, two pixels for each of the SVG.

    UsageError where the renderer is not installed, or finds no font: it would leave all words out.
    """
    try:
        import resvg_py
    except ImportError:
        raise UsageError(
            "PNG needs resvg-py, which is not installed",
            why="polydl draws SVG itself, and PNG from that",
            next=f"{sys.executable} -m pip install resvg-py, or write .svg",
        ) from None
    if not _has_fonts():
        raise UsageError(
            "there is no font to write with",
            why="none of the families that the pictures name is installed",
            next="install DejaVu (fonts-dejavu-core), Liberation or Noto, or write .svg",
        )
    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=_SCALE))
    except ValueError as error:
        raise PolydlError("the picture cannot be drawn as PNG", why=str(error), next="write .svg") from error


@cache
def _has_fonts() -> bool:
    """Whether text leaves a trace, in both of the fonts that the pictures use."""
    import resvg_py

    from polydl.scheduler.pictures.svg import MONO, SANS

    return all(
        resvg_py.svg_to_bytes(svg_string=_LETTER % (family, "x"))
        != resvg_py.svg_to_bytes(svg_string=_LETTER % (family, ""))
        for family in (MONO, SANS)
    )
