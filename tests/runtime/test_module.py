"""`Module`: forms of calls, results, run-time checks, concurrency, closing, measurements."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from polydl.errors import InvalidInput, InvalidPackage, ResourceLimit, RunError, UsageError
from polydl.runtime import Module
from polydl.runtime.memory import HUGE_PAGE, aligned_bytes
from tests.runtime import tiny


@pytest.fixture(params=[1, 2])
def module(request: pytest.FixtureRequest) -> Module:
    return Module(tiny.double_plus(), tiny.constant(), threads=request.param)


X = np.linspace(-1, 1, tiny.N, dtype=np.float32)
Y = 2 * X + np.float32(3)


def test_forms_of_calls(module: Module) -> None:
    for result in (module(X), module(x=X), module({"x": X}), module.run({"x": X})["y"]):
        np.testing.assert_array_equal(result, Y)
    assert [spec.name for spec in (*module.inputs, *module.outputs)] == ["x", "y"]
    assert "x: f32[1000]" in repr(module)


def test_results_are_new_arrays(module: Module) -> None:
    first = module(X)
    second = module(X + 1)
    np.testing.assert_array_equal(first, Y)
    assert not np.shares_memory(first, second)


def test_out(module: Module) -> None:
    for form in (lambda y: y, lambda y: [y], lambda y: (y,), lambda y: {"y": y}):
        y = np.zeros(tiny.N, np.float32)
        assert module(X, out=form(y)) is y
        np.testing.assert_array_equal(y, Y)
    y = np.zeros(tiny.N, np.float32)
    assert module.run({"x": X}, {"y": y})["y"] is y


def test_layouts_of_inputs_are_repaired(module: Module) -> None:
    wide = np.zeros((tiny.N, 2), np.float32)
    wide[:, 1] = X
    np.testing.assert_array_equal(module(wide[:, 1]), Y)
    np.testing.assert_array_equal(module(X[::-1]), Y[::-1])
    odd = np.zeros(4 * tiny.N + 1, np.uint8)[1:].view(np.float32)
    odd[:] = X
    assert not odd.flags.aligned
    np.testing.assert_array_equal(module(odd), Y)
    frozen = X.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(module(frozen), Y)


def test_several_outputs_scalars_and_sizes() -> None:
    with Module(tiny.checked(), threads=1) as module:
        a, b = np.array([[7, 8]], np.float32), np.array([1], np.float32)
        o, c = module(np.array(5), a, b)
        assert (o.shape, int(o), c.tolist()) == ((), 5, [7.0])
        o, _ = module(np.int64(6), b=b, a=a)  # a numpy scalar, and names in any order
        assert int(o) == 6
        assert set(module.run({"k": np.array(1), "a": a, "b": b})) == {"o", "c"}


def test_run_time_checks_become_errors() -> None:
    with Module(tiny.checked(), threads=1) as module:
        good = (np.zeros((3, 2), np.float32), np.zeros(3, np.float32))
        with pytest.raises(RunError, match="index k is outside"):
            module(np.array(10), *good)
        module(np.array(9), *good)  # and the module lives on
    with (
        Module(replace(tiny.checked(), checks=()), threads=1) as module,
        pytest.raises(RunError, match="returned 1"),
    ):
        module(np.array(10), *good)


def test_symbolic_sizes_follow_the_inputs() -> None:
    with Module(tiny.double_plus_symbolic(), tiny.constant(), threads=2) as module:
        for n in (1, 7, 1000, 0):
            np.testing.assert_array_equal(module(X[:n].copy()), Y[:n])


def test_a_size_without_an_input_is_refused() -> None:
    artifact = tiny.double_plus_symbolic()
    with pytest.raises(InvalidPackage, match="sizes M"):
        Module(replace(artifact, outputs=(replace(artifact.outputs[0], shape=("M",)),)), tiny.constant())
    with pytest.raises(InvalidPackage, match="sizes K"):
        Module(replace(artifact, sizes=("N", "K")), tiny.constant())


def test_dlpack(module: Module) -> None:
    class Foreign:
        """Some other library's array."""

        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __dlpack__(self, **options: object) -> object:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

    np.testing.assert_array_equal(module(Foreign(X.copy())), Y)
    with pytest.raises(InvalidInput, match="float64"):
        module(Foreign(X.astype(np.float64)))

    class Broken(Foreign):
        def __dlpack__(self, **options: object) -> object:
            raise BufferError("on another device")

    with pytest.raises(InvalidInput, match="on another device"):
        module(Broken(X))


def test_weights_are_used_in_place_or_aligned() -> None:
    block = aligned_bytes(128)
    block[:4] = np.array([4], np.float32).view(np.uint8)
    with Module(tiny.double_plus(), block[:64], threads=1) as module:
        assert module._constants_address == block.ctypes.data
        block[:4] = np.array([5], np.float32).view(np.uint8)
        assert module(X)[0] == 2 * X[0] + 5
    block[8:12] = np.array([6], np.float32).view(np.uint8)
    with Module(tiny.double_plus(), block[8:72].tobytes(), threads=1) as module:
        assert module._constants_address % 64 == 0
        assert module(X)[0] == 2 * X[0] + 6


