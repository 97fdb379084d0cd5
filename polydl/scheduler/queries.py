"""What may be done with a loop, and if not, why not: questions to the judge, answered with an example.

A question is a transformation: `schedule.ask(Parallel("i"))`. The answer is true where the judge accepts it, and holds
the schedule that it makes; otherwise it holds the two instances, the cell and the dependence that stand against it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polydl import poly
from polydl.errors import UsageError
from polydl.poly.model import Dependence, Scop
from polydl.poly.tree import Band, Sequence, Tree, members, walk
from polydl.scheduler.structure import band_of

if TYPE_CHECKING:
    from polydl.scheduler.schedule import Schedule, Transform

__all__ = ["Answer", "Queries"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether `request` is legal for a schedule; true or false as a condition, and a sentence as text.

    Where it is: `schedule` is the result. Where not: `why` in words and, unless the tree has not the right shape,
    `dependence`, the instances `source` and `sink`, and the `cell` that both touch (at these `sizes`); `repair` are
    transformations that would do instead, looked for when asked.
    """

    request: Transform
    schedule: Schedule | None
    why: str = ""
    violation: Any = None
    before: Schedule | None = field(default=None, repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.schedule is not None

    def __str__(self) -> str:
        if self:
            return f"yes: {self.request} is legal"
        return f"no: {self.request} {'is illegal' if self.violation is not None else 'does not apply'}: {self.why}"

    @property
    def dependence(self) -> Dependence | None:
        found = getattr(self.violation, "dependence", None)
        return found if isinstance(found, Dependence) else None

    @property
    def source(self) -> tuple[int, ...]:
        """The iterators of the instance that must run first."""
        return tuple(getattr(self.violation, "source", ()))

    @property
    def sink(self) -> tuple[int, ...]:
        """The iterators of the instance that must run second."""
        return tuple(getattr(self.violation, "sink", ()))

    @property
    def cell(self) -> tuple[int | None, ...]:
        """The element of the dependence's tensor that both touch."""
        return tuple(getattr(self.violation, "cell", ()))

    @property
    def sizes(self) -> dict[str, int]:
        """The values of the symbolic sizes in the example."""
        return dict(getattr(self.violation, "parameters", ()))

    @property
    def repair(self) -> tuple[Transform, ...]:
        """What to apply instead, proven legal; () where nothing that was tried is, or nothing is wrong."""
        from polydl.scheduler.repairs import repair

        if self.before is None or self.violation is None:
            return ()
        return repair(self.before, self.request, self.violation)


class Queries(ABC):
    """What can be asked of a schedule, all by `ask` in the end. UsageError where it has no loop of that name."""

    __slots__ = ()

    @abstractmethod
    def ask(self, request: Transform) -> Answer:
        """Whether the request is legal here."""

    @property
    @abstractmethod
    def tree(self) -> Tree: ...

    @property
    @abstractmethod
    def scop(self) -> Scop: ...

    @property
    @abstractmethod
    def dependences(self) -> tuple[Dependence, ...]: ...

    def can_parallel(self, loop: str) -> Answer:
        """Whether the iterations may run on different threads: the loop carries nothing."""
        from polydl.scheduler.bindings import Parallel

        return self.ask(Parallel(loop))

    def can_vectorize(self, loop: str) -> Answer:
        """Whether the iterations may be lanes: the loop carries nothing but reductions, and its extent is constant."""
        from polydl.scheduler.bindings import Vectorize

        return self.ask(Vectorize(loop))

    def can_unroll(self, loop: str) -> Answer:
        """Whether the iterations may be spelled out: the extent is constant."""
        from polydl.scheduler.bindings import Unroll

        return self.ask(Unroll(loop))

    def can_reverse(self, loop: str) -> Answer:
        """Whether the iterations may run from the last to the first."""
        from polydl.scheduler.motion import Reverse

        return self.ask(Reverse(loop))

    def can_reorder(self, *loops: str) -> Answer:
        """Whether the loops of a band may run in this order."""
        from polydl.scheduler.loops import Reorder

        return self.ask(Reorder(loops))

    def can_permute(self, *loops: str) -> Answer:
        """Whether the loops of a band may run in any order, and so be tiled: no distance along any is negative.

        Each of them is tried as the first. A dependence that any order breaks goes backwards along the first loop that
        it is not equal in, and so already where that one leads.
        """
        from polydl.scheduler.loops import Reorder

        answer = self.ask(Reorder(loops))
        for k, loop in enumerate(loops):
            if answer:
                answer = self.ask(Reorder((loop, *loops[:k], *loops[k + 1 :])))
        return answer

    def can_tile(self, loops: tuple[str, ...], sizes: tuple[int, ...]) -> Answer:
        """Whether these loops may be tiled with these sizes."""
        from polydl.scheduler.loops import Tile

        return self.ask(Tile(loops, sizes))

    def can_fuse(self, *loops: str) -> Answer:
        """Whether neighbouring loops may be one."""
        from polydl.scheduler.loops import Fuse

        return self.ask(Fuse(loops))

    def can_distribute(self, loop: str) -> Answer:
        """Whether each statement group in the loop may have a loop of its own."""
        from polydl.scheduler.loops import Distribute

        return self.ask(Distribute(loop))

    def permutable_with(self, loop: str) -> tuple[str, ...]:
        """The loops of its band that may be exchanged with it, directly or with those between them."""
        names = [m.name for m in band_of(self.tree, loop)[1].members]
        at = names.index(loop)
        return tuple(
            other
            for k, other in enumerate(names)
            if k != at and self.can_permute(*names[min(k, at) : max(k, at) + 1])
        )

    def fusable_with(self, loop: str) -> tuple[str, ...]:
        """The outermost loops of the neighbouring branches of its sequence that it may be one with."""
        band_of(self.tree, loop)
        found = []
        for node in walk(self.tree):
            if isinstance(node, Sequence):
                heads = [f.child.members[0].name if isinstance(f.child, Band) else "" for f in node.children]
                if loop in heads:
                    k = heads.index(loop)
                    pairs = [(heads[k - 1], loop)] if k else []
                    pairs += [(loop, heads[k + 1])] if k + 1 < len(heads) else []
                    found += [a if b == loop else b for a, b in pairs if a and b and self.can_fuse(a, b)]
        return tuple(found)

    def parallel_loops(self) -> tuple[str, ...]:
        """The loops that carry nothing: each alone may be parallel."""
        return poly.parallel_members(self.scop, self.tree, self.dependences)

    def carried(self, loop: str) -> tuple[Dependence, ...]:
        """The dependences between iterations of this loop, within one iteration of the loops around it."""
        if loop not in {m.name for m in members(self.tree)}:
            raise UsageError(f"there is no loop '{loop}'")
        return poly.carried_by(self.scop, self.tree, self.dependences, loop)
