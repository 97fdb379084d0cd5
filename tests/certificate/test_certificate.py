"""Certificates: what is legal is certified, what is not never is, and nothing forged passes."""

from __future__ import annotations

import ast
import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import polydl
from benchmarks.polybench.kernels import KERNELS
from polydl import certificate
from polydl.certificate import Report, certificate_text, check_certificate
from polydl.dsl.loops import capture
from polydl.errors import InvalidProgram
from polydl.poly import Scop, Tree
from polydl.scheduler import (
    Fuse,
    IndexSetSplit,
    Local,
    Parallel,
    Reverse,
    Schedule,
    Separate,
    Shift,
    Skew,
    Split,
    Tile,
    Unroll,
    Vectorize,
)
from polydl.scheduler.certificate import program_of, stated
from tests.errors.programs import diagonal, odd_and_even, pair, rowwise, triangle_sums
from tests.oracle.brute import BrokenContract, is_legal
from tests.oracle.programs import programs, trees
from tests.scheduler.programs import convolution, gather, heat, in_place, matmul, triangular

EXAMPLES = int(os.environ.get("POLYDL_ORACLE_EXAMPLES", "500")) // 2
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Scop, Tree]:
    scop = draw(programs())
    return scop, draw(trees(scop))


def legal(scop: Scop, tree: Tree, reassociate: bool) -> bool:
    """By enumeration; a tree that breaks its contract is not."""
    sizes = [{"N": n} for n in (1, 2, 3, 4)] if scop.parameters else [{}]
    try:
        return all(is_legal(scop, tree, p, reassociate) for p in sizes)
    except BrokenContract:
        return False


@many
@given(cases(), st.booleans())
def test_certified_if_and_only_if_legal(case: tuple[Scop, Tree], reassociate: bool) -> None:
    scop, tree = case
    try:
        report = check_certificate(certificate_text(program_of(scop, None, tree, reassociate)))
    except InvalidProgram:
        assert not legal(scop, tree, reassociate)
        return
    assert not report.wrong
    assert bool(report) == legal(scop, tree, reassociate)


