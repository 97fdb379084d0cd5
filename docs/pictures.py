"""Draws docs/pipeline.svg: `python docs/pictures.py` (needs matplotlib, of the extra `dev`)."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

HERE = Path(__file__).parent
INK, PALE, FRONT, MIDDLE, BACK = "#1f2a37", "#f5f7fa", "#dbeafe", "#dcfce7", "#fde8d7"

# text, what it is, x, y, width, colour
BOXES = {
    "onnx": ("model.onnx", "a network", 0.2, 4.6, 2.3, PALE),
    "python": ("Python DSL", "a kernel", 0.2, 1.4, 2.3, PALE),
    "graph": ("graph", "import, fold, fuse,\none blocked layout", 3.3, 4.6, 2.6, FRONT),
    "ops": ("ops", "ONNX operators\nwritten in the DSL", 3.3, 3.0, 2.6, FRONT),
    "dsl": ("dsl", "computations over\niteration domains", 3.3, 1.4, 2.6, FRONT),
    "poly": ("poly", "dependences, schedule tree,\nthe one legality judge (isl)", 6.9, 1.4, 2.9, MIDDLE),
    "scheduler": ("scheduler", "transformations and recipes;\neach proved or refused", 6.9, 3.4, 2.9, MIDDLE),
    "codegen": ("codegen", "loop IR, passes,\nLLVM or C", 10.8, 1.4, 2.6, BACK),
    "runtime": ("runtime", "package on disk, threads,\nnumpy in, numpy out", 10.8, 3.4, 2.6, BACK),
}
ARROWS = [
    ("onnx", "graph", ""),
    ("graph", "ops", ""),
    ("ops", "dsl", ""),
    ("python", "dsl", ""),
    ("dsl", "poly", "Function"),
    ("poly", "codegen", "AST"),
    ("codegen", "runtime", "Artifact"),
]
HEIGHT = 1.15


def _box(axes: Axes, name: str) -> None:
    title, text, x, y, width, colour = BOXES[name]
    patch = FancyBboxPatch(
        (x, y), width, HEIGHT, boxstyle="round,pad=0.04,rounding_size=0.12", fc=colour, ec=INK, lw=1.1
    )
    axes.add_patch(patch)
    axes.text(
        x + width / 2, y + HEIGHT - 0.27, title, ha="center", va="center", weight="bold", size=11, color=INK
    )
    axes.text(x + width / 2, y + 0.38, text, ha="center", va="center", size=8, color=INK)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], label: str = "", style: str = "-|>"
) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=13, color=INK, lw=1.2))
    if not label:
        return
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if start[0] == end[0]:
        axes.text(x + 0.12, y, label, ha="left", va="center", size=8, color=INK)
    else:
        axes.text(x, y + 0.16, label, ha="center", size=8, color=INK)


def _edges(first: str, second: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an arrow leaves one box and meets the other: sideways, or up and down within a column."""
    _, _, x, y, width, _ = BOXES[first]
    _, _, u, v, span, _ = BOXES[second]
    if abs(x - u) < 0.01:
        down = v < y
        return (x + width / 2, y - 0.05 if down else y + HEIGHT + 0.05), (
            u + span / 2,
            v + HEIGHT + 0.05 if down else v - 0.05,
        )
    return (x + width + 0.05, y + HEIGHT / 2), (u - 0.05, v + HEIGHT / 2)


def pipeline(path: Path) -> None:
    """The two roads: from a model and from the DSL to machine code."""
    figure, axes = plt.subplots(figsize=(11, 4.6))
    axes.set_xlim(0, 13.7)
    axes.set_ylim(0.9, 6.0)
    axes.axis("off")
    for name in BOXES:
        _box(axes, name)
    for first, second, label in ARROWS:
        _arrow(axes, *_edges(first, second), label)
    middle = BOXES["poly"][2] + BOXES["poly"][4] / 2
    _arrow(axes, (middle, 1.4 + HEIGHT + 0.05), (middle, 3.35), style="<|-|>")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "polydl"  # the same bytes every time
    matplotlib.rcParams["svg.fonttype"] = "none"
    pipeline(HERE / "pipeline.svg")
