"""The instances of a statement that reach a loop, for fixed iterations of the loops outside, and conditions on them.

The coordinates of the loops outside are parameters here (`outer0_`, …), each tied to its expression: isl then sees
`64*outer0_ <= i < 64*outer0_ + 64` where the expression is `floor(i/64)`, and what it computes from such sets has plain
affine constraints, which go back into conditions over the iterators.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import islpy

from polydl.errors import NotApplicable
from polydl.poly.affine import Affine
from polydl.poly.isl import map_of, set_of
from polydl.poly.model import Scop
from polydl.poly.paths import Path
from polydl.poly.sets import schedule_text
from polydl.poly.tree import Member

__all__ = ["Place", "coordinates"]

_TIMES = re.compile(r"\b(\d+)([A-Za-z_])")


def coordinates(path: Path) -> list[tuple[Member, Affine]]:
    """The loops on a path, outermost first, and what the statement's coordinate in each is."""
    return [(c, e) for c, e in zip(path.coordinates, path.exprs, strict=True) if isinstance(c, Member)]


class Place:
    """The instances of a statement on a path in one iteration of its `depth` outermost loops."""

    def __init__(self, scop: Scop, path: Path, depth: int) -> None:
        self.statement = scop.statement(path.statement)
        self.outer: dict[str, Affine] = {
            f"outer{k}_": e for k, (_, e) in enumerate(coordinates(path)[:depth])
        }
        text = schedule_text(
            scop.parameters,
            path.statement,
            self.statement.iterators,
            (),
            tuple(self.outer.items()),
            path.conditions,
        )
        domain = set_of(self.statement.domain)
        if scop.context:
            domain = domain.intersect_params(set_of(scop.context).params())
        self.instances: islpy.Set = map_of(text).domain().intersect(domain)  # [outer] -> { S[iterators] }

    def condition(self, chosen: islpy.Set) -> str:
        """isl text, over the iterators, of the condition that an instance here is in `chosen`; "" where all are."""
        shown = chosen.gist(self.instances).coalesce()
        if shown.plain_is_universe():
            return ""
        return self.text(shown, {i: i for i in self.statement.iterators})

    def text(self, shown: islpy.Set, spelled: Mapping[str, str]) -> str:
        """The constraints of a set of tuples, with each entry (in order) and the outer coordinates spelled out.

        NotApplicable where they are no affine inequalities.
        """
        text = str(shown)
        body = text[text.index("{") + 1 : text.rindex("}")]
        parts = []
        for piece in body.split(";"):
            head, _, constraints = piece.partition(":")
            listed = head[head.index("[") + 1 : head.rindex("]")] if "[" in head else ""
            if listed.replace(" ", "") != ",".join(spelled) or re.search(r"exists|mod|floor", constraints):
                raise NotApplicable(
                    f"a condition on {self.statement.name} is no combination of affine inequalities"
                )
            parts.append(f"({constraints.strip()})" if constraints.strip() else "1 = 1")
        condition = _TIMES.sub(r"\1*\2", " or ".join(parts))
        for name, value in [*spelled.items(), *self.outer.items()]:
            if name != str(value):
                condition = re.sub(rf"\b{re.escape(name)}(?!\w)", f"({value})", condition)
        return condition