def test_wrong_weights_are_refused() -> None:
    with pytest.raises(InvalidPackage, match="weights have 3 bytes, the code wants 64"):
        Module(tiny.double_plus(), b"abc")


def test_workspaces_are_limited_before_allocation() -> None:
    with pytest.raises(ResourceLimit, match="workspace"):
        Module(replace(tiny.double_plus(), workspace_bytes=1 << 45), tiny.constant(), threads=1)
    with pytest.raises(ResourceLimit, match="workspace"):
        Module(replace(tiny.double_plus(), scratch_bytes=1 << 35), tiny.constant(), threads=1000)


@pytest.mark.parametrize("threads", [0, -1, 1025, True, 2.0, "2"])
def test_bad_thread_counts(threads: object) -> None:
    with pytest.raises(UsageError, match="threads="):
        Module(tiny.double_plus(), tiny.constant(), threads=threads)  # type: ignore[arg-type]


def test_memory_is_aligned() -> None:
    for size in (0, 1, 4097, HUGE_PAGE - 1, HUGE_PAGE, 3 * HUGE_PAGE + 5):
        block = aligned_bytes(size)
        assert block.nbytes == size
        assert block.ctypes.data % (HUGE_PAGE if size >= HUGE_PAGE else 4096) == 0
        assert not block.any()
    for size in (-1, 1 << 60):
        with pytest.raises(ResourceLimit):
            aligned_bytes(size)


def test_the_workspace_of_a_bound_call_that_is_gone_is_used_again(module: Module) -> None:
    frames = []
    for _ in range(2):
        call = module.bind([X.copy()])
        frames.append(id(call._frame))
        del call
        gc.collect()
    assert frames[0] == frames[1]


def test_bound_calls(module: Module) -> None:
    x, y = X.copy(), np.zeros(tiny.N, np.float32)
    call = module.bind([x], y)
    assert call() is y
    np.testing.assert_array_equal(y, Y)
    x[:] = 1
    other = module.bind({"x": x})
    assert (call()[0], other()[0]) == (5, 5)
    del x
    gc.collect()
    assert call()[0] == 5  # the arrays stay alive
    with pytest.raises(InvalidInput, match="not dense"):
        module.bind([np.zeros((tiny.N, 2), np.float32)[:, 0]])
    module.close()
    with pytest.raises(RunError, match="closed"):
        call()


def test_concurrent_calls_have_their_own_workspace() -> None:
    def call(value: int) -> bool:
        return bool((module(np.full(tiny.N, value, np.float32)) == 2 * value + 3).all())

    with Module(tiny.double_plus(), tiny.constant(), threads=1) as module, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(1000)))


def test_calls_release_the_lock_of_the_interpreter() -> None:
    """A spin in native code ends only when another Python thread writes; with the GIL held it would never end."""
    text = tiny._SIGNATURE + """ {
  %x = load ptr, ptr %inputs
  br label %again
again:
  %v = load atomic i64, ptr %x acquire, align 8
  %done = icmp ne i64 %v, 0
  br i1 %done, label %end, label %again
end:
  ret i32 0
}
"""  # fmt: skip
    flag = np.zeros(1, np.int64)
    spec = replace(tiny.checked().inputs[0], name="flag", shape=(1,))
    with Module(tiny.artifact(text, (spec,), ()), threads=1) as module:
        threading.Timer(0.05, lambda: flag.__setitem__(0, 1)).start()
        assert module(flag) == ()


@pytest.mark.parametrize("bound", [False, True])
def test_close_waits_for_calls_and_is_final(module: Module, bound: bool) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        call: Callable[[], object] | None = None
        while not stop.is_set():
            try:
                call = call or (module.bind([X]) if bound else functools.partial(module, X))
                if not np.array_equal(np.asarray(call()), Y):
                    raise AssertionError("wrong result")
            except RunError:
                return
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    module.close()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    module.close()
    assert module.closed
    with pytest.raises(RunError, match="closed"):
        module(X)
    with pytest.raises(RunError, match="closed"):
        module.profile(X)


def test_profile(module: Module) -> None:
    times = module.profile(X, rounds=5)
    assert [t.name for t in times] == ["step0", "step1"]
    assert all(len(t.timing.samples) == 5 and t.timing.best <= t.seconds for t in times)
    assert all(t.flops_per_second >= 0 and t.bytes_per_second >= 0 for t in times)
    with pytest.raises(UsageError):
        module.profile(X, rounds=0)


def test_bench(module: Module) -> None:
    timing = module.bench(X[::-1], rounds=4)
    assert len(timing.samples) == 4
    assert 0 < timing.best <= timing.median
    assert len(module.bench(X, seconds=0).samples) == 3
    with pytest.raises(UsageError):
        module.bench(X, rounds=0)


def test_steps_can_be_run_one_by_one(module: Module) -> None:
    y = np.full(tiny.N, -1, np.float32)
    call = module.bind([X], y)
    module._execute(call._frame, 0, 1)
    assert (y == -1).all()
    module._execute(call._frame, 1, 2)
    np.testing.assert_array_equal(y, Y)
