"""The long run: `python -m tests.oracle --pairs 20000 [--seed 0] [--start 0]` prints counts and what was misjudged."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.oracle.pairs import Misjudged, Tally, pair


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000, help="how many pairs to judge")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first pair, to run in slices")
    options = parser.parse_args()
    tally, wrong, begin, missing = Tally(), 0, time.perf_counter(), 0
    for number in range(options.start, options.start + options.pairs):
        try:
            missing += pair(options.seed, number, tally) is None
        except Misjudged as error:
            wrong += 1
            print(error, end="\n\n", flush=True)
        except Exception:  # an error that is no refusal is one of the package too
            wrong += 1
            print(f"seed {options.seed}, pair {number}:\n{traceback.format_exc()}", flush=True)
    print(tally)
    print(f"{missing} numbers without a pair, {wrong} misjudged, {time.perf_counter() - begin:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
