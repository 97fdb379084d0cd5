"""Thread teams: all threads take part, idle ones sleep, concurrent runs queue, none outlives its users."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from polydl.codegen.llvm.support import barrier_ir
from polydl.errors import RunError, ToolchainError
from polydl.runtime import Module
from polydl.runtime.loader import compile_ir
from polydl.runtime.teams import Team, Teams, available_threads
from polydl.runtime.teams_ir import teams_ir
from tests.runtime import tiny

ROOT = Path(__file__).resolve().parents[2]


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("polydl-")]


@pytest.fixture
def clean() -> Iterator[None]:
    assert workers() == []
    yield
    assert workers() == []


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_all_threads_meet_at_the_barrier(threads: int, clean: None) -> None:
    x = np.arange(tiny.N, dtype=np.float32)
    with Module(tiny.double_plus(), tiny.constant(), threads=threads) as module:
        assert len(workers()) == threads - 1
        y = np.empty_like(x)
        for _ in range(200):
            y.fill(-1)
            module(x, out=y)
            np.testing.assert_array_equal(y, 2 * x + 3)


def test_one_thread_starts_nobody(clean: None) -> None:
    with Module(tiny.double_plus(), tiny.constant(), threads=1) as module:
        module(np.zeros(tiny.N, np.float32))
        assert workers() == []


def test_idle_workers_sleep(clean: None) -> None:
    x = np.zeros(tiny.N, np.float32)
    with Module(tiny.double_plus(), tiny.constant(), threads=2) as module:
        for _ in range(50):
            module(x)
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.15  # a spinning worker would have burned 0.3 s
        np.testing.assert_array_equal(module(x), np.full(tiny.N, 3, np.float32))  # and it wakes up again


def test_modules_share_a_team(clean: None) -> None:
    with Module(tiny.double_plus(), tiny.constant(), threads=2) as first:
        with Module(tiny.double_plus(), tiny.constant(5), threads=2) as second:
            x = np.ones(tiny.N, np.float32)
            assert len(workers()) == 1
            assert (first(x)[0], second(x)[0]) == (5, 7)
        assert len(workers()) == 1
        assert first(x)[0] == 5


def test_concurrent_runs_are_right_and_bounded(clean: None) -> None:
    def call(value: int) -> bool:
        x = np.full(tiny.N, value, np.float32)
        return bool((module(x) == 2 * value + 3).all())

    with Module(tiny.double_plus(), tiny.constant(), threads=2) as module:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(call, range(400)))
        assert len(workers()) <= max(available_threads() - 1, 1)


def test_teams_of_different_sizes_take_turns(clean: None) -> None:
    x = np.ones(tiny.N, np.float32)
    modules = [Module(tiny.double_plus(), tiny.constant(), threads=n) for n in (2, 3, 4)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda i: modules[i % 3](x)[0], range(60)))
    assert results == [5] * 60
    for module in modules:
        module.close()


def test_the_greatest_code_of_all_threads_is_returned(clean: None) -> None:
    text = tiny._SIGNATURE + "{\n %code = trunc i64 %thread to i32\n ret i32 %code\n}\n"
    artifact = tiny.artifact(text, (), (), checks=("one", "two"))
    with Module(artifact, threads=3) as module, pytest.raises(RunError, match="two"):
        module()
    with Module(artifact, threads=1) as module:
        module()


def test_a_collected_module_ends_its_team(clean: None) -> None:
    module = Module(tiny.double_plus(), tiny.constant(), threads=2)
    assert workers()
    del module


def test_threads_that_cannot_start_are_an_error(monkeypatch: pytest.MonkeyPatch, clean: None) -> None:
    count = 0

    def start(thread: threading.Thread) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise RuntimeError("can't start new thread")
        thread.start()

    monkeypatch.setattr("polydl.runtime.teams._start", start)
    with pytest.raises(RunError, match="cannot start 3 threads"):
        Team(3)
    teams = Teams()
    count = 1
    with pytest.raises(RunError):
        teams.acquire(2)
    monkeypatch.undo()
    teams.release(teams.acquire(2))  # nothing stays counted; nobody is registered, so that the team ends


def test_architectures() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for arch in ("x86_64", "aarch64"):
        triple = f"{arch}-unknown-linux-gnu"
        machine = llvm.Target.from_triple(triple).create_target_machine()
        for text in (
            teams_ir(arch),
            barrier_ir(arch).replace("internal void @polydl_barrier", "void @polydl_barrier"),
        ):
            module = llvm.parse_assembly(text)
            module.triple = triple
            module.verify()
            assert len(machine.emit_object(module)) > 500
    with pytest.raises(ToolchainError, match="sparc"):
        barrier_ir("sparc")


def test_runtime_ir_compiles_with_its_symbols() -> None:
    code = compile_ir(
        teams_ir("x86_64" if os.uname().machine == "x86_64" else "aarch64"), ("polydl_team_run",)
    )
    assert code.address("polydl_team_run")


def _script(body: str) -> str:
    head = "import numpy as np\nfrom polydl.runtime import Module\nfrom tests.runtime import tiny\n"
    head += "x = np.ones(1000, np.float32)\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + textwrap.dedent(body)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_interpreter_exits_with_an_open_module() -> None:
    out = _script("""
        module = Module(tiny.double_plus(), tiny.constant(), threads=3)
        print(module(x)[0])
    """)
    assert out == "5.0\n"


def test_a_fork_has_its_own_team() -> None:
    out = _script("""
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 dislikes forks of threaded processes
        module = Module(tiny.double_plus(), tiny.constant(), threads=2)
        assert module(x)[0] == 5
        call = module.bind([3 * x])
        call.lock.acquire()  # as by another thread, which the child has not
        child = os.fork()
        if child == 0:
            status = 0 if (module(2 * x) == 7).all() and (call() == 9).all() else 1
            module.close()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        call.lock.release()
        print(os.waitstatus_to_exitcode(status), module(x)[0], call()[0])
    """)
    assert out == "0 5.0 9.0\n"
