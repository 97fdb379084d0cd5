"""Loops as you have them, optimised without a word: polydl.optimize, and the list of steps that it took.

python examples/11_optimize_plain_loops.py
"""

# ruff: noqa: F821, UP037
# mypy: disable-error-code="name-defined, valid-type"
from __future__ import annotations

import time

import numpy as np

import polydl
from polydl import poly
from polydl.errors import InvalidProgram
from polydl.scheduler import Schedule
from polydl.targets import native

N = 700


def covariance(data: "f64[N, M]", mean: "f64[M]", cov: "f64[M, M]") -> None:
    assert N >= 2
    for j in range(M):
        mean[j] = 0.0
        for i in range(N):
            mean[j] += data[i, j]
        mean[j] /= N
    for i in range(N):
        for j in range(M):
            data[i, j] -= mean[j]
    for i in range(M):
        for j in range(i, M):
            cov[i, j] = 0.0
            for k in range(N):
                cov[i, j] += data[k, i] * data[k, j]
            cov[i, j] /= N - 1
            cov[j, i] = cov[i, j]


plain = polydl.loops(covariance)
fast = polydl.loops(optimize=True)(covariance)
print(poly.render(plain.schedule().tree))

schedule = polydl.optimize(plain.function, native())
print("steps of the automatic schedule, each of which has passed the judge:")
for step in schedule.trace:
    text = str(step)
    print(f"  {text if len(text) < 100 else text[:99] + '…'}")
assert Schedule.replay(plain.function, schedule.trace) == schedule


# What cannot be read as loops with affine bounds says so, with a caret.
def data_dependent(x: "f64[N]", last: "i64[1]") -> None:
    for i in range(last[0]):
        x[i] = 0.0


try:
    polydl.loops(data_dependent)
except InvalidProgram as refusal:
    print(f"\n{refusal}\n")

start = np.random.default_rng(0).standard_normal((N, N))
times = {}
for name, program in (("as written", plain), ("optimised", fast)):
    program(start.copy(), np.zeros(N), np.zeros((N, N)))  # compiles
    data, mean, cov = start.copy(), np.zeros(N), np.zeros((N, N))
    begin = time.perf_counter()
    program(data, mean, cov)
    times[name] = time.perf_counter() - begin
    if np.abs(cov - np.cov(start.T)).max() > 1e-10:
        raise SystemExit("wrong result")
    print(f"{name:<12} {times[name] * 1e3:8.1f} ms")
print(f"{times['as written'] / times['optimised']:.1f} times as fast")
