"""The race: every peer in a process of its own, stopped while another is timed, in rounds of changing order."""

from __future__ import annotations

import json
import os
import select
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import numpy as np
import onnx

from benchmarks.cases import Case
from polydl.errors import PolydlError

__all__ = ["Entry", "PeerFailed", "Result", "Worker", "race"]

_PATIENCE = 900.0  # seconds for a load: compiling a large network may take minutes
_STARTUP = 120.0
_ROOT = Path(__file__).resolve().parents[1]


class PeerFailed(PolydlError):
    """A peer is not installed, cannot run the model, took too long or died."""


class Worker:
    """A peer's process. Stopped except inside `ask`."""

    def __init__(self, peer: str, threads: int) -> None:
        self.peer, self.threads = peer, threads
        count = str(threads)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer, count],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # a group of its own: `close` also ends what a peer forked
        )
        self._rest = b""
        try:
            self.greeting = self._listen(_STARTUP)
        except PeerFailed:
            self.close()
            raise
        self._process.send_signal(signal.SIGSTOP)

    def ask(self, request: dict[str, Any], patience: float = _PATIENCE) -> dict[str, Any]:
        """Wake the process, let it answer, stop it again. PeerFailed if it says no, is late or dies."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise PeerFailed(f"{self.peer} died") from error
        reply = self._listen(patience)
        self._process.send_signal(signal.SIGSTOP)
        return reply

    def _listen(self, patience: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([descriptor], [], [], patience)
            if not ready:
                raise PeerFailed(f"{self.peer} did not answer within {patience:.0f} s")
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                code = self._process.wait()
                raise PeerFailed(f"{self.peer} died", why=f"its process ended with {code}")
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise PeerFailed(str(reply["error"]))
        return reply

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # a request that could not be sent
                    pipe.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(slots=True)
class Entry:
    """One peer's part in one race: the median time of each round in seconds, or why it has none."""

    peer: str
    rounds: list[float] = field(default_factory=list)
    best: float = float("inf")
    load_seconds: float | None = None
    error: float | None = None  # largest difference from the reference peer, relative to its largest output
    failure: str | None = None

    @property
    def seconds(self) -> float | None:
        return statistics.median(self.rounds) if self.rounds else None


@dataclass(frozen=True, slots=True)
class Result:
    """One case at one number of threads.

    `peak` is the FMA peak in FLOP/s measured between the others' turns. `available` is the part of its cores that the
    peak's busy threads got in their worst round: well below 1, other programs used them.
    """

    case: str
    threads: int
    flops: int
    nominal_flops: int
    bytes: int
    entries: tuple[Entry, ...]
    peak: float | None
    available: float | None
    reference: str | None

    @property
    def fastest_peer(self) -> Entry | None:
        """The fastest of the others."""
        timed = [entry for entry in self.entries if entry.rounds and entry.peer != "polydl"]
        return min(timed, key=lambda entry: entry.seconds or 0.0, default=None)

    @property
    def ratio(self) -> float | None:
        """polydl's time over the fastest peer's."""
        ours = next((entry for entry in self.entries if entry.peer == "polydl"), None)
        best = self.fastest_peer
        if ours is None or best is None or ours.seconds is None or best.seconds is None:
            return None
        return ours.seconds / best.seconds


def _difference(arrays: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """max |a - b| / max |b|, the worst of all outputs; infinite where shapes or finiteness differ."""
    worst = 0.0
    for a, b in zip(arrays, reference, strict=True):
        if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return float("inf")
        b = np.asarray(b, np.float64)
        worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)))
    return worst


def race(
    case: Case,
    peers: Sequence[str],
    threads: int,
    *,
    rounds: int,
    seconds: float,
    progress: Callable[[str], None] = lambda text: None,
) -> Result:
    """Measure one case. Peers that cannot take part are entered with the reason.

    A peer gets a turn of about `seconds` (at least three runs) in each of the `rounds`; the order of turns rotates.
    """
    entries = {peer: Entry(peer) for peer in peers}
    workers: dict[str, Worker] = {}
    outputs: dict[str, list[np.ndarray]] = {}
    with TemporaryDirectory() as folder, ExitStack() as stack:
        directory = Path(folder)
        onnx.save(case.model, directory / "model.onnx")
        np.savez(directory / "inputs.npz", **case.inputs)  # type: ignore[arg-type]
        for peer, entry in entries.items():
            progress(f"{case.name}, {threads} threads: loading {peer}")
            try:
                worker = stack.enter_context(Worker(peer, threads))
                request = {
                    "do": "load",
                    "model": str(directory / "model.onnx"),
                    "inputs": str(directory / "inputs.npz"),
                    "outputs": str(directory / f"{peer}.npz"),
                }
                entry.load_seconds = worker.ask(request)["seconds"]
            except PeerFailed as error:
                entry.failure = str(error)
                continue
            workers[peer] = worker
            with np.load(directory / f"{peer}.npz", allow_pickle=False) as arrays:
                outputs[peer] = [arrays[name] for name in sorted(arrays.files)]
        # The first of the others is the reference: ONNX Runtime, unless it was not asked for or cannot.
        reference = next((peer for peer in outputs if peer != "polydl"), None)
        if reference is not None:
            for peer, arrays in outputs.items():
                entries[peer].error = _difference(arrays, outputs[reference])

        peak_rounds: list[float] = []
        available: list[float] = []
        try:
            peak: Worker | None = stack.enter_context(Worker("peak", threads))
        except PeerFailed:
            peak = None  # no FMA, no peak: shown as a dash
        for number in range(rounds):
            progress(f"{case.name}, {threads} threads: round {number + 1} of {rounds}")
            if peak is not None:
                reply = peak.ask({"do": "time", "seconds": seconds / 4, "least": 2})
                peak_rounds.append(peak.greeting["flops"] / statistics.median(reply["samples"]))
                available.append(reply["cores"] / threads)
            order = list(workers)
            turn = number % max(len(order), 1)
            for peer in order[turn:] + order[:turn]:
                entry = entries[peer]
                try:
                    samples = workers[peer].ask({"do": "time", "seconds": seconds, "least": 3})["samples"]
                except PeerFailed as error:
                    entry.failure, entry.rounds = str(error), []
                    workers.pop(peer).close()
                    continue
                entry.rounds.append(statistics.median(samples))
                entry.best = min(entry.best, *samples)
    return Result(
        case.name,
        threads,
        case.flops,
        case.nominal_flops,
        case.bytes,
        tuple(entries.values()),
        statistics.median(peak_rounds) if peak_rounds else None,
        min(available, default=None),
        reference,
    )
