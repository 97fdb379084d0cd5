"""Operators that the tests share, and every road that a program can take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polydl.compiler import compile_function, program_of
from polydl.dsl import (
    Function,
    Operator,
    interpret,
    select_first,
)
from polydl.ir.expr import Expr, and_, call, eq, maximum, ne, or_
from polydl.scheduler import (
    Schedule,
)
from polydl.targets import parse
from tests.codegen.from_c import compiled, run_program

Array = np.ndarray[Any, Any]

LARGEST = Operator(
    "largest",
    lambda a, b: select_first(or_(b[0] > a[0], and_(eq(b[0], a[0]), b[1] < a[1])), b, a),
    identity=(float("-inf"), 1 << 40),
    commutative=True,
)
AFFINE = Operator("affine", lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1]), identity=(1.0, 0.0))
LOG_ADD = Operator(
    "log_add",
    lambda a, b: maximum(a, b) + call("log", 1.0 + call("exp", -abs_(a - b))),
    identity=-1e30,
    commutative=True,
)
LATEST = Operator("latest", lambda a, b: select_first(ne(b[0], 0.0), b, a), (0.0, 0))  # order decides
MOMENTS = Operator("moments", lambda a, b: (a[0] + b[0], a[1] + b[1]), identity=(0.0, 0.0), commutative=True)


def abs_(e: Expr) -> Expr:
    return maximum(e, -e)


def everywhere(what: Function | Schedule, *arrays: Array, sizes: dict[str, int] | None = None) -> list[Array]:
    """What the interpreter says; LLVM's and C's results must agree with it."""
    schedule = what if isinstance(what, Schedule) else Schedule.of(what)
    names = [t.name for t in schedule.function.tensors if t.role.value == "input"]
    wanted = list(interpret(schedule.function, dict(zip(names, arrays, strict=True)), sizes).values())
    got = [np.zeros_like(w) for w in wanted]
    run_in_c(schedule, arrays, got, sizes or {})
    roads: list[tuple[str, Sequence[Any]]] = [("c", got)]
    for road in (what, schedule):
        machine = [np.zeros_like(w) for w in wanted]
        compile_function(road, threads=1).update(arrays, machine, sizes or {})
        roads.append(("llvm", machine))
    for name, results in roads:
        for w, r in zip(wanted, results, strict=True):
            np.testing.assert_allclose(r, w, rtol=2e-5, atol=2e-5, err_msg=name)
    return wanted


def run_in_c(
    schedule: Schedule, arrays: Sequence[Array], outputs: list[Array], sizes: dict[str, int]
) -> None:
    """Run as C, with the memory that the temporaries of these sizes need."""
    program = program_of(schedule)
    artifact, _ = compiled(program, parse("native"))
    more = [np.zeros(t.bytes(sizes), np.uint8) for t in artifact.temporaries]
    assert run_program(program, parse("native"), arrays, [*outputs, *more], list(sizes.values())) == [0]


def integers(rng: np.random.Generator, *shape: int) -> Array:
    """Small whole numbers as f32, with ties."""
    return rng.integers(-4, 5, shape).astype(np.float32)


RNG = np.random.default_rng(7)
