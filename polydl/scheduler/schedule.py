"""The `Schedule` value: a function, its tree, and the list of transformations that made it.

Every transformation goes through `Schedule.apply`: it rewrites structure only; the judge in `polydl.poly` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from polydl import poly
from polydl.dsl.function import Function, StatementDef
from polydl.dsl.polyhedral import scop_of, to_affine
from polydl.dsl.tensor import Layout
from polydl.errors import IllegalSchedule, NotApplicable, OutOfBounds, UsageError
from polydl.poly.affine import Affine, dim
from polydl.poly.equivalence import OtherValue
from polydl.poly.legality import Violation
from polydl.poly.model import Dependence, Scop
from polydl.poly.tree import Band, Member, Tree, members, statements_below
from polydl.poly.values import ValueViolation
from polydl.scheduler.bounds import require_inside
from polydl.scheduler.parameters import require_parameters
from polydl.scheduler.queries import Answer, Queries
from polydl.scheduler.redirection import changed_values, keeps_statements
from polydl.scheduler.refusal import illegal, misread, not_applicable, refused
from polydl.scheduler.same_values import changed_result
from polydl.scheduler.structure import axes_by_depth, band_of, interval, normalise, require_nesting
from polydl.scheduler.tuples import require_kept_tuples
from polydl.targets import Target
from polydl.vocabulary import Binding

__all__ = ["Rewritten", "Schedule", "Transform"]

Wrong: TypeAlias = Violation | ValueViolation | OtherValue


class Rewritten(NamedTuple):
    """What a transformation makes: a tree and, where the statements themselves change, an equivalent function."""

    tree: Tree
    function: Function | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Transform:
    """One schedule transformation: a small value that is trace record, search candidate and pasteable text at once.

    Subclasses say in their docstring what `rewrite` does and when the result is legal; the judge decides, not they.
    Fields are names, whole numbers, tuples of them, layouts, bindings and memories: what text and JSON can hold.
    """

    def rewrite(self, schedule: Schedule) -> Rewritten:
        """The new structure; NotApplicable where the tree has not the right shape."""
        raise NotImplementedError

    @classmethod
    def candidates(cls, schedule: Schedule, target: Target) -> Iterator[Transform]:
        """Instances worth trying in a search; none unless a transformation says so."""
        return iter(())

    def names(self) -> Iterator[str]:
        """The names in its fields, in order: of loops, tensors and computations."""
        for f in fields(self):
            value = getattr(self, f.name)
            yield from (v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, str))

    def __repr__(self) -> str:
        """The call that makes this value; what has its default value is left out."""
        parts: list[str] = []
        skipped = False
        for f in fields(self):
            value = getattr(self, f.name)
            if value == f.default:
                skipped = True
            else:
                parts.append(f"{f.name}={_source(value)}" if skipped else _source(value))
        return f"{type(self).__name__}({', '.join(parts)})"

    def to_json(self) -> dict[str, Any]:
        """The transformation as plain data; `from_json` of `polydl.scheduler` reads it back."""
        return {
            "transform": type(self).__name__,
            **{f.name: _plain(getattr(self, f.name)) for f in fields(self)},
        }


def _judge_function(before: Schedule, after: Function) -> Wrong | None:
    """The judge's word on a change of the function, but for the order of the new schedule.

    Where the statements stay, every read must see the write that it saw, in an original order that is legal itself.
    Where they change, the results must be the same values of what is given. NotApplicable where an original order is
    given and the transformation has not said where in it the new statements are.
    """
    require_kept_tuples(before.function, after)
    if keeps_statements(before.function, after):
        wrong: Wrong | None = None
        if after.order is not None and after.order != before.function.order:
            wrong = poly.check(before.scop, after.order, before.dependences, before.reassociate)
        return wrong or changed_values(before.function, after)
    if before.function.order is not None and not _says_when(before.function, after):
        raise NotApplicable(
            f"{after.name} has an explicit original order, which a change of its statements would lose",
            next="write the change into the program, or transform its loops",
        )
    return changed_result(before.function, after, before.reassociate)


def _says_when(before: Function, after: Function) -> bool:
    """Whether the original order has been changed together with the statements."""
    return (
        after.order is not None
        and after.order != before.order
        and set(statements_below(after.order)) == {s.name for s in after.statements()}
    )


def _source(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def _plain(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case Layout():
            return str(value)
        case tuple():
            return [_plain(v) for v in value]
        case _:
            return value


@dataclass(frozen=True, slots=True, repr=False)
class Schedule(Queries):
    """A function with an order and a place for everything. Immutable: `apply` gives a new one.

    `reassociate`: whether the points of a reduction may be combined in another order (default yes; floating-point
    results may then differ by rounding).
    """

    function: Function
    tree: Tree
    trace: tuple[Transform, ...] = ()
    reassociate: bool = True
    scop: Scop = field(repr=False, compare=False, kw_only=True)
    dependences: tuple[Dependence, ...] = field(repr=False, compare=False, kw_only=True)

    @staticmethod
    def of(function: Function, *, reassociate: bool = True) -> Schedule:
        """The function in its original order. OutOfBounds where an affine access can leave its tensor."""
        scop = scop_of(function)
        require_inside(function, scop)
        return Schedule(
            function,
            normalise(poly.initial_tree(scop) if function.order is None else function.order),
            (),
            reassociate,
            scop=scop,
            dependences=poly.dependences(scop, function.order),
        )

    @staticmethod
    def replay(function: Function, trace: Iterable[Transform], *, reassociate: bool = True) -> Schedule:
        """The schedule that `trace` makes of `function`; every step passes the judge again."""
        return Schedule.of(function, reassociate=reassociate).apply(*trace)

    def __repr__(self) -> str:
        """Which function, and how it was made; the tree is what `print` shows."""
        return f"<Schedule of {self.function.name}: {', '.join(map(repr, self.trace)) or 'as written'}>"

    def __str__(self) -> str:
        """The schedule tree."""
        return poly.render(self.tree)

    def apply(self, *transforms: Transform, explain: bool = True) -> Schedule:
        """The schedule with the transformations applied one after the other, each proven legal.

        NotApplicable where the tree has not the right shape; IllegalSchedule, with the judge's explanation and a repair
        if a small one works, where a dependence would be broken; OutOfBounds where a changed access could leave its
        tensor. A search that tries and drops many transformations saves the pictures and the repairs with
        `explain=False`.
        """
        schedule = self
        for t in transforms:
            schedule = schedule._apply_one(t, explain)
        return schedule

    def _apply_one(self, t: Transform, explain: bool) -> Schedule:
        require_parameters(t)
        try:
            tree, function = t.rewrite(self)
            tree = normalise(tree)
            require_nesting(tree)
            changed = function is not None and function != self.function
            wrong = _judge_function(self, function) if changed and function is not None else None
        except NotApplicable as refusal:
            if not explain:
                raise
            raise not_applicable(t, self.tree, t.names(), refusal) from None
        if wrong is not None:
            raise self._refusal(t, self.function, self.tree, wrong, explain)
        scop, dependences = self.scop, self.dependences
        if function is None:
            function = self.function
        elif function != self.function:
            scop = scop_of(function)
            try:
                require_inside(function, scop, self.scop)
            except OutOfBounds as stray:
                raise OutOfBounds(
                    f"{t} is wrong: {stray.what}", where=stray.where, why=stray.why, next=stray.next
                ) from None
            dependences = poly.dependences(scop, function.order)
        violation = poly.check(
            scop, tree, dependences, self.reassociate, self.tree if scop is self.scop else None
        )
        if violation is None:
            return Schedule(
                function, tree, (*self.trace, t), self.reassociate, scop=scop, dependences=dependences
            )
        raise self._refusal(t, function, tree, violation, explain)

    def _refusal(
        self, t: Transform, function: Function, tree: Tree, wrong: Wrong, explain: bool
    ) -> IllegalSchedule:
        """The error for `t`, which would have made `function` run as `tree`."""
        if not explain:
            return refused(t, wrong)
        from polydl.scheduler.repairs import repair  # which applies transformations itself

        steps = repair(self, t, wrong)
        if isinstance(wrong, ValueViolation | OtherValue):
            return misread(t, t.names(), function, tree, wrong, steps)
        return illegal(t, function, tree, wrong, steps)

    def ask(self, request: Transform) -> Answer:
        """Whether the request is legal here. Nothing is drawn and no repair is looked for, so that asking is cheap."""
        try:
            return Answer(request, self.apply(request, explain=False))
        except IllegalSchedule as refusal:
            return Answer(request, None, refusal.why, refusal.violation, self)
        except NotApplicable as refusal:
            why = f"{refusal.what}{', ' + refusal.why if refusal.why else ''}"
            return Answer(request, None, why, None, self)

    def repaired(self, *transforms: Transform) -> Schedule:
        """The transformations applied one after the other, each by its repair where it is illegal as it stands.

        A refusal names the repair (`IllegalSchedule.repair`), the trace holds it. IllegalSchedule where there is none.
        """
        schedule = self
        for t in transforms:
            try:
                schedule = schedule.apply(t)
            except IllegalSchedule as refusal:
                if not refusal.repair:
                    raise
                schedule = schedule.apply(*refusal.repair)
        return schedule

    def explain(self) -> str:
        """The schedule in words: the tree, what each loop carries, and the loop that carries each dependence."""
        from polydl.scheduler.explanation import explain  # which asks questions itself

        return explain(self)

    def certificate(self) -> str:
        """Why the schedule is legal, as text that `polydl.check_certificate` checks without the judge and without isl.

        What the prover finds no witness for is marked open, and then not certified.
        """
        from polydl.scheduler.certificate import certificate  # which reads schedules

        return certificate(self)

    def proof(self) -> str:
        """Why the schedule is legal: every dependence with the loop that carries it, as the judge found."""
        lines: list[str] = []
        loops = [m.name for m in members(self.tree)]
        carried = {n: set(poly.carried_by(self.scop, self.tree, self.dependences, n)) for n in loops}
        for d in self.dependences:
            carriers = [n for n in loops if d in carried[n]]
            order = (
                f"carried by {', '.join(carriers)}"
                if carriers
                else "within one iteration of the common loops"
            )
            if d.reduction:
                order += " (a reduction: any order)" if self.reassociate else " (a reduction, in order)"
            line = f"{d.kind.value} {d.source} -> {d.sink} on {d.tensor}: {order}"
            if line not in lines:  # accesses that differ in a constant often say the same
                lines.append(line)
        parallel = [m.name for m in members(self.tree) if m.binding is Binding.PARALLEL]
        vector = [m.name for m in members(self.tree) if m.binding is Binding.VECTOR]
        lines.append(f"parallel loops carry no dependence: {', '.join(parallel) or 'none are parallel'}")
        lines.append(f"vector loops carry none but reductions: {', '.join(vector) or 'none are vectorised'}")
        return "\n".join(lines)

    def member(self, name: str) -> Member:
        """The loop called `name`."""
        _, band, position = band_of(self.tree, name)
        return band.members[position]

    def band(self, name: str) -> Band:
        """The band that holds the loop `name`."""
        return band_of(self.tree, name)[1]

    def statement(self, name: str) -> StatementDef:
        for s in self.function.statements():
            if s.name == name:
                return s
        raise UsageError(
            f"there is no statement '{name}'",
            next=f"one of {', '.join(s.name for s in self.function.statements())}",
        )

    def axis_ranges(self, statement: str) -> dict[str, tuple[int, int]]:
        """Least and greatest value of each axis of a statement, for the axes whose bounds come down to numbers."""
        ranges: dict[str, tuple[int, int]] = {}
        for a in self.statement(statement).axes:
            lower, upper = to_affine(a.lower), to_affine(a.upper)
            low = interval(lower, ranges) if lower is not None else None
            high = interval(upper, ranges) if upper is not None else None
            if low is not None and high is not None:
                ranges[a.name] = (low[0], high[1] - 1)
        return ranges

    def member_range(self, name: str) -> tuple[int, int] | None:
        """Least and greatest coordinate of a loop over all its statements (not counting filters); None if symbolic."""
        total: tuple[int, int] | None = None
        for statement, e in self.member(name).exprs:
            span = interval(e, self.axis_ranges(statement))
            if span is None:
                return None
            total = span if total is None else (min(total[0], span[0]), max(total[1], span[1]))
        return total

    def upper_bound(self, statement: str, e: Affine) -> tuple[Affine, Affine] | None:
        """Lower and exclusive upper bound of `e` at a statement: numbers, or affine in the sizes where `e` is an axis.

        Of a sum of axes (a skewed coordinate) along the innermost of them, the others fixed: `e` is `j + 2*t`, say,
        and j runs from 0 to N, then these are `2*t` and `N + 2*t`.
        """
        span = interval(e, self.axis_ranges(statement))
        if span is not None:
            return Affine((), span[0]), Affine((), span[1] + 1)
        axes = {a.name: a for a in self.statement(statement).axes}
        for a in (axes[n] for n in reversed(axes_by_depth(self.tree, statement)) if n in axes):
            rest = e - dim(a.name)
            if (a.name, 1) in e.terms and a.name not in rest.names():
                lower, upper = to_affine(a.lower), to_affine(a.upper)
                if lower is not None and upper is not None:
                    return lower + rest, upper + rest
        return None
