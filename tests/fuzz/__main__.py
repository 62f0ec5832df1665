"""`make fuzz SECONDS=600 [SEED=n]`: both fuzzers for a time, their figures, and every finding."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections.abc import Callable

import structlog

from tests.fuzz.figures import Figures
from tests.fuzz.http_ways import HttpFuzzer
from tests.fuzz.payloads import PayloadFuzzer
from tests.fuzz.sockets import SocketFuzzer

FUZZERS = {"http": (HttpFuzzer, 0.5), "sockets": (SocketFuzzer, 0.1), "payload": (PayloadFuzzer, 0.4)}
"""Name -> fuzzer, and its share of the time."""


def main() -> int:
    """Fuzz; the exit code is 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all together (60)")
    parser.add_argument("--seed", type=int, help="a random one if not given")
    parser.add_argument("--only", choices=FUZZERS, help="one of them gets all the time")
    parser.add_argument("--first", type=int, default=0, metavar="ROUND", help="begin with this round (0)")
    parser.add_argument("--rounds", type=int, help="run so many rounds instead of a time")
    wanted = parser.parse_args()
    seed = random.randrange(1_000_000) if wanted.seed is None else wanted.seed
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    print(f"seed {seed}", flush=True)
    found = 0
    for name, (fuzzer, share) in FUZZERS.items():
        if wanted.only in (None, name):
            seconds = wanted.seconds if wanted.only else share * wanted.seconds
            more = rounds_left(wanted.rounds) if wanted.rounds else time_left(seconds)
            figures: Figures = fuzzer(seed).run(more, wanted.first)
            print("\n".join(figures.lines()), flush=True)
            found += len(figures.findings)
    print(f"seed {seed}, {found} findings")
    return 1 if found else 0


def time_left(seconds: float) -> Callable[[], bool]:
    """Return a function that returns true until the time is over."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() < until


def rounds_left(rounds: int) -> Callable[[], bool]:
    """Return a function that returns true so many times."""
    numbers = iter(range(rounds))
    return lambda: next(numbers, None) is not None


if __name__ == "__main__":
    sys.exit(main())
