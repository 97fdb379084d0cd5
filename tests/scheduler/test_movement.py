"""The recipe for statements that turn data: layouts, transpositions and their epilogues keep their meaning."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydl.codegen.lower import lower
from polydl.codegen.passes import Transpose, flatten
from polydl.dsl import Function, FunctionBuilder, Layout
from polydl.dtypes import F32, F64, I8, DType
from polydl.ir import Expr, Memory, as_expr
from polydl.ir.kernel import Alloc
from polydl.ir.rewrite import walk_stmts
from polydl.scheduler import Schedule, Unroll, Vectorize
from polydl.scheduler.recipes import default_schedule
from polydl.targets import parse
from tests.codegen.native import level
from tests.scheduler.programs import Case
from tests.scheduler.running import check_compiled, check_lowered

_TARGETS = ("x86-64", "x86-64-avx2", "x86-64-avx512")


def reorder(c: int, h: int, w: int, block: int, halo: int, dtype: DType, *, into: bool) -> Function:
    """An image from plain to blocked storage (`into`) or back; the blocked side has a halo of undefined contents."""
    f = FunctionBuilder("reorder")
    shape = (c, h + 2 * halo, w + 2 * halo)
    low = (0, -halo, -halo)
    layout = Layout.blocked(shape, 0, block, low)
    x = f.input("x", (c, h, w), dtype) if into else f.input("x", shape, dtype, lower=low, layout=layout)
    y = f.compute("y", {"c": c, "h": h, "w": w}, lambda c, h, w: x[c, h, w])
    function = f.build([y])
    if not into:
        return function
    stored = replace(
        function.tensor("y"), shape=tuple(map(as_expr, shape)), lower=tuple(map(as_expr, low)), layout=layout
    )
    return function.with_tensor(stored)


def permuted(shape: tuple[int, ...], order: tuple[int, ...], dtype: DType) -> Function:
    """A transposition with some arithmetic and a second operand that is not turned."""
    f = FunctionBuilder("permuted")
    x = f.input("x", shape, dtype)
    place = [order.index(d) for d in range(len(shape))]
    sizes = [shape[d] for d in order]
    b = f.input("b", (sizes[-1],), dtype)

    def body(*i: Expr) -> Expr:
        return x[tuple(i[p] for p in place)] + b[i[-1]]

    return f.build([f.compute("y", {f"i{k}": n for k, n in enumerate(sizes)}, body)])


def register_tiles(schedule: Schedule, target: str) -> int:
    kernel = Transpose(parse(target))(flatten(lower(schedule)))
    return sum(isinstance(s, Alloc) and s.buffer.memory is Memory.REGISTER for s in walk_stmts(kernel.body))


@pytest.mark.parametrize("target", _TARGETS)
def test_layouts(target: str) -> None:
    machine = level(target)

    @given(
        st.integers(1, 37), st.integers(1, 7), st.integers(1, 35), st.sampled_from([4, 8, 16]), st.booleans(),
        st.sampled_from([F32, F64, I8]),
    )  # fmt: skip
    @settings(max_examples=12, deadline=None)
    def run(c: int, h: int, w: int, block: int, halo: bool, dtype: DType) -> None:
        case = Case(reorder(c, h, w, block, 0, dtype, into=halo))
        check_lowered(default_schedule(case.function, machine), case)
        check_compiled(default_schedule(case.function, machine), case, target=target)
        back = Case(reorder(c, h, w, block, int(halo), dtype, into=False))
        check_compiled(default_schedule(back.function, machine), back, target=target)

    run()


@pytest.mark.parametrize("target", _TARGETS)
def test_transpositions(target: str) -> None:
    machine = level(target)

    @given(st.data())
    @settings(max_examples=20, deadline=None)
    def run(data: st.DataObject) -> None:
        rank = data.draw(st.integers(2, 4))
        most = 40 if rank == 2 else 19 if rank == 3 else 9
        shape = tuple(data.draw(st.lists(st.integers(1, most), min_size=rank, max_size=rank)))
        order = tuple(data.draw(st.permutations(range(rank))))
        case = Case(permuted(shape, order, data.draw(st.sampled_from([F32, F64]))))
        check_compiled(default_schedule(case.function, machine), case, target=target)

    run()


@pytest.mark.parametrize("into", [False, True])
def test_registers_turn_the_tiles(into: bool) -> None:
    """Full and partial tiles of 40 = 16 + 16 + 8 channels are turned in registers, both ways."""
    schedule = default_schedule(reorder(40, 4, 24, 16, 0, F32, into=into), parse("x86-64-avx512"))
    bound = {type(t) for t in schedule.trace}
    assert {Unroll, Vectorize} <= bound
    assert register_tiles(schedule, "x86-64-avx512") == 2


def test_what_lies_straight_is_left_alone() -> None:
    """Exchanging outer dimensions is a copy of rows."""
    schedule = default_schedule(permuted((5, 6, 64), (1, 0, 2), F32), parse("x86-64-avx512"))
    assert not any(isinstance(t, Unroll) for t in schedule.trace)
    assert register_tiles(schedule, "x86-64-avx512") == 0
