"""The judge accepts a schedule if and only if enumeration finds it legal; generated loops run what the tree says.

`POLYDL_ORACLE_EXAMPLES` sets the number of examples (default 300).
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polydl.errors import InvalidProgram, NotApplicable
from polydl.poly import (
    Allocate,
    Band,
    Member,
    Scop,
    Tree,
    check,
    dependences,
    footprint,
    format_tree,
    generate,
    initial_tree,
    iterator_names,
    map_tree,
    members,
    parse_tree,
    paths,
    verify,
)
from polydl.vocabulary import Binding, Memory
from tests.oracle.brute import BrokenContract, conflicts, execute, is_legal, number, runs
from tests.oracle.programs import programs, trees

EXAMPLES = int(os.environ.get("POLYDL_ORACLE_EXAMPLES", "300"))
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Scop, Tree]:
    scop = draw(programs())
    return scop, draw(trees(scop))


def sizes(scop: Scop) -> list[dict[str, int]]:
    return [{"N": n} for n in (1, 2, 3, 4)] if scop.parameters else [{}]


@many
@given(cases(), st.booleans())
def test_judge_agrees_with_enumeration(case: tuple[Scop, Tree], reassociate: bool) -> None:
    scop, tree = case
    try:
        verdicts = [is_legal(scop, tree, p, reassociate) for p in sizes(scop)]
    except BrokenContract:
        with pytest.raises(InvalidProgram):
            check(scop, tree, dependences(scop), reassociate)
        return
    expected = all(verdicts)
    violation = check(scop, tree, dependences(scop), reassociate)
    assert (violation is None) is expected, violation
    if violation is not None and violation.dependence is not None:
        d = violation.dependence
        pairs = {(a, b, t) for a, b, t, _ in conflicts(scop, dict(violation.parameters))}
        assert ((d.source, violation.source), (d.sink, violation.sink), d.tensor) in pairs
        assert violation.reason


@st.composite
def changed_loops(draw: st.DrawFn) -> tuple[Scop, Tree, Tree]:
    """A tree, and the same with one loop reversed or bound otherwise, for one of its statements or all."""
    scop, tree = draw(cases().filter(lambda case: any(members(case[1]))))
    chosen = draw(st.sampled_from([m.name for m in members(tree)]))
    binding = draw(st.sampled_from(list(Binding)))
    reversed_ = draw(st.sampled_from([(), *((s.name,) for s in scop.statements)]))

    def change(node: Tree) -> Tree:
        if not isinstance(node, Band) or all(m.name != chosen for m in node.members):
            return node
        return replace(node, members=tuple(changed(m) if m.name == chosen else m for m in node.members))

    def changed(m: Member) -> Member:
        return replace(m, binding=binding, exprs=tuple((s, -e if s in reversed_ else e) for s, e in m.exprs))

    return scop, tree, map_tree(tree, change)


@many
@given(changed_loops(), st.booleans())
def test_judge_of_a_change_agrees_with_enumeration(case: tuple[Scop, Tree, Tree], reassociate: bool) -> None:
    scop, near, tree = case
    try:
        verdicts = [is_legal(scop, tree, p, reassociate) for p in sizes(scop)]
    except BrokenContract:
        with pytest.raises(InvalidProgram):
            check(scop, tree, dependences(scop), reassociate, near)
        return
    violation = check(scop, tree, dependences(scop), reassociate, near)
    assert (violation is None) is all(verdicts), violation
    assert violation == check(scop, tree, dependences(scop), reassociate)


@many
@given(cases())
def test_generated_loops_run_what_the_tree_says(case: tuple[Scop, Tree]) -> None:
    scop, tree = case
    try:
        scheduled = [runs(scop, tree, p) for p in sizes(scop)]
    except BrokenContract:
        with pytest.raises(InvalidProgram):
            verify(scop, tree)
        return
    verify(scop, tree)
    assert parse_tree(format_tree(tree)) == tree
    code = generate(scop, tree)
    every = paths(scop, tree)
    textual = [s.name for s in scop.statements]
    for parameters, listed in zip(sizes(scop), scheduled, strict=True):
        ordered = sorted(listed, key=lambda r: ([t.value for t in r.times], textual.index(r.instance[0])))
        executed = list(execute(code, parameters))
        assert [instance for instance, _ in executed] == [r.instance for r in ordered]
        for (_, which), run in zip(executed, ordered, strict=True):
            # The path of a call lists the loops and sequences that its instance goes through.
            path = every[which]
            assert path.statement == run.instance[0]
            assert [(c.name, -1) if isinstance(c, Member) else ("", c.index) for c in path.coordinates] == [
                (t.loop, -1 if t.loop else t.value) for t in run.times
            ]


@many
@given(cases())
def test_dependences_of_any_original_order(case: tuple[Scop, Tree]) -> None:
    """A program given as a tree: its own order is legal, and the original one exactly when enumeration says so."""
    scop, tree = case
    try:
        scheduled = [runs(scop, tree, p) for p in sizes(scop)]
    except BrokenContract:
        return
    if not all(
        t.binding.value in ("sequential", "unroll") for listed in scheduled for r in listed for t in r.times
    ):
        return
    kept = dependences(scop, tree)
    expected = True
    for parameters, listed in zip(sizes(scop), scheduled, strict=True):
        times = {r.instance: [t.value for t in r.times] for r in listed}
        for a, b, _, _ in conflicts(scop, parameters):
            # Legal in the other direction too only if no conflicting pair changes its order.
            key_a, key_b = (times[a], scop_index(scop, a[0])), (times[b], scop_index(scop, b[0]))
            expected = expected and key_a < key_b
    assert (check(scop, initial_tree(scop), kept, reassociate=False) is None) is expected


def scop_index(scop: Scop, name: str) -> int:
    return [s.name for s in scop.statements].index(name)


@many
@given(cases(), st.data())
def test_footprints_hold_what_is_touched(case: tuple[Scop, Tree], data: st.DataObject) -> None:
    scop, bare = case
    tree = _without_allocations(bare)
    try:
        scheduled = [runs(scop, tree, p) for p in sizes(scop)]
    except BrokenContract:
        return
    tensor = data.draw(st.sampled_from([t for t, _ in scop.tensors]))
    if not any(a.tensor == tensor for s in scop.statements for a in s.accesses if None not in a.subscripts):
        return
    # Around everything below the outermost loops.
    if isinstance(tree, Band):
        cut = data.draw(st.integers(0, len(tree.members)))
        inner = Band(tree.members[cut:], tree.child) if cut < len(tree.members) else tree.child
        allocated: Tree = Allocate(tensor, Memory.LOCAL, inner)
        placed = Band(tree.members[:cut], allocated) if cut else allocated
    else:
        cut, placed = 0, Allocate(tensor, Memory.LOCAL, tree)
    try:
        box = footprint(scop, placed, tensor)
    except NotApplicable:
        assert scop.parameters, "a program of constant size has a constant box"
        return
    names = iterator_names(scop, cut)
    for parameters, listed in zip(sizes(scop), scheduled, strict=True):
        for run in listed:
            statement = scop.statement(run.instance[0])
            at = {**parameters, **dict(zip(statement.iterators, run.instance[1], strict=True))}
            outer = {**parameters, **{n: t.value for n, t in zip(names, run.times, strict=False)}}
            bases = [number(b, outer) for b in box.base_asts()]
            assert bases == [b.evaluate(outer) for b in box.bases]
            for access in statement.accesses:
                if access.tensor == tensor:
                    for d, (subscript, base) in enumerate(zip(access.subscripts, bases, strict=True)):
                        if subscript is not None:
                            offset = subscript.evaluate(at) - base
                            assert 0 <= offset < box.extents[d]


def _without_allocations(tree: Tree) -> Tree:
    return map_tree(tree, lambda node: node.child if isinstance(node, Allocate) else node)
