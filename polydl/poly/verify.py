"""The structural contract of a schedule tree: every instance of every domain is scheduled exactly once.

Nothing here looks at dependences; `legality.check` calls `verify` first.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import assert_never

from polydl.errors import InvalidProgram
from polydl.poly.affine import Affine, Atom, FloorDiv, Mod
from polydl.poly.isl import guarded, map_of
from polydl.poly.model import Scop, Statement
from polydl.poly.paths import Path, new_paths, paths
from polydl.poly.sets import header, restrict
from polydl.poly.tree import Allocate, Band, Filter, Leaf, Mark, Sequence, Tree, members, walk

__all__ = ["verify"]


@guarded
def verify(scop: Scop, tree: Tree, near: Tree | None = None) -> None:
    """Raise `InvalidProgram` unless the tree keeps the contract of `tree.py` for this program.

    Loop names are unique, every loop says when exactly the statements below it run, the filters of a sequence
    partition the instances that reach it, and no two instances of a statement have the same time. `near` is another
    tree, which keeps the contract for this program: top-level nests that both share are not looked into again.
    """
    seen: set[str] = set()
    for member in members(tree):
        if member.name in seen:
            raise InvalidProgram(
                f"two loops are called '{member.name}'", why="loop names are unique in a tree"
            )
        seen.add(member.name)
    kept = near.children if isinstance(near, Sequence) else ()
    _descend(scop, tree, {s.name: () for s in scop.statements}, "the root", kept)
    for path in new_paths(paths(scop, tree), () if near is None else paths(scop, near)):
        if not _injective(scop, path):
            loops = ", ".join(f"{e}" for e in path.exprs)
            raise InvalidProgram(
                f"several instances of '{path.statement}' run at the same time ({loops})",
                why="the loops above a statement must tell all its instances apart",
            )


def _descend(
    scop: Scop,
    node: Tree,
    reaching: dict[str, tuple[str, ...]],
    where: str,
    kept: tuple[Filter, ...] = (),
) -> None:
    """`reaching`: per statement the filter conditions passed so far; `kept`: children that need no look inside."""
    match node:
        case Leaf():
            return
        case Band(members=loops, child=child):
            for member in loops:
                names = [s for s, _ in member.exprs]
                if len(set(names)) != len(names) or set(names) != set(reaching):
                    raise InvalidProgram(
                        f"loop '{member.name}' schedules {sorted(names)} but {sorted(reaching)} reach it",
                        where=f"loop '{member.name}'",
                        why="a loop has one expression for each statement below it",
                    )
                for name, expr in member.exprs:
                    unknown = expr.names() - {*scop.statement(name).iterators, *scop.parameters}
                    if unknown:
                        raise InvalidProgram(
                            f"loop '{member.name}' of '{name}' uses unknown names {sorted(unknown)}",
                            where=f"loop '{member.name}'",
                        )
                where = f"loop '{member.name}'"
            _descend(scop, child, reaching, where)
        case Sequence(children=filters):
            if not all(isinstance(f, Filter) for f in filters):
                raise InvalidProgram("a sequence has a child that is not a filter", where=f"below {where}")
            _partition(scop, filters, reaching, where)
            for k, child in enumerate(filters):
                if any(child is other for other in kept):
                    continue
                below = _selected(child, reaching)
                _descend(scop, child.child, below, f"child {k} of the sequence below {where}")
        case Filter(child=child):
            _partition(scop, (node,), reaching, where)
            _descend(scop, child, _selected(node, reaching), where)
        case Allocate(tensor=tensor, child=child):
            if tensor not in dict(scop.tensors):
                raise InvalidProgram(
                    f"the tree allocates '{tensor}', which the program does not have", where=where
                )
            if any(isinstance(n, Allocate) and n.tensor == tensor for n in walk(child)):
                raise InvalidProgram(f"the tree allocates '{tensor}' inside its own allocation", where=where)
            _descend(scop, child, reaching, where)
        case Mark(child=child):
            _descend(scop, child, reaching, where)
        case _:
            assert_never(node)


def _selected(node: Filter, reaching: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {
        s.statement: (*reaching[s.statement], s.condition) if s.condition else reaching[s.statement]
        for s in node.selections
    }


def _partition(
    scop: Scop, filters: tuple[Filter, ...], reaching: dict[str, tuple[str, ...]], where: str
) -> None:
    """Each instance that reaches the filters passes exactly one of them."""
    conditions: dict[str, list[str]] = {name: [] for name in reaching}
    for node in filters:
        names = [s.statement for s in node.selections]
        if len(set(names)) != len(names) or not set(names) <= set(reaching):
            raise InvalidProgram(
                f"a filter selects {names} where {sorted(reaching)} reach it", where=f"below {where}"
            )
        for s in node.selections:
            conditions[s.statement].append(s.condition)
    for name, parts in conditions.items():
        if parts == [""]:
            continue
        problem = _partition_problem(scop, scop.statement(name), reaching[name], tuple(parts))
        if problem:
            raise InvalidProgram(
                f"the filters below {where} {problem} of '{name}'",
                where=f"below {where}",
                why="the children of a sequence partition the instances that reach it",
            )


@lru_cache(maxsize=4096)
def _partition_problem(
    scop: Scop, statement: Statement, outer: tuple[str, ...], parts: tuple[str, ...]
) -> str:
    rest = restrict(scop, statement, outer)
    if not parts:
        return "" if rest.is_empty() else "lose all instances"
    for part in parts:
        selected = restrict(scop, statement, (*outer, part))
        if not selected.is_subset(rest):
            return "select twice some instances"
        rest = rest.subtract(selected)
    return "" if rest.is_empty() else "lose some instances"


def _injective(scop: Scop, path: Path) -> bool:
    statement = scop.statement(path.statement)
    return _determined(statement.iterators, path.exprs) or _tells_apart(
        scop, statement, path.exprs, path.conditions
    )


@lru_cache(maxsize=4096)
def _determined(iterators: tuple[str, ...], exprs: tuple[Affine, ...]) -> bool:
    """Whether the values of the expressions determine the iterators by linear algebra alone.

    Unknowns are the iterators and one quotient per distinct floor division; `x mod m` is `x - m * floor(x / m)`.
    """
    rows = []
    for expr in exprs:
        row: dict[Atom, Fraction] = {}
        _linearise(expr, Fraction(1), row)
        rows.append({a: c for a, c in row.items() if c and (not isinstance(a, str) or a in iterators)})
    solved: list[tuple[Atom, dict[Atom, Fraction]]] = []
    for row in rows:
        for pivot, other in solved:
            _eliminate(row, pivot, other)
        if row:
            # Quotients are eliminated first, so that what remains speaks of iterators.
            pivot = min(row, key=lambda a: isinstance(a, str))
            solved = [(p, _eliminated(o, pivot, row)) for p, o in solved]
            solved.append((pivot, row))
    fixed = {p for p, o in solved if len(o) == 1}
    return all(i in fixed for i in iterators)


def _linearise(expr: Affine, factor: Fraction, row: dict[Atom, Fraction]) -> None:
    for atom, c in expr.terms:
        if isinstance(atom, Mod):
            _linearise(atom.dividend, factor * c, row)
            quotient = FloorDiv(atom.dividend, atom.modulus)
            row[quotient] = row.get(quotient, Fraction(0)) - factor * c * atom.modulus
        else:
            row[atom] = row.get(atom, Fraction(0)) + factor * c


def _eliminate(row: dict[Atom, Fraction], pivot: Atom, other: dict[Atom, Fraction]) -> None:
    """Subtract a multiple of `other` so that `row` loses the pivot."""
    if pivot not in row:
        return
    factor = row[pivot] / other[pivot]
    for atom, c in other.items():
        value = row.get(atom, Fraction(0)) - factor * c
        if value:
            row[atom] = value
        else:
            row.pop(atom, None)


def _eliminated(row: dict[Atom, Fraction], pivot: Atom, other: dict[Atom, Fraction]) -> dict[Atom, Fraction]:
    result = dict(row)
    _eliminate(result, pivot, other)
    return result


@lru_cache(maxsize=4096)
def _tells_apart(
    scop: Scop, statement: Statement, exprs: tuple[Affine, ...], conditions: tuple[str, ...]
) -> bool:
    times = ", ".join(str(e) for e in exprs)
    text = f"{header(scop.parameters)}{{ {statement.name}[{', '.join(statement.iterators)}] -> [{times}] }}"
    return bool(map_of(text).intersect_domain(restrict(scop, statement, conditions)).is_injective())
