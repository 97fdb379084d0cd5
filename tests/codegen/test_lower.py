"""From schedules to loop IR: addresses, local windows, barriers, checks and lanes."""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import numpy as np
import pytest

from polydl import ir
from polydl.codegen.lower import lower
from polydl.dsl import FunctionBuilder, Layout, capture, sum_over
from polydl.errors import InvalidProgram
from polydl.ir import Alloc, Barrier, Binding, Block, Check, For, Role, walk_stmts
from polydl.scheduler import (
    ComputeAt,
    Fuse,
    Local,
    Pack,
    Parallel,
    Reorder,
    Reverse,
    Schedule,
    Separate,
    SetLayout,
    Skew,
    Split,
    Tile,
    Transform,
    Unroll,
    Vectorize,
)
from polydl.vocabulary import Memory
from tests.scheduler.programs import blur, gather, heat, in_place, matmul, normalised
from tests.scheduler.running import check_compiled, check_lowered


def allocations(schedule: Schedule) -> dict[str, tuple[int, ...]]:
    """The shapes of the local buffers."""
    found = {}
    for s in walk_stmts(lower(schedule).body):
        if isinstance(s, Alloc):
            shape = tuple(int(x.value) for x in s.buffer.shape if isinstance(x, ir.Const))
            found.setdefault(s.buffer.name, shape)
            assert found[s.buffer.name] == shape
    return found


def barriers(schedule: Schedule) -> int:
    return sum(isinstance(s, Barrier) for s in walk_stmts(lower(schedule).body))


def test_parameters_are_the_tensors_in_order() -> None:
    case = matmul(bias=True, symbolic=True)
    kernel = lower(case.schedule(), "name")
    assert kernel.name == "name"
    assert kernel.sizes == ("M", "N", "K")
    assert [(p.buffer.name, p.role) for p in kernel.params] == [
        ("A", Role.INPUT), ("B", Role.INPUT), ("C", Role.WORKSPACE), ("V", Role.INPUT), ("D", Role.OUTPUT),
    ]  # fmt: skip


def test_local_tensors_are_no_parameters() -> None:
    rows = Fuse(("i", "top.i", "rest.i", "total_init.i", "total.i", "y.i"))
    schedule = normalised(4, 5).schedule().apply(rows, Local("rest", ("i",)), Local("top", ("i",)))
    assert [p.buffer.name for p in lower(schedule).params] == ["x", "total", "y"]
    assert allocations(schedule) == {"rest": (1, 5), "top": (1,)}


@pytest.mark.parametrize(("tile", "extent"), [(2, 4), (4, 6), (8, 10)])
def test_windows_hold_a_tile_and_its_halo(tile: int, extent: int) -> None:
    case = blur(26)
    schedule = case.schedule().apply(Split("b.i", tile), ComputeAt("a", "b.i.o", "b", True))
    assert allocations(schedule) == {"a_tile": (1, extent)}
    check_lowered(schedule, case)


def test_windows_of_layouts_are_windows_of_storage() -> None:
    case = matmul(8, 16, 6, bias=True)
    blocked = SetLayout("C", Layout.blocked((8, 16), 1, 4))
    schedule = case.schedule().apply(
        blocked, Tile(("D.i", "D.j"), (2, 8)), ComputeAt("C", "D.j.o", "D"), Local("C", ("D.j.o",))
    )
    assert allocations(schedule) == {"C": (2, 2, 4)}
    check_lowered(schedule, case)


def test_rows_of_local_buffers_do_not_crowd_into_one_cache_set() -> None:
    case = matmul(2, 4, 1024)
    schedule = case.schedule().apply(Pack("A", "C.i", "C"))
    assert allocations(schedule)["A_packed"][-1] == 1024 + 16


def test_no_barriers_without_parallel_loops() -> None:
    assert barriers(matmul().schedule()) == 0
    assert barriers(heat().schedule()) == 0


def test_a_barrier_between_dependent_nests() -> None:
    schedule = matmul(bias=True).schedule()
    assert barriers(schedule.apply(Parallel("i"))) == 2  # C_init | C | D: a chain of dependences
    assert barriers(schedule.apply(Fuse(("i", "C.i", "D.i")), Parallel("i"))) == 0


def test_independent_nests_share_a_region() -> None:
    f = FunctionBuilder("two")
    x = f.input("x", (8,))
    a = f.compute("a", {"i": 8}, lambda i: x[i] + 1)
    b = f.compute("b", {"i": 8}, lambda i: x[i] * 2)
    schedule = Schedule.of(f.build([a, b])).apply(Parallel("i"), Parallel("b.i"))
    assert barriers(schedule) == 0