@settings(many, max_examples=EXAMPLES // 3)
@given(cases(), st.data())
def test_a_certificate_of_another_schedule_does_not_pass(
    case: tuple[Scop, Tree], data: st.DataObject
) -> None:
    """The witnesses of one tree, perhaps for fewer accesses, presented for another that is not legal."""
    scop, tree = case
    other = data.draw(trees(scop))
    assume(not legal(scop, other, True))
    try:
        good = json.loads(certificate_text(program_of(scop, None, tree, True)))
        bad = json.loads(certificate_text(program_of(scop, None, other, True)))
    except InvalidProgram:
        return
    proofs = [*good["proofs"], *bad["proofs"]]
    claims = {**bad["claims"], **good["claims"]}
    for name, entries in claims.items():
        if entries == "open":
            claims[name] = [{"below": k, "above": k, "empty": k} for k in (0, 1, 2)]
    forged = {**good, "program": bad["program"], "proofs": proofs, "claims": claims}
    assert not check_certificate(json.dumps(forged))


# ---- forging -------------------------------------------------------------------------------------------------------


def wavefront() -> Schedule:
    return diagonal().apply(Skew("seidel.i", "seidel.j", 1), Tile(("seidel.i", "seidel.j"), (2, 4)))


def certified(schedule: Schedule) -> dict[str, Any]:
    text = schedule.certificate()
    assert check_certificate(text), check_certificate(text)
    data = json.loads(text)
    assert isinstance(data, dict)
    return data


def checked(data: object) -> Report:
    return check_certificate(json.dumps(data))


def test_every_witness_is_needed() -> None:
    data = certified(wavefront())
    for name in data["claims"]:
        claims = {n: c for n, c in data["claims"].items() if n != name}
        report = checked({**data, "claims": claims})
        assert report.wrong == (f"{name}: no witness",)
        assert checked({**data, "claims": {**claims, name: "open"}}).open == (name,)
        assert not checked({**data, "claims": {**claims, name: []}})


def test_every_proof_is_added_up() -> None:
    data = certified(wavefront())
    for k in range(len(data["proofs"])):
        for forged in (
            {"sum": {}},
            {},
            {"sum": {"no such row": 1}},
            "true",
            {"cut": {}, "then": {"sum": {"cut 0": 1}}},
        ):
            proofs = copy.deepcopy(data["proofs"])
            proofs[k] = forged
            assert not checked({**data, "proofs": proofs}), (k, forged)


def test_inequalities_cannot_be_turned_around() -> None:
    data = certified(heat().schedule())
    forged = 0
    for k, proof in enumerate(data["proofs"]):
        for label, factor in proof.get("sum", {}).items():
            if "domain" in label or label.startswith(("level", "order 0")):
                proofs = copy.deepcopy(data["proofs"])
                proofs[k]["sum"] = {label: -1 if factor != -1 else -2}
                assert not checked({**data, "proofs": proofs})
                forged += 1
    assert forged > 5


@pytest.mark.parametrize(
    "change",
    [
        # The schedule is another one.
        lambda p: p["schedule"]["sequence"].reverse(),
        lambda p: p["schedule"]["sequence"][1]["below"]["band"].reverse(),
        lambda p: p["schedule"]["sequence"][1]["below"]["band"][0].update(binding="parallel"),
        lambda p: p["schedule"]["sequence"][1]["below"]["band"][3].update(binding="vector"),
        lambda p: p["schedule"]["sequence"][1]["below"]["band"][0].update(binding="whatever"),
        lambda p: p["schedule"]["sequence"][1]["below"]["band"][2]["times"].update(seidel="-i"),
        lambda p: p["schedule"]["sequence"][1]["below"]["band"][1]["times"].update(seidel="floor((j)/4)"),
        lambda p: p["schedule"]["sequence"][1]["below"]["band"].pop(),
        lambda p: p["schedule"]["sequence"][1]["take"].update(seidel="i >= 2"),
        lambda p: p["schedule"]["sequence"].pop(),
        # The program has more dependences, or other places.
        lambda p: p["statements"][1]["accesses"].append(["read", "a", ["i + 1", "j"]]),
        lambda p: p["statements"][1]["accesses"][0].__setitem__(2, ["i - 1", "j + 2"]),
        lambda p: p["statements"][0].update(domain="0 <= i < 7 and 0 <= j < 9"),
        lambda p: p["statements"][1].update(domain="0 <= i < 6 and 0 <= j < 8"),
        lambda p: p["tensors"]["a"][0].__setitem__(1, "5"),
        # It is not a program at all.
        lambda p: p["statements"].pop(),
        lambda p: p.pop("context"),
        lambda p: p["schedule"].clear(),
        lambda p: p["statements"][1].update(domain="i * j < 6"),
        lambda p: p["statements"][1].update(domain="(" * 10_000),
        lambda p: p["statements"][1].update(iterators=["i", "i"]),
        lambda p: p["original"]["sequence"][1]["take"].update(seidel="i < 3"),
    ],
)
def test_a_changed_statement_is_not_certified(change: Callable[[Any], object]) -> None:
    data = certified(wavefront())
    change(data["program"])
    assert not checked(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_checker_survives_any_change(data: st.DataObject) -> None:
    """Some value anywhere is replaced; what then still passes has all of the claims."""
    whole = certified(in_place(3, 4).schedule())
    node: Any = whole
    path = []
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        path.append((node, data.draw(st.sampled_from(keys))))
        node = node[path[-1][1]]
    parent, key = path[data.draw(st.integers(0, len(path) - 1))]
    parent[key] = data.draw(
        st.sampled_from(
            [
                None,
                0,
                -1,
                1.5,
                True,
                [],
                {},
                "",
                "i",
                "j'",
                "0",
                "1/0",
                "9" * 400,
                "parallel",
                [[[]]],
                {"sum": 0},
            ]
        )
    )
    report = checked(whole)
    if report and path[0][1] == "program":
        # Names, bindings of loops that carry nothing and the like can have changed.
        assert report.claims == checked(certified(in_place(3, 4).schedule())).claims


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"format": "polydl certificate 1"}', "{" * 100_000]
)
def test_what_is_no_certificate_is_not_certified(text: str) -> None:
    report = check_certificate(text)
    assert not report
    assert report.claims == 0


