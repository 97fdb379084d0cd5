"""The long run of the judge's oracle, which prints counts and what was misjudged.

`python -m tests.oracle --pairs 20000 [--seed 0] [--start 0] [--jobs 2]`
Every pair is made from the seed and its own number, so that the counts do not depend on `--jobs` or on slices.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Final, NamedTuple

from tests.oracle.pairs import Misjudged, Tally, pair

_PORTION: Final = 50  # numbers that one process takes at a time


class Portion(NamedTuple):
    """What some numbers have given."""

    count: int
    tally: Tally
    missing: int
    wrong: tuple[str, ...]


def judged(seed: int, start: int, count: int) -> Portion:
    """The pairs of some numbers."""
    tally, missing, wrong = Tally(), 0, list[str]()
    for number in range(start, start + count):
        try:
            missing += pair(seed, number, tally) is None
        except Misjudged as error:
            wrong.append(str(error))
        except Exception:  # an error that is no refusal is one of the package too
            wrong.append(f"seed {seed}, pair {number}:\n{traceback.format_exc()}")
    return Portion(count, tally, missing, tuple(wrong))


def portions(seed: int, start: int, pairs: int, jobs: int) -> Iterator[Portion]:
    """All numbers in their order, some at a time; with several jobs in as many processes."""
    begins = range(start, start + pairs, _PORTION)
    counts = [min(_PORTION, start + pairs - b) for b in begins]
    if jobs == 1:
        yield from map(judged, [seed] * len(counts), begins, counts)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(judged, [seed] * len(counts), begins, counts)


def total(found: Iterable[Portion], pairs: int) -> Portion:
    """The sum of all portions; what is misjudged is printed when it is found, and on a terminal how far it is."""
    tally, done, missing, wrong = Tally(), 0, 0, list[str]()
    begin = time.perf_counter()
    for portion in found:
        tally.add(portion.tally)
        done += portion.count
        missing += portion.missing
        wrong += portion.wrong
        for text in portion.wrong:
            print(text, end="\n\n", flush=True)
        if sys.stderr.isatty():
            left = (time.perf_counter() - begin) / done * (pairs - done)
            state = f"{done}/{pairs} numbers, {tally.illegal.total()} illegal, {len(wrong)} misjudged"
            print(f"\r{state}, {left:.0f} s left ", end="", file=sys.stderr, flush=True)
    return Portion(done, tally, missing, tuple(wrong))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000, help="how many pairs to judge")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first pair, to run in slices")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the pairs")
    options = parser.parse_args()
    begin = time.perf_counter()
    found = total(portions(options.seed, options.start, options.pairs, options.jobs), options.pairs)
    print(found.tally)
    seconds = time.perf_counter() - begin
    print(f"{found.missing} numbers without a pair, {len(found.wrong)} misjudged, {seconds:.0f} s")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
