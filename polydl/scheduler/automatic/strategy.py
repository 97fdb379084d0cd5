"""What a strategy is: it takes one part of a program in some order, and proposes legal schedules of that part.

A part is a top-level nest. A strategy changes nothing outside of it, so that parts are decided one after the other,
each by the predicted time of its own statements. A strategy knows shapes (an update that a register tile suits, a band
that time can be skewed in), never programs, and proposes nothing where its shape is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from polydl.poly.affine_schedule import BandFacts
from polydl.poly.tree import Band, Sequence, Tree, statements_below, walk
from polydl.scheduler.schedule import Schedule
from polydl.targets import Target

__all__ = ["Part", "Strategy", "innermost_bands", "parts"]


@dataclass(frozen=True, slots=True)
class Part:
    """The statements of a top-level nest, and what isl says of its bands (nothing of those in the order written)."""

    statements: tuple[str, ...]
    bands: tuple[BandFacts, ...] = ()

    def subtree(self, tree: Tree) -> Tree:
        """The part in a tree, whatever strategies have done to it."""
        if not isinstance(tree, Sequence):
            return tree
        mine = tuple(f for f in tree.children if set(self.statements) & set(statements_below(f)))
        return mine[0].child if len(mine) == 1 else Sequence(mine)


Strategy = Callable[[Schedule, Part, Target], Iterator[Schedule]]


def parts(tree: Tree, bands: tuple[BandFacts, ...] = ()) -> tuple[Part, ...]:
    """The top-level nests of a tree in order."""
    nests: tuple[Tree, ...] = tree.children if isinstance(tree, Sequence) else (tree,)
    found = []
    for nest in nests:
        loops = {m.name for node in walk(nest) if isinstance(node, Band) for m in node.members}
        found.append(
            Part(statements_below(nest), tuple(b for b in bands if b.loops and set(b.loops) <= loops))
        )
    return tuple(found)


def innermost_bands(tree: Tree) -> Iterator[Band]:
    """The bands without another one below."""
    for node in walk(tree):
        if isinstance(node, Band) and not any(isinstance(x, Band) for x in walk(node.child)):
            yield node
