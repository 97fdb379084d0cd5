"""The process of one peer at one number of threads: `python -m benchmarks.worker PEER THREADS`.

It reads one JSON request per line and answers with one JSON line:
  {"do": "load", "model": path, "inputs": npz, "outputs": npz}  -> {"seconds": s}; writes the outputs of one run
  {"do": "time", "seconds": s, "least": n}                      -> {"samples": [seconds of each run], "cores": c};
                                                                   c: processor time per second of the turn
On start it says {"version": text}. Any failure is answered with {"error": text}.
Between requests it is blocked on its pipe, and the parent stops it, so that no pool of threads spins meanwhile.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.peak import Peak
from benchmarks.peers import PEERS, Missing, Session

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """A stopped child of a killed parent would stay for ever; the kernel ends it (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _time(run: Callable[[], object], seconds: float, least: int) -> list[float]:
    """Times of single runs for about `seconds`, at least `least` of them, after a tenth of that as warm-up."""
    clock = time.perf_counter
    begin = clock()
    while True:  # caches and clock speed come back after a stop
        run()
        if clock() - begin > seconds / 10:
            break
    samples: list[float] = []
    begin = clock()
    while len(samples) < least or clock() - begin < seconds:
        start = clock()
        run()
        samples.append(clock() - start)
    return samples


class _Server:
    def __init__(self, peer: str, threads: int) -> None:
        self.peer, self.threads = peer, threads
        self.session: Session | None = None
        self.inputs: dict[str, np.ndarray] = {}  # kept alive: peers bind the memory itself

    def hello(self) -> dict[str, Any]:
        if self.peer == "peak":
            peak = Peak(self.threads)
            self.session = Session(peak.run, list)
            return {"version": "", "flops": peak.flops}
        return {"version": PEERS[self.peer].version()}

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        self.session = None  # free the previous model before the next is opened
        with np.load(request["inputs"], allow_pickle=False) as arrays:
            self.inputs = {name: np.ascontiguousarray(arrays[name]) for name in arrays.files}
        start = time.perf_counter()
        session = PEERS[self.peer].load(Path(request["model"]), self.inputs, self.threads)
        session.run()
        seconds = time.perf_counter() - start
        outputs = session.outputs()
        np.savez(request["outputs"], **{f"{index:03}": array for index, array in enumerate(outputs)})  # type: ignore[arg-type]
        self.session = session
        return {"seconds": seconds}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "load":
            return self.load(request)
        assert self.session is not None, "load comes before time"
        wall, cpu = time.perf_counter(), time.process_time()
        samples = _time(self.session.run, request["seconds"], request["least"])
        cores = (time.process_time() - cpu) / (time.perf_counter() - wall)
        return {"samples": samples, "cores": cores}


def _say(channel: TextIO, compute: Callable[[], dict[str, Any]]) -> bool:
    """Answer with a result or an error; the message's first line is enough to know the peer's trouble."""
    try:
        reply = compute()
    except (Missing, ImportError) as error:
        reply = {"error": f"missing: {error}"}
    except Exception as error:
        # Whatever a peer throws is its own result; it must not end the race of the others.
        text = str(error).strip().splitlines()
        reply = {"error": f"{type(error).__name__}: {text[0] if text else ''}"[:300]}
    channel.write(json.dumps(reply) + "\n")
    channel.flush()
    return "error" not in reply


def main() -> None:
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    # What a library prints must not reach the channel.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    server = _Server(sys.argv[1], int(sys.argv[2]))
    if not _say(channel, server.hello):
        return
    for line in sys.stdin:
        request = json.loads(line)
        _say(channel, lambda request=request: server.answer(request))  # type: ignore[misc]


if __name__ == "__main__":
    main()
