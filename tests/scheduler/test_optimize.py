"""Automatic schedules: legal, right, replayable, and never one predicted slower than the order as written."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.polybench.kernel import difference
from benchmarks.polybench.kernels import KERNELS
from polydl import loops, poly
from polydl.errors import PolyhedralBlowup
from polydl.poly.ast import Node
from polydl.poly.model import Scop
from polydl.poly.tree import Tree, members
from polydl.scheduler.affine_order import AffineOrder
from polydl.scheduler.automatic.choose import candidates, optimize
from polydl.scheduler.automatic.predict import predicted_time
from polydl.scheduler.partial_sums import PartialSums
from polydl.scheduler.recipes import schedule_as_written
from polydl.scheduler.schedule import Schedule
from polydl.targets import parse
from polydl.vocabulary import Binding
from tests.polybench.references import reference

_NAMES = (
    "gemm", "2mm", "syrk", "trmm", "lu", "cholesky", "jacobi-2d", "seidel-2d", "floyd-warshall", "covariance",
)  # fmt: skip


@pytest.mark.parametrize("name", _NAMES)
def test_every_candidate_computes_what_numpy_does(name: str) -> None:
    kernel = KERNELS[name]
    program = loops(threads=2)(kernel.function)
    chosen = optimize(program.function, program.target)
    for schedule in dict.fromkeys([chosen, *candidates(program.function, program.target)]):
        assert poly.check(schedule.scop, schedule.tree, schedule.dependences) is None
        data = kernel.data("SMALL")
        taken = kernel.parameters()
        program.scheduled(schedule)(**{k: v for k, v in kernel.at("SMALL").items() if k in taken}, **data)
        assert difference(kernel, kernel.data("SMALL"), data, reference(kernel, "SMALL")) < kernel.tolerance


@pytest.mark.parametrize("name", _NAMES)
def test_nothing_predicted_slower_is_chosen(name: str) -> None:
    program = loops(KERNELS[name].function)
    plain = schedule_as_written(program.function, program.target)
    chosen = optimize(program.function, program.target)
    assert predicted_time(chosen, program.target) <= predicted_time(plain, program.target)


def test_a_product_gets_register_tiles() -> None:
    program = loops(
        KERNELS["gemm"].function,
    )
    chosen = optimize(program.function, parse("x86-64-avx2"))
    bindings = [m.binding for m in members(chosen.tree)]
    assert Binding.UNROLL in bindings
    assert Binding.VECTOR in bindings
    assert any(isinstance(t, PartialSums) for t in chosen.trace)
    assert Schedule.replay(program.function, chosen.trace).tree == chosen.tree


def test_without_reordered_sums_none_is_reordered() -> None:
    program = loops(KERNELS["gemm"].function)
    chosen = optimize(program.function, program.target, reassociate=False)
    assert poly.check(chosen.scop, chosen.tree, chosen.dependences, False) is None


def test_a_small_budget_leaves_out_orders_of_isl() -> None:
    program = loops(KERNELS["gemm"].function)
    chosen = optimize(program.function, program.target, operations=100)
    assert not any(isinstance(t, AffineOrder) for t in chosen.trace)


def test_an_order_without_loops_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What isl schedules it may be unable to scan: the best order that it can scan is taken."""
    program = loops(KERNELS["gemm"].function)
    best = optimize(program.function, program.target)
    generate, given_up = poly.generate, []

    def gives_up(scop: Scop, tree: Tree) -> Node:
        if not given_up:
            given_up.append(tree)
            raise PolyhedralBlowup("too many pieces")
        return generate(scop, tree)

    monkeypatch.setattr(poly, "generate", gives_up)
    other = optimize(program.function, program.target)
    assert given_up
    assert other.tree != best.tree
    assert poly.check(other.scop, other.tree, other.dependences) is None


def test_the_decorator_optimises_on_request() -> None:
    kernel = KERNELS["syrk"]
    program = loops(optimize=True)(kernel.function)
    assert program.compiled_schedule().tree == optimize(program.function, program.target).tree
    data = kernel.data("SMALL")
    program(**data)
    assert difference(kernel, kernel.data("SMALL"), data, reference(kernel, "SMALL")) < kernel.tolerance


def _summed_in_scalars(x: "f64[N]", y: "f64[N]") -> None:
    for i in range(N):
        w = 0.0
        for j in range(N):
            v = 0.0
            for k in range(j, N):
                v += x[k] * x[k - j]
            w += v * x[i]
        y[i] = w


@pytest.mark.parametrize("threads", [1, 2])
def test_temporaries_grow_no_faster_than_the_programs_arrays(threads: int) -> None:
    program = loops(_summed_in_scalars)
    chosen = optimize(program.function, replace(program.target, cores=threads))
    assert all(len(t.shape) <= 1 for t in chosen.function.tensors)
