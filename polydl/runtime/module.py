"""`Module`: a compiled artifact as a callable on numpy arrays."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polydl.artifact import Artifact, StepInfo, TensorSpec
from polydl.errors import InvalidPackage, ResourceLimit, RunError, UsageError
from polydl.runtime.arguments import Arguments, describe
from polydl.runtime.frames import Frame, failure
from polydl.runtime.loader import Code, check_machine, load_object
from polydl.runtime.measure import StepTime, Timing
from polydl.runtime.memory import MAX_BYTES, address, aligned_bytes, as_bytes, physical_bytes, room_for
from polydl.runtime.teams import TEAMS, available_threads

__all__ = ["MAX_THREADS", "BoundCall", "Module"]

MAX_THREADS: Final = 1024
_SLOW_FLOPS, _SLOW_BYTES = 50e9, 20e9  # a second
_LEAST_SHARED_STEP: Final = 5e-6  # seconds: a dozen warm barriers
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64
_ENTRY: Final = ctypes.CFUNCTYPE(
    ctypes.c_int32, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT, _INT, _POINTER, _INT, _INT
)


class Module:
    """Compiled code, ready to call: `module(x, y)`, `module(x=…)`, `module({"x": …})`.

    Inputs are numpy arrays or objects with `__dlpack__` of exactly the wanted type; outputs are new arrays or those
    given as `out=`. A call releases the GIL. Calls from several threads are safe: each has its own workspace. With
    `threads > 1` concurrent calls take turns where there are not processors enough for all
    (see `polydl.runtime.teams`). Close it, or use it in a `with` statement; it also survives a fork.

    `constants` is the weight image (any buffer of `artifact.constants_bytes`; used in place when 64-byte aligned).
    `threads` defaults to the cores that this process may use, or to 1 where steps are too short to share.
    `info` is what the package says about itself (tolerances, measured error, …). `in_place`: the code updates its
    outputs; it is run by `update` alone.
    """

    def __init__(
        self,
        artifact: Artifact,
        constants: Any = b"",
        *,
        threads: int | None = None,
        info: Mapping[str, Any] | None = None,
        in_place: bool = False,
    ) -> None:
        self.artifact = artifact
        self.threads = _thread_count(threads, artifact.steps)
        self.info: Mapping[str, Any] = MappingProxyType(dict(info or {}))
        self.workspace_bytes = artifact.workspace_bytes + self.threads * artifact.scratch_bytes
        if not 0 <= self.workspace_bytes <= min(MAX_BYTES, physical_bytes()):
            raise ResourceLimit(
                f"the workspace of {self.workspace_bytes} bytes is larger than this machine's memory",
                next="build for a smaller batch, or load with fewer threads",
            )
        self._arguments = Arguments(artifact, in_place=in_place)
        check_machine(artifact)
        self._constants = _constants(constants, artifact)
        self._constants_address = int(self._constants.ctypes.data)
        self._code: Code = load_object(artifact.code, (artifact.entry,))
        self._entry_address = self._code.address(artifact.entry)
        self._entry = _ENTRY(self._entry_address)
        self._free: list[Frame] = []
        self._bound: weakref.WeakSet[BoundCall] = weakref.WeakSet()
        self._active = 0
        self._closed = False
        self._condition = threading.Condition(threading.Lock())
        if self.threads > 1:
            TEAMS.register(self.threads)
            TEAMS.release(TEAMS.acquire(self.threads))  # start the workers now, not in the first call
            self._finalizer = weakref.finalize(self, TEAMS.unregister, self.threads)
            self._finalizer.atexit = False
        _modules.add(self)

    # what it is

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the order of positional arguments."""
        return self.artifact.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.artifact.outputs

    @property
    def steps(self) -> tuple[StepInfo, ...]:
        return self.artifact.steps

    @property
    def closed(self) -> bool:
        return self._closed

    def __repr__(self) -> str:
        given, made = "; ".join(map(describe, self.inputs)), "; ".join(map(describe, self.outputs))
        state = "closed" if self._closed else f"{len(self.steps)} steps, {self.threads} threads"
        return f"<polydl.Module ({given}) -> ({made}), {state}>"

    # calls

    def __call__(self, /, *args: Any, out: Any = None, **named: Any) -> Any:
        """Run on inputs given by position, by name or as one dict; an array, or a tuple of several outputs.

        `out`: array(s) to write instead of new ones (one array, a sequence in order, or a dict by name): of exact
        type and shape, dense, not overlapping any input. Errors: InvalidInput; RunError when a run-time check of
        the code fails or the module is closed.
        """
        results = self._call(args, named, out)
        return results[0] if len(results) == 1 else tuple(results)

    def run(
        self, inputs: Mapping[str, Any], out: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run on inputs by name, outputs by name."""
        results = self._call((), inputs, out)
        return {spec.name: array for spec, array in zip(self.outputs, results, strict=True)}

    def update(
        self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]], sizes: Mapping[str, int]
    ) -> None:
        """Run in place: `outputs` hold their present contents before and the results after, `sizes` are all given.

        For code whose outputs are updated (`polydl.loops`). Arrays must be dense, of exact types and shapes, and those
        written must not overlap any other. Errors: InvalidInput; RunError when a run-time check fails.
        """
        self._arguments.in_place(inputs, outputs, sizes)
        frame = self._take()
        try:
            self._fill(frame, inputs, outputs, sizes)
            self._execute(frame)
        finally:
            self._give(frame)

    def bind_update(
        self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]], sizes: Mapping[str, int]
    ) -> BoundCall:
        """An `update` with these arrays, checked now and run at every call of the result."""
        self._arguments.in_place(inputs, outputs, sizes)
        frame = self._take()
        try:
            self._fill(frame, inputs, outputs, sizes)
        finally:
            self._leave()
        return BoundCall(self, frame, inputs, outputs)

    def _call(self, args: tuple[Any, ...], named: Mapping[str, Any], out: Any) -> list[NDArray[Any]]:
        arguments = self._arguments
        arrays, sizes = arguments.arrays(arguments.collect(args, named))
        results = arguments.results(out, arrays, sizes)
        frame = self._take()
        try:
            self._fill(frame, arrays, results, sizes)
            self._execute(frame)
        finally:
            self._give(frame)
        return results

    def bind(self, inputs: Sequence[Any] | Mapping[str, Any], out: Any = None) -> BoundCall:
        """Fix inputs and outputs once: the returned callable runs on what these arrays hold then, unchecked."""
        values = self._arguments.collect((inputs,) if isinstance(inputs, Mapping) else tuple(inputs), {})
        arrays, sizes = self._arguments.arrays(values, copy=False)
        results = self._arguments.results(out, arrays, sizes)
        frame = self._take()
        try:
            self._fill(frame, arrays, results, sizes)
        finally:
            self._leave()
        return BoundCall(self, frame, arrays, results)

    def _fill(
        self,
        frame: Frame,
        inputs: Sequence[NDArray[Any]],
        outputs: Sequence[NDArray[Any]],
        sizes: Mapping[str, int],
    ) -> None:
        """Write the addresses and sizes of one call; the caller keeps the arrays alive."""
        for index, array in enumerate(inputs):
            frame.inputs[index] = address(array)
        for index, array in enumerate(outputs):
            frame.outputs[index] = address(array)
        for index, name in enumerate(self.artifact.sizes):
            frame.sizes[index] = sizes[name]
        if self.artifact.temporaries:
            room_for(self.artifact.temporaries, sizes, frame.temporaries)
            for index, block in enumerate(frame.temporaries, len(outputs)):
                frame.outputs[index] = block.ctypes.data

    def _execute(self, frame: Frame, first: int = 0, last: int | None = None) -> None:
        """Run the steps `first <= s < last`."""
        last = len(self.artifact.steps) if last is None else last
        if self.threads == 1:
            code = self._entry(*frame.pointers, 0, 1, None, first, last)
        else:
            frame.block[6], frame.block[7] = first, last
            code = self._on_team(ctypes.addressof(frame.block))
        if code:
            raise failure(self.artifact, code)

    def _prepared(self, frame: Frame) -> Callable[[], int]:
        """All steps on one frame, with as little Python around the code as can be: returns the code's result."""
        last = len(self.artifact.steps)
        if self.threads == 1:
            return functools.partial(self._entry, *frame.pointers, 0, 1, None, 0, last)
        frame.block[6], frame.block[7] = 0, last
        return functools.partial(self._on_team, ctypes.addressof(frame.block))

    def _on_team(self, block: int) -> int:
        """Run the call block at an address with all threads; the greatest of their results."""
        team = TEAMS.acquire(self.threads)
        try:
            return team.run(team.address, block)
        finally:
            TEAMS.release(team)

    # frames and life

    def _enter(self) -> None:
        """Count a call that begins."""
        with self._condition:
            self._check_open()
            self._active += 1

    def _check_open(self) -> None:
        if self._closed:
            raise RunError("the module is closed", next="load it again")

    def _leave(self) -> None:
        with self._condition:
            self._active -= 1
            if self._closed:
                self._condition.notify_all()

    def _take(self) -> Frame:
        self._enter()
        try:
            return self._free.pop()
        except IndexError:
            pass
        try:
            return Frame(self.artifact, self._entry_address, self._constants_address, self.workspace_bytes)
        except BaseException:
            self._leave()
            raise

    def _give(self, frame: Frame) -> None:
        self._recycle(frame)
        self._leave()

    def _recycle(self, frame: Frame) -> None:
        """Keep at most as many workspaces as there can be calls that really run at once: their pages are there."""
        if len(self._free) < _MAX_FREE and not self._closed:
            self._free.append(frame)

    def close(self) -> None:
        """Wait for calls in flight, then free code, workspaces and, with its last module, the team. Idempotent."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
            while self._active:
                self._condition.wait()
            bound = list(self._bound)
        for call in bound:
            with call.lock:  # one in flight ends; later ones see that the module is closed
                pass
        self._free.clear()
        self._constants = np.empty(0, np.uint8)
        self._code.close()
        if self.threads > 1:
            self._finalizer()

    def __enter__(self) -> Module:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _after_fork(self) -> None:
        """In the child no call is in flight and nobody holds the lock."""
        self._condition = threading.Condition(threading.Lock())
        self._active = 0
        for call in self._bound:
            call.lock = threading.Lock()

    # measurements

    def profile(self, *inputs: Any, rounds: int = 20) -> tuple[StepTime, ...]:
        """Time every step by itself, `rounds` times in network order, after one warm-up run.

        The cost of the call around a step (measured with an empty range) is subtracted. Same inputs as for a call.
        """
        if rounds < 1:
            raise UsageError(f"rounds={rounds}: at least one is needed")
        arrays, sizes = self._arguments.arrays(self._arguments.collect(inputs, {}))
        results = self._arguments.results(None, arrays, sizes)
        clock = time.perf_counter_ns
        samples: list[list[int]] = [[] for _ in self.steps]
        frame = self._take()
        try:
            self._fill(frame, arrays, results, sizes)
            self._execute(frame)
            empty: list[int] = []
            for _ in range(20):
                start = clock()
                self._execute(frame, 0, 0)
                empty.append(clock() - start)
            for _ in range(rounds):
                for index, series in enumerate(samples):
                    start = clock()
                    self._execute(frame, index, index + 1)
                    series.append(clock() - start)
        finally:
            self._give(frame)
        overhead = min(empty)
        return tuple(
            StepTime(step, Timing.of([max(s - overhead, 0) * 1e-9 for s in series]))
            for step, series in zip(self.steps, samples, strict=True)
        )

    def bench(self, *inputs: Any, rounds: int | None = None, seconds: float = 1.0) -> Timing:
        """Time whole runs: `rounds` of them, or as many as fit into `seconds` (at least 3), after two warm-up runs."""
        if rounds is not None and rounds < 1:
            raise UsageError(f"rounds={rounds}: at least one is needed")
        call = self.bind([np.ascontiguousarray(a) if a.ndim else a for a in self._dense(inputs)])
        call()
        call()
        samples: list[float] = []
        begin = time.perf_counter()
        while len(samples) < rounds if rounds is not None else (
            len(samples) < 3 or time.perf_counter() - begin < seconds
        ):  # fmt: skip
            start = time.perf_counter_ns()
            call()
            samples.append((time.perf_counter_ns() - start) * 1e-9)
        return Timing.of(samples)

    def _dense(self, inputs: tuple[Any, ...]) -> list[NDArray[Any]]:
        return self._arguments.arrays(self._arguments.collect(inputs, {}))[0]


class BoundCall:
    """A call with fixed arrays (`Module.bind`). Calls of one BoundCall take turns."""

    def __init__(
        self, module: Module, frame: Frame, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]
    ) -> None:
        self.module = module
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.lock = threading.Lock()
        self._frame = frame
        self._run = module._prepared(frame)
        self._result: Any = self.outputs[0] if len(outputs) == 1 else self.outputs
        weakref.finalize(self, module._recycle, frame).atexit = False
        with module._condition:  # `close` goes through them
            module._bound.add(self)

    def __call__(self) -> Any:
        """Run; the array, or the tuple of arrays, given at `bind`."""
        with self.lock:
            self.module._check_open()
            code = self._run()
        if code:
            raise failure(self.module.artifact, code)
        return self._result


def _thread_count(threads: int | None, steps: Sequence[StepInfo]) -> int:
    if threads is None:
        return available_threads() if _worth_sharing(steps) else 1
    return checked_threads(threads)


def checked_threads(threads: int) -> int:
    """`threads`; UsageError where it is no number of threads."""
    if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"threads={threads!r} is not a number from 1 to {MAX_THREADS}")
    return threads


def _worth_sharing(steps: Sequence[StepInfo]) -> bool:
    """Whether a step is long enough, on average, for threads to win more than they lose by meeting after it.

    A step's time is taken from a slow core's rates; steps that say nothing of their work count as long.
    """
    if not steps or any(s.flops == 0 and s.bytes == 0 for s in steps):
        return True
    seconds = sum(max(s.flops / _SLOW_FLOPS, s.bytes / _SLOW_BYTES) for s in steps)
    return seconds / len(steps) >= _LEAST_SHARED_STEP


def _constants(data: Any, artifact: Artifact) -> NDArray[np.uint8]:
    """The weight image, 64-byte aligned: `data` in place where possible."""
    flat = as_bytes(data)
    if flat.nbytes != artifact.constants_bytes:
        raise InvalidPackage(
            f"the weights have {flat.nbytes} bytes, the code wants {artifact.constants_bytes}"
        )
    if flat.nbytes and flat.ctypes.data % 64:
        aligned = aligned_bytes(flat.nbytes)
        aligned[:] = flat
        return aligned
    return flat


_MAX_FREE: Final = max(available_threads(), 2)
_modules: weakref.WeakSet[Module] = weakref.WeakSet()


def _after_fork() -> None:
    for module in list(_modules):
        module._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