def test_a_report_says_what_is_missing() -> None:
    data = certified(pair())
    assert str(checked(data)) == f"certified: {len(data['claims'])} claims proven"
    name = next(iter(data["claims"]))
    assert f"{name}: left open" in str(checked({**data, "claims": {**data["claims"], name: "open"}}))


# ---- programs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_polybench_as_written(name: str) -> None:
    schedule = Schedule.of(capture(KERNELS[name].function).function, reassociate=False)
    assert check_certificate(schedule.certificate())


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "skewed tiles": wavefront,
    "skewed time tiles": lambda: (
        heat(8, 20).schedule().apply(Skew("step.t", "step.i", 1), Tile(("step.t", "step.i"), (4, 8)))
    ),
    "register tiles, symbolic": lambda: (
        matmul(symbolic=True)
        .schedule()
        .apply(
            Fuse(("i", "C.i")), Parallel("i"), Tile(("C.j", "k"), (8, 4)), Unroll("k.i"), Vectorize("C.j.i"),
            Separate("C.j.o"),
        )
    ),
    "separated twice, symbolic": lambda: (
        matmul(symbolic=True)
        .schedule()
        .apply(Split("C.j", 8), Separate("C.j.o"), Split("C.i", 4), Separate("C.i.o"))
    ),
    "strided": odd_and_even,
    "triangular": lambda: triangular(symbolic=True).schedule().apply(Split("k", 4), Reverse("i")),
    "symbolic triangle": lambda: triangle_sums().apply(Split("sums.i", 3), IndexSetSplit("j", 2)),
    "convolution": lambda: convolution(stride=2).schedule().apply(Tile(("y.k", "y.w"), (2, 3)), Parallel("y.h")),
    "shifted fusion": lambda: pair().apply(Shift("b", "b.i", 1), Fuse(("i", "b.i"))),
    "local storage": lambda: rowwise().apply(Local("rest", ("i",))),
    "data dependent": lambda: gather().schedule().apply(Parallel("i")),
    "loops of nussinov": lambda: Schedule.of(capture(KERNELS["nussinov"].function).function),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_transformed_programs(name: str) -> None:
    schedule = SCHEDULES[name]()
    text = schedule.certificate()
    report = polydl.check_certificate(text)
    assert report, report
    assert json.loads(text)["program"] == stated(schedule)
    assert schedule.certificate() == text


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_automatic_schedules_of_polybench(name: str) -> None:
    from polydl.targets.parse import parse

    schedule = polydl.optimize(capture(KERNELS[name].function).function, parse("x86-64-avx512"))
    report = check_certificate(schedule.certificate())
    assert report, report


# ---- independence --------------------------------------------------------------------------------------------------

TRUSTED = ("check", "claims", "region", "statement", "terms")


def test_the_checker_uses_nothing_else() -> None:
    folder = Path(certificate.__file__).parent
    allowed = {f"polydl.certificate.{name}" for name in TRUSTED} | {"polydl.errors"}
    for name in TRUSTED:
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module in allowed | set(sys.stdlib_module_names) | {"collections.abc"}
            elif isinstance(node, ast.Import):
                assert all(a.name in sys.stdlib_module_names for a in node.names)


def test_checking_loads_no_judge() -> None:
    program = (
        "import sys, polydl; polydl.check_certificate('{}');"
        "print([m for m in sys.modules if m in ('islpy', 'numpy', 'polydl.poly', 'polydl.scheduler')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
