"""`python -m benchmarks.parsing`: verify and parse one body, against `json.loads` + `hmac` on the same body.

Pinned to one core; the two take turns of a few milliseconds, the fastest turn of each counts: what is left is the
work itself, not what else the machine did.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from statistics import median

from ampeco.notifications import parse
from ampeco.signature import SigningKey, sign, verify
from benchmarks.bodies import SECRET, body

BODIES = 200
ROUNDS = 60
EXPECTED_RATIO = 3.0
EXPECTED_US = 40.0


def measure() -> tuple[float, float, float]:
    """Microseconds per body: ours, theirs; and the median of the rounds' ratios."""
    key = SigningKey.of(SECRET)
    signed = [(content, sign(content, key).encode()) for content in map(body, range(BODIES))]

    def ours() -> None:
        for content, signature in signed:
            verify(content, signature, (key,))
            parse(content)

    def theirs() -> None:
        for content, signature in signed:
            expected = hmac.new(key.secret, content, hashlib.sha256).hexdigest()
            assert hmac.compare_digest(expected.encode(), signature)
            json.loads(content)

    ours()
    theirs()
    turns = [(_timed_us(ours), _timed_us(theirs)) for _ in range(ROUNDS)]
    return min(turn[0] for turn in turns), min(turn[1] for turn in turns), median(a / b for a, b in turns)


def _timed_us(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / BODIES * 1e6


def main() -> None:
    """Measure and print; like every benchmark it is not a gate."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    ours, theirs, ratio = measure()
    verdict = "PASS" if ratio <= EXPECTED_RATIO and ours <= EXPECTED_US else "MISS"
    print(f"body of {len(body(0))} bytes, load average {os.getloadavg()[0]:.1f}")
    print(f"verify + parse (ours)      {ours:6.1f} us   expected <= {EXPECTED_US:g}")
    print(f"json.loads + hmac          {theirs:6.1f} us")
    print(f"ratio                      {ratio:6.2f}      expected <= {EXPECTED_RATIO:g}   {verdict}")


if __name__ == "__main__":
    main()