def test_a_barrier_in_every_step_of_a_loop_around_parallel_ones() -> None:
    case = heat(4, 9)
    schedule = case.schedule().apply(Parallel("step.i"))
    time = [s for s in walk_stmts(lower(schedule).body) if isinstance(s, For) and s.var == "step.t"]
    assert isinstance(time[0].body, Block)
    assert isinstance(time[0].body.stmts[-1], Barrier)
    check_compiled(schedule, case, threads=2)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_copy_shared_by_threads_waits_for_its_readers(threads: int) -> None:
    case = matmul(6, 7, 64)
    order = Reorder(("k.o", "C.i", "C.j"))
    schedule = case.schedule().apply(Split("k", 8), order, Pack("B", "k.o", "C"), Parallel("C.i"))
    check_compiled(schedule, case, threads=threads)


def test_lanes_are_counted_from_zero() -> None:
    """Loops that start elsewhere, run backwards, or in steps are lanes all the same."""
    case = in_place(6, 7)
    cases = [
        (heat(3, 9), (Vectorize("step.i"),), 7),
        (heat(3, 9), (Reverse("step.i"), Vectorize("step.i")), 7),
        (
            case,
            (Skew("seidel.i", "seidel.j", 2), Reorder(("seidel.j", "seidel.i")), Vectorize("seidel.i")),
            5,
        ),
        (blur(14), (Split("b.i", 4), Separate("b.i.o"), Vectorize("b.i.i.tail")), 4),
    ]
    for program, steps, lanes in cases:
        schedule = program.schedule().apply(*steps)
        found = [
            s for s in walk_stmts(lower(schedule).body) if isinstance(s, For) and s.binding is Binding.VECTOR
        ]
        assert found
        for loop in found:
            assert loop.lower == ir.as_expr(0)
            assert loop.step == 1
            assert loop.length is not None
            assert loop.length >= lanes
        check_lowered(schedule, program)
        check_compiled(schedule, program)


def test_data_dependent_subscripts_are_checked() -> None:
    case = gather(6, 5)
    kernel = lower(case.schedule())
    assert [s.code for s in walk_stmts(kernel.body) if isinstance(s, Check)] == [1]
    arrays = case.arrays()
    buffers = {n: a.copy() for n, a in arrays.items()}
    for p in kernel.params:
        shape = tuple(int(x.value) for x in p.buffer.shape if isinstance(x, ir.Const))
        buffers.setdefault(p.buffer.name, np.zeros(shape, p.buffer.dtype.numpy))
    assert ir.interpret(kernel, buffers, {}) == 0
    buffers["index"][3] = 17
    assert ir.interpret(kernel, buffers, {}) == 1


def test_data_dependent_reads_of_a_local_tensor_are_checked_against_the_tensor() -> None:
    f = FunctionBuilder("lookup")
    index, x = f.input("index", (6,), ir.as_expr(0).dtype), f.input("x", (3,))
    table = f.compute("table", {"i": 3}, lambda i: x[i] * 2)
    y = f.compute("y", {"i": 6}, lambda i: sum_over({"k": 1}, lambda k: table[index[i]]))
    schedule = Schedule.of(f.build([y]))
    assert any(isinstance(s, Check) for s in walk_stmts(lower(schedule).body))


def test_registers_need_spelled_out_loops() -> None:
    case = matmul(4, 8, 5, bias=True)
    schedule = case.schedule().apply(
        Tile(("D.i", "D.j"), (2, 8)), ComputeAt("C", "D.j.o", "D"), Local("C", ("D.j.o",), Memory.REGISTER)
    )
    with pytest.raises(InvalidProgram, match="not constant after unrolling"):
        ir.verify(lower(schedule))


def test_a_loop_owns_the_array_whose_cells_only_its_update_takes_note_of() -> None:
    def owners(*steps: Transform) -> dict[str, tuple[str, ...]]:
        kernel = lower(Schedule.of(capture(_substitution).function).apply(*steps))
        return {s.var: s.owned for s in walk_stmts(kernel.body) if isinstance(s, For)}

    assert owners() == {"i": (), "j": ("x",)}
    assert owners(Split("i", 4), Reorder(("i.o", "j", "i.i"))) == {"i.o": (), "j": (), "i.i": ("x",)}
    assert owners(Split("i", 4), Reorder(("i.o", "j", "i.i")), Unroll("i.i")) == {
        "i.o": (),
        "j": (),
        "i.i": (),
    }


def _substitution(L: "f64[N, N]", x: "f64[N]") -> None:
    for i in range(N):
        for j in range(i):
            x[i] -= L[i, j] * x[j]
