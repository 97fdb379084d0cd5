"""A transformation that runs some instances of statements before others."""

from __future__ import annotations

from dataclasses import dataclass

from polydl.errors import NotApplicable
from polydl.poly.tree import Band, Filter, Selection, Sequence, members
from polydl.scheduler.schedule import Rewritten, Schedule, Transform
from polydl.scheduler.structure import band_of, rename_members, replace_at, restrict, unique_name

__all__ = ["RunFirst"]


@dataclass(frozen=True, slots=True, repr=False)
class RunFirst(Transform):
    """Run some instances before all others, within one iteration of the loops outside `loop`.

    rewrite:  band(…, i, rest) -> band(…, sequence(chosen: band(i, rest), others: band(i.rest, rest.rest)))
    `conditions` is isl text over the iterators of each of `statements`, "" for all of its instances; of statements
    that are not named none are chosen.
    legal if: no dependence within one iteration of the loops outside leads from another instance to a chosen one
    """

    loop: str
    statements: tuple[str, ...]
    conditions: tuple[str, ...]

    def rewrite(self, schedule: Schedule) -> Rewritten:
        tree = schedule.tree
        path, band, k = band_of(tree, self.loop)
        inside = [s for s, _ in band.members[k].exprs]
        if len(self.statements) != len(self.conditions) or not set(self.statements) <= set(inside):
            raise NotApplicable(f"give a condition for each statement, all inside loop {self.loop}")
        chosen = dict(zip(self.statements, self.conditions, strict=True))
        others = [s for s in inside if chosen.get(s, "no") != ""]
        below = Band(band.members[k:], band.child)
        first, second = restrict(below, chosen), restrict(below, others)
        if not chosen or not others or first is None or second is None:
            raise NotApplicable("the instances to run first are none or all")
        taken: list[str] = []

        # Names of what a loop of that name was split into count as taken too: the new one may be split as well.
        names = {m.name for m in members(tree)}
        split = {n[:k] for n in names for k in range(len(n)) if n[k] == "."}

        def fresh(name: str) -> str:
            taken.append(unique_name(tree, f"{name}.rest", (*taken, *split)))
            return taken[-1]

        new = Sequence(
            (
                Filter(tuple(Selection(s, chosen[s]) for s in inside if s in chosen), first),
                Filter(
                    tuple(Selection(s, f"not ({chosen[s]})" if s in chosen else "") for s in others),
                    rename_members(second, fresh),
                ),
            )
        )
        return Rewritten(replace_at(tree, path, Band(band.members[:k], new) if k else new))
