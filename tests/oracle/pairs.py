"""Pairs of a program and a schedule, each judged twice: by the package, and by running all instances by hand.

A pair is a random program, some transformations that were legal, and one more. The judge must accept that one exactly
if enumeration finds every dependent pair of instances in order (and every read at its source, where storage changes);
what it accepts must compute the same values. Every pair is reproducible from its seed and number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from random import Random
from typing import Final

from polydl.dsl import Function
from polydl.errors import (
    IllegalSchedule,
    InvalidProgram,
    NotApplicable,
    OutOfBounds,
    PolyhedralBlowup,
    UsageError,
)
from polydl.poly.tree import Tree, members
from polydl.scheduler import TRANSFORMS, Schedule, Transform
from polydl.scheduler.structure import normalise
from polydl.vocabulary import Binding
from tests.oracle.candidates import ALWAYS_LEGAL, candidate
from tests.oracle.enumeration import BrokenContract, Terms, outcome, same_sources, tree_is_legal
from tests.oracle.functions import KINDS, Program, kinds, pipeline, products, random_program, sums

__all__ = ["Misjudged", "Pair", "Tally", "names", "pair", "prepared"]

_ATTEMPTS: Final = 200
_CANDIDATES: Final = 4  # on one schedule, which takes longer to make than a transformation of it to judge
_SOUGHT: Final = 0.6  # of the pairs: an illegal one is looked for, for as many tries
_TRIES: Final = 8
# Transformations that can break something are tried more often: most pairs should be illegal.
_OFTEN: Final = (
    *("AffineOrder",) * 6, *("Parallel",) * 4, *("Vectorize",) * 4, *("Reverse",) * 6, *("Shift",) * 5, *("Fold",) * 4,
    *("Local",) * 4, *("Contract",) * 3, *("Expand",) * 2, *("Fuse",) * 3, *("Unimodular",) * 5, *("Distribute",) * 2,
    *("UnrollAndJam",) * 3, *("CopyInOut",) * 2, "Reorder", "Reorder", "Tile", "Tile", "ComputeAt", "Pack",
    "SeparateTiles",
)  # fmt: skip
_FIRST: Final = {  # what makes a transformation fit more often
    "Separate": ("Shift", "Split", "Split"),
    "SeparateTiles": ("Tile", "Split"),
    "SetMemory": ("Fuse", "Local"),
    "Sequential": ("Parallel", "Vectorize"),
    "Contract": ("Expand", "Fuse", "FuseShifted"),
    "Fold": ("Fuse", "FuseShifted"),
    "Local": ("Fuse", "Fuse"),
    "Collapse": ("Split",),
    "Distribute": ("Fuse", "Fuse"),
    "Shift": ("Fuse",),
    "PartialSums": ("Split",),
    "SplitSum": ("Reverse", "Reverse", "Reorder"),
    "Accumulate": (),
    "Privatize": (),
}
_MADE_FOR: Final[
    Mapping[str, Callable[[Random], Program]]
] = {  # what few programs have that are made of anything
    "PartialSums": sums,
    "SplitSum": sums,
    "ComputeAt": pipeline,
    "Inline": pipeline,
    "Privatize": pipeline,
    "Accumulate": pipeline,
    "Contract": pipeline,
    "Pack": pipeline,
}
_ANY: Final = (
    "Split",
    "Tile",
    "Fuse",
    "FuseShifted",
    "Reorder",
    "Skew",
    "Distribute",
    "Shift",
    "Expand",
    "IndexSetSplit",
)


class Misjudged(AssertionError):
    """The judge and enumeration disagree about a pair, or an accepted schedule computes something else."""


@dataclass(frozen=True)
class Pair:
    program: Program
    schedule: Schedule
    step: Transform
    legal: bool


@dataclass
class Ground:
    """A program after some legal transformations, and what all instances run by hand have said of it already."""

    program: Program
    schedule: Schedule
    wanted: dict[int, tuple[Terms, object]] = field(default_factory=dict)  # by the number of the sizes

    def outcome(self, k: int) -> tuple[Terms, object]:
        """What the program as written computes at its k-th sizes, and the terms that it is spelled in."""
        if k not in self.wanted:
            terms = Terms(self.program.reassociate)
            self.wanted[k] = terms, outcome(self.program.function, None, self.program.sizes[k], terms)
        return self.wanted[k]


@dataclass
class Tally:
    """How often each transformation was legal, illegal, malformed (no order at all) or did not fit."""

    legal: Counter[str] = field(default_factory=Counter)
    illegal: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    unfit: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)  # of programs, by what is in them
    passed: int = 0  # legal ones judged on the way, where an illegal one was looked for
    exhausted: int = 0  # isl's budget

    @property
    def pairs(self) -> int:
        return self.legal.total() + self.illegal.total()

    def __str__(self) -> str:
        head = f"{'transformation':<16}{'legal':>8}{'illegal':>9}{'malformed':>11}{'not applicable':>16}"
        rows = [
            f"{n:<16}{self.legal[n]:>8}{self.illegal[n]:>9}{self.malformed[n]:>11}{self.unfit[n]:>16}"
            for n in sorted(TRANSFORMS)
        ]
        share = 100 * self.illegal.total() / max(self.pairs, 1)
        total = f"{self.pairs} pairs, {self.illegal.total()} illegal ({share:.1f} %)"
        total += f", {self.exhausted} beyond isl's budget"
        passed = f"{self.passed} legal pairs more were judged on the way to illegal ones"
        kinds = ", ".join(f"{kind} {self.kinds[kind]}" for kind in KINDS)
        return "\n".join([head, *rows, total, passed, f"pairs by what is in their program: {kinds}"])

    def add(self, other: Tally) -> None:
        """Count what another run has counted too."""
        for f in fields(self):
            mine, more = getattr(self, f.name), getattr(other, f.name)
            setattr(self, f.name, mine + more)


def names() -> tuple[str, ...]:
    """The transformations by number, over and over."""
    return (*sorted(TRANSFORMS), *_OFTEN)


def pair(seed: int, number: int, tally: Tally) -> Pair | None:
    """The pair of a number; None where no transformation fits in many attempts. Raises `Misjudged`.

    The number says which transformation; where that does not fit, those that come after it are tried.
    """
    r = Random(f"{seed}:{number}")
    first = number % len(names())
    for name in dict.fromkeys((*names()[first:], *names()[:first])):
        found = _pair_of(name, r, tally, f"seed {seed}, pair {number}")
        if found is not None:
            return found
    return None


def _pair_of(name: str, r: Random, tally: Tally, where: str) -> Pair | None:
    """A pair of some program and a transformation of class `name`."""
    tries = _TRIES if name not in ALWAYS_LEGAL and r.random() < _SOUGHT else 1
    for _ in range(_ATTEMPTS):
        try:
            program, schedule = prepared(r, name)
        except (OutOfBounds, NotApplicable, PolyhedralBlowup):
            continue
        ground, tried = Ground(program, schedule), set[Transform]()
        for _ in range(_CANDIDATES):
            try:
                step = candidate(r, schedule, name)
            except (OutOfBounds, NotApplicable, PolyhedralBlowup):
                break
            if step is None or step in tried:
                tally.unfit[name] += step is None
                break
            tried.add(step)
            found = _judged(ground, step, tally, where)
            if found is None:
                continue
            tries -= 1
            if found.legal and tries > 0:
                tally.passed += 1
                continue
            (tally.legal if found.legal else tally.illegal)[name] += 1
            tally.kinds.update(kinds(program.function))
            return found
    return None


def prepared(r: Random, name: str) -> tuple[Program, Schedule]:
    """A program after some legal transformations, one that a transformation of class `name` may fit."""
    if name == "Tensorise":
        program, steps = products(r)
        return program, program.schedule().apply(*steps)
    program = _MADE_FOR.get(name, random_program)(r) if r.random() < 0.9 else random_program(r)
    return program, _prefix(r, program, name)


def _prefix(r: Random, program: Program, name: str) -> Schedule:
    """The program after some legal transformations."""
    schedule = program.schedule()
    first = _FIRST.get(name)
    wanted = list(first or ()) if first is not None else []
    if first != ():
        wanted += r.choices(_ANY, k=r.randint(0, 2))
    for n in wanted:
        for _ in range(2):
            step = candidate(r, schedule, n)
            if step is None:
                break
            try:
                schedule = schedule.apply(step, explain=False)
                break
            except (NotApplicable, IllegalSchedule, UsageError, InvalidProgram, PolyhedralBlowup):
                continue
    return schedule


def _judged(ground: Ground, step: Transform, tally: Tally, where: str) -> Pair | None:
    program, schedule = ground.program, ground.schedule
    name = type(step).__name__
    after: Schedule | None = None
    malformed = False
    try:
        after = schedule.apply(step, explain=False)
    except IllegalSchedule:
        pass
    except (NotApplicable, UsageError):
        tally.unfit[name] += 1
        return None
    except PolyhedralBlowup:
        tally.exhausted += 1
        return None
    except InvalidProgram:
        malformed = True
    rewritten = step.rewrite(schedule)
    tree, function = normalise(rewritten.tree), rewritten.function or schedule.function
    try:
        expected = all(_is_legal(schedule, function, tree, sizes) for sizes in program.sizes)
    except BrokenContract:
        if not malformed:
            raise _misjudged(
                program, schedule, step, where, "the tree is malformed, and was judged"
            ) from None
        tally.malformed[name] += 1
        return None
    except KeyError as error:
        raise _misjudged(program, schedule, step, where, f"a statement made by it uses {error}") from None
    if malformed or (after is not None) != expected:
        verdict = "malformed" if malformed else "legal" if after is not None else "illegal"
        truth = "legal" if expected else "illegal"
        raise _misjudged(program, schedule, step, where, f"judged {verdict}, and it is {truth}")
    if after is not None:
        _require_values(ground, step, after, where)
    return Pair(program, schedule, step, expected)


def _is_legal(before: Schedule, after: Function, tree: Tree, sizes: dict[str, int]) -> bool:
    """Whether a rewritten schedule is right by enumeration."""
    if after != before.function and _signature(after) == _signature(before.function):
        other = after.order if after.order != before.function.order else None
        if other is not None and not tree_is_legal(before.function, other, sizes, before.reassociate):
            return False
        if not same_sources(before.function, after, sizes):
            return False
    elif after != before.function:
        terms = Terms(before.reassociate)
        old, new = (outcome(f, None, sizes, terms, garbage=True) for f in (before.function, after))
        if old != new:
            return False
    return tree_is_legal(after, tree, sizes, before.reassociate)


def _signature(f: Function) -> object:
    return [(s.name, s.axes, s.conditions) for s in f.statements()]


def _require_values(ground: Ground, step: Transform, after: Schedule, where: str) -> None:
    concurrent = any(m.binding in (Binding.PARALLEL, Binding.VECTOR) for m in members(after.tree))
    for k, sizes in enumerate(ground.program.sizes):
        terms, wanted = ground.outcome(k)
        for reverse in (False, True) if concurrent else (False,):
            if outcome(after.function, after.tree, sizes, terms, reverse=reverse) != wanted:
                what = f"accepted, and computes other values at {sizes}"
                raise _misjudged(ground.program, ground.schedule, step, where, what)


def _misjudged(program: Program, schedule: Schedule, step: Transform, where: str, what: str) -> Misjudged:
    from polydl.poly.treetext import format_tree

    lines = [f"{where}: {step}: {what}", f"reassociate={program.reassociate}", "applied before:"]
    lines += [f"  {t!r}" for t in schedule.trace]
    lines += ["statements:", *(f"  {s}" for s in map(_spelled, schedule.function.statements()))]
    lines += ["order:", format_tree(schedule.function.order) if schedule.function.order else "  as written"]
    return Misjudged("\n".join([*lines, "tree:", format_tree(schedule.tree)]))


def _spelled(s: object) -> str:
    from polydl.dsl.function import StatementDef
    from polydl.ir.printer import print_expr

    assert isinstance(s, StatementDef)
    axes = ", ".join(f"{print_expr(a.lower)} <= {a.name} < {print_expr(a.upper)}" for a in s.axes)
    index = ", ".join(map(print_expr, s.index))
    return f"{s.name}[{axes}]: {s.target}[{index}] {s.op or ''}= {s.value}"
