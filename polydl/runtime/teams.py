"""Thread teams: the workers that compute a run together with its caller.

A team of n threads is the caller and n-1 parked workers (daemon threads that live in native code and hold no GIL). It
does one run at a time: publish, compute, join, without a lock or a Python object in between. Workers spin some 100 us
for the next run and then sleep in the kernel, so an idle process costs nothing. Runs with one thread know no team.

Teams belong to the process, not to a module: modules called in turn use the same workers. Concurrent runs each lease
their own team as long as there are processors for its workers; beyond that they wait for one another, because
oversubscribed barriers are slower than a queue. Teams end when the last module that may use them is closed, and at
interpreter exit. After a fork the child starts with no team and makes its own.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from polydl.errors import RunError
from polydl.runtime.loader import Code, compile_ir, host_arch
from polydl.runtime.memory import aligned_bytes
from polydl.runtime.teams_ir import TEAM_BYTES, THREADS_OFFSET, teams_ir

__all__ = ["TEAMS", "Team", "Teams", "available_threads"]

_SYMBOLS: Final = ("polydl_team_worker", "polydl_team_run", "polydl_team_stop")
_STACK_BYTES: Final = 4 << 20  # generated code keeps register tiles and small local arrays on the stack


class _Native:
    """The team functions as ctypes callables; calls release the GIL."""

    def __init__(self) -> None:
        self.code: Code = compile_ir(teams_ir(host_arch()), _SYMBOLS)
        pointer = ctypes.c_void_p
        types: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
            ("polydl_team_worker", None, (pointer, ctypes.c_int64)),
            ("polydl_team_run", ctypes.c_int32, (pointer, pointer)),
            ("polydl_team_stop", None, (pointer,)),
        )
        made = [ctypes.CFUNCTYPE(result, *args)(self.code.address(name)) for name, result, args in types]
        self.worker, self.run, self.stop = made


_native_lock = threading.Lock()
_native_code: _Native | None = None


def _native() -> _Native:
    """The native functions, compiled once per process and never unloaded."""
    global _native_code
    with _native_lock:
        if _native_code is None:
            _native_code = _Native()
        return _native_code


class Team:
    """`threads` threads with a barrier; one run at a time."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        native = _native()
        self._block = aligned_bytes(TEAM_BYTES)  # zeroed
        self.address = int(self._block.ctypes.data)
        ctypes.c_int64.from_address(self.address + THREADS_OFFSET).value = threads
        self.run: Callable[[int, int], int] = native.run  # of the addresses of team and call block
        self._stop = native.stop
        self._workers: list[threading.Thread] = []
        try:
            for index in range(1, threads):
                worker = threading.Thread(
                    target=native.worker,
                    args=(self.address, index),
                    name=f"polydl-{threads}.{index}",
                    daemon=True,
                )
                _start(worker)
                self._workers.append(worker)
        except RuntimeError as error:
            self.close()
            raise RunError(
                f"cannot start {threads} threads", why=str(error), next="ask for fewer with threads="
            ) from error

    def close(self) -> None:
        """Stop and join the workers. The team must be idle."""
        workers, self._workers = self._workers, []
        if workers:
            self._stop(self.address)
            for worker in workers:
                worker.join()


def _start(thread: threading.Thread) -> None:
    """Start with a stack for generated code; the size is a setting of the process, restored at once."""
    with _native_lock:
        before = threading.stack_size(_STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(before)


class Teams:
    """All teams of the process: leased for one run at a time, shared by all modules."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        # Re-entrant: a collection of garbage while it is held may end a module, which unregisters here.
        self._condition = threading.Condition(threading.RLock())
        # Popped and appended to without the lock, by each call; lists are never taken out or replaced.
        self._idle: dict[int, list[Team]] = {}
        self._waiting = 0  # calls that found no team
        self._users: Counter[int] = Counter()
        self._workers = 0  # of all teams, idle or leased
        self._room = 0  # workers for which there are processors; found at the first lease

    def _after_fork(self) -> None:
        """In the child no worker lives; its users (modules) do. Locks may have been held by threads that are gone."""
        global _native_lock
        _native_lock = threading.Lock()
        users = self._users
        self._reset()
        self._users = users

    def register(self, threads: int) -> None:
        """A module that runs with `threads` begins to live."""
        with self._condition:
            self._users[threads] += 1

    def unregister(self, threads: int) -> None:
        """A module ends, its calls before it; with the last one its idle teams end."""
        with self._condition:
            self._users[threads] -= 1
            ending = self._evict(threads) if self._users[threads] <= 0 else []
            self._condition.notify_all()
        for team in ending:
            team.close()

    def acquire(self, threads: int) -> Team:
        """An idle team of `threads` >= 2, a new one, or, when the processors are taken, the next that becomes free."""
        if not self._waiting:  # who waits already goes first
            with contextlib.suppress(KeyError, IndexError):
                return self._idle[threads].pop()
        return self._made_or_awaited(threads)

    def _made_or_awaited(self, threads: int) -> Team:
        ending: list[Team] = []
        with self._condition:
            idle = self._idle.setdefault(threads, [])
            self._waiting += 1  # from here on whoever gives a team back tells
            try:
                while True:
                    with contextlib.suppress(IndexError):
                        return idle.pop()
                    room = self._room = self._room or max(available_threads() - 1, 1)
                    if self._workers + threads - 1 > room:
                        ending += self._evict()
                    if self._workers + threads - 1 <= room or self._workers == 0:
                        self._workers += threads - 1
                        break
                    self._condition.wait()
            finally:
                self._waiting -= 1
        try:
            for team in ending:
                team.close()
            return Team(threads)
        except BaseException:
            with self._condition:
                self._workers -= threads - 1
                self._condition.notify()
            raise

    def release(self, team: Team) -> None:
        """Give a leased team back."""
        threads = team.threads
        self._idle[threads].append(team)
        if self._waiting or self._users[threads] <= 0:
            with self._condition:
                ending = self._evict(threads) if self._users[threads] <= 0 else []
                self._condition.notify()
            for idle in ending:
                idle.close()

    def close(self) -> None:
        """End all idle teams (at interpreter exit)."""
        with self._condition:
            ending = self._evict()
        for team in ending:
            team.close()

    def _evict(self, threads: int | None = None) -> list[Team]:
        """Take idle teams out, all or those of some size; the lock is held, the caller closes them."""
        ending: list[Team] = []
        for teams in self._idle.values() if threads is None else [self._idle.get(threads, [])]:
            with contextlib.suppress(IndexError):
                while True:  # until another thread has taken the last one
                    ending.append(teams.pop())
        self._workers -= sum(team.threads - 1 for team in ending)
        return ending


def available_threads() -> int:
    """Processors this process may use: its affinity mask, one per core, cut by the control group's quota."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_siblings(cpu) for cpu in cpus}
    return max(1, min(len(cores), _quota()))


def _siblings(cpu: int) -> str:
    """The hardware threads of the core of `cpu`; they share its vector units, so that one per core is enough."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def _quota() -> int:
    """Whole processors that the control group grants (cgroup v2); a great number without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(quota) // int(period) if quota != "max" else 1 << 30
    except (OSError, ValueError):
        return 1 << 30


TEAMS: Final = Teams()
atexit.register(TEAMS.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=TEAMS._after_fork)
