"""`make chaos SECONDS=600 [SEED=n]`: a long run, its numbers, and every broken promise explained."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.play import Played

RECOVERY_S = 15.0
_SHOWN = 8
_COUNTS = {
    "sent": "notifications sent",
    "accepted": "of them accepted",
    "stored": "events in the log",
    "deliveries": "deliveries settled",
    "attempts": "attempts",
    "replayed": "of them for somebody who asked for it again",
    "cut": "attempts cut off by a death",
    "effects": "once-only steps carried out",
    "superseded": "superseded by newer ones",
    "throttled": "skipped, since their key had no slot left",
    "throttled_full": "keys of which as many events were done as there are slots",
    "timers": "timers that fell due",
    "timers_over": "of them cancelled or set again by then",
    "dead": "deliveries given up, some more than once",
    "worker_died": "of them after three deaths",
    "uncertain": "of them for an uncertain step",
    "stall_overlaps": "overlaps across a stall longer than the lease (allowed)",
    "pauses": "pauses, from command to command",
    "renames": "renames, there and back",
    "replays": "replays",
    "chosen": "deliveries that had to run again because of them",
    "retries": "retries of all dead letters of a handler",
    "reopened": "deliveries put to run again by either",
    "trimmed": "events trimmed",
    "doubled": "doubled (allowed)",
    "lost": "LOST",
    "overtaken": "OVERTAKEN",
    "repeated": "ONCE-ONLY STEPS REPEATED",
    "other": "OTHER VIOLATIONS",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rate", type=float, default=40.0, help="notifications per second")
    parser.add_argument("--redis", action="store_true", help="with Redis of this machine instead of Valkey")
    parser.add_argument(
        "--cluster", action="store_true", help="on a cluster: three masters with a replica each"
    )
    wanted = parser.parse_args()
    seed = random.randrange(1_000_000) if wanted.seed is None else wanted.seed
    prefix = os.environ["CHAOS_PREFIX"] = "{awr}:" if wanted.cluster else "awr:"
    # RQ reads its prefix when it is imported.
    os.environ["RQ_KEY_PREFIX"] = f"{prefix}rq"
    from eventlog.connection import embedded
    from tests.chaos import stores
    from tests.chaos.play import play

    binary = shutil.which("redis-server") if wanted.redis else None
    if wanted.redis:
        if binary is None:
            parser.error("--redis: no redis-server is installed here")
        embedded.server_binary = lambda: Path(binary)

    def clustered(folder: Path, _: int) -> AbstractContextManager[stores.Store]:
        return stores.clustered(folder, binary=binary)

    store_of = clustered if wanted.cluster else stores.single
    folder = Path(tempfile.mkdtemp(prefix="awr-chaos-"))
    print(f"seed {seed}, {wanted.seconds:.0f} s, in {folder}", flush=True)
    lines, broken = _told(play(wanted.seconds, seed, folder, rate=wanted.rate, store_of=store_of))
    print("\n".join(lines))
    print(f"seed {seed}")
    if broken:
        print(f"BROKEN PROMISES: {broken}; record and logs are kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _told(played: Played) -> tuple[list[str], int]:
    from tests.chaos.checker import check
    from tests.chaos.interventions import OUTLIVES_S
    from tests.chaos.strikes import KILLS

    verdict = check(played.story, recovery_s=RECOVERY_S)

    def lines() -> Iterator[str]:
        kinds = [strike.kind for strike in played.story.strikes]
        for kind in sorted(set(kinds)):
            yield f"{kinds.count(kind):8}  {kind}"
        yield f"{sum(kind in KILLS for kind in kinds):8}  kills in all"
        yield f"{played.dropped:8}  replies of Redis lost"
        yield f"{played.unanswered:8}  deliveries without a 2xx"
        yield f"{played.refused:8}  answers 503"
        for name, label in _COUNTS.items():
            yield f"{verdict.counts[name]:8}  {label}"
        yield f"{verdict.slowest_s:8.1f}  s, the slowest recovery (bound {RECOVERY_S:.0f} s)"
        yield f"{verdict.latest_s:8.1f}  s, the latest start after a pause (bound {OUTLIVES_S['pause']:.0f} s)"
        if played.exit_code:
            yield f"the workers ended with {played.exit_code} after a polite stop"
        for violation in verdict.violations[:_SHOWN]:
            yield f"\n{violation.kind}  {violation.event_id}: {violation.says}"
            yield from (f"    {line}" for line in violation.lines)
        if len(verdict.violations) > _SHOWN:
            yield f"... and {len(verdict.violations) - _SHOWN} more"

    return list(lines()), len(verdict.violations) + (played.exit_code != 0)


if __name__ == "__main__":
    sys.exit(main())
