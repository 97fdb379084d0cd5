"""Pictures of schedules as SVG or PNG: the tree, the dependences between statements, a slice of an iteration domain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from polydl.errors import UsageError
from polydl.scheduler.pictures.domains import domain_picture
from polydl.scheduler.pictures.graphs import dependence_picture
from polydl.scheduler.pictures.png import png_of
from polydl.scheduler.pictures.trees import tree_picture
from polydl.scheduler.schedule import Schedule

__all__ = ["PICTURES", "picture", "png_of", "save_picture"]

PICTURES = ("tree", "dependences", "domain")


def picture(
    schedule: Schedule,
    what: str = "tree",
    *,
    statement: str | None = None,
    axes: tuple[str, str] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> str:
    """A picture of a schedule as the text of an SVG file.

    `"tree"`: the schedule tree. `"dependences"`: the statements and what orders them.
    `"domain"`: the instances of `statement` in the plane of two of its iterators, `axes` = (down, right), with the
    tiles, the execution order and the dependences of the statement on itself. `sizes` gives every parameter a number,
    and may fix iterators that are not drawn (else each has its smallest value). By default the only statement and
    its first two iterators.

    UsageError for an unknown picture, statement or iterator, a parameter without a number, an empty or too large slice.
    """
    match what:
        case "domain":
            return domain_picture(schedule, statement, axes, dict(sizes or {}))
        case "tree" | "dependences" if statement or axes or sizes:
            raise UsageError(
                f"the picture '{what}' shows all statements for all sizes",
                why="statement, axes and sizes choose a slice of one iteration domain",
                next='picture(schedule, "domain", statement=…, axes=…, sizes=…)',
            )
        case "tree":
            return tree_picture(schedule)
        case "dependences":
            return dependence_picture(schedule)
        case _:
            raise UsageError(f"there is no picture '{what}'", next=f"one of {', '.join(PICTURES)}")


def save_picture(
    schedule: Schedule,
    path: str | Path,
    what: str = "tree",
    *,
    statement: str | None = None,
    axes: tuple[str, str] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> None:
    """Write `picture(schedule, what, …)` to a file: SVG or PNG, as its suffix says.

    PNG needs the extra `pictures`. UsageError as `picture` and `png_of`, and for another suffix.
    """
    file = Path(path)
    if file.suffix not in (".svg", ".png"):
        raise UsageError(f"'{file}' is neither .svg nor .png", next=f"write {file.with_suffix('.svg')}")
    svg = picture(schedule, what, statement=statement, axes=axes, sizes=sizes)
    file.write_bytes(png_of(svg) if file.suffix == ".png" else svg.encode())
