"""`python -m benchmarks`: all measurements in one run, in turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import redis

from benchmarks import machine
from benchmarks.bodies import SESSIONS, body
from benchmarks.door import GENTLE_PER_S, Doors
from benchmarks.drains import Drains
from benchmarks.load import CONNECTIONS
from benchmarks.report import Ratio, Report, Series
from workers.eventlog.embedded import EmbeddedServer


def main() -> None:
    """Measure and print; whether the expectations hold does not change the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="per measurement of a server (1)")
    parser.add_argument("--rounds", type=int, default=5, help="each measurement is repeated so often (5)")
    parser.add_argument("--events", type=int, default=20_000, help="events to drain per round (20,000)")
    parser.add_argument("--jobs", type=int, default=300, help="RQ jobs to work off per round (300)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    report = _measure(options.seconds, options.rounds, options.events, options.jobs)
    print(report.to_json() if options.json else report.to_text())


def _measure(seconds: float, rounds: int, events: int, jobs: int) -> Report:
    facts = {"at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), **machine.description()}
    pinned = machine.share_cores()
    body_only = Series("Starlette, only reads the body")
    ours = Series("ours, appendfsync everysec")
    always = Series("ours, appendfsync always")
    gentle = Series(f"ours, everysec, {GENTLE_PER_S:,.0f} events/s offered")
    enqueue = Series("Starlette + RQ enqueue, in the event loop")
    threads = Series("Starlette + RQ enqueue, in the thread pool")
    ceiling = Series("load generator against a server of one line")
    drained = Series("our worker, handler that does nothing")
    worked_off = Series("RQ SimpleWorker, job that does nothing")
    with tempfile.TemporaryDirectory(prefix="awr-bench-") as folder, EmbeddedServer(Path(folder)) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set(
                "auto-aof-rewrite-percentage", 0
            )  # it would hit one measurement and not another
        drains = Drains(server.url, events, jobs)
        with Doors(server.url, seconds) as doors:
            for number in range(rounds):
                print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
                body_only.add(doors.peer("body"))
                ours.add(doors.ours())
                enqueue.add(doors.peer("enqueue"))
                threads.add(doors.peer("threads"))
                always.add(doors.ours(fsync="always"))
                gentle.add(doors.ours(rate=GENTLE_PER_S))
                drained.per_s.append(drains.ours())
                worked_off.per_s.append(drains.rq())
            ceiling.add(doors.peer("ceiling"))
    faster = max(enqueue, threads, key=lambda series: median(series.per_s))
    return Report(
        machine=facts,
        conditions={
            "rounds": rounds,
            "seconds": seconds,
            "connections": CONNECTIONS,
            "body_bytes": len(body(0)),
            "drained_events": events,
            "sessions": SESSIONS,
            "rq_jobs": jobs,
            "cores": "one for what is measured, the others for Valkey and load"
            if pinned
            else "shared by all",
        },
        series=[body_only, ours, always, gentle, enqueue, threads, ceiling, drained, worked_off],
        ratios=[
            Ratio("ours / only reads the body", ours.per_s, body_only.per_s, 0.4),
            Ratio("ours / RQ enqueue per event", ours.per_s, faster.per_s, 4),
            Ratio("our worker / RQ job per event", drained.per_s, worked_off.per_s, 50),
        ],
        notes=[
            f"Of the two ways to enqueue the faster one counts: {faster.title.rpartition(', ')[2]}.",
            *_doubts(facts, [body_only, ours, faster], ceiling),
        ],
    )


def _doubts(facts: dict[str, Any], servers: list[Series], ceiling: Series) -> list[str]:
    """What speaks against the figures."""
    found = [
        f"{series.title}: its core was not busy, so something else held it up."
        for series in servers
        if series.busy and median(series.busy) < 0.9
    ]
    if median(ceiling.per_s) < 1.5 * max(median(series.per_s) for series in servers):
        found.append("The load generator is hardly faster than what it measures: it may be the bottleneck.")
    if facts["load_average"] > 0.5:
        found.append("Others were at work on this machine when the run began.")
    return found


if __name__ == "__main__":
    main()
